"""Measures of realism see blur and noise, do not see content, and know how sure they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from flextok.bench.realism import realism
from flextok.metrics import Scorer, edge_strength, flicker, kernel_distance, two_sample_accuracy
from flextok.toybox.labels import labels_of_seeds
from flextok.toybox.sampling import TEST_SEEDS
from flextok.training.degradations import blur


def test_kernel_distance_is_the_unbiased_mmd(generator: torch.Generator) -> None:
    x, y = (torch.randn(64, 12, generator=generator) + shift for shift in (0.0, 0.4))
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(float(poly_mmd(x.double(), y.double())), rel=1e-9)
    assert kernel_distance(y, x).value == pytest.approx(found.value)
    # Sets of different sizes too, and 0 within its error for one distribution.
    same = kernel_distance(torch.randn(300, 12, generator=generator), torch.randn(200, 12, generator=generator))
    assert abs(same.value) < 3 * same.error
    assert found.value > 2.5 * found.error


def test_the_standard_error_is_the_spread_over_repetitions(generator: torch.Generator) -> None:
    draws = [
        kernel_distance(torch.randn(64, 6, generator=generator), torch.randn(64, 6, generator=generator) + 0.5)
        for _ in range(60)
    ]
    spread = float(torch.tensor([draw.value for draw in draws]).std())
    said = float(torch.tensor([draw.error for draw in draws]).mean())
    assert 0.7 < said / spread < 1.5


@pytest.mark.parametrize(("n", "m", "d"), [(31, 64, 4), (64, 31, 4)])
def test_too_few_clips_are_refused(n: int, m: int, d: int) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        kernel_distance(torch.zeros(n, d), torch.zeros(m, d))
    with pytest.raises(ValueError, match="features must be"):
        kernel_distance(torch.zeros(64, 3), torch.zeros(64, 4))


def test_edges_fall_with_blur_and_do_not_depend_on_content(test_clips: Tensor) -> None:
    clips = test_clips[:24]
    blurred = [torch.stack([blur(clip, scale) for clip in clips]) for scale in (0.5, 0.25, 0.125)]
    shares = [float((edge_strength(part) / edge_strength(clips)).mean()) for part in blurred]
    assert 0.95 > shares[0] > shares[1] > shares[2]
    assert shares[1] < 0.6
    step = torch.full((1, 3, 2, 64, 64), -1.0)
    step[..., 32:] = 1.0  # one edge of a pixel across, 2 high, on 1/63 of all places: under the strongest 3 %
    counted = int(0.03 * 2 * 63 * 63)
    assert edge_strength(step)[0] == pytest.approx(2 * 2 * 63 / counted)


def test_flicker_is_what_changes_where_nothing_should() -> None:
    source = torch.zeros(2, 3, 5, 8, 8)
    source[:, :, :, :, 4:] = torch.linspace(-1, 1, 5)[:, None, None]  # the right half moves
    restless = source.clone()
    restless[:, :, ::2, :, :4] += 4 / 127.5
    restless[:, :, :, :, 4:] = 0  # what it does there is not flicker
    assert flicker(restless, source).tolist() == pytest.approx([4.0, 4.0], rel=1e-4)
    assert flicker(source, source).abs().max() < 1e-5
    assert flicker(source[..., 4:], source[..., 4:]).isnan().all()


def test_a_classifier_tells_blur_apart_and_not_a_set_from_itself(test_clips: Tensor) -> None:
    blurred = torch.stack([blur(clip, 0.25) for clip in test_clips])
    noise = 0.06 * torch.randn(test_clips.shape, generator=torch.Generator().manual_seed(2))
    assert two_sample_accuracy(test_clips, blurred) > 0.9
    assert two_sample_accuracy(test_clips, test_clips + noise) > 0.9
    assert two_sample_accuracy(test_clips, test_clips.clone()) == 0.5
    assert 0.25 < two_sample_accuracy(test_clips[:32], test_clips[32:]) < 0.75
    with pytest.raises(ValueError, match="at least 8"):
        two_sample_accuracy(test_clips[:4], test_clips[:4])


def test_blur_ranks_as_it_looks_against_other_clips(scorer: Scorer, test_clips: Tensor) -> None:
    """Of 32 clips against 32 others: the sharper, the nearer, and every row has every measure."""
    source, others = test_clips[:32], test_clips[32:]
    decoded = {"register": {1: torch.stack([blur(clip, 0.2) for clip in source])}}
    report = realism(scorer, decoded, source, source, others, labels_of_seeds(TEST_SEEDS[:32]))
    distance = {name: report[name]["kernel_distance"] for name in ("source", "blurred_4", "blurred_8")}
    assert distance["source"] < distance["blurred_4"] < distance["blurred_8"]
    assert abs(distance["source"]) < 3 * report["source"]["kernel_distance_error"]
    row = report["register"][1]
    assert row["told_from_vae"] > 0.8
    assert row["edges"] < 0.6
    assert report["source"]["told_from_vae"] is None
    assert "frechet_distance" not in row  # of 32 clips it would say nothing
    assert row["read_floor"] > 0.5
    with pytest.raises(ValueError, match="at least 32"):
        realism(scorer, decoded, source[:8], source[:8], others, labels_of_seeds(TEST_SEEDS[:8]))
