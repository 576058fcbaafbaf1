"""Frechet video distance: the known value where there is one, and a name in every result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from flextok.loading.errors import CheckpointError
from flextok.metrics import FrechetVideoDistance, Scorer, VideoMAEFeatures
from flextok.metrics.frechet_video import frechet_distance
from flextok.training.degradations import blur


class ChannelMeans:
    """The simplest extractor: mean of each colour channel."""

    name = distance_name = "channel means"
    num_features = 3

    def __call__(self, video: Tensor) -> Tensor:
        return video.mean(dim=(2, 3, 4))


def test_distance_of_known_gaussians(generator: torch.Generator) -> None:
    """Commuting covariances: the sum over axes of (difference of means)^2 + (difference of deviations)^2."""
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    std1, std2 = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([3.0, 2.0, 0.5]).double()
    mean1, mean2 = torch.zeros(3).double(), torch.tensor([1.0, 0.0, 2.0]).double()
    covariances = [rotation * s.square() @ rotation.T for s in (std1, std2)]
    value = frechet_distance(mean1, covariances[0], mean2, covariances[1])
    assert float(value) == pytest.approx(5 + 4 + 0.25)
    assert float(frechet_distance(mean1, covariances[0], mean1, covariances[0])) < 1e-9


def test_batches_add_up(generator: torch.Generator) -> None:
    """Fed in parts, in any order, the distance is that of the whole; a shift of all clips is its square."""
    video = torch.rand(12, 3, 2, 4, 4, generator=generator) - 0.5
    metric = FrechetVideoDistance(ChannelMeans())
    for part in video.split(5):
        metric.update(part + 0.25, real=False)
    for part in video.split(3):
        metric.update(part, real=True)
    assert float(metric.compute()["channel means"]) == pytest.approx(3 * 0.25**2, rel=1e-4)


def test_real_clips_can_be_kept(generator: torch.Generator) -> None:
    video = torch.rand(6, 3, 2, 4, 4, generator=generator)
    metric = FrechetVideoDistance(ChannelMeans(), reset_real=False)
    metric.update(video, real=True)
    for shift in (0.5, 0.0):
        metric.update(video + shift, real=False)
        assert float(metric.compute()["channel means"]) == pytest.approx(3 * shift**2, abs=1e-6)
        metric.reset()


@pytest.mark.parametrize("reset_real", [True, False])
def test_calling_it_adds_clips_once_and_gives_the_distance_of_these(
    reset_real: bool, generator: torch.Generator
) -> None:
    """Seventy times: real clips that double at every call overflow after 59."""
    real = torch.rand(6, 3, 2, 4, 4, generator=generator)
    called, updated = (FrechetVideoDistance(ChannelMeans(), reset_real=reset_real) for _ in range(2))
    assert called(real, real=True) == {}
    updated.update(real, real=True)
    for step in range(70):
        other = torch.rand(3, 3, 2, 4, 4, generator=generator)
        alone = FrechetVideoDistance(ChannelMeans())
        alone.update(real, real=True)
        alone.update(other, real=False)
        updated.update(other, real=False)
        value = called(other, real=False)["channel means"]
        assert float(value) == pytest.approx(float(alone.compute()["channel means"]), rel=1e-6), step
    assert (int(called.real_count), int(called.other_count)) == (6, 210)
    assert float(called.compute()["channel means"]) == pytest.approx(float(updated.compute()["channel means"]))


def test_one_clip_has_no_distance() -> None:
    metric = FrechetVideoDistance(ChannelMeans())
    metric.update(torch.zeros(1, 3, 2, 4, 4), real=True)
    with pytest.raises(ValueError, match="two clips"):
        metric.compute()


def test_toybox_fvd_grows_with_corruption(scorer: Scorer, test_clips: Tensor) -> None:
    metric = FrechetVideoDistance(scorer, reset_real=False)
    clips = test_clips[:24]
    metric.update(clips, real=True)
    values = []
    for scale in (None, 0.5, 0.1):
        corrupted = clips if scale is None else torch.stack([blur(clip, scale) for clip in clips])
        metric.update(corrupted, real=False)
        (name, value), *_ = metric.compute().items()
        assert name == "Toybox FVD"
        values.append(float(value))
        metric.reset()
    assert values[0] < 1e-6 * values[-1]
    assert values == sorted(values)


def test_hub_features_are_refused_by_a_sentence_and_never_swapped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(CheckpointError, match="VideoMAE checkpoint"):
        VideoMAEFeatures(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="cannot be reached"):
        VideoMAEFeatures("nobody/nothing")


def test_videomae_features_follow_the_clip(tmp_path: Path, generator: torch.Generator) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=32, num_frames=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.VideoMAEForVideoClassification(config).save_pretrained(tmp_path)
    extractor = VideoMAEFeatures(tmp_path)
    assert extractor.num_features == 16
    video = torch.rand(5, 3, 17, 24, 24, generator=generator) * 2 - 1
    features = extractor(video)
    assert features.shape == (5, 16)
    torch.testing.assert_close(extractor(video[3:]), features[3:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(extractor(video.flip(2)), features, atol=1e-3)
