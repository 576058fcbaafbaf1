"""Drawing Toybox specs: a seed decides everything, and its range decides the split."""

from __future__ import annotations

import dataclasses

import numpy as np

from flextok.toybox.actions import ACTIONS, draw_actions, start_position
from flextok.toybox.motion import trajectory
from flextok.toybox.spec import (
    BYSTANDER_RADIUS,
    COLORS,
    FLOOR_PATTERNS,
    FLOORS,
    HILL_STYLES,
    PATTERNS,
    SHAPES,
    SIZES,
    SKIES,
    ToyboxSpec,
    ToyObject,
    check_name,
)

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
        check_name("action", action, ACTIONS)
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
