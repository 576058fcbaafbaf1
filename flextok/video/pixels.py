"""The two forms of pixels: uint8 (T, H, W, 3) in files and in the app, float (b, 3, T, H, W) in [-1, 1] in models."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_float(frames: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) or (b, T, H, W, 3) -> float32 (b, 3, T, H, W) in [-1, 1].

    Raises:
        ValueError: another dtype or shape.
    """
    if frames.dtype != np.uint8 or frames.ndim not in (4, 5) or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3) or (b, T, H, W, 3), got {frames.dtype} {frames.shape}")
    batch = torch.from_numpy(np.require(frames if frames.ndim == 5 else frames[None], requirements=["C", "W"]))
    return batch.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_uint8(video: Tensor) -> np.ndarray:
    """float (3, T, H, W) or (b, 3, T, H, W) in [-1, 1] (clamped) -> uint8 (..., T, H, W, 3)."""
    pixels = ((video.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.movedim(-4, -1).contiguous().cpu().numpy()


def from_uint8(video: Tensor) -> Tensor:
    """uint8 (b, 3, T, H, W) -> float32 in [-1, 1]."""
    return video.float() / 127.5 - 1
