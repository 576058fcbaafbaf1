"""Classifier-free guidance and adaptive projected guidance, as pure functions on velocities (b, c, t, h, w)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NORM_DIMS = (2, 3, 4)
"""(t, h, w) of (b, c, t, h, w): one norm per clip and channel. The released checkpoints were tuned with this."""


@dataclass(frozen=True)
class APGSettings:
    """Adaptive projected guidance (Sadat et al., arXiv:2410.02416): bounds what guidance adds.

    `eta` keeps that share of the update's part parallel to the conditional velocity (0 drops it), `norm_threshold`
    caps the update's norm (0: no cap), `momentum` averages updates over steps (negative values damp them).
    """

    eta: float = 0.0
    norm_threshold: float = 0.6
    momentum: float = 0.0


def classifier_free_guidance(cond: Tensor, uncond: Tensor, guidance_scale: float) -> Tensor:
    """uncond + w (cond - uncond); w = 1 is the conditional velocity."""
    return uncond + guidance_scale * (cond - uncond)


def adaptive_projected_guidance(
    cond: Tensor, uncond: Tensor, guidance_scale: float, settings: APGSettings, average: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """CFG with the update bounded in norm and mostly orthogonal to the conditional velocity.

    Args:
        cond, uncond: velocities (b, c, t, h, w).
        average: the second result of the step before, None in the first; so momentum is the caller's state.

    Returns:
        The guided velocity, and the running average to hand to the next step.
    """
    average = cond - uncond if average is None else (cond - uncond) + settings.momentum * average
    update = average
    if settings.norm_threshold > 0:
        norm = torch.linalg.vector_norm(update, dim=NORM_DIMS, keepdim=True)  # (b, c, 1, 1, 1)
        update = update * torch.clamp(settings.norm_threshold / norm, max=1.0)
    direction = cond.double()  # the projection loses digits in float32
    direction = direction / torch.linalg.vector_norm(direction, dim=NORM_DIMS, keepdim=True).clamp(min=1e-12)
    parallel = (update.double() * direction).sum(dim=NORM_DIMS, keepdim=True) * direction
    orthogonal = update.double() - parallel
    return cond + (guidance_scale - 1) * (orthogonal.to(cond.dtype) + settings.eta * parallel.to(cond.dtype)), average
