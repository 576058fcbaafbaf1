"""What decoding gives, and one decoded picture: turned as displayed, cropped, resized with antialiasing, RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from flextok.video.limits import check_uint8_frames, size_pair

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Facts:
    """Container-level facts, known without decoding."""

    fps: float
    duration_s: float
    num_frames: int | None


@dataclass(frozen=True)
class Shown:
    """A stored picture and the time it is on screen, in seconds from the first picture of the file."""

    picture: VideoFrame | Image.Image
    start_s: float
    end_s: float
    pixel_aspect: float = 1.0
    """Displayed width of a pixel over its height, before rotation."""


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d) of the nearest right-angle matrix: x' = a x + c y, y' = b x + d y, y down."""
    side_data: Any  # PyAV's own type hint takes it for a str
    for side_data in frame.side_data:
        if side_data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(side_data), dtype=np.int32)[:5])
            if abs(a) >= abs(b):
                return (1 if a >= 0 else -1), 0, 0, (1 if d >= 0 else -1)
            return 0, (1 if b >= 0 else -1), (1 if c >= 0 else -1), 0
    return 1, 0, 0, 1


def clockwise_deg(matrix: tuple[int, int, int, int]) -> int:
    a, b, _, _ = matrix
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]


def _apply_matrix(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn or mirror (H, W, 3) as the display matrix says."""
    a, b, c, d = matrix
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)
    flip_x, flip_y = a + c < 0, b + d < 0
    return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def stream_pixel_aspect(stream: VideoStream) -> float:
    """Width of a stored pixel over its height; 1 where the file's value makes no sense."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 0.1 <= aspect <= 10 else 1.0


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB over white, turned as EXIF says."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("RGB") would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def chroma_filter() -> int:
    """From half-resolution colour to RGB and back; the default repeats pixels, 3 dB worse at 64 px."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


def displayed_size(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    """(width, height) after rotation and with square pixels."""
    width, height = max(round(frame.width * pixel_aspect), 1), frame.height
    turned = display_matrix(frame)[0] == 0
    return (height, width) if turned else (width, height)


def _picture_to_image(shown: Shown) -> tuple[Image.Image, tuple[int, int]]:
    """The picture turned as displayed, and the (width, height) at which it is displayed."""
    if isinstance(shown.picture, Image.Image):
        return shown.picture, shown.picture.size
    pixels = shown.picture.to_ndarray(format="rgb24", interpolation=chroma_filter())
    pixels = _apply_matrix(pixels, display_matrix(shown.picture))
    return Image.fromarray(pixels), displayed_size(shown.picture, shown.pixel_aspect)


def _plan_resize(
    width: float, height: float, crop: tuple[float, float, float, float], size: tuple[int, int] | None
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Box to cut, (left, top, right, bottom) in fractions, and (H, W) to resample it to.

    `width`, `height`: the displayed picture in pixels. With a size, the box is the largest one of that shape
    in the middle of `crop`.
    """
    left, top, right, bottom = crop[0], crop[1], crop[0] + crop[2], crop[1] + crop[3]
    if size is None:  # whole pixels, so that nothing is resampled
        x0, y0 = min(round(left * width), round(width) - 1), min(round(top * height), round(height) - 1)
        x1, y1 = max(round(right * width), x0 + 1), max(round(bottom * height), y0 + 1)
        return (x0 / width, y0 / height, x1 / width, y1 / height), (y1 - y0, x1 - x0)
    box_width, box_height = crop[2] * width, crop[3] * height
    scale = min(box_width / size[1], box_height / size[0])
    half_x, half_y = size[1] * scale / width / 2, size[0] * scale / height / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return (max(x - half_x, 0), max(y - half_y, 0), min(x + half_x, 1), min(y + half_y, 1)), size


def _cut(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Resample a box, in fractions, to (H, W, 3) with antialiasing."""

    def edge(fraction: float, length: int) -> float:
        pixel = min(max(fraction * length, 0.0), length)
        # On whole pixels and at their own size, Pillow copies instead of resampling.
        return round(pixel) if abs(pixel - round(pixel)) < 1e-6 else pixel

    width, height = image.size
    left, top, right, bottom = box
    pixel_box = (edge(left, width), edge(top, height), edge(right, width), edge(bottom, height))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=pixel_box))


def resize_frames(frames: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Resize uint8 (T, H, W, 3) with antialiasing, then cut the middle: a square, or (H, W).

    Raises:
        VideoError: the frames are not uint8 (T, H, W, 3), or size is not positive.
    """
    frames = check_uint8_frames(np.asarray(frames))
    box, pair = _plan_resize(frames.shape[2], frames.shape[1], (0.0, 0.0, 1.0, 1.0), size_pair(size))
    return np.stack([_cut(Image.fromarray(np.ascontiguousarray(frame)), box, pair) for frame in frames])


class Cut:
    """Crop and resize for every frame of a clip, planned on the first one."""

    def __init__(self, size: tuple[int, int] | None, crop: tuple[float, float, float, float]) -> None:
        self.size, self.crop = size, crop
        self.plan: tuple[tuple[float, float, float, float], tuple[int, int]] | None = None

    def __call__(self, shown: Shown) -> np.ndarray:
        """One picture as (H, W, 3)."""
        image, (width, height) = _picture_to_image(shown)
        if self.plan is None:
            self.plan = _plan_resize(width, height, self.crop, self.size)
        return _cut(image, *self.plan)
