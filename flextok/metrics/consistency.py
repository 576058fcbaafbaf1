"""Temporal consistency: does the subject keep what it looks like from the beginning of a video to its end?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flextok.data.datasets import CLIP_FRAMES
from flextok.metrics.scorer import Scorer
from flextok.toybox.spec import SEGMENT_FRAMES

LOOK = ("color", "shape")


def temporal_consistency(scorer: Scorer, video: Tensor, attributes: Sequence[str] = LOOK) -> dict[str, float]:
    """Share of later windows in which the scorer reads an attribute as in the first window.

    A video of 17 frames has two windows, its halves, each slowed to 17 frames; a longer one has a window for every
    chunk of 17 frames. Sources score below 1, since the scorer errs: compare with theirs.

    Args:
        video: (n, 3, T, 64, 64) in [-1, 1], T = 17 + 16 m.

    Raises:
        ValueError: T is not of that form.
    """
    parts = windows(video)  # (w, n, 3, 17, H, W)
    logits = scorer.score(parts.flatten(0, 1)).logits
    agreement = {}
    for name in attributes:
        read = logits[name].argmax(1).unflatten(0, parts.shape[:2])  # (w, n)
        agreement[name] = float((read[1:] == read[:1]).float().mean())
    return agreement


def windows(video: Tensor) -> Tensor:
    """The windows of `temporal_consistency`, each 17 frames: (w, n, 3, 17, H, W)."""
    num_frames = video.shape[2]
    if num_frames < CLIP_FRAMES or (num_frames - CLIP_FRAMES) % SEGMENT_FRAMES:
        raise ValueError(f"num_frames={num_frames} must be {CLIP_FRAMES} + {SEGMENT_FRAMES}*n")
    if num_frames == CLIP_FRAMES:
        half = torch.arange(CLIP_FRAMES) // 2  # 0, 0, 1, 1, ..., 7, 7, 8
        return torch.stack([video[:, :, half], video[:, :, half + CLIP_FRAMES // 2]])
    starts = range(0, num_frames - 1, SEGMENT_FRAMES)
    return torch.stack([video[:, :, start : start + CLIP_FRAMES] for start in starts])
