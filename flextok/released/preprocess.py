"""Frames to the pixels that the released checkpoints were trained on (contract, section 13)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flextok.video.read import read_video

DEFAULT_FPS = 8.0
MAX_FRAMES = 100_000
MAX_VALUE = 10_000


@dataclass(frozen=True)
class PreprocessOptions:
    """What a config's `video_preprocess_args` may say; exactly one of fps and num_frames is given for reading."""

    fps: float | None = None
    num_frames: int | None = None
    chunk_size: int = 17
    size: int = 256
    overlap_size: int = 1

    @classmethod
    def from_config(cls, arguments: Mapping[str, Any]) -> PreprocessOptions:
        """Both names of the overlap are accepted; unknown ones are ignored with a warning.

        Raises:
            ValueError: a value is no number in range, or no frame is new in a chunk.
        """
        aliases = {"overlap_size_frames": "overlap_size"}
        known = cls.__dataclass_fields__
        values: dict[str, Any] = {}
        for key, value in arguments.items():
            name = aliases.get(key, key)
            if name not in known:
                warnings.warn(f"video_preprocess_args: {key!r} is not known and is ignored", stacklevel=2)
                continue
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_VALUE:
                raise ValueError(f"video_preprocess_args: {key}={value!r} must be a number in 0..{MAX_VALUE}")
            values[name] = float(value) if name == "fps" else int(value)
        options = cls(**values)
        if options.size < 1 or options.chunk_size <= options.overlap_size:
            raise ValueError(f"video_preprocess_args: {options} has no pixels, or no new frames in a chunk")
        return options


def frame_indices(total_frames: int, video_fps: float, options: PreprocessOptions) -> list[int]:
    """Which stored frames the reference takes: evenly spread over the whole clip, first and last included.

    The number of chunks is rounded up, so the true rate is only near `fps`, and short clips repeat frames.

    Raises:
        ValueError: not exactly one of fps and num_frames, or num_frames is no whole number of chunks.
    """
    if (options.fps is None) == (options.num_frames is None):
        raise ValueError("exactly one of fps and num_frames must be given")
    stride = options.chunk_size - options.overlap_size
    if options.num_frames is None:
        wanted = int(total_frames / video_fps * (options.fps or 0.0))
        num_frames = 1 + max(0, math.ceil((wanted - 1) / stride)) * stride
    else:
        num_frames = options.num_frames
    if num_frames < 1 or num_frames > MAX_FRAMES or (num_frames - 1) % stride:
        raise ValueError(f"num_frames={num_frames} must be 1 + {stride}*n, at most {MAX_FRAMES}")
    return np.linspace(0, total_frames - 1, num_frames).astype(int).tolist()


def to_pixels(frames: np.ndarray, size: int) -> Tensor:
    """uint8 (T, H, W, 3) to float (3, T, size, size) in [-1, 1]: bicubic with antialiasing, centre crop.

    Differs from `video.picture.resize_frames` (Pillow, rounded to uint8) in the fourth digit; tokens depend on it.
    """
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)
    height, width = video.shape[2:]
    short, long = min(height, width), max(height, width)
    scaled = int(size * long / short)
    target = (scaled, size) if height > width else (size, scaled)
    video = F.interpolate(video, size=target, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (round((n - size) / 2) for n in target)  # round half to even
    return ((video[:, :, top : top + size, left : left + size] - 0.5) / 0.5).transpose(0, 1)


def reference_pixels(path: str | Path, options: PreprocessOptions) -> Tensor:
    """The frames of a video file that the reference takes (`frame_indices`), as (1, 3, T, size, size).

    Raises:
        VideoError: the file cannot be read.
        ValueError: as `frame_indices`.
    """
    video = read_video(path)
    if options.fps is None and options.num_frames is None:
        options = replace(options, fps=DEFAULT_FPS)
    indices = frame_indices(len(video.frames), video.fps, options)
    return to_pixels(video.frames[indices], options.size)[None]
