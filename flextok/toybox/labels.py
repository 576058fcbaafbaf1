"""Ground-truth classes of Toybox clips, for the scorer and for read-outs: one integer an attribute.

What a clip shows follows from its spec; where the subject stands on the screen follows from its trajectory and the
renderer's camera. Clips are 17 frames, one action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flextok.toybox.motion import trajectory
from flextok.toybox.render import CAMERA_HEIGHT, project
from flextok.toybox.sampling import TRAIN_SEEDS, sample_spec
from flextok.toybox.spec import (
    ACTIONS,
    COLORS,
    FLOOR_PATTERNS,
    FLOORS,
    NO_BYSTANDER,
    PATTERNS,
    SHAPES,
    SIZES,
    SKIES,
    ToyboxSpec,
)

MAX_COUNT = 2
POSITION_BINS = 5
"""Odd, so that the middle of the picture, where most subjects start, is the middle of a bin and not an edge."""
POSITIONS = ("start_x", "start_y", "end_x", "end_y")

CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "action": ACTIONS,
    "shape": SHAPES,
    "color": tuple(COLORS),
    "pattern": PATTERNS,
    "size": tuple(SIZES),
    "count": tuple(str(n) for n in range(1, MAX_COUNT + 1)),
    "bystander": (NO_BYSTANDER, *COLORS),
    "floor": tuple(FLOORS),
    "floor_pattern": FLOOR_PATTERNS,
    "sky": tuple(SKIES),
    "start_x": ("far left", "left", "middle", "right", "far right"),
    "start_y": ("top", "upper", "middle", "lower", "bottom"),
    "end_x": ("far left", "left", "middle", "right", "far right"),
    "end_y": ("top", "upper", "middle", "lower", "bottom"),
}
"""What each class index means. Shape, color, pattern, size and position are the subject's; of the
bystander it is the colour."""
ATTRIBUTES = tuple(CLASS_NAMES)
"""Column order of label arrays."""
NUM_CLASSES: dict[str, int] = {name: len(classes) for name, classes in CLASS_NAMES.items()}


def labels(spec: ToyboxSpec) -> dict[str, int]:
    """Class index of every attribute of `spec`'s clip, in the order of `ATTRIBUTES`.

    Raises:
        ValueError: the spec has more than one action, or more objects than `MAX_COUNT`.
    """
    if len(spec.actions) != 1:
        raise ValueError(f"labels are of clips of one action, this spec has {len(spec.actions)}")
    if len(spec.objects) > MAX_COUNT:
        raise ValueError(f"labels count up to {MAX_COUNT} objects, this spec has {len(spec.objects)}")
    values: Mapping[str, object] = spec.attributes()
    found = {name: CLASS_NAMES[name].index(str(values[name])) for name in ATTRIBUTES if name not in POSITIONS}
    start, end = screen_positions(spec)[[0, -1]]
    for name, place in zip(POSITIONS, (*start, *end), strict=True):
        found[name] = position_bin(float(place))
    return found


def screen_positions(spec: ToyboxSpec) -> np.ndarray:
    """Centre of the subject on the screen, every frame: (T, 2) as (x to the right, y down), [-1, 1] in the picture."""
    path = trajectory(spec)
    center = path.position + np.array([0.0, spec.subject.radius, 0.0])
    x, y, _ = project(center, np.array([0.0, CAMERA_HEIGHT, 0.0]), path.camera_yaw)
    return np.stack([x, y], axis=1)


def position_bin(place: float) -> int:
    """Which of `POSITION_BINS` equal parts of [-1, 1] a screen coordinate is in; outside counts to the outermost."""
    return int(np.clip((place + 1) / 2 * POSITION_BINS, 0, POSITION_BINS - 1))


def labels_of_seeds(seeds: Sequence[int]) -> np.ndarray:
    """Labels of the clips that `ToyboxDataset(seeds)` renders: int64 (len(seeds), len(ATTRIBUTES)), 0.5 ms a clip."""
    rows = [[*labels(sample_spec(seed)).values()] for seed in seeds]
    return np.array(rows, dtype=np.int64).reshape(-1, len(ATTRIBUTES))


def bank_seeds(about: Mapping[str, object]) -> range:
    """Seeds of a Toybox bank's clips, in order; `about` is `ClipBank.about`, the content of its bank.json.

    Raises:
        ValueError: the bank was made from a folder or does not say its first seed, so its clips have no labels.
    """
    if about.get("folder") not in (None, "None") or "first_seed" not in about:
        raise ValueError("this bank does not hold Toybox clips with known seeds, so there are no labels for it")
    first = int(str(about["first_seed"]))
    return TRAIN_SEEDS[first : first + int(str(about["clips_done"]))]


def bank_labels(about: Mapping[str, object]) -> np.ndarray:
    """Labels of every clip of a Toybox bank: int64 (N, len(ATTRIBUTES)). Raises ValueError as `bank_seeds`."""
    return labels_of_seeds(bank_seeds(about))
