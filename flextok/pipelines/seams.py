"""A deblocking filter in time: where one chunk ends and the next begins, still regions must not jump."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 0.15
"""Differences well above this, in units of [-1, 1], are taken for movement and stay."""
REACH = 8
"""Frames over which a correction fades out."""


def soften_seam(last: Tensor, frames: Tensor) -> Tensor:
    """Frames (b, 3, T, H, W) that follow `last` (b, 3, H, W), without the small jump that decoding them apart leaves.

    As in the deblocking filters of video codecs, what changes little across the border is error and is faded out over
    `REACH` frames, and what changes much is content and is left alone.
    """
    jump = last - frames[:, :, 0]
    jump = jump * torch.exp(-((jump.abs().amax(dim=1, keepdim=True) / TOLERANCE) ** 2))
    fade = 1 - torch.arange(frames.shape[2], device=frames.device, dtype=frames.dtype) / REACH
    return frames + jump[:, :, None] * fade.clamp(min=0)[:, None, None]
