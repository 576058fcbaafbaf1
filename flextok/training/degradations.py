"""Ways in which a reconstruction is worse than its source: augmentation for a network that judges reconstructions."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CLEAN = 0.35
"""Share of clips that stay as they are."""


def degrade(video: Tensor, rng: np.random.Generator) -> Tensor:
    """One clip (3, T, H, W) in [-1, 1], blurred, smeared over time, dimmed or noisy at random; mostly a little."""
    if rng.random() < CLEAN:
        return video
    if rng.random() < 0.7:
        video = blur(video, float(rng.uniform(0.3, 0.9)) if rng.random() < 0.8 else 0.25)
    if rng.random() < 0.25:
        video = smear(video, float(rng.uniform(0.2, 0.6)))
    if rng.random() < 0.3:
        video = video * float(rng.uniform(0.85, 1.05)) + float(rng.uniform(-0.06, 0.06))
    if rng.random() < 0.4:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        # Coarse noise is what a decoder invents; fine noise what it leaves.
        scale = int(rng.choice([1, 2, 4]))
        noise = torch.randn(3, video.shape[1], *(s // scale for s in video.shape[2:]), generator=generator)
        noise = F.interpolate(noise, size=video.shape[2:], mode="bilinear", align_corners=False)
        video = video + float(rng.uniform(0.02, 0.15)) * noise
    return video.clamp(-1, 1)


def blur(video: Tensor, scale: float) -> Tensor:
    """Shrink the frames of (3, T, H, W) to `scale` of their size and enlarge them again."""
    height, width = video.shape[2:]
    small = (max(round(height * scale), 1), max(round(width * scale), 1))
    frames = F.interpolate(video, size=small, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(frames, size=(height, width), mode="bicubic", align_corners=False)


def smear(video: Tensor, strength: float) -> Tensor:
    """Mix every frame of (3, T, H, W) with the mean of its neighbours."""
    padded = torch.cat([video[:, :1], video, video[:, -1:]], dim=1)
    return (1 - strength) * video + strength * 0.5 * (padded[:, :-2] + padded[:, 2:])
