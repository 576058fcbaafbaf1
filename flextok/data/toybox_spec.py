"""Toybox specs: a small parametric world whose clips come with ground truth for everything.

Simple on purpose: one large subject, few values of each attribute, and everything that a caption says is plain to see
at 64 pixels, so that a model that fits into a web page can be trained on two cores until its clips are crisp. What is
left for later tokens: the exact pose, a pattern in about a fifth of the clips, tiles, and a bystander in a third.

A `ToyboxSpec` is plain data (frozen dataclasses, JSON round trip). It names the objects, the surroundings and the
actions; `toybox_motion` turns it into poses, `toybox_render` into frames, `toybox_caption` into text. Because nothing
else enters the picture, an edit (`with_subject`, `with_actions`) is exact: all that is not edited stays the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
ACTIONS = (
    "rolls left",
    "rolls right",
    "bounces",
    "drops",
    "rises",
    "spins",
    "comes closer",
    "moves away",
    "circles",
    "is hit by a ball",
    "camera pans left",
    "camera pans right",
)
FPS = 8
SEGMENT_FRAMES = 16
"""Frames an action lasts: one chunk of 17 frames shares its first frame with the chunk before."""

TRAIN_SEEDS = range(0, 10_000_000)
VALIDATION_SEEDS = range(10_000_000, 11_000_000)
TEST_SEEDS = range(11_000_000, 12_000_000)
HELD_OUT_SEEDS = range(12_000_000, 13_000_000)
"""Seeds of the held-out split always give one of `HELD_OUT_COMBINATIONS`; no other split ever does."""

HELD_OUT_COMBINATIONS: tuple[tuple[str, str, str], ...] = (
    ("purple", "cylinder", "circles"),
    ("yellow", "cone", "bounces"),
    ("green", "cube", "is hit by a ball"),
    ("red", "cone", "spins"),
    ("white", "ball", "rolls right"),
    ("orange", "cube", "rises"),
    ("purple", "ball", "comes closer"),
    ("blue", "cone", "drops"),
)


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
            _check("shape", obj.shape, SHAPES)
            _check("color", obj.color, COLORS)
            _check("pattern", obj.pattern, PATTERNS)
        for action in self.actions:
            _check("action", action, ACTIONS)
        _check("floor", self.floor, FLOORS)
        _check("floor_pattern", self.floor_pattern, FLOOR_PATTERNS)
        _check("sky", self.sky, SKIES)
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
        from flextok.data.toybox_motion import start_position

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
        """Ground truth of the scene, for read-outs; per-frame positions come from `toybox_motion.trajectory`."""
        subject = self.subject
        return {
            "action": self.actions[0],
            "shape": subject.shape,
            "color": subject.color,
            "pattern": subject.pattern,
            "size": subject.size_name,
            "count": len(self.objects),
            "floor": self.floor,
            "floor_pattern": self.floor_pattern,
            "sky": self.sky,
        }


def _check(name: str, value: str, allowed: Mapping[str, Any] | tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")


def _check_numbers(part: ToyboxSpec | ToyObject, names: Sequence[str], positive: Sequence[str]) -> None:
    for name in (*names, *positive):
        value = getattr(part, name)
        if not isinstance(value, (int, float)) or not abs(value) < 1000:  # also refuses NaN
            raise ValueError(f"{name}={value!r} must be a number below 1000 in size")
        if name in positive and value <= 0:
            raise ValueError(f"{name}={value!r} must be above 0")


def sample_spec(seed: int, num_actions: int = 1, action: str | None = None) -> ToyboxSpec:
    """Draw a spec; the seed alone decides it, and its range decides the split (see the `*_SEEDS` ranges).

    Args:
        seed: 0 <= seed < 13,000,000.
        num_actions: 1 for a 17-frame clip, 5 for 81 frames.
        action: fixes the first action (for class-balanced sets); None draws it.

    Raises:
        ValueError: seed outside every split, num_actions < 1, an unknown action, or any for a held-out seed.
    """
    if not 0 <= seed < HELD_OUT_SEEDS.stop:
        raise ValueError(f"seed={seed} must be in 0..{HELD_OUT_SEEDS.stop - 1}")
    if num_actions < 1:
        raise ValueError(f"num_actions={num_actions} must be at least 1")
    held_out = seed in HELD_OUT_SEEDS
    if action is not None:
        _check("action", action, ACTIONS)
        if held_out:
            raise ValueError(f"seed={seed} is of the held-out split, whose combinations fix the action: give none")
    rng = np.random.default_rng(seed)
    combination = HELD_OUT_COMBINATIONS[rng.integers(len(HELD_OUT_COMBINATIONS))]
    while True:
        spec = _draw(rng, num_actions, action, combination if held_out else None)
        if held_out or all(
            (spec.subject.color, spec.subject.shape, a) not in HELD_OUT_COMBINATIONS for a in spec.actions
        ):
            return spec


def _draw(
    rng: np.random.Generator, num_actions: int, action: str | None, combination: tuple[str, str, str] | None
) -> ToyboxSpec:
    from flextok.data.toybox_motion import draw_actions, start_position

    if combination is not None:
        color, shape, first = combination
    else:
        color, shape = _choose(rng, tuple(COLORS)), _choose(rng, SHAPES)
        first = action or _choose(rng, ACTIONS)
    actions = draw_actions(rng, first, num_actions)
    vigor = float(rng.uniform(0.9, 1.1))
    x, z = start_position(first, vigor)
    pattern = str(rng.choice(PATTERNS, p=[0.8, 0.1, 0.1]))
    if "spins" in actions and shape != "cube":
        pattern = "spotted"  # a round body without marks looks still when it spins, and so do stripes around it
    radius = SIZES[_choose(rng, tuple(SIZES))]
    x += float(rng.normal(0, 0.1))
    scene = ToyboxSpec(
        objects=(ToyObject(shape, color, pattern, radius, x, z, float(rng.uniform(0, 2 * np.pi))),),
        actions=actions,
        floor=_choose(rng, tuple(FLOORS)),
        floor_pattern=str(rng.choice(FLOOR_PATTERNS, p=[0.7, 0.3])),
        sky=_choose(rng, tuple(SKIES)),
        vigor=vigor,
        style_seed=int(rng.integers(HILL_STYLES)),
    )
    if rng.random() > 1 / 3:
        return scene
    return dataclasses.replace(scene, objects=(*scene.objects, *_bystander(rng, scene)))


def _bystander(rng: np.random.Generator, scene: ToyboxSpec) -> tuple[ToyObject, ...]:
    """A small plain object of another colour, behind the subject and beside its path: seen, and never touched.

    None where a chain of actions leaves no place for it.
    """
    from flextok.data.toybox_motion import trajectory

    path = trajectory(scene).position[:, [0, 2]]  # (T, 2)
    color = _choose(rng, tuple(c for c in COLORS if c != scene.subject.color))
    for _ in range(200):
        z = float(rng.uniform(4.4, 5.8))
        x = float(rng.uniform(-0.42, 0.42)) * z  # within the camera's view
        if np.hypot(path[:, 0] - x, path[:, 1] - z).min() > 1.25 * (BYSTANDER_RADIUS + scene.subject.radius):
            return (ToyObject(_choose(rng, SHAPES), color, radius=BYSTANDER_RADIUS, x=x, z=z),)
    return ()


def _choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
