"""Clips side by side in one video, each under its label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_PIXELS = 22
GAP = 4


def enlarge(frames: np.ndarray, scale: int) -> np.ndarray:
    """Small clips, uint8 (T, H, W, 3), `scale` times as large, bicubic: squares of pixels hide what is in a picture."""
    size = (frames.shape[2] * scale, frames.shape[1] * scale)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames])


def side_by_side(clips: Sequence[tuple[str, np.ndarray]], scale: int = 3) -> np.ndarray:
    """Labelled clips, uint8 (T, H, W, 3) each, next to each other and enlarged `scale` times: uint8 (T, H', W', 3).

    A clip with fewer frames than the longest shows grey from where it ends: those frames are not encoded.
    """
    longest = max(len(frames) for _, frames in clips)
    columns = []
    for label, frames in clips:
        height, width = frames.shape[1] * scale, frames.shape[2] * scale
        column = np.full((longest, height + LABEL_PIXELS, width + GAP, 3), 255, np.uint8)
        column[:, LABEL_PIXELS:, :width] = 160
        column[: len(frames), LABEL_PIXELS:, :width] = enlarge(frames, scale)
        banner = Image.new("RGB", (width, LABEL_PIXELS), "white")
        ImageDraw.Draw(banner).text((2, 3), label, fill="black", font=ImageFont.load_default(13))
        column[:, :LABEL_PIXELS, :width] = np.asarray(banner)
        columns.append(column)
    return np.concatenate(columns, axis=2)
