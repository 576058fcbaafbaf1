"""Files that Pillow reads: still images, animated GIF, WebP and PNG."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile

from flextok.video.animation import delays_s, shown_s
from flextok.video.limits import GIF_TICK_S, PIL_ERRORS, DecodeBudget, VideoError, check_pixels
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


def image_pictures(image: ImageFile.ImageFile, max_pixels: int, budget: DecodeBudget) -> Iterator[Shown]:
    """One picture after another with its time on screen; a truncated file gives those that are whole."""
    at_s = 0.0
    num_pictures = _num_pictures(image)
    name = Path(os.fsdecode(image.filename)).name
    for index in itertools.count() if num_pictures is None else range(num_pictures):
        budget.check()
        try:
            image.seek(index)
        except PIL_ERRORS:
            return
        check_pixels(name, *image.size, max_pixels)  # a GIF may grow from picture to picture
        budget.spend(image.width * image.height)
        try:
            image.load()
            picture = to_rgb(image)
        except PIL_ERRORS:
            return
        end_s = at_s + shown_s(float(image.info.get("duration") or 0))
        yield Shown(picture, at_s, end_s)
        at_s = end_s


def image_facts(image: ImageFile.ImageFile) -> Facts:
    """Rate, seconds and number of pictures, from headers; of a format without such headers as the first one says."""
    delays = delays_s(Path(os.fsdecode(image.filename)), image.format)
    if delays is None:
        count = _num_pictures(image) or 1
        delays = [shown_s(float(image.info.get("duration") or 0))] * count
    if len(delays) < 2:
        return Facts(0.0, 0.0, 1)
    duration_s = sum(delays)
    fps = len(delays) / duration_s
    if round(fps) >= 1 and abs(len(delays) / round(fps) - duration_s) <= GIF_TICK_S:
        fps = float(round(fps))  # delays are whole ticks: 17 pictures at 8 fps are stored as 2.12 s
    return Facts(fps, duration_s, len(delays))
