"""What decoding gives, and one decoded picture: turned as displayed, cropped, resized with antialiasing, RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from flextok.video.colour import UNSPECIFIED, is_sdr, to_sdr, yuv_matrix
from flextok.video.limits import VideoError, av_errors, check_uint8_frames, size_pair

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
class Look:
    """What a stream says of how all its pictures are to be shown."""

    pixel_aspect: float = 1.0
    """Displayed width of a pixel over its height, before rotation."""
    transfer: int = UNSPECIFIED
    """Of ITU-T H.273, as `primaries`."""
    primaries: int = UNSPECIFIED


@dataclass(frozen=True)
class Shown:
    """A stored picture and the time it is on screen, in seconds from the first picture of the file."""

    picture: VideoFrame | Image.Image
    start_s: float
    end_s: float
    look: Look = Look()


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
    """Turn or mirror (H, W, channels) as the display matrix says."""
    a, b, c, d = matrix
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)
    flip_x, flip_y = a + c < 0, b + d < 0
    return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def stream_look(stream: VideoStream) -> Look:
    """As the stream's headers say; square pixels where its value makes no sense."""
    aspect, codec = float(stream.sample_aspect_ratio or 1), stream.codec_context
    return Look(aspect if 0.1 <= aspect <= 10 else 1.0, int(codec.color_trc), int(codec.color_primaries))


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


CHROMA_FILTER = 0x4 | 0x2000 | 0x40000
"""Flags of swscale, most of which PyAV before 18 has no names for: BICUBIC, FULL_CHR_H_INT, ACCURATE_RND. From
half-resolution colour to RGB and back; the default repeats pixels, 3 dB worse at 64 px."""


def displayed_size(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    """(width, height) after rotation and with square pixels."""
    width, height = max(round(frame.width * pixel_aspect), 1), frame.height
    turned = display_matrix(frame)[0] == 0
    return (height, width) if turned else (width, height)


def _picture_to_image(shown: Shown, shrink: int = 1) -> Image.Image:
    """RGB over white, turned as displayed. Colours that need converting come shrunk by this factor: it takes long."""
    if isinstance(shown.picture, Image.Image):
        return shown.picture
    frame, layout, look = shown.picture, shown.picture.format, shown.look
    # Without another matrix for the result, PyAV before 17 does as if both were BT.601.
    matrix: dict[str, Any] = {"src_colorspace": yuv_matrix(frame), "dst_colorspace": UNSPECIFIED}
    how: dict[str, Any] = {"interpolation": CHROMA_FILTER, **({} if layout.is_rgb else matrix)}
    turn, see_through = display_matrix(frame), layout.has_palette or any(c.is_alpha for c in layout.components)
    try:
        if not is_sdr(look.transfer, look.primaries):
            smaller = {"width": max(frame.width // shrink, 1), "height": max(frame.height // shrink, 1)}
            signal = frame.reformat(format="rgb48le", **how, **smaller).to_ndarray()
            return Image.fromarray(_apply_matrix(to_sdr(signal, look.transfer, look.primaries), turn))
        pixels = frame.to_ndarray(format="rgba" if see_through else "rgb24", **how)
    except av_errors():
        raise VideoError(f"Pictures of the kind {layout.name} cannot be converted to RGB.") from None
    image = Image.fromarray(_apply_matrix(pixels, turn))
    return to_rgb(image) if see_through else image


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
        self.shrink = 1

    def __call__(self, shown: Shown) -> np.ndarray:
        """One picture as (H, W, 3)."""
        if self.plan is None:
            self.plan = self._planned(shown)
        return _cut(_picture_to_image(shown, self.shrink), *self.plan)

    def _planned(self, shown: Shown) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
        if isinstance(shown.picture, Image.Image):
            width, height = shown.picture.size
        else:
            width, height = displayed_size(shown.picture, shown.look.pixel_aspect)
        box, (rows, columns) = _plan_resize(width, height, self.crop, self.size)
        spare = min((box[2] - box[0]) * width / columns, (box[3] - box[1]) * height / rows)
        self.shrink = max(int(spare / 2), 1)  # twice the size that is asked for is left to the resampling
        return box, (rows, columns)
