"""Files that Pillow reads: still images, animated GIF, WebP and PNG."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile

from flextok.video.limits import GIF_TICK_S, PIL_ERRORS, Clock, VideoError, check_pixels
from flextok.video.picture import Facts, Shown, to_rgb

_IMAGE_FORMATS = ("GIF", "WEBP", "PNG", "JPEG", "BMP", "TIFF", "PPM", "AVIF")
_ANIMATED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")  # a second picture in a JPEG (MPO) or TIFF is no motion


def open_image(path: Path, max_pixels: int) -> ImageFile.ImageFile | None:
    """The file as a Pillow image whose pixels are not decoded yet; None if it is no image."""
    try:
        image = Image.open(path, formats=_IMAGE_FORMATS)
    except Image.DecompressionBombError:
        raise VideoError(f"{path.name!r} is too large; the limit is {max_pixels:,} pixels a frame.") from None
    except PIL_ERRORS:
        return None
    try:
        check_pixels(path.name, *image.size, max_pixels)
    except VideoError:
        image.close()
        raise
    return image


def _num_pictures(image: Image.Image) -> int | None:
    """How many pictures an animation has; None where damage keeps them from being counted."""
    if image.format not in _ANIMATED_FORMATS:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except PIL_ERRORS:
        return None


def _image_spans(image: ImageFile.ImageFile, max_pixels: int, clock: Clock) -> Iterator[tuple[float, float]]:
    """Load one picture after another and give its time on screen; as in browsers, below 0.02 s is 0.1 s."""
    at_s = 0.0
    num_pictures = _num_pictures(image)
    for index in itertools.count() if num_pictures is None else range(num_pictures):
        clock.check()
        try:
            image.seek(index)
        except PIL_ERRORS:
            return  # a truncated file: what came before stands
        check_pixels(
            Path(os.fsdecode(image.filename)).name, *image.size, max_pixels
        )  # a GIF may grow from picture to picture
        try:
            image.load()
        except PIL_ERRORS:
            return
        delay_s = float(image.info.get("duration") or 0) / 1000
        end_s = at_s + (delay_s if delay_s >= 0.0199 else 0.1)
        yield at_s, end_s
        at_s = end_s


def image_pictures(image: ImageFile.ImageFile, max_pixels: int, clock: Clock) -> Iterator[Shown]:
    for start_s, end_s in _image_spans(image, max_pixels, clock):
        try:
            picture = to_rgb(image)
        except PIL_ERRORS:
            return
        yield Shown(picture, start_s, end_s)


def image_facts(image: ImageFile.ImageFile, max_pixels: int, clock: Clock) -> Facts:
    if _num_pictures(image) == 1:
        return Facts(0.0, 0.0, 1)
    ends = [end_s for _, end_s in _image_spans(image, max_pixels, clock)]
    if len(ends) < 2:
        return Facts(0.0, 0.0, 1)
    fps = len(ends) / ends[-1]
    if round(fps) >= 1 and abs(len(ends) / round(fps) - ends[-1]) <= GIF_TICK_S:
        fps = float(round(fps))  # delays are whole ticks: 17 pictures at 8 fps are stored as 2.12 s
    return Facts(fps, ends[-1], len(ends))
