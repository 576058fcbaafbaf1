"""A clip as a tokenizer takes it, read from a file: every tokenizer's `read` comes here with pixels of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flextok.chunking import ChunkPlan
from flextok.video.limits import MAX_PIXELS, DecodeBudget
from flextok.video.pixels import to_float
from flextok.video.read import read_video


@dataclass(frozen=True)
class Clip:
    """`video` (1, 3, T, H, W) in [-1, 1], whole chunks; its first `num_real` frames are real, at `fps`."""

    video: Tensor
    num_real: int
    fps: float


@dataclass(frozen=True)
class ClipReader:
    """How a tokenizer makes its pixels of a file."""

    side: int
    """Of the square frames."""
    pixels: Callable[[np.ndarray], Tensor] = to_float
    """Frames, uint8 (T, H, W, 3), to (1, 3, T, side, side) in [-1, 1]."""
    resized: bool = True
    """`pixels` gets frames that `read_video` has brought to `side`, instead of whole ones."""
    num_frames: int | None = None
    """Read no more than these unless a call says otherwise."""

    def read(self, path: str | Path, plan: ChunkPlan, fps: float, **options: Any) -> Clip:
        """See `read_clip`."""
        if options.get("num_frames") is None:
            options["num_frames"] = self.num_frames
        return read_clip(path, plan, fps, self.pixels, self.side if self.resized else None, **options)


def read_clip(
    path: str | Path,
    plan: ChunkPlan,
    fps: float,
    pixels: Callable[[np.ndarray], Tensor],
    size: int | None = None,
    *,
    start_s: float = 0.0,
    max_chunks: int | None = None,
    crop: tuple[float, float, float, float] | None = None,
    num_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    budget: DecodeBudget | None = None,
) -> Clip:
    """Read a video or an image and pad it to whole chunks by repeating its last frame.

    Args:
        pixels: frames, uint8 (T, H, W, 3), to (1, 3, T, h, w) in [-1, 1].
        size: side that frames are brought to before `pixels`, by `read_video`; None leaves them as they are.
        max_chunks: a longer video is cut there; None reads all of it.
        num_frames: read no more than these, also where whole chunks would hold some more.
        crop, max_pixels, budget: as in `read_video`.

    Raises:
        VideoError: one sentence for whatever is wrong with the file.
        ValueError: max_chunks < 1.
    """
    if max_chunks is not None and max_chunks < 1:
        raise ValueError(f"max_chunks={max_chunks} must be at least 1")
    limits = [] if max_chunks is None else [plan.chunk_frames + plan.stride * (max_chunks - 1)]
    limits += [] if num_frames is None else [num_frames]
    read = read_video(
        path,
        start_s=start_s,
        num_frames=min(limits) if limits else None,
        fps=fps,
        size=size,
        crop=crop,
        max_pixels=max_pixels,
        budget=budget,
    )
    return Clip(padded(pixels(read.frames), plan), len(read.frames), fps)


def padded(video: Tensor, plan: ChunkPlan) -> Tensor:
    """Clips (b, 3, T, H, W) with their last frame repeated until they are whole chunks."""
    missing = plan.whole(video.shape[2]) - video.shape[2]
    return torch.cat([video, video[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2) if missing else video
