"""Files of visitors: what they hold, their pictures, and the part of them that a request asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app.clip_plan import describe_file, describe_plan
from app.limits import (
    CHUNK_FRAMES,
    CONVERTED_FPS,
    CONVERTED_PIXELS,
    CONVERTED_S,
    MAX_CLIP_CHUNKS,
    MAX_DECODE_S,
    MAX_DECODED_PIXELS,
    MAX_PIXELS,
    MAX_UPLOAD_MB,
    MAX_UPLOAD_S,
    MODEL_FPS,
)
from app.refusals import told
from app.request import Request, asked_frames, parse_crop

if TYPE_CHECKING:
    import numpy as np

    from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
    from flextok.video.clip import Clip
    from flextok.video.limits import DecodeBudget
    from flextok.video.read import VideoInfo


def read_clip(request: Request, pipe: VideoTokenizerPipeline) -> Clip:
    """The part of a file that a request asks for, as the model takes it; ValueError says what is wrong."""
    fps = float(request.fps or pipe.info.fps)
    plan = pipe.plan
    num_frames = asked_frames(request.length_s, fps, plan.chunk_frames)
    num_chunks = len(plan.frame_slices(plan.whole(num_frames)))
    if num_chunks > MAX_CLIP_CHUNKS:
        most = plan.chunk_frames + plan.stride * (MAX_CLIP_CHUNKS - 1)
        raise ValueError(
            f"{num_frames} frames are more than {most}: ask for at most {most / fps:.1f} s at {fps:g} frames a second."
        )
    spending = budget()
    probe(str(request.path), spending)
    return pipe.read(
        str(request.path),
        fps=fps,
        start_s=request.start_s,
        max_chunks=num_chunks,
        crop=parse_crop(request.crop),
        num_frames=num_frames,
        max_pixels=MAX_PIXELS,
        budget=spending,
    )


def budget() -> DecodeBudget:
    """What one request may spend on its file, from probing to its last frame."""
    from flextok.video.limits import DecodeBudget

    return DecodeBudget(MAX_DECODE_S, MAX_DECODED_PIXELS)


def probe(path: str, spending: DecodeBudget) -> VideoInfo:
    """What a file holds, found from its content; ValueError where it is over a limit of this app."""
    from flextok.video.limits import VideoError
    from flextok.video.read import probe_video

    size = Path(path).stat().st_size if Path(path).is_file() else 0
    if size > MAX_UPLOAD_MB << 20:
        raise VideoError(f"The file has {size / 2**20:.0f} MB, more than {MAX_UPLOAD_MB}: cut or shrink it first.")
    info = probe_video(path, max_pixels=MAX_PIXELS, budget=spending)
    if info.duration_s > MAX_UPLOAD_S:
        raise VideoError(
            f"The video lasts {info.duration_s / 60:.0f} minutes, more than {MAX_UPLOAD_S / 60:.0f}: cut it first."
        )
    return info


def playable(path: str | None) -> np.ndarray:
    """The frames of a file that browsers cannot play, uint8 (T, H, W, 3), at `CONVERTED_FPS` for an mp4 of it.

    Raises:
        gr.Error: it is no video or picture, or over a limit.
    """
    if not path:
        raise gr.Error("Choose a file first.", print_exception=False)
    with told():
        spending = budget()
        info = probe(path, spending)
        scale = min(CONVERTED_PIXELS / min(info.width, info.height), 1.0)
        size = max(round(info.height * scale), 2), max(round(info.width * scale), 2)
        frames = _frames(path, round(CONVERTED_S * CONVERTED_FPS), CONVERTED_FPS, size, spending)
        one_chunk = round(CHUNK_FRAMES * CONVERTED_FPS / MODEL_FPS)
        return frames if len(frames) > 1 else frames.repeat(one_chunk, axis=0)


def preview(request: Request) -> tuple[str, str, np.ndarray]:
    """About a file, what will be read of it, and its picture at the start: uint8 (H, W, 3), 360 pixels at most.

    Needs no model. Raises gr.Error for a file or a trim that will not do.
    """
    with told():
        spending = budget()
        info = probe(str(request.path), spending)
        fps = float(request.fps or MODEL_FPS)
        asked = asked_frames(request.length_s, fps, CHUNK_FRAMES)
        plan = describe_plan(asked, fps, request.start_s, CHUNK_FRAMES, info.duration_s or None)
        scale = min(360 / max(info.width, info.height), 1.0)
        size = max(round(info.height * scale), 1), max(round(info.width * scale), 1)
        start = min(request.start_s, max(info.duration_s - 0.1, 0.0))
        return describe_file(info), plan, _frames(str(request.path), 1, fps, size, spending, start)[0]


def first_picture(path: str | None, size: int) -> np.ndarray:
    """A picture, or the first frame of a video, as uint8 (size, size, 3).

    Raises:
        gr.Error: it is neither, or over a limit.
    """
    if not path:
        raise gr.Error("Choose a picture first.", print_exception=False)
    with told():
        spending = budget()
        probe(path, spending)
        return _frames(path, 1, MODEL_FPS, size, spending)[0].copy()


def _frames(
    path: str, count: int, fps: float, size: int | tuple[int, int], spending: DecodeBudget, start_s: float = 0.0
) -> np.ndarray:
    from flextok.video.read import read_video

    return read_video(
        path, start_s=start_s, num_frames=count, fps=fps, size=size, max_pixels=MAX_PIXELS, budget=spending
    ).frames
