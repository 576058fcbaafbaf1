"""Degradations: seeded, bounded, and what they say."""

from __future__ import annotations

import numpy as np
import torch

from flextok.training.degradations import blur, degrade, smear


def test_the_seed_decides_and_pixels_stay_in_range(generator: torch.Generator) -> None:
    video = torch.rand(3, 5, 16, 16, generator=generator) * 2 - 1
    same = 0
    for seed in range(40):
        once, again = (degrade(video, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(once, again)
        assert once.shape == video.shape
        assert once.abs().max() <= 1
        same += torch.equal(once, video)
    assert 5 < same < 30


def test_blur_and_smear_keep_what_is_even(generator: torch.Generator) -> None:
    even = torch.rand(3, 1, 1, 1, generator=generator).expand(3, 5, 16, 16)
    torch.testing.assert_close(blur(even, 0.3), even.contiguous())
    torch.testing.assert_close(smear(even, 0.5), even.contiguous())
    video = torch.rand(3, 5, 16, 16, generator=generator)
    assert blur(video, 0.25).var() < blur(video, 0.5).var() < video.var()
    assert torch.equal(smear(video, 0.0), video)
