"""Limits and checks that reading and writing share; every problem is a `VideoError`, one sentence for the user."""

from __future__ import annotations

import math
import os
import stat
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

MAX_PIXELS = 40_000_000  # a frame of 8K video has 33 million
MAX_SECONDS = 120.0
MAX_DECODE_S = 60.0
MAX_DECODED_PIXELS = 50_000_000_000  # all frames of 120 s of 4K at 50 frames a second
MAX_OUTPUT_BYTES = 2 * 1024**3
MAX_FPS = 1000.0
GIF_TICK_S = 0.01

DAMAGED = "{!r} holds no picture that can be decoded; it is damaged or cut off."
PIL_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError,
    MemoryError, RuntimeError, struct.error, Image.DecompressionBombError,
)  # fmt: skip


class VideoError(ValueError):
    """A video that cannot be read or written; the text is one sentence for the user."""


class DecodeBudget:
    """What may be spent on a file: seconds and pixels. Steps that share one share its limits."""

    def __init__(self, seconds: float = MAX_DECODE_S, pixels: float = MAX_DECODED_PIXELS) -> None:
        self.seconds, self.pixels = positive("seconds", seconds), positive("pixels", pixels)
        self.deadline, self.pixels_left = time.monotonic() + self.seconds, self.pixels

    def check(self) -> None:
        """Raise VideoError where the time is over."""
        if time.monotonic() > self.deadline:
            raise VideoError(f"Reading the video took longer than {self.seconds:g} s; use a smaller file.")

    def spend(self, pixels: int) -> None:
        """Take a decoded frame off; raise VideoError where time or pixels are over."""
        self.check()
        self.pixels_left -= pixels
        if self.pixels_left < 0:
            raise VideoError(
                f"Reading the video takes more than {self.pixels / 1e9:g} billion pixels; use a smaller file or an "
                "earlier part."
            )


def positive(name: str, value: float, most: float = math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and 0 < number <= most):
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        raise VideoError(f"{name} must be a number above 0{limit}, got {value!r}.")
    return number


def positive_int(name: str, value: int) -> int:
    number = positive(name, value, 2**31 - 1)
    if number != int(number):
        raise VideoError(f"{name} must be a whole number, got {value!r}.")
    return int(number)


def size_pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if isinstance(size, Sequence) and not isinstance(size, str):
        if len(size) != 2:
            raise VideoError(f"size must be one number or (height, width), got {size!r}.")
        height, width = (positive_int("size", side) for side in size)
    else:
        height = width = positive_int("size", size)
    if height * width > MAX_PIXELS:
        raise VideoError(f"size {height} x {width} is over the limit of {MAX_PIXELS:,} pixels.")
    return height, width


def check_crop(crop: tuple[float, float, float, float] | None) -> tuple[float, float, float, float]:
    if crop is None:
        return 0.0, 0.0, 1.0, 1.0
    try:
        left, top, width, height = (float(value) for value in crop)
    except (TypeError, ValueError):
        raise VideoError(f"crop must be (left, top, width, height) in fractions, got {crop!r}.") from None
    slack = 1e-6
    inside = left >= 0 and top >= 0 and left + width <= 1 + slack and top + height <= 1 + slack
    if not (inside and width > 0 and height > 0):  # false for NaN too
        raise VideoError(f"crop must lie inside the picture (0 to 1) and have an area, got {crop!r}.")
    return left, top, min(width, 1 - left), min(height, 1 - top)


def check_file(path: str | os.PathLike[str]) -> Path:
    try:
        local = Path(path)
        status = local.stat()
    except (OSError, ValueError, TypeError):  # ValueError: a NUL in the name
        raise VideoError(f"There is no file {str(path)[:200]!r}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{local.name!r} is not a file but a folder or a device.")
    if status.st_size == 0:
        raise VideoError(f"{local.name!r} is empty.")
    try:
        local.open("rb").close()
    except OSError as error:
        raise VideoError(f"{local.name!r} cannot be opened ({error.strerror}).") from None
    return local


def check_pixels(name: str, width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        # ffmpeg itself drops a size over the limit from the headers of some formats.
        raise VideoError(f"{name!r} states no picture size, or one over the limit of {max_pixels:,} pixels.")
    if width * height > max_pixels:
        raise VideoError(f"{name!r} is {width} x {height} pixels; the limit is {max_pixels:,} a frame.")


def check_uint8_frames(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise VideoError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}.")
    if 0 in frames.shape:
        raise VideoError(f"frames must not be empty, got the shape {frames.shape}.")
    return frames


def av_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises for a damaged or unknown file. Programming errors, such as AttributeError, are none of it."""
    import av

    return (av.error.FFmpegError, OSError, ValueError, MemoryError)
