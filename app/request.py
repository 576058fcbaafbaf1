"""What a visitor asks for, and the rules it has to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.limits import MAX_FPS, MAX_GUIDANCE, MAX_LENGTH_S, MAX_SEED, MAX_STEPS
from app.refusals import refusal, require_number
from app.store import EMBEDDED
from flextok.loading.registry import ModelEntry


@dataclass(frozen=True)
class Request:
    """What a visitor asks for; `check` refuses what the page's own controls cannot send but an API call can."""

    path: str | None
    also_k: int | None = None
    """A budget beside the powers of two."""
    start_s: float = 0.0
    length_s: float | None = None
    """Seconds that are read; None is one chunk, 17 frames."""
    fps: float | None = None
    """Frames read per second; None is the model's own rate."""
    crop: str = ""
    """"left,top,width,height" in fractions of the picture; empty takes all of it."""
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    model: str = EMBEDDED

    @property
    def reads(self) -> tuple[Any, ...]:
        """Which pixels are decoded, and by which model: what is on the screen is of a request that reads the same."""
        return self.path, self.start_s, self.length_s, self.fps, self.crop, self.model

    def check(self, entry: ModelEntry) -> None:
        """Raises gr.Error naming the value and the rule."""
        if not self.path:
            raise gr.Error("Choose an example or upload a video first.", print_exception=False)
        rules = (
            ("Tokens per latent frame", self.also_k, 1, entry.num_registers, True),
            ("Start", self.start_s, 0, 86_400, False),
            ("Length", self.length_s, 0.01, MAX_LENGTH_S, False),
            ("Frames per second", self.fps, 0.5, MAX_FPS, False),
            ("Steps", self.steps, 1, MAX_STEPS, True),
            ("Guidance", self.guidance, 0, MAX_GUIDANCE, False),
            ("Seed", self.seed, 0, MAX_SEED, True),
        )
        for name, value, low, high, whole in rules:
            if value is not None or name in ("Start", "Seed"):
                require_number(name, value, low, high, whole)
        parse_crop(self.crop)


def asked_frames(length_s: float | None, fps: float, chunk_frames: int) -> int:
    """Frames of a request: one chunk unless a length was given."""
    return max(round(length_s * fps), 1) if length_s else chunk_frames


def parse_crop(text: str | None) -> tuple[float, float, float, float] | None:
    """ "left,top,width,height" in fractions; None for an empty text.

    Raises:
        gr.Error: it is not that.
    """
    if not text:
        return None
    try:
        left, top, width, height = (float(part) for part in str(text).split(",", 4))
    except ValueError:
        raise refusal(f"The crop must be left,top,width,height in fractions, not {text!s:.60}.") from None
    inside = 0 <= left < 1 and 0 <= top < 1 and 0 < width <= 1.0001 - left and 0 < height <= 1.0001 - top
    if not inside:
        raise refusal(f"The crop must lie inside the picture, 0 to 1, not {text!s:.60}.")
    return left, top, width, height
