"""Captions of Toybox specs: several phrasings and synonyms, always true of the clip, never about its random style."""

from __future__ import annotations

import numpy as np

from flextok.toybox.spec import COLORS, ToyboxSpec, ToyObject

SHAPE_WORDS = {
    "ball": ("ball", "sphere"),
    "cube": ("cube", "box"),
    "cylinder": ("cylinder", "drum"),
    "cone": ("cone",),
}
SIZE_WORDS = {"large": ("large", "big"), "small": ("small", "little")}
PATTERN_WORDS = {"plain": ("",), "striped": ("striped",), "spotted": ("spotted", "dotted")}
ACTION_WORDS = {
    "rolls left": ("rolls left", "moves to the left", "rolls to the left"),
    "rolls right": ("rolls right", "moves to the right", "rolls to the right"),
    "bounces": ("bounces", "bounces up and down", "jumps up and down"),
    "drops": ("drops", "falls to the floor", "falls down"),
    "rises": ("rises", "floats up", "rises into the air"),
    "spins": ("spins", "turns around", "spins on the spot"),
    "comes closer": ("comes closer", "moves towards the camera", "approaches"),
    "moves away": ("moves away", "moves away from the camera", "goes off into the distance"),
    "circles": ("circles", "moves in a circle", "goes around in a circle"),
    "is hit by a ball": ("is hit by a ball", "is pushed by a ball", "gets hit by a rolling ball"),
    "camera pans left": ("stands still while the camera pans left", "stays put as the camera turns left"),
    "camera pans right": ("stands still while the camera pans right", "stays put as the camera turns right"),
}
FLOOR_WORDS = {
    "wood": ("a wooden floor", "a brown floor"),
    "stone": ("a stone floor", "a grey floor"),
    "sand": ("sand", "a sandy floor"),
    "grass": ("grass", "a green floor"),
}
SKY_WORDS = {
    "day": ("in daylight", "under a blue sky"),
    "sunset": ("at sunset", "under an orange sky"),
    "night": ("at night", "under a dark sky"),
}
JOINS = (", then ", " and then ", ", after that ")


def caption(spec: ToyboxSpec, variant: int = 0) -> str:
    """Describe a clip in one sentence; `variant` picks words and how much is said, and 0 is the plainest.

    Variant 0 reads like "a large red ball rolls left past a blue cube on grass in daylight".
    """
    rng = np.random.default_rng(variant)

    def pick(words: tuple[str, ...]) -> str:
        return words[0] if variant == 0 else words[int(rng.integers(len(words)))]

    def describe(obj: ToyObject) -> str:
        words = [
            pick(SIZE_WORDS[obj.size_name]),
            obj.color,
            pick(PATTERN_WORDS[obj.pattern]),
            pick(SHAPE_WORDS[obj.shape]),
        ]
        if variant and rng.random() < 0.3:
            words[0] = ""
        return "a " + " ".join(word for word in words if word)

    actions = [pick(ACTION_WORDS[action]) for action in spec.actions]
    text = describe(spec.subject) + " " + actions[0]
    for action in actions[1:]:
        text += pick(JOINS) + action
    if len(spec.objects) > 1 and (variant == 0 or rng.random() < 0.7):
        other = spec.objects[1]
        passes = spec.actions == ("rolls left",) or spec.actions == ("rolls right",)
        text += (" past " if passes else " near ") + f"a {other.color} {pick(SHAPE_WORDS[other.shape])}"
    if variant == 0 or rng.random() < 0.8:
        text += " on " + pick(FLOOR_WORDS[spec.floor])
    if variant == 0 or rng.random() < 0.7:
        text += " " + pick(SKY_WORDS[spec.sky])
    return text.replace("a orange", "an orange")


def vocabulary() -> tuple[str, ...]:
    """Every word and punctuation mark that a caption can hold, sorted."""
    phrases = [*COLORS, *JOINS, "a", "an", "past", "near", "on"]
    for words in (SHAPE_WORDS, SIZE_WORDS, PATTERN_WORDS, ACTION_WORDS, FLOOR_WORDS, SKY_WORDS):
        phrases += [phrase for options in words.values() for phrase in options]
    return tuple(sorted(set(" ".join(phrases).replace(",", " , ").split())))
