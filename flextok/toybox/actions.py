"""The actions of Toybox: how far each moves the subject and the camera, and which may follow which.

World axes: x to the right, y up (floor at 0), z away from the camera. Every action maps progress u in [0, 1] to an
offset from where the subject was when the action began, so actions chain without a jump.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

TRAVEL = 1.7
"""World units a roll covers at vigor 1."""
LIFT = 1.1
"""Height the subject drops from or rises to at vigor 1."""
PAN = 0.3
"""Camera yaw of a pan, radians, at vigor 1."""


@dataclass
class Offsets:
    """What one action adds over its progress u; everything starts at 0 when u = 0."""

    dx: Array
    dy: Array
    dz: Array
    yaw: Array
    camera_yaw: Array
    hitter_dx: Array | None = None


def _zeros(u: Array) -> Offsets:
    zero = np.zeros_like(u)
    return Offsets(zero, zero, zero, zero, zero)


def _smooth(u: Array) -> Array:
    return u * u * (3 - 2 * u)


def _roll(sign: float) -> Callable[[Array, float], Offsets]:
    def action(u: Array, vigor: float) -> Offsets:
        offsets = _zeros(u)
        offsets.dx = sign * TRAVEL * vigor * u
        return offsets

    return action


def _bounces(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    first, second = np.clip(u / 0.6, 0, 1), np.clip((u - 0.6) / 0.4, 0, 1)
    offsets.dy = vigor * (1.0 * 4 * first * (1 - first) + 0.45 * 4 * second * (1 - second))
    return offsets


def _drops(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    height = LIFT * vigor
    fall = np.minimum(u / 0.7, 1.0)
    rebound = np.clip((u - 0.7) / 0.3, 0, 1)
    offsets.dy = -height * fall**2 + 0.15 * height * 4 * rebound * (1 - rebound)
    return offsets


def _rises(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    offsets.dy = LIFT * vigor * _smooth(u)
    return offsets


def _spins(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    offsets.yaw = 2 * np.pi * vigor * u
    return offsets


def _depth(sign: float) -> Callable[[Array, float], Offsets]:
    def action(u: Array, vigor: float) -> Offsets:
        offsets = _zeros(u)
        offsets.dz = sign * 2.6 * vigor * _smooth(u)
        return offsets

    return action


def _circles(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    angle = 2 * np.pi * u
    offsets.dx = 0.85 * vigor * np.sin(angle)
    offsets.dz = 0.75 * vigor * (1 - np.cos(angle))
    return offsets


def _is_hit(u: Array, vigor: float) -> Offsets:
    offsets = _zeros(u)
    contact = 0.45
    after = np.clip((u - contact) / (1 - contact), 0, 1)
    offsets.dx = 1.0 * vigor * (1 - (1 - after) ** 2)
    # The ball comes in from the left, touches the subject at contact and rolls back out of the picture.
    before = np.clip(u / contact, 0, 1)
    offsets.hitter_dx = -1.5 * (1 - before) - 1.5 * after**2
    return offsets


def _pan(sign: float) -> Callable[[Array, float], Offsets]:
    def action(u: Array, vigor: float) -> Offsets:
        offsets = _zeros(u)
        offsets.camera_yaw = sign * PAN * vigor * _smooth(u)
        return offsets

    return action


OFFSETS: dict[str, Callable[[Array, float], Offsets]] = {
    "rolls left": _roll(-1.0),
    "rolls right": _roll(1.0),
    "bounces": _bounces,
    "drops": _drops,
    "rises": _rises,
    "spins": _spins,
    "comes closer": _depth(-1.0),
    "moves away": _depth(1.0),
    "circles": _circles,
    "is hit by a ball": _is_hit,
    "camera pans left": _pan(-1.0),
    "camera pans right": _pan(1.0),
}


ACTIONS = tuple(OFFSETS)


def start_position(action: str, vigor: float) -> tuple[float, float]:
    """Where the subject stands (x, z) so that `action` keeps it in view."""
    half = TRAVEL * vigor / 2
    x = {"rolls left": half, "rolls right": -half, "is hit by a ball": -0.3}.get(action, 0.0)
    depth = {"comes closer": 5.9, "moves away": 3.0, "circles": 3.1, "bounces": 4.4, "drops": 4.4, "rises": 4.4}
    z = depth.get(action, 3.6)
    return x, z


def draw_actions(rng: np.random.Generator, first: str, num_actions: int) -> tuple[str, ...]:
    """A chain that begins with `first` and that stays in view: what may follow depends on where the subject is."""
    actions = [first]
    x = start_position(first, 1.0)[0]
    height, depth, camera = (LIFT if first == "drops" else 0.0), start_position(first, 1.0)[1], 0.0
    while True:
        end = OFFSETS[actions[-1]](np.ones(1), 1.0)
        x, height = x + float(end.dx[0]), max(height + float(end.dy[0]), 0.0)
        depth, camera = depth + float(end.dz[0]), camera + float(end.camera_yaw[0])
        if len(actions) == num_actions:
            return tuple(actions)
        allowed = []
        for name in ACTIONS:
            after = OFFSETS[name](np.ones(1), 1.0)
            in_air = height > 0.1
            fits = abs(x + float(after.dx[0])) <= 1.3 and 2.9 <= depth + float(after.dz[0]) <= 6.5
            fits = fits and abs(camera + float(after.camera_yaw[0])) <= 1.1 * PAN
            fits = fits and (name in ("drops", "spins") if in_air else name != "drops")
            if fits and name != actions[-1] and not (name == "circles" and depth > 4.5):
                allowed.append(name)
        actions.append(allowed[int(rng.integers(len(allowed)))])
