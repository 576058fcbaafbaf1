"""Wrong captions that are nearly right, each false in one thing: for contrast in training, and to score alignment."""

from __future__ import annotations

import dataclasses

import numpy as np

from flextok.toybox.caption import caption
from flextok.toybox.spec import ACTIONS, COLORS, FLOORS, SHAPES, SIZES, SKIES, ToyboxSpec

KINDS = ("action", "action", "color", "shape", "size", "floor", "sky", "other", "other")
"""What is changed; the action twice as often, being what a still picture cannot tell, and the other object, which is
small and there in a third of the clips alone."""


def distractors(spec: ToyboxSpec, count: int, variant: int, seed: int | tuple[int, ...] = 0) -> list[str]:
    """Different captions, each false of `spec`'s clip in exactly one thing that it says.

    Args:
        count: how many; 16 can be had for any spec.
        variant: of the wording, as in `caption`.
        seed: of the choice.

    Raises:
        ValueError: so many different ones cannot be found.
    """
    rng = np.random.default_rng(seed)
    right = caption(spec, variant)
    found: dict[str, None] = {}  # a set that keeps its order
    for _ in range(40 * count + 100):
        text = caption(_changed(spec, KINDS[int(rng.integers(len(KINDS)))], rng), variant)
        if text != right:  # equal where the wording leaves out what was changed
            found[text] = None
        if len(found) == count:
            return list(found)
    raise ValueError(f"count={count} different captions cannot be found; ask for fewer")


def _changed(spec: ToyboxSpec, kind: str, rng: np.random.Generator) -> ToyboxSpec:
    """The spec with one thing changed that no object in the picture has."""

    def other(options: tuple[str, ...], *taken: str) -> str:
        free = [option for option in options if option not in taken]
        return free[int(rng.integers(len(free)))]

    subject, rest = spec.subject, spec.objects[1:]
    if kind == "action":
        first = other(ACTIONS, spec.actions[0])
        return dataclasses.replace(spec, actions=(first, *spec.actions[1:]))
    if kind == "color":
        return spec.with_subject(color=other(tuple(COLORS), *(o.color for o in spec.objects)))
    if kind == "shape":
        return spec.with_subject(
            shape=other(SHAPES, subject.shape, *(o.shape for o in rest if o.color == subject.color))
        )
    if kind == "size":
        return spec.with_subject(radius=SIZES[other(tuple(SIZES), subject.size_name)])
    if kind == "floor":
        return dataclasses.replace(spec, floor=other(tuple(FLOORS), spec.floor))
    if kind == "sky":
        return dataclasses.replace(spec, sky=other(tuple(SKIES), spec.sky))
    if not rest:
        return spec
    second = dataclasses.replace(rest[0], color=other(tuple(COLORS), *(o.color for o in spec.objects)))
    return dataclasses.replace(spec, objects=(subject, second, *rest[1:]))
