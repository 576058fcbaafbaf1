"""What the pipelines return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from flextok.video.pixels import to_uint8

OUTPUT_TYPES = ("pt", "np", "pil", "latent")


@dataclass
class VideoPipelineOutput(BaseOutput):
    """`frames`: (b, 3, T, H, W) in about [-1, 1], not clamped, or as `output_type` asks."""

    frames: Any


def check_output_type(output_type: str) -> None:
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type={output_type!r} must be one of {', '.join(OUTPUT_TYPES)}")


def as_asked(frames: Tensor, output_type: str) -> Any:
    """Frames (b, 3, T, H, W), or latents, as diffusers names it.

    Returns:
        "pt" and "latent": the tensor itself; "np": float32 (b, T, H, W, 3) in [0, 1]; "pil": a list of images a clip.
    """
    if output_type == "np":
        return (frames.float().clamp(-1, 1) / 2 + 0.5).permute(0, 2, 3, 4, 1).cpu().numpy()
    if output_type == "pil":
        return [[Image.fromarray(picture) for picture in to_uint8(clip)] for clip in frames]
    return frames
