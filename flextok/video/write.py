"""Frames to video files: mp4 that browsers play, GIF, animated WebP."""

from __future__ import annotations

import itertools
import os
import secrets
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flextok.video.limits import GIF_TICK_S, MAX_FPS, VideoError, av_errors, check_uint8_frames, positive
from flextok.video.picture import CHROMA_FILTER

SUFFIXES = (".mp4", ".gif", ".webp")
ANIMATION_MAX_FPS = 50.0
"""Browsers slow a GIF or a WebP down when a picture is shorter than 0.02 s."""
MIN_FPS = 1e-3


def _to_uint8_frames(frames: Any) -> np.ndarray:
    """uint8 (T, H, W, 3) as it is; float (3, T, H, W) or (1, 3, T, H, W) in [-1, 1] rounded to it."""
    if hasattr(frames, "detach"):  # a torch tensor; torch is not imported for it
        frames = frames.detach().cpu()
        frames = (frames.float() if frames.is_floating_point() else frames).numpy()
    array = np.asarray(frames)
    if not np.issubdtype(array.dtype, np.floating):
        return np.ascontiguousarray(check_uint8_frames(array))
    if array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 4 or array.shape[0] != 3 or 0 in array.shape:
        raise VideoError(f"float frames must be (3, T, H, W) or (1, 3, T, H, W), got {array.shape}.")
    if not np.isfinite(array).all():
        raise VideoError("The frames hold NaN or infinite values.")
    pixels = np.rint((array.astype(np.float32).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 3, 0))  # (T, H, W, 3)


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path, if a video can be written there.

    Raises:
        VideoError: unknown suffix, or no such folder.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise VideoError(f"{target.name!r} must end in {', '.join(SUFFIXES)}.")
    if not target.parent.is_dir():
        raise VideoError(f"There is no folder {str(target.parent)!r} to write {target.name!r} into.")
    return target


def write_video(frames: Any, path: str | os.PathLike[str], fps: float, comment: str = "") -> None:
    """Write .mp4 (H.264 that browsers play), .gif or animated .webp; the file appears whole or not at all.

    Args:
        frames: uint8 (T, H, W, 3), or float (3, T, H, W) or (1, 3, T, H, W) in [-1, 1]; NumPy or torch. An
            mp4 with an odd side gains one row or column, a copy of the edge.
        path: the suffix chooses the format.
        fps: frames per second, at least 0.001; at most 50 in a GIF or WebP.
        comment: kept in the file of an mp4 or a GIF, where `ffprobe` and Pillow show it.

    Raises:
        VideoError: unknown suffix, wrong shape, dtype or fps, or the file cannot be written.
    """
    target = check_target(path)
    writers = dict(zip(SUFFIXES, (_write_mp4, _write_gif, _write_webp), strict=True))
    suffix = target.suffix.lower()
    rate = positive("fps", fps, MAX_FPS if suffix == ".mp4" else ANIMATION_MAX_FPS)
    if rate < MIN_FPS:
        raise VideoError(f"fps must be at least {MIN_FPS:g}, not {fps}.")
    pixels = _to_uint8_frames(frames)
    temporary = target.with_name(f".{target.stem[:80]}.{secrets.token_hex(4)}{suffix}")
    try:
        writers[suffix](pixels, temporary, rate, comment)
        os.replace(temporary, target)
    except av_errors() as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VideoError(f"{target.name!r} could not be written ({reason}).") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_mp4(frames: np.ndarray, path: Path, fps: float, comment: str) -> None:
    import av
    from av.video.reformatter import Colorspace

    _, height, width, _ = frames.shape
    if height % 2 or width % 2:  # yuv420p halves both sides
        frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(10_000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "16", "preset": "medium"}
        # Stated in the file, so that no player has to guess from the size.
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=CHROMA_FILTER)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _delays(num_frames: int, fps: float, tick_s: float) -> list[int]:
    """Delay of each frame in whole ticks, so that frame i begins within half a tick of i / fps."""
    edges = [round(i / fps / tick_s) for i in range(num_frames + 1)]
    return [max(end - start, 1) for start, end in itertools.pairwise(edges)]


def _write_gif(frames: np.ndarray, path: Path, fps: float, comment: str) -> None:
    # A palette for each frame, no dithering: measured 3 to 6 dB better than a dithered median cut at 64 px.
    method = Image.Quantize.MAXCOVERAGE
    images = [Image.fromarray(pixels).quantize(256, method=method, kmeans=3) for pixels in frames]
    delays_ms = [10 * ticks for ticks in _delays(len(frames), fps, GIF_TICK_S)]
    settings: dict[str, Any] = {"duration": delays_ms, "loop": 0, "disposal": 1}
    if comment:
        settings["comment"] = comment.encode()
    images[0].save(path, save_all=True, append_images=images[1:], **settings)


def _write_webp(frames: np.ndarray, path: Path, fps: float, comment: str) -> None:  # noqa: ARG001 - see write_video
    images = [Image.fromarray(pixels) for pixels in frames]
    delays_ms = _delays(len(frames), fps, 0.001)
    settings: dict[str, Any] = {"duration": delays_ms, "loop": 0, "quality": 92, "method": 4}
    images[0].save(path, save_all=True, append_images=images[1:], **settings)
