"""Clips from a folder of videos and images; an image becomes a clip by a moving camera and nearer layers."""

from __future__ import annotations

import logging
import math
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from flextok.video.limits import VideoError
from flextok.video.read import VideoInfo, probe_video, read_image, read_video

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv", ".mpg", ".mpeg", ".ogv", ".wmv", ".flv", ".gif")
)
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))
CACHE_MIB = 320  # about 300 wallpapers for clips of 64 pixels
LAYERS_PROBABILITY = 0.4
PLAIN_BELOW = 4.0  # of 255


class _Dull(VideoError):
    """An image that is too small or too plain to make a clip of."""


class FolderDataset:
    """Map-style dataset over all videos and images below a folder; item i is uint8 (T, size, size, 3).

    Item i comes from file i % number of files and depends on (seed, i) alone. A video gives a random window,
    cut to a random square; an image gives `image_clip`. Half of the clips are mirrored. A file that cannot be
    read is skipped with a warning, and the next one stands in for it.

    Args:
        root: searched recursively, in sorted order; hidden files and other suffixes are left out silently.
        num_frames: T; a video that is too short holds its last frame.
        size: side of the square frames in pixels.
        fps: rate at which videos are sampled.
        seed: another seed gives other clips of the same files.
        length: number of items; None takes the number of files.

    Raises:
        ValueError: `root` holds no file that can be read, or an argument is out of range.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        num_frames: int = 17,
        size: int = 64,
        fps: float = 8.0,
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        if num_frames < 1 or size < 1 or not 0 < fps < math.inf or (length is not None and length < 1):
            raise ValueError(f"{num_frames=}, {size=}, {fps=} and {length=} must be above 0")
        self.num_frames, self.size, self.fps, self.seed = num_frames, size, fps, seed
        self.files = _find_files(Path(root))
        self.length = len(self.files) if length is None else length
        self._unusable: set[Path] = set()
        self._infos: dict[Path, VideoInfo] = {}
        self._levels = _LevelCache(CACHE_MIB * 2**20)
        if not any(self._can_open(path) for path in self.files):
            raise ValueError(f"{os.fspath(root)!r} holds no video or image that can be read")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.length:
            raise IndexError(index)
        for step in range(len(self.files)):  # an unusable file gives its place to the next one
            path = self.files[(index + step) % len(self.files)]
            if path in self._unusable:
                continue
            rng = np.random.default_rng((self.seed, index))
            try:
                clip = self._video_clip(path, rng) if self._is_video(path) else self._image_clip(path, rng)
            except VideoError as error:
                self._skip(path, error)
                continue
            return clip[:, :, ::-1].copy() if rng.random() < 0.5 else clip
        raise ValueError("no file of the folder can be read any more")

    def _skip(self, path: Path, error: VideoError) -> None:
        self._unusable.add(path)
        # An icon or a plain background among the pictures is no fault of the folder.
        level = logging.DEBUG if isinstance(error, _Dull) else logging.WARNING
        logger.log(level, "skipping %s: %s", path, error)

    def _can_open(self, path: Path) -> bool:
        try:
            if self._is_video(path):
                self._info(path)
            else:
                self._image_levels(path)
        except VideoError as error:
            self._skip(path, error)
            return False
        return True

    def _info(self, path: Path) -> VideoInfo:
        if path not in self._infos:
            self._infos[path] = probe_video(path)
        return self._infos[path]

    def _is_video(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        if suffix in (".gif", ".webp"):  # either may hold one picture or an animation
            return self._info(path).duration_s > 0
        return suffix in VIDEO_SUFFIXES

    def _video_clip(self, path: Path, rng: np.random.Generator) -> np.ndarray:
        info = self._info(path)
        latest_s = max(info.duration_s - self.num_frames / self.fps, 0.0)
        start_s = float(rng.uniform(0, latest_s))
        side = rng.uniform(0.6, 1.0) * min(info.width, info.height)
        width, height = side / info.width, side / info.height
        crop = (float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height)), width, height)
        try:
            frames = self._read(path, start_s, crop)
        except VideoError:
            if start_s == 0:
                raise
            # The stated length may be wrong. What fails at 0 s fails for every index, so that a skipped file
            # is skipped in any order of access.
            frames = self._read(path, 0.0, crop)
        missing = self.num_frames - len(frames)
        return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing else frames

    def _read(self, path: Path, start_s: float, crop: tuple[float, float, float, float]) -> np.ndarray:
        return read_video(
            path, start_s=start_s, num_frames=self.num_frames, fps=self.fps, size=self.size, crop=crop
        ).frames

    def _image_clip(self, path: Path, rng: np.random.Generator) -> np.ndarray:
        return image_clip(self._image_levels(path), rng, self.num_frames, self.size)

    def _image_levels(self, path: Path) -> list[Image.Image]:
        levels = self._levels.get(path)
        if levels is None:
            # At 6 times the clip, the narrowest view (a quarter, zoomed in by 1.5) needs no enlarging.
            pixels = read_image(path, short_side=6 * self.size)
            if min(pixels.shape[:2]) < self.size / 2:
                raise _Dull(f"{path.name!r} is too small for clips of {self.size} pixels.")
            levels = image_levels(pixels, self.size)
            if _contrast(np.asarray(levels[-1])) < PLAIN_BELOW:
                raise _Dull(f"{path.name!r} is a single colour.")
            self._levels.put(path, levels)
        return levels


def _find_files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise ValueError(f"{os.fspath(root)!r} is not a folder")
    wanted = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    return sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in wanted
    )


class _LevelCache:
    """The most recently used images, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self.entries: OrderedDict[Path, list[Image.Image]] = OrderedDict()

    def get(self, path: Path) -> list[Image.Image] | None:
        if path in self.entries:
            self.entries.move_to_end(path)
        return self.entries.get(path)

    def put(self, path: Path, levels: list[Image.Image]) -> None:
        self.entries[path] = levels
        self.num_bytes += self._bytes(levels)
        while self.num_bytes > self.max_bytes and len(self.entries) > 1:
            self.num_bytes -= self._bytes(self.entries.popitem(last=False)[1])

    @staticmethod
    def _bytes(levels: list[Image.Image]) -> int:
        return sum(4 * level.width * level.height for level in levels)  # Pillow stores RGB in four bytes


# --- a clip from one image ----------------------------------------------------------------------------------


def image_levels(pixels: np.ndarray, size: int) -> list[Image.Image]:
    """uint8 (H, W, 3) and its halves, down to about twice the clip, from which any view is cut fast."""
    levels = [Image.fromarray(pixels)]
    while min(levels[-1].size) >= 4 * size:
        levels.append(levels[-1].reduce(2))
    return levels


def image_clip(levels: list[Image.Image], rng: np.random.Generator, num_frames: int, size: int) -> np.ndarray:
    """A camera that pans and zooms over an image, at times behind nearer layers; uint8 (T, size, size, 3)."""
    width, height = levels[0].size
    time = _eased_time(rng, num_frames)
    views = _camera_path(rng, time, width, height, size)
    for _ in range(3):  # look elsewhere when this part of the image is a single colour
        if _contrast(_sample(levels, views[num_frames // 2], 16)) >= PLAIN_BELOW:
            break
        views = _camera_path(rng, time, width, height, size)
    clip = np.stack([_sample(levels, view, size) for view in views])  # (T, size, size, 3)
    if rng.random() < LAYERS_PROBABILITY:
        for _ in range(int(rng.integers(1, 3))):
            layer = _cut_layer(levels, rng, size)
            clip = _draw_layer(clip, layer, _layer_path(rng, time, views, size))
    return clip


def _contrast(pixels: np.ndarray) -> float:
    """Largest standard deviation of a colour channel; pixels: (H, W, 3)."""
    return float(pixels.std(axis=(0, 1)).max())


def _eased_time(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """(T,) from 0 to 1: steady, gathering speed, slowing down, or both."""
    time = np.linspace(0, 1, num_frames) ** rng.uniform(0.75, 1.35)
    return time + rng.uniform(0, 0.8) * (time * time * (3 - 2 * time) - time)


def _valid_view(view: np.ndarray, width: int, height: int) -> np.ndarray:
    """Move a view (x, y, side) into the image."""
    x, y, side = view
    side = min(side, width, height)
    return np.array([np.clip(x, side / 2, width - side / 2), np.clip(y, side / 2, height - side / 2), side])


def _camera_path(rng: np.random.Generator, time: np.ndarray, width: int, height: int, size: int) -> np.ndarray:
    """Views (T, 3): centre x, y and side of the square in image pixels, along a quadratic Bezier curve.

    Being inside the image is a convex condition on (x, y, side), so three control views inside it are enough.
    """
    short = min(width, height)
    narrowest = min(short, 0.75 * size)  # a closer view would only be blurred
    side = max(rng.uniform(0.25, 1.0) * short, narrowest)
    zoom = rng.uniform(1.0, 1.5) ** rng.choice((-1, 1))
    end_side = float(np.clip(side * zoom, narrowest, short))
    start = _valid_view(np.array([rng.uniform(0, width), rng.uniform(0, height), side]), width, height)
    angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.9) * side
    step = reach * np.array([math.cos(angle), math.sin(angle), 0])
    end = _valid_view(np.array([start[0], start[1], end_side]) + step, width, height)
    bend = rng.uniform(-0.3, 0.3) * np.array([start[1] - end[1], end[0] - start[0], 0])
    middle = _valid_view((start + end) / 2 + bend, width, height)
    t = time[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end


def _sample(levels: list[Image.Image], view: np.ndarray, size: int) -> np.ndarray:
    """The square view (x, y, side) as (size, size, 3), antialiased, at sub-pixel precision."""
    x, y, side = (float(value) for value in view)
    level = min(len(levels) - 1, max(int(math.log2(side / (2 * size))), 0)) if side > 2 * size else 0
    image = levels[level]
    # reduce() rounds an odd side up, so a level's scale is not exactly 1/2, 1/4...
    to_x, to_y = image.width / levels[0].width, image.height / levels[0].height
    half = side / 2
    box = (
        max((x - half) * to_x, 0.0),
        max((y - half) * to_y, 0.0),
        min((x + half) * to_x, image.width),
        min((y + half) * to_y, image.height),
    )
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _cut_layer(levels: list[Image.Image], rng: np.random.Generator, size: int) -> Image.Image:
    """A blob from anywhere in the image, 0.3 to 0.9 of the frame wide, a little lighter or darker."""
    width, height = levels[0].size
    pixels = max(round(rng.uniform(0.3, 0.9) * size), 4)
    side = max(rng.uniform(0.15, 0.7) * min(width, height), min(0.75 * pixels, width, height))
    view = _valid_view(np.array([rng.uniform(0, width), rng.uniform(0, height), side]), width, height)
    colour = _sample(levels, view, pixels) * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20)
    alpha = _blob_mask(rng, pixels) * 255
    rgba = np.dstack([colour, alpha]).clip(0, 255).astype(np.uint8)
    return Image.fromarray(rgba)


def _blob_mask(rng: np.random.Generator, pixels: int) -> np.ndarray:
    """Ellipse with a wavy, soft edge; (pixels, pixels) in [0, 1], 0 at the border."""
    axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    turn = rng.uniform(0, 2 * math.pi)
    x, y = axis[None, :], axis[:, None]
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    v = v / rng.uniform(0.5, 1.0)
    angle = np.arctan2(v, u)
    waves = rng.uniform(0, 0.25, size=4) / np.arange(2, 6)
    phases = rng.uniform(0, 2 * math.pi, size=4)
    edge = 0.75 + sum(w * np.cos(k * angle + p) for k, w, p in zip(range(2, 6), waves, phases, strict=True))
    soft = max(rng.uniform(0.03, 0.2), 6 / pixels)  # 3 pixels: sharper edges would ring
    inside = np.clip((edge - np.hypot(u, v)) / soft + 0.5, 0, 1)
    border = np.clip((1 - np.maximum(np.abs(x), np.abs(y))) * pixels / 2 - 1, 0, 1)
    return inside * inside * (3 - 2 * inside) * border


def _layer_path(rng: np.random.Generator, time: np.ndarray, views: np.ndarray, size: int) -> np.ndarray:
    """(T, 3): centre x, y in frame pixels and magnification of a layer nearer to the camera than the rest."""
    nearer = rng.uniform(1.3, 2.5)
    start = rng.uniform(0.0, 1.0, size=2) * size
    shift = -(views[:, :2] - views[0, :2]) / views[:, 2:] * size * nearer  # (T, 2)
    drift = time[:, None] * rng.normal(0, 0.2, size=2) * size
    scale = (views[0, 2] / views[:, 2]) ** min(nearer, 1.5)
    middle = size / 2
    centre = middle + (start - middle) * scale[:, None] + shift + drift
    return np.column_stack([centre, scale])


def _draw_layer(clip: np.ndarray, layer: Image.Image, path: np.ndarray) -> np.ndarray:
    """Composite a layer over uint8 (T, H, W, 3) along its path."""
    size, half = (clip.shape[2], clip.shape[1]), layer.width / 2
    drawn = []
    for frame, (x, y, scale) in zip(clip, path, strict=True):
        # Output pixel to layer pixel, as Image.transform wants it.
        affine = (1 / scale, 0.0, half - x / scale, 0.0, 1 / scale, half - y / scale)
        placed = layer.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        rgba = np.asarray(placed, dtype=np.float32)
        alpha = rgba[..., 3:] / 255
        drawn.append((frame * (1 - alpha) + rgba[..., :3] * alpha + 0.5).astype(np.uint8))
    return np.stack(drawn)
