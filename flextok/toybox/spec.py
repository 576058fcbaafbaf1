"""Toybox specs: a small parametric world whose clips come with ground truth for everything.

Simple on purpose: one large subject, few values of each attribute, and everything that a caption says is plain to see
at 64 pixels, so that a model that fits into a web page can be trained on two cores until its clips are crisp. What is
left for later tokens: the exact pose, a pattern in about a fifth of the clips, tiles, and a bystander in a third.

A `ToyboxSpec` is plain data (frozen dataclasses, JSON round trip). It names the objects, the surroundings and the
actions; `motion` turns it into poses, `render` into frames, `caption` into text; `sampling` draws it. Because nothing
else enters the picture, an edit (`with_subject`, `with_actions`) is exact: all that is not edited stays the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flextok.toybox.actions import ACTIONS, start_position

SHAPES = ("ball", "cube", "cylinder", "cone")
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.16, 0.14),
    "orange": (0.98, 0.50, 0.06),
    "yellow": (0.96, 0.86, 0.16),
    "green": (0.08, 0.58, 0.20),
    "blue": (0.12, 0.28, 0.86),
    "purple": (0.52, 0.18, 0.70),
    "white": (0.94, 0.94, 0.94),
}
PATTERNS = ("plain", "striped", "spotted")
SIZES: dict[str, float] = {"small": 0.6, "large": 0.9}
"""Radius of each size of a subject, in world units; half its height."""
BYSTANDER_RADIUS = 0.42
NO_BYSTANDER = "none"
FLOORS: dict[str, tuple[float, float, float]] = {
    "wood": (0.52, 0.34, 0.22),
    "stone": (0.54, 0.55, 0.57),
    "sand": (0.83, 0.72, 0.50),
    "grass": (0.38, 0.54, 0.22),
}
FLOOR_PATTERNS = ("plain", "tiles")
# Each sky is (colour at the horizon, colour overhead).
SKIES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "day": ((0.80, 0.89, 0.98), (0.36, 0.58, 0.92)),
    "sunset": ((0.99, 0.70, 0.52), (0.78, 0.36, 0.38)),
    "night": ((0.24, 0.26, 0.42), (0.05, 0.06, 0.16)),
}
HILL_STYLES = 4
FPS = 8
SEGMENT_FRAMES = 16
"""Frames an action lasts: one chunk of 17 frames shares its first frame with the chunk before."""


@dataclass(frozen=True)
class ToyObject:
    """One object. Lengths are in world units (the subject stands about 3.5 from the camera); angles in radians.

    Marks of a pattern are white, or dark on light bodies: a body has one colour that a caption can name.
    """

    shape: str
    color: str
    pattern: str = "plain"
    radius: float = SIZES["small"]
    x: float = 0.0
    z: float = 3.6
    yaw: float = 0.0

    @property
    def size_name(self) -> str:
        return "large" if self.radius >= sum(SIZES.values()) / 2 else "small"


@dataclass(frozen=True)
class ToyboxSpec:
    """One clip: `objects[0]` is the subject, which performs `actions` one after another, `SEGMENT_FRAMES` frames each.

    `style_seed` draws what no caption mentions (hills, floor grain); `vigor` in [0.9, 1.1] scales how far and how high
    the actions go.
    """

    objects: tuple[ToyObject, ...]
    actions: tuple[str, ...]
    floor: str = "wood"
    floor_pattern: str = "tiles"
    sky: str = "day"
    vigor: float = 1.0
    style_seed: int = 0

    def __post_init__(self) -> None:
        if not self.objects:
            raise ValueError("a ToyboxSpec needs at least one object, the subject")
        if not self.actions:
            raise ValueError("a ToyboxSpec needs at least one action")
        for obj in self.objects:
            check_name("shape", obj.shape, SHAPES)
            check_name("color", obj.color, COLORS)
            check_name("pattern", obj.pattern, PATTERNS)
        for action in self.actions:
            check_name("action", action, ACTIONS)
        check_name("floor", self.floor, FLOORS)
        check_name("floor_pattern", self.floor_pattern, FLOOR_PATTERNS)
        check_name("sky", self.sky, SKIES)
        _check_numbers(self, (), ("vigor",))
        for obj in self.objects:
            _check_numbers(obj, ("x", "z", "yaw"), ("radius",))
        if not isinstance(self.style_seed, int) or self.style_seed < 0:
            raise ValueError(f"style_seed={self.style_seed!r} must be a whole number from 0")

    @property
    def subject(self) -> ToyObject:
        return self.objects[0]

    @property
    def num_frames(self) -> int:
        """17 for one action, 81 for five: 1 + 16 n."""
        return 1 + SEGMENT_FRAMES * len(self.actions)

    def with_subject(self, **changes: Any) -> ToyboxSpec:
        """The same clip with the subject's look changed (an exact edit): `spec.with_subject(color="blue")`."""
        subject = dataclasses.replace(self.subject, **changes)
        return dataclasses.replace(self, objects=(subject, *self.objects[1:]))

    def with_actions(self, *actions: str) -> ToyboxSpec:
        """The same scene with another motion; the subject starts where the first of the new actions has room."""
        x, z = start_position(actions[0], self.vigor)
        subject = dataclasses.replace(self.subject, x=x, z=z)
        return dataclasses.replace(self, objects=(subject, *self.objects[1:]), actions=tuple(actions))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ToyboxSpec:
        """Inverse of `to_json`. Raises ValueError for anything that is not a valid spec."""
        try:
            fields = json.loads(text)
            objects = tuple(ToyObject(**obj) for obj in fields.pop("objects"))
            return cls(objects=objects, actions=tuple(fields.pop("actions")), **fields)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a Toybox spec: {error}") from error

    def attributes(self) -> dict[str, str | int | float]:
        """Ground truth of the scene, for read-outs; per-frame positions come from `motion.trajectory`."""
        subject = self.subject
        return {
            "action": self.actions[0],
            "shape": subject.shape,
            "color": subject.color,
            "pattern": subject.pattern,
            "size": subject.size_name,
            "count": len(self.objects),
            "bystander": self.objects[1].color if len(self.objects) > 1 else NO_BYSTANDER,
            "floor": self.floor,
            "floor_pattern": self.floor_pattern,
            "sky": self.sky,
        }


def check_name(name: str, value: str, allowed: Mapping[str, Any] | tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")


def _check_numbers(part: ToyboxSpec | ToyObject, names: Sequence[str], positive: Sequence[str]) -> None:
    for name in (*names, *positive):
        value = getattr(part, name)
        if not isinstance(value, (int, float)) or not abs(value) < 1000:  # also refuses NaN
            raise ValueError(f"{name}={value!r} must be a number below 1000 in size")
        if name in positive and value <= 0:
            raise ValueError(f"{name}={value!r} must be above 0")
