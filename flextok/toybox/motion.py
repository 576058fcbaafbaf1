"""Toybox motion: the poses of a spec's subject, camera and hitting ball, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flextok.toybox.actions import LIFT, OFFSETS
from flextok.toybox.spec import SEGMENT_FRAMES, ToyboxSpec

Array = np.ndarray

HITTER_RADIUS = 0.3


@dataclass
class Trajectory:
    """Poses per frame. All arrays are float64 with the frame first; `hitter` is NaN where no hitting ball exists."""

    position: Array
    """(T, 3): the subject's resting point, its centre minus its own height above the floor."""
    yaw: Array
    """(T,): rotation about the vertical, radians."""
    roll: Array
    """(T,): distance rolled to the right, world units; balls turn by roll / radius."""
    camera_yaw: Array
    """(T,): positive looks to the right, radians."""
    hitter: Array
    """(T, 3): centre of the ball of "is hit by a ball"."""


def trajectory(spec: ToyboxSpec) -> Trajectory:
    """Poses of every frame of `spec` (T = 1 + 16 per action)."""
    num_frames = spec.num_frames
    position, hitter = np.zeros((num_frames, 3)), np.full((num_frames, 3), np.nan)
    yaw, roll, camera_yaw = (np.zeros(num_frames) for _ in range(3))
    position[:] = (spec.subject.x, LIFT * spec.vigor if spec.actions[0] == "drops" else 0.0, spec.subject.z)
    yaw[:] = spec.subject.yaw
    u = np.arange(SEGMENT_FRAMES + 1) / SEGMENT_FRAMES
    for index, action in enumerate(spec.actions):
        start = index * SEGMENT_FRAMES
        frames = slice(start, start + SEGMENT_FRAMES + 1)
        offsets = OFFSETS[action](u, spec.vigor)
        delta = np.stack([offsets.dx, offsets.dy, offsets.dz], axis=1)
        origin = position[start].copy()
        position[frames] = origin + delta
        position[frames, 1] = np.maximum(position[frames, 1], 0.0)
        yaw[frames], roll[frames] = yaw[start] + offsets.yaw, roll[start] + offsets.dx
        camera_yaw[frames] = camera_yaw[start] + offsets.camera_yaw
        if offsets.hitter_dx is not None:
            contact = origin[0] - spec.subject.radius - HITTER_RADIUS
            hitter[frames] = np.stack(
                [contact + offsets.hitter_dx, np.full_like(u, HITTER_RADIUS), np.full_like(u, origin[2])], axis=1
            )
        rest = slice(frames.stop, None)  # later frames begin where this action ended
        last = frames.stop - 1
        position[rest], yaw[rest], roll[rest] = position[last], yaw[last], roll[last]
        camera_yaw[rest] = camera_yaw[last]
    return Trajectory(position, yaw, roll, camera_yaw, hitter)
