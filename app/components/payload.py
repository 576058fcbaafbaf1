"""What the canvas player is told: the one contract between Python and the scripts of app/components/player.

A test compares the names here with those that the scripts read. A sprite is the URL of a picture with all frames of a
clip side by side.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any


class Shown:
    """JSON of a dataclass as the script reads it: camelCase, and nothing where a field says nothing."""

    def to_json(self) -> dict[str, Any]:
        assert is_dataclass(self)
        values = {camel_case(f.name): getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Result(Shown):
    """One decoded clip: a budget of registers, or a grid at such a budget."""

    k: int
    tokens: int
    bytes: int
    frames: int
    sprite: str
    psnr: float | None = None
    """dB to the source."""
    title: str | None = None
    lines: Sequence[str] | None = None
    """Replace what a panel says of tokens and PSNR."""

    def to_json(self) -> dict[str, Any]:
        return {"psnr": None, **super().to_json()}  # the chart asks for it


@dataclass(frozen=True)
class Panel(Shown):
    """A clip beside the others, of no budget."""

    id: str
    title: str
    lines: Sequence[str]
    sprite: str
    frames: int


@dataclass(frozen=True)
class Payload(Shown):
    """One clip and all that was decoded of it."""

    fps: float
    num_frames: int
    size: int
    source: str
    """Sprite of the original, or of what stands in its place."""
    bits_per_token: int
    latent_frames: int
    max_k: int
    shown: Sequence[int]
    """Budgets with a panel of their own."""
    registers: Sequence[Result]
    """Budgets ascending."""
    grid: Sequence[Result] = ()
    """Coarser cells, for all frames."""
    short_grid: Sequence[Result] = ()
    """All cells, for as many frames as the tokens of budget k pay for."""
    note: str = ""
    ratio: int = 4
    """Pixel frames of a latent frame."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Another one tells the player that another clip has come."""
    title: str | None = None
    source_title: str | None = None
    source_lines: Sequence[str] | None = None
    extra: Sequence[Panel] | None = None
    compare: Mapping[str, str] | None = None
    """Texts of the views (wipe, flip, difference) of a player of two clips, which has neither budgets nor chart."""
    views: Mapping[str, str] | None = None
    """Such texts alone."""


@dataclass(frozen=True)
class Seeds(Shown):
    """One budget of the clip `clip` from several seeds, and where they differ."""

    seeds: Sequence[Result]
    k: int
    clip: str
    spread: str
    mean_spread: float
    frames: int


def camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, Shown):
        return value.to_json()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
