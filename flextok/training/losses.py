"""Distances in latent space that mean something in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo


@torch.no_grad()
def pixel_metric(vae: AutoencoderCausalVideo, latents: Tensor, epsilon: float = 0.1, stride: int = 4) -> Tensor:
    """A (c, c) matrix L such that |L e|^2 of a latent error e follows the squared pixel error it causes.

    The channels of a VAE matter unequally and not independently. Measured at `latents` (b, c, t, h, w) by finite
    differences: each channel is moved by `epsilon` at every `stride`-th place (so that responses do not overlap), and
    the inner products of the responses give the metric. Scaled so that |L|^2 = c: a loss keeps its size.
    """
    c, h, w = (latents.shape[i] for i in (1, 3, 4))
    base = vae.decode(latents)
    touched = latents.new_zeros(1, 1, 1, h, w)
    touched[..., ::stride, ::stride] = 1
    responses = []
    for channel in range(c):
        moved = latents.clone()
        moved[:, channel : channel + 1] += epsilon * touched
        responses.append((vae.decode(moved) - base).flatten())
    response = torch.stack(responses)  # (c, pixels)
    gram = (response @ response.T).double()
    gram = gram / gram.diagonal().mean() + 1e-3 * torch.eye(c, dtype=torch.float64, device=gram.device)
    return torch.linalg.cholesky(gram).T.float()  # L with L^T L = gram


def metric_map(x: Tensor, metric: Tensor) -> Tensor:
    """L applied to the channels of latents (b, c, ...)."""
    return torch.einsum("dc,bc...->bd...", metric, x)


def metric_error(error: Tensor, metric: Tensor) -> Tensor:
    """Squared length of latent errors (b, c, t, h, w) under the metric at each place: (b, t, h, w), a mean over c."""
    return metric_map(error, metric).square().mean(dim=1)


def motion_weights(latents: Tensor, metric: Tensor, strength: float) -> Tensor:
    """How much the error at each place counts, (b, t, h, w) with mean 1 in each clip: what moves counts more.

    Sky and floor fill most of a clip and hardly change; without weights the first tokens are all theirs.
    """
    if latents.shape[2] == 1 or not strength:
        return torch.ones_like(latents[:, 0])
    change = metric_error(latents.diff(dim=2), metric)  # (b, t - 1, h, w)
    change = torch.cat([change[:, :1], change], dim=1)
    weights = 1 + strength * (change / change.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)).clamp(max=4)
    return weights / weights.mean(dim=(1, 2, 3), keepdim=True)
