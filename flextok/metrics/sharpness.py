"""What a blurred or restless video lacks, seen in pixels: strong edges, and stillness of what stands still."""

from __future__ import annotations

import torch
from torch import Tensor

from flextok.metrics.reconstruction import require_same_shape

STRONGEST = 0.03
"""Share of the gradients that counts: the outlines. The mean gradient hardly sees a blur; ripples fill it again."""
STILL = 2 / 255
"""Largest change of brightness, in [-1, 1], of a pixel that stands still over a whole clip: one level of 255."""


def edge_strength(video: Tensor) -> Tensor:
    """Mean of the strongest 3 % of brightness gradients of each clip: (b, 3, T, H, W) in [-1, 1] -> (b,)."""
    gray = video.clamp(-1, 1).mean(1)
    across = gray[..., :-1, 1:] - gray[..., :-1, :-1]
    down = gray[..., 1:, :-1] - gray[..., :-1, :-1]
    size = torch.hypot(across, down).flatten(1)
    return size.topk(max(int(STRONGEST * size.shape[1]), 1), dim=1).values.mean(1)


def flicker(video: Tensor, source: Tensor) -> Tensor:
    """Mean change from frame to frame, in levels of 255, where the source stands still: (b, 3, T, H, W) -> (b,).

    NaN where nothing of the source stands still (the camera moves).

    Raises:
        ValueError: the shapes differ.
    """
    require_same_shape(video, source)
    spread = source.mean(1).amax(1) - source.mean(1).amin(1)  # (b, H, W)
    still = (spread <= STILL).float()
    change = video.clamp(-1, 1).mean(1).diff(dim=1).abs().mean(1) * 127.5  # (b, H, W)
    return (change * still).sum((1, 2)) / still.sum((1, 2))
