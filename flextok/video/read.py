"""Video files to frames (PyAV; animated GIF, WebP and PNG through Pillow).

Files come from strangers, so only local regular files of known formats are opened, limits are checked before
pixels are decoded, and every problem is a `VideoError`: one sentence that a page can show as it stands.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from flextok.video.container import SeekMissed, av_facts, av_pictures, decode_frames, open_av
from flextok.video.images import Facts, image_facts, image_pictures, open_image
from flextok.video.limits import (
    DAMAGED,
    GIF_TICK_S,
    MAX_FPS,
    MAX_OUTPUT_BYTES,
    MAX_PIXELS,
    MAX_SECONDS,
    PIL_ERRORS,
    DecodeBudget,
    VideoError,
    check_crop,
    check_file,
    check_pixels,
    positive,
    positive_int,
    size_pair,
)
from flextok.video.picture import (
    Cut,
    Shown,
    clockwise_deg,
    display_matrix,
    displayed_size,
    stream_look,
    to_rgb,
)

SEEK_FROM_S = 2.0  # nearer to the beginning, decoding from there is as fast as a seek


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds. A still image has one frame, 0 fps and 0 s."""

    width: int
    """Pixels as displayed: after rotation, with square pixels."""
    height: int
    fps: float
    """Average over the file."""
    num_frames: int | None
    """As the file states it; None where it does not."""
    duration_s: float
    rotation_deg: int
    """Clockwise turn already counted in width and height: 0, 90, 180 or 270."""
    codec: str


@dataclass(frozen=True, eq=False)
class Video:
    """`frames`: uint8 (T, H, W, 3), RGB; `fps`: the rate at which they are to be shown."""

    frames: np.ndarray
    fps: float


def probe_video(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, budget: DecodeBudget | None = None
) -> VideoInfo:
    """Size, rate and length of a video, an animation or a still image; decodes at most its first frame.

    Args:
        max_pixels, budget: as in `read_video`.

    Raises:
        VideoError: the file is missing, empty, too large in pixels, or holds no picture that can be decoded.
    """
    local, budget = check_file(path), budget or DecodeBudget()
    image = open_image(local, max_pixels)
    if image is not None:
        with image:
            return _image_info(local, image, image_facts(image))
    facts = av_facts(local, max_pixels, budget)
    with open_av(local, max_pixels) as (container, stream):
        frame = next(decode_frames(container, stream, budget), None)
        if frame is None:
            raise VideoError(DAMAGED.format(local.name))
        check_pixels(local.name, frame.width, frame.height, max_pixels)
        width, height = displayed_size(frame, stream_look(stream).pixel_aspect)
        rotation_deg = clockwise_deg(display_matrix(frame))
        codec = stream.codec_context.name
        return VideoInfo(width, height, facts.fps, facts.num_frames, facts.duration_s, rotation_deg, codec)


def read_video(
    path: str | os.PathLike[str],
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    size: int | tuple[int, int] | None = None,
    crop: tuple[float, float, float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float | None = MAX_SECONDS,
    budget: DecodeBudget | None = None,
) -> Video:
    """Read part of a video as RGB frames; a still image gives one frame.

    Args:
        start_s: where to begin, in seconds from the first frame.
        duration_s: how much to read; None reads on to the end.
        num_frames: the most frames to return; a shorter clip gives those that exist (see `pad_to_chunks`).
        fps: frame i is the picture on screen at start_s + i / fps, by the file's time stamps. None keeps
            every stored frame, and `Video.fps` is then the average rate.
        size: None keeps the size, an int cuts a square from the middle, (H, W) that shape; antialiased.
        crop: (left, top, width, height) in fractions of the displayed picture, taken before `size`.
        max_pixels: refuse larger frames before decoding them.
        max_seconds: refuse to return a longer part; None for no limit.
        budget: seconds and pixels that decoding may take; share one to hold several steps to one limit.

    Raises:
        VideoError: an argument is out of range, or the file cannot be read within the limits.
    """
    start = _check_start(start_s)
    wanted_s = math.inf if duration_s is None else positive("duration_s", duration_s)
    count = None if num_frames is None else positive_int("num_frames", num_frames)
    rate = None if fps is None else positive("fps", fps, MAX_FPS)
    cut = Cut(size_pair(size), check_crop(crop))
    limit_s = math.inf if max_seconds is None else positive("max_seconds", max_seconds)
    max_pixels = positive_int("max_pixels", max_pixels)
    local, budget = check_file(path), budget or DecodeBudget()
    image = open_image(local, max_pixels)
    if image is not None:
        with image:
            facts = image_facts(image)
            if not facts.duration_s:
                return _read_still(local, image, cut, rate, max_pixels, budget)
            window = _plan_window(local, facts, start, wanted_s, count, rate, limit_s)
            pictures = image_pictures(image, max_pixels, budget)
            return _collect(local, pictures, facts, window, cut, 0.51 * GIF_TICK_S)
    facts = av_facts(local, max_pixels, budget)
    window = _plan_window(local, facts, start, wanted_s, count, rate, limit_s)
    for seek in (True, False) if start > SEEK_FROM_S else (False,):
        try:
            frames = av_pictures(local, facts, start, max_pixels, budget, seek)
            # 0.51 ms: WebM stores times rounded to 1 ms
            return _collect(local, frames, facts, window, cut, 0.00051)
        except SeekMissed:
            continue
    raise AssertionError("unreachable: the pass without a seek returns or raises VideoError")


def read_image(path: str | os.PathLike[str], *, short_side: int | None = None) -> np.ndarray:
    """Read a still image, or the first picture of an animation, as uint8 (H, W, 3), turned as EXIF says.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM or AVIF.
        short_side: shrink until the shorter side has this many pixels; a smaller image stays as it is.

    Raises:
        VideoError: the file is missing, no image, damaged or too large.
    """
    local = check_file(path)
    image = open_image(local, MAX_PIXELS)
    if image is None:
        raise VideoError(f"{local.name!r} is not an image that can be read.")
    with image:
        try:
            if short_side is not None:
                image.draft("RGB", (short_side, short_side))  # decodes a JPEG at 1/2, 1/4 or 1/8, faster
            picture = to_rgb(image)
        except PIL_ERRORS:
            raise VideoError(DAMAGED.format(local.name)) from None
    scale = 1.0 if short_side is None else short_side / min(picture.size)
    if scale < 1:
        width, height = (max(round(side * scale), 1) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _image_info(path: Path, image: ImageFile.ImageFile, facts: Facts) -> VideoInfo:
    try:
        image.seek(0)
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PIL_ERRORS:
        raise VideoError(DAMAGED.format(path.name)) from None
    width, height = image.size
    if turned in (5, 6, 7, 8):
        width, height = height, width
    rotation_deg = {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}.get(turned, 0)
    codec = (image.format or "image").lower()
    return VideoInfo(width, height, facts.fps, facts.num_frames, facts.duration_s, rotation_deg, codec)


def _check_start(start_s: float) -> float:
    try:
        start = float(start_s)
    except (TypeError, ValueError):
        start = math.nan
    if not (math.isfinite(start) and start >= 0):
        raise VideoError(f"start_s must be a number of seconds, 0 or more, got {start_s!r}.")
    return start


@dataclass(frozen=True)
class _Window:
    """The part to read: [start_s, stop_s), at most `count` frames, at `fps` (None: every stored frame)."""

    start_s: float
    stop_s: float
    count: int | None
    fps: float | None

    def takes(self, shown: Shown, num_taken: int, tolerance_s: float) -> tuple[int, bool]:
        """How often to take this picture, and whether more may come; file times are off by `tolerance_s`."""
        left = math.inf if self.count is None else self.count - num_taken
        if self.fps is None:
            if shown.start_s + tolerance_s >= self.stop_s:
                return 0, False
            take = int(shown.end_s > self.start_s + tolerance_s)
            return take, left > take
        # Frame i is wanted at start + i / fps; it is this picture if that is before its end.
        before_s = min(shown.end_s - tolerance_s, self.stop_s - 1e-6)
        due = math.ceil((before_s - self.start_s) * self.fps) - num_taken
        take = int(min(max(due, 0), left))
        next_s = self.start_s + (num_taken + take) / self.fps
        return take, left > take and next_s < self.stop_s - 1e-6

    def expected(self, facts: Facts) -> float:
        span_s = max(min(self.stop_s, facts.duration_s) - self.start_s, 0.0)
        return min(span_s * (self.fps or facts.fps), math.inf if self.count is None else self.count)


def _plan_window(
    path: Path,
    facts: Facts,
    start_s: float,
    wanted_s: float,
    count: int | None,
    fps: float | None,
    limit_s: float,
) -> _Window:
    if start_s > facts.duration_s + 1:  # what lies closer is for the pictures to say
        raise _beyond_end(path, start_s, facts.duration_s)
    if count is not None:
        wanted_s = min(wanted_s, count / (fps or facts.fps))
    span_s = min(wanted_s, max(facts.duration_s - start_s, 0.0))
    if span_s > limit_s:
        raise VideoError(f"{path.name!r} would give {span_s:.0f} s of video; choose at most {limit_s:g} s.")
    # The stated length may be wrong, so reading stops at the limit as well.
    stop_s = start_s + min(wanted_s, limit_s)
    if count is not None and fps is None:
        stop_s = start_s + limit_s  # stored frames may be closer or further apart than their average
    return _Window(start_s, stop_s, count, fps)


def _read_still(
    path: Path, image: ImageFile.ImageFile, cut: Cut, fps: float | None, max_pixels: int, budget: DecodeBudget
) -> Video:
    shown = next(image_pictures(image, max_pixels, budget), None)
    if shown is None:
        raise VideoError(DAMAGED.format(path.name))
    return Video(cut(shown)[None], fps or 1.0)


def _collect(
    path: Path, pictures: Iterable[Shown], facts: Facts, window: _Window, cut: Cut, tolerance_s: float
) -> Video:
    """Take the pictures that the window wants as they come, each resized once."""
    frames: list[np.ndarray] = []
    end_s = 0.0
    for shown in pictures:
        end_s = shown.end_s
        take, more = window.takes(shown, len(frames), tolerance_s)
        if take:
            frame = cut(shown)
            _check_bytes(path, frame.nbytes * max(len(frames) + take, window.expected(facts)))
            frames.extend([frame] * take)
        if not more:
            break
    if not end_s:
        raise VideoError(DAMAGED.format(path.name))
    if not frames:
        raise _beyond_end(path, window.start_s, end_s)
    return Video(np.stack(frames), window.fps or facts.fps)


def _beyond_end(path: Path, start_s: float, end_s: float) -> VideoError:
    return VideoError(f"start_s={start_s:g} is beyond the end of {path.name!r}, which lasts {end_s:.2f} s.")


def _check_bytes(path: Path, num_bytes: float) -> None:
    if num_bytes > MAX_OUTPUT_BYTES:
        gib = num_bytes / 1024**3
        raise VideoError(f"{path.name!r} would fill {gib:.1f} GiB; choose a smaller size, fps or length.")


def pad_to_chunks(frames: np.ndarray, chunk_frames: int = 17, overlap: int = 1) -> tuple[np.ndarray, int]:
    """Repeat the last frame until T = chunk_frames + (chunk_frames - overlap) * n.

    Returns:
        The padded frames and the number of real ones. The input itself where nothing has to be added.

    Raises:
        VideoError: no frames, or not 0 <= overlap < chunk_frames.
    """
    if not 0 <= overlap < chunk_frames:
        raise VideoError(f"overlap={overlap} must be 0 or more and less than chunk_frames={chunk_frames}.")
    num_real = len(frames)
    if num_real == 0:
        raise VideoError("There are no frames to pad.")
    num_more = max(math.ceil((num_real - chunk_frames) / (chunk_frames - overlap)), 0)
    missing = chunk_frames + num_more * (chunk_frames - overlap) - num_real
    if not missing:
        return frames, num_real
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]), num_real
