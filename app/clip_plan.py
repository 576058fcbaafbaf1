"""What will be read of a video, in words: the trim, and how it snaps to the 17 + 16 n frames that models take."""

from __future__ import annotations

import math

from flextok.video.read import VideoInfo

RULE = (
    "Length 0 means 17 frames, frames per second 0 means 8. Models take 17 + 16 n frames: 17, 33 or 49; what is "
    "between is padded by its last frame for the model and shown at its own length. Drag the box to choose a part "
    "of the picture."
)


def describe_file(info: VideoInfo) -> str:
    """One line about an uploaded file."""
    if not info.fps:
        return f"A picture of {info.width} x {info.height}."
    codec = "".join(c for c in info.codec if c.isalnum() or c in "_-")
    return f"{info.width} x {info.height}, {info.duration_s:.1f} s at {info.fps:.4g} frames a second, {codec}."


def describe_plan(num_frames: int, fps: float, start_s: float, chunk_frames: int, duration_s: float | None) -> str:
    """What a trim means for the model.

    Args:
        num_frames: asked for.
        duration_s: of the file; None where it is not known.
    """
    there = num_frames
    if duration_s is not None:
        there = min(num_frames, max(math.ceil((duration_s - start_s) * fps - 1e-6), 1))
        if start_s >= duration_s > 0:
            return f"The video ends at {duration_s:.1f} s, before the start at {start_s:.1f} s."
    snapped = snap(there, chunk_frames)
    frames = "1 frame" if there == 1 else f"{there} frames"
    text = f"Read: {frames}, {start_s:.2f} to {start_s + there / fps:.2f} s at {fps:g} a second"
    if there < num_frames:
        text += f" (the video has no {num_frames})"
    n = (snapped - chunk_frames) // (chunk_frames - 1)
    rule = f"{snapped}" if n == 0 else f"{snapped} = {chunk_frames} + {chunk_frames - 1} x {n}"
    latent = 1 + (snapped - 1) // 4
    if snapped == there:
        return f"{text}, which are {rule}: nothing to pad; {latent} latent frames."
    return f"{text}; padded to {rule} for the model: {latent} latent frames."


def snap(num_frames: int, chunk_frames: int) -> int:
    """The smallest chunk_frames + (chunk_frames - 1) * n that holds num_frames."""
    more = max(-(-(num_frames - chunk_frames) // (chunk_frames - 1)), 0)
    return chunk_frames + (chunk_frames - 1) * more
