"""Toybox: deterministic, exact edits, disjoint splits, true captions."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.motion import trajectory
from flextok.toybox.render import render
from flextok.toybox.sampling import (
    HELD_OUT_COMBINATIONS,
    HELD_OUT_SEEDS,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    sample_spec,
)
from flextok.toybox.spec import SIZES, ToyboxSpec


@given(st.integers(0, HELD_OUT_SEEDS.stop - 1), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_spec_survives_json_and_keeps_its_split(seed: int, num_actions: int) -> None:
    spec = sample_spec(seed, num_actions)
    assert ToyboxSpec.from_json(spec.to_json()) == spec
    assert spec.num_frames == 1 + 16 * num_actions
    combinations = {(spec.subject.color, spec.subject.shape, action) for action in spec.actions}
    assert bool(combinations & set(HELD_OUT_COMBINATIONS)) == (seed in HELD_OUT_SEEDS)


def test_splits_share_no_seed() -> None:
    edges = sorted((s.start, s.stop) for s in (TRAIN_SEEDS, VALIDATION_SEEDS, TEST_SEEDS, HELD_OUT_SEEDS))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(edges))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"objects": [], "actions": []}', '{"objects": 3, "actions": ["spins"]}']
)
def test_damaged_spec_is_one_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"Toybox|ToyboxSpec"):
        ToyboxSpec.from_json(text)


@pytest.mark.parametrize("change", [{"vigor": "high"}, {"vigor": 0}, {"vigor": float("nan")}, {"style_seed": 0.5}])
def test_spec_with_an_impossible_number_is_one_error(change: dict[str, object]) -> None:
    fields = json.loads(sample_spec(1).to_json())
    with pytest.raises(ValueError, match="must be"):
        ToyboxSpec.from_json(json.dumps({**fields, **change}))
    fields["objects"][0]["radius"] = -1
    with pytest.raises(ValueError, match="radius"):
        ToyboxSpec.from_json(json.dumps(fields))


def test_a_held_out_seed_fixes_its_action() -> None:
    with pytest.raises(ValueError, match="held-out"):
        sample_spec(HELD_OUT_SEEDS[0], action="drops")


@pytest.mark.parametrize(("seed", "num_actions"), [(-1, 1), (13_000_000, 1), (0, 0)])
def test_sampling_refuses_what_is_outside(seed: int, num_actions: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        sample_spec(seed, num_actions)


def test_rendering_is_deterministic_and_lively() -> None:
    for index, action in enumerate(ACTIONS):
        spec = sample_spec(500 + index, action=action)
        frames = render(spec, 32)
        assert frames.shape == (17, 32, 32, 3)
        assert np.array_equal(frames, render(spec, 32))
        assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 20, f"nothing moves when it {action}"


def test_an_edit_changes_the_subject_alone() -> None:
    spec = sample_spec(12, action="rolls right")
    other = spec.with_subject(color="blue" if spec.subject.color != "blue" else "red")
    before, after = render(spec, 48).astype(int), render(other, 48).astype(int)
    changed = np.abs(before - after).max(axis=-1) > 8
    assert 0 < changed.mean() < 0.3
    assert np.array_equal(trajectory(spec).position, trajectory(other).position)
    # What changes moves to the right with the subject.
    columns = [np.nonzero(frame.any(axis=0))[0].mean() for frame in changed]
    assert columns[-1] > columns[0] + 10


def test_another_motion_keeps_the_look() -> None:
    spec = sample_spec(12, action="rolls right").with_actions("bounces", "spins")
    assert spec.num_frames == 33
    assert spec.subject == dataclasses.replace(
        sample_spec(12, action="rolls right").subject, x=spec.subject.x, z=spec.subject.z
    )


def test_what_a_caption_names_is_plain_to_see() -> None:
    """One subject that is large on the screen and never wholly out of it; a bystander is seen beside it."""
    bystanders = 0
    for seed in range(48):
        spec = sample_spec(seed)
        bare = dataclasses.replace(spec, objects=spec.objects[:1])
        frames = render(bare).astype(int)
        other = render(bare.with_subject(color="white" if spec.subject.color != "white" else "red")).astype(int)
        seen = (np.abs(frames - other).max(axis=-1) > 8).mean(axis=(1, 2))
        assert seen.max() > 0.012
        assert seen.min() > 0.005, (seed, spec.actions)
        if len(spec.objects) > 1:
            bystanders += 1
            assert spec.objects[1].color != spec.subject.color
            beside = np.abs(render(spec).astype(int) - frames).max(axis=-1) > 8
            assert beside.mean(axis=(1, 2)).max() > 0.002, (seed, spec.actions)
    assert 8 < bystanders < 26
    assert len({sample_spec(seed).objects[0].radius for seed in range(40)}) == len(SIZES)


def test_long_clips_have_no_jump_and_stay_in_view() -> None:
    for seed in range(40):
        path = trajectory(sample_spec(seed, 5))
        assert path.position.shape == (81, 3)
        assert np.abs(np.diff(path.position, axis=0)).max() < 0.6
        assert np.abs(path.position[:, 0]).max() < 2.2
        assert (path.position[:, 1] >= 0).all()


@pytest.mark.parametrize("variant", range(6))
def test_captions_say_what_is_there(variant: int) -> None:
    for seed in range(20):
        spec = sample_spec(seed, 2)
        text = caption(spec, variant)
        assert spec.subject.color in text
        assert text == caption(spec, variant)
        others = [o.color for o in spec.objects]
        # Orange and green are also words for skies and floors.
        absent = {"red", "yellow", "purple", "white"} - set(others)
        assert not any(f" {color} " in f" {text} " for color in absent)


def test_plainest_caption_reads_like_a_sentence() -> None:
    spec = sample_spec(3, action="rolls left")
    text = caption(spec)
    assert text.startswith(f"a {spec.subject.size_name} {spec.subject.color}") or text.startswith("an ")
    assert "rolls left" in text
