"""What a visitor asks for, and the rules it has to keep."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.limits import MAX_FPS, MAX_GUIDANCE, MAX_LENGTH_S, MAX_SEED, MAX_STEPS
from app.refusals import refusal, require_number
from app.shipped import example_paths
from app.store import EMBEDDED
from flextok.loading.registry import ModelEntry


@dataclass(frozen=True)
class Setting:
    """One thing that can be set of how a clip is read and decoded: the page, endpoints, addresses and scripts ask here.

    A page has no empty fields, so what is left open is `unset` there and in calls of the API.
    """

    name: str
    """Of the field of `Request`, and of the parameter of endpoints."""
    address: str
    """Name in the page's address."""
    said: str
    """Name in refusals."""
    unset: Any
    kind: type = float
    low: float = 0.0
    high: float = 0.0

    @property
    def parameter(self) -> inspect.Parameter:
        """Of an endpoint."""
        annotation = self.kind | None if self.unset is None else self.kind
        return inspect.Parameter(
            self.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=self.unset, annotation=annotation
        )

    def check(self, value: object, high: float | None = None) -> None:
        """Raises gr.Error naming the value and the rule."""
        require_number(self.said, value, self.low, self.high if high is None else high, self.kind is int)

    def parse(self, text: str) -> Any:
        """The value that an address says; ValueError or gr.Error where it is none."""
        if self.kind is str:
            return text
        value = float(text)
        # An address may also say what is unset; NaN is refused.
        if value != self.unset and (not self.low <= value <= self.high or (self.kind is int and value != int(value))):
            raise ValueError(f"{text!r} is not in {self.low}..{self.high}")
        return self.kind(value)


START = Setting("start_s", "start", "Start", 0.0, float, 0, 86_400)
LENGTH = Setting("length_s", "length", "Length", 0.0, float, 0.01, MAX_LENGTH_S)
FPS = Setting("fps", "fps", "Frames per second", 0.0, float, 0.5, MAX_FPS)
CROP = Setting("crop", "crop", "Crop", "", str)
STEPS = Setting("steps", "steps", "Steps", None, int, 1, MAX_STEPS)
GUIDANCE = Setting("guidance", "guidance", "Guidance", None, float, 0, MAX_GUIDANCE)
SEED = Setting("seed", "seed", "Seed", 0, int, 0, MAX_SEED)
MODEL = Setting("model", "model", "Model", EMBEDDED, str)
SETTINGS = (START, LENGTH, FPS, CROP, STEPS, GUIDANCE, SEED, MODEL)
"""In the order of endpoints and of `ShownClip.settings`."""
UNSET = tuple(setting.unset for setting in SETTINGS)
WHERE = (START, LENGTH, CROP)
"""Which part of a clip: of the next clip, none of them counts."""
ALSO_K = Setting("also_k", "also", "Tokens per latent frame", 0, int, 1, 100_000)
"""Of Explore alone; the model says how many there can be."""


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

    @classmethod
    def of(cls, video: str | None, *settings: Any, also_k: int | None = None) -> Request:
        """Of the values of `SETTINGS`; the clip is the first example, which is on the screen, if none was chosen."""
        values = dict(zip((setting.name for setting in SETTINGS), settings, strict=True))
        for optional in (LENGTH, FPS):
            values[optional.name] = values[optional.name] or None
        return cls(video or str(example_paths()[0]), also_k or None, **(values | {"crop": values["crop"] or ""}))

    def settings(self) -> dict[str, Any]:
        """As `SETTINGS` has them: what an endpoint is called with."""
        found = {setting.name: getattr(self, setting.name) for setting in SETTINGS}
        return {s.name: s.unset if found[s.name] is None else found[s.name] for s in SETTINGS}

    @property
    def reads(self) -> tuple[Any, ...]:
        """Which pixels are decoded, and by which model: what is on the screen is of a request that reads the same."""
        return self.path, self.start_s, self.length_s, self.fps, self.crop, self.model

    def check(self, entry: ModelEntry) -> None:
        """Raises gr.Error naming the value and the rule."""
        if not self.path:
            raise gr.Error("Choose an example or upload a video first.", print_exception=False)
        if self.also_k is not None:
            ALSO_K.check(self.also_k, entry.num_registers)
        for setting in (START, LENGTH, FPS, STEPS, GUIDANCE, SEED):
            value = getattr(self, setting.name)
            if value is not None or setting in (START, SEED):
                setting.check(value)
        parse_crop(self.crop)


def with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint `function(..., *settings)` whose last parameters are those of `SETTINGS`, with names and defaults."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    signature = inspect.Signature([*own, *(setting.parameter for setting in SETTINGS)])

    def bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        values = signature.bind(*args, **kwargs)
        values.apply_defaults()
        return values.args

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            yield from function(*bound(args, kwargs))

    else:

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*bound(args, kwargs))

    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


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
