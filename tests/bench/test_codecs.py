"""Ordinary codecs at their coarsest: what they give back is the clip, and finer settings cost more and look better."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from flextok.bench.codecs import QUALITIES, available, code
from flextok.toybox.render import render
from flextok.toybox.sampling import TEST_SEEDS, sample_spec


@pytest.mark.parametrize("codec", sorted(QUALITIES))
def test_finer_settings_cost_bytes_and_give_quality(codec: str) -> None:
    assert codec in available()
    clip = render(sample_spec(TEST_SEEDS.start))
    coded = [code(clip, codec, quality) for quality in QUALITIES[codec]]
    assert all(c.frames.shape == clip.shape for c in coded)
    errors = [float(np.square(c.frames.astype(float) - clip).mean()) for c in coded]
    for (coarse, coarse_error), (fine, fine_error) in itertools.pairwise(zip(coded, errors, strict=True)):
        assert coarse.num_bytes < fine.num_bytes
        assert coarse_error > fine_error
    assert 17 * 8 < coded[0].num_bytes < 1500


def test_other_settings_are_refused() -> None:
    for codec, quality in (("h264", 1), ("mpeg2", 30)):
        with pytest.raises(ValueError, match=codec):
            code(np.zeros((2, 64, 64, 3), np.uint8), codec, quality)
