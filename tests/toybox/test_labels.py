"""Labels: what the rendered clip shows."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from flextok.toybox.actions import ACTIONS
from flextok.toybox.labels import (
    ATTRIBUTES,
    CLASS_NAMES,
    NUM_CLASSES,
    POSITION_BINS,
    bank_labels,
    labels,
    position_bin,
    screen_positions,
)
from flextok.toybox.render import render
from flextok.toybox.sampling import TEST_SEEDS, sample_spec
from flextok.toybox.spec import ToyboxSpec


@functools.cache
def subject_masks(spec: ToyboxSpec) -> np.ndarray:
    """The subject's pixels in the first and last frame, found by rendering it alone in two colours: bool (2, H, W)."""
    alone = dataclasses.replace(spec, objects=spec.objects[:1])
    one, two = (render(alone.with_subject(color=c, pattern="plain")) for c in ("purple", "white"))
    return np.abs(one[[0, -1]].astype(int) - two[[0, -1]]).max(-1) > 8


def subject_place(spec: ToyboxSpec, frame: int) -> tuple[float, float]:
    """Middle of the subject's pixels, (x, y) in [-1, 1], in the first (0) or last (1) frame of the clip."""
    mask = subject_masks(spec)[frame]
    middle = [(v.min() + v.max() + 1) / 2 / len(mask) * 2 - 1 for v in np.nonzero(mask)[::-1]]
    return middle[0], middle[1]


@pytest.mark.parametrize("action", ACTIONS)
def test_positions_are_where_the_subject_is_drawn(action: str) -> None:
    spec = sample_spec(TEST_SEEDS[7], action=action).with_subject(radius=0.5)
    found = labels(spec)
    for frame, when in ((0, "start"), (1, "end")):
        x, y = subject_place(spec, frame)
        for place, name in ((x, f"{when}_x"), (y, f"{when}_y")):
            # The outline's middle is not quite the projected centre, so a neighbour bin is right within 0.1 of an edge.
            allowed = {position_bin(place - 0.1), position_bin(place), position_bin(place + 0.1)}
            assert found[name] in allowed, (name, place)


def test_left_and_right_are_those_of_the_picture() -> None:
    directions = {"rolls left": -1, "rolls right": 1, "camera pans left": 1, "camera pans right": -1}
    for action, direction in directions.items():
        spec = sample_spec(TEST_SEEDS[3], action=action)
        assert np.sign(subject_place(spec, 1)[0] - subject_place(spec, 0)[0]) == direction


def test_labels_name_what_the_spec_says() -> None:
    for seed in TEST_SEEDS[:40]:
        spec = sample_spec(seed)
        found = labels(spec)
        assert tuple(found) == ATTRIBUTES
        assert CLASS_NAMES["count"][found["count"]] == str(len(spec.objects))
        for name, value in spec.attributes().items():
            if name in NUM_CLASSES:
                assert CLASS_NAMES[name][found[name]] == str(value)


def test_out_of_the_picture_counts_to_the_outermost_bin() -> None:
    assert (position_bin(-3.0), position_bin(0.0), position_bin(9.0)) == (0, POSITION_BINS // 2, POSITION_BINS - 1)
    spec = sample_spec(TEST_SEEDS[0], action="camera pans left").with_subject(x=2.5)
    assert abs(screen_positions(spec)[-1, 0]) > 1
    assert labels(spec)["end_x"] == POSITION_BINS - 1


def test_a_bank_says_which_clips_it_holds() -> None:
    about = {"folder": "None", "first_seed": "7000", "size": "64", "clips": 20, "clips_done": 10}
    array = bank_labels(about)
    assert array.shape == (10, len(ATTRIBUTES))
    assert array[3].tolist() == [*labels(sample_spec(7003)).values()]
    assert (array < np.array([NUM_CLASSES[a] for a in ATTRIBUTES])).all()
    for other in ({"folder": "wallpapers", "first_seed": "0", "clips_done": 3}, {"source": "test", "clips_done": 3}):
        with pytest.raises(ValueError, match="labels"):
            bank_labels(other)


def test_long_clips_have_no_single_label() -> None:
    with pytest.raises(ValueError, match="one action"):
        labels(sample_spec(1, 2))
