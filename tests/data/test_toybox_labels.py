"""Labels: what the rendered clip shows, mirrored as the flipped clip shows it."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from flextok.data.toybox_caption import caption
from flextok.data.toybox_labels import (
    ATTRIBUTES,
    CLASS_NAMES,
    NUM_CLASSES,
    POSITION_BINS,
    bank_labels,
    labels,
    labels_of_seeds,
    mirror_labels,
    mirrored_words,
    position_bin,
    screen_positions,
)
from flextok.data.toybox_render import render
from flextok.data.toybox_spec import ACTIONS, TEST_SEEDS, ToyboxSpec, sample_spec


@functools.cache
def subject_masks(spec: ToyboxSpec) -> np.ndarray:
    """The subject's pixels in the first and last frame, found by rendering it alone in two colours: bool (2, H, W)."""
    alone = dataclasses.replace(spec, objects=spec.objects[:1])
    one, two = (render(alone.with_subject(color=c, pattern="plain", material="matte")) for c in ("black", "white"))
    return np.abs(one[[0, -1]].astype(int) - two[[0, -1]]).max(-1) > 8


def subject_place(spec: ToyboxSpec, frame: int, flip: bool) -> tuple[float, float]:
    """Middle of the subject's pixels, (x, y) in [-1, 1], in the first (0) or last (1) frame of the clip or its flip."""
    mask = subject_masks(spec)[frame]
    rows, columns = np.nonzero(mask[:, ::-1] if flip else mask)
    middle = [(v.min() + v.max() + 1) / 2 / len(mask) * 2 - 1 for v in (columns, rows)]
    return middle[0], middle[1]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_positions_are_where_the_subject_is_drawn(action: str, mirrored: bool) -> None:
    spec = sample_spec(TEST_SEEDS[7], action=action).with_subject(radius=0.5)
    found = labels(spec, mirrored)
    for frame, when in ((0, "start"), (1, "end")):
        x, y = subject_place(spec, frame, mirrored)
        for place, name in ((x, f"{when}_x"), (y, f"{when}_y")):
            # The outline's middle is not quite the projected centre, so a neighbour bin is right within 0.1 of an edge.
            allowed = {position_bin(place - 0.1), position_bin(place), position_bin(place + 0.1)}
            assert found[name] in allowed, (name, place)


def test_mirrored_clip_moves_the_other_way_on_the_screen() -> None:
    """Left and right of the labels are those of the picture: the subject's pixels move as the action says."""
    directions = {"rolls left": -1, "rolls right": 1, "camera pans left": 1, "camera pans right": -1}
    for action, mirrored in itertools.product(directions, (False, True)):
        spec = sample_spec(TEST_SEEDS[3], action=action)
        moved = subject_place(spec, 1, mirrored)[0] - subject_place(spec, 0, mirrored)[0]
        said = ACTIONS[labels(spec, mirrored)["action"]]
        assert (said == action) is not mirrored
        assert np.sign(moved) == directions[said]


def test_mirroring_changes_left_and_right_alone_and_undoes_itself() -> None:
    array = labels_of_seeds(TEST_SEEDS[:300])
    mirrored = mirror_labels(array)
    assert np.array_equal(mirrored, labels_of_seeds(TEST_SEEDS[:300], mirrored=True))
    assert np.array_equal(mirror_labels(mirrored), array)
    changed = {name for name, column in zip(ATTRIBUTES, (array != mirrored).T, strict=True) if column.any()}
    assert changed == {"action", "start_x", "end_x"}


def test_captions_follow_the_mirror() -> None:
    for seed in TEST_SEEDS[:60]:
        spec = sample_spec(seed)
        for variant in range(4):
            plain, mirrored = caption(spec, variant), caption(mirrored_words(spec), variant)
            swapped = plain.replace(" left", " RIGHT").replace(" right", " left").replace(" RIGHT", " right")
            assert mirrored == swapped


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
