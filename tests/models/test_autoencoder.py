"""The causal VAE: shapes for any size, exact causality, statistics of its latents."""

from __future__ import annotations

import pytest
import torch

from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo


@pytest.fixture(scope="module")
def vae() -> AutoencoderCausalVideo:
    torch.manual_seed(0)
    model = AutoencoderCausalVideo(16, (8, 16), (8, 16), (1, 1), (1, 1)).eval()
    for parameter in model.parameters():  # away from the near-zero residual branches of a fresh model
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 16), (5, 24, 16), (9, 32, 32), (17, 16, 40)])
def test_any_size(vae: AutoencoderCausalVideo, frames: int, height: int, width: int) -> None:
    video = torch.rand(2, 3, frames, height, width) * 2 - 1
    latents = vae.encode(video).mean
    assert latents.shape == (2, 16, 1 + (frames - 1) // 4, height // 8, width // 8)
    assert vae.decode(latents).shape == video.shape


@pytest.mark.parametrize("changed", [1, 5, 9, 13])
def test_later_frames_never_change_earlier_ones(vae: AutoencoderCausalVideo, changed: int) -> None:
    video = torch.rand(1, 3, 17, 16, 16) * 2 - 1
    other = video.clone()
    other[:, :, changed:] = torch.rand_like(other[:, :, changed:])
    t = 1 + (changed - 1) // 4  # latent frames that see none of the changed pixels
    before, after = vae.encode(video).mean, vae.encode(other).mean
    assert torch.equal(before[:, :, :t], after[:, :, :t])
    assert not torch.equal(before[:, :, t:], after[:, :, t:])
    assert torch.equal(vae.decode(before)[:, :, :changed], vae.decode(after)[:, :, :changed])


def test_a_prefix_encodes_as_in_the_whole(vae: AutoencoderCausalVideo) -> None:
    video = torch.rand(1, 3, 17, 16, 16) * 2 - 1
    torch.testing.assert_close(vae.encode(video[:, :, :9]).mean, vae.encode(video).mean[:, :, :3])


def test_statistics_in_the_config_normalise_and_undo_themselves(vae: AutoencoderCausalVideo) -> None:
    video = torch.rand(2, 3, 5, 16, 16) * 2 - 1
    raw = vae.encode(video).mean
    reconstruction = vae.decode(raw)
    mean, std = raw.mean(dim=(0, 2, 3, 4)), raw.std(dim=(0, 2, 3, 4))
    statistics = {"latents_mean": mean.tolist(), "latents_std": std.tolist()}
    named = AutoencoderCausalVideo(16, (8, 16), (8, 16), (1, 1), (1, 1), **statistics).eval()
    named.load_state_dict(vae.state_dict())
    normalised = named.encode(video).mean
    assert normalised.mean(dim=(0, 2, 3, 4)).abs().max() < 1e-4
    torch.testing.assert_close(normalised.std(dim=(0, 2, 3, 4)), torch.ones(16), atol=1e-3, rtol=0)
    torch.testing.assert_close(named.decode(normalised), reconstruction, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16, 16), (1, 3, 17, 15, 16), (1, 3, 17, 16, 12)])
def test_other_sizes_are_refused(vae: AutoencoderCausalVideo, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        vae.encode(torch.zeros(shape))
