"""The linear part of the register tokenizer: what a closed form owes its users."""

from __future__ import annotations

import pytest
import torch

from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.training.fit_codec import fit_codec

K = 8


def _clips(count: int, seed: int) -> torch.Tensor:
    """Latents (count, 4, 3, 4, 4) of smooth pictures that drift a little: few directions hold most of the energy."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0]
    strength = 0.8 ** torch.arange(64.0)
    still = torch.randn(count, 1, 64, generator=generator)
    drift = 0.1 * torch.randn(count, 3, 64, generator=generator).cumsum(1)
    return ((still + drift) * strength @ basis).unflatten(2, (4, 4, 4)).transpose(1, 2)


@pytest.fixture(scope="module")
def model() -> RegisterTokenizer:
    torch.manual_seed(0)
    model = RegisterTokenizer(4, (3, 4, 4), num_registers=K, levels=(8, 5), dim=32, head_dim=16, encoder_depth=1)
    fit_codec(model, _clips(2000, 1), torch.eye(4))
    return model.eval()


@torch.no_grad()
def _errors(model: RegisterTokenizer, latents: torch.Tensor, k: int) -> torch.Tensor:
    """Mean squared error of the linear reconstruction, per latent frame (t,)."""
    base = model.codec.reconstruct(model.quantized_codes(latents, k))
    return (base - latents).square().mean(dim=(0, 1, 3, 4))


def test_every_register_helps_clips_it_has_not_seen(model: RegisterTokenizer) -> None:
    test = _clips(200, 2)
    errors = torch.stack([_errors(model, test, k).mean() for k in range(1, K + 1)])
    assert (errors.diff() < 0).all(), errors
    # The first 14 principal components leave 0.8 ** 28 = 0.2 % of the energy; the rest is quantisation.
    assert errors[-1] < 0.05 * test.square().mean()


def test_a_still_picture_gets_sharper_with_every_frame(model: RegisterTokenizer) -> None:
    """The difference to what was quantised is coded, so errors are mended instead of added up."""
    still = _clips(200, 3)[:, :, :1].expand(-1, -1, 3, -1, -1)
    errors = _errors(model, still, K)
    assert errors[2] < errors[1] < errors[0]


def test_components_follow_the_metric() -> None:
    """A channel that matters ten times as much is coded first, whatever its size."""
    torch.manual_seed(0)
    model = RegisterTokenizer(4, (3, 4, 4), num_registers=K, levels=(8, 5), dim=32, head_dim=16, encoder_depth=1)
    latents = torch.randn(1000, 4, 3, 4, 4)
    latents[:, 0] *= 0.5
    fit_codec(model, latents, torch.diag(torch.tensor([10.0, 1.0, 1.0, 1.0])))
    error = (
        (model.eval().codec.reconstruct(model.quantized_codes(latents, K)) - latents).square().mean(dim=(0, 2, 3, 4))
    )
    energy = latents.square().mean(dim=(0, 2, 3, 4))
    assert error[0] < 0.5 * energy[0]
    assert (error[1:] > 0.9 * energy[1:]).all()
