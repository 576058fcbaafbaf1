"""Changing single tokens of a clip, to see what each one does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from flextok.tokens.clip import TokenError

Operation = Literal["mute", "resample", "perturb", "restore"]
OPERATIONS = get_args(Operation)


@dataclass(frozen=True)
class Edit:
    """One operation on the tokens of a latent frame and a register; None means all of them.

    mute: the code in the middle of every dimension, which says as little as a code can.
    resample: an id drawn evenly from the codebook.
    perturb: one dimension of the code goes one level up or down.
    restore: what the token was before all edits.
    """

    operation: Operation
    frame: int | None = None
    register: int | None = None


def apply_edits(ids: np.ndarray, edits: Sequence[Edit], levels: Sequence[int], seed: int = 0) -> np.ndarray:
    """Ids (t, k) after `edits`, one after the other; the input stays as it is.

    Args:
        levels: of the quantizer, dimension 0 fastest (`FSQ`).
        seed: decides what resample and perturb draw; the n-th edit draws the same whatever follows it.

    Raises:
        TokenError: an edit lies outside the ids.
    """
    ids = np.asarray(ids).astype(np.int64)  # files hold narrower ones, which sums of digits overflow
    edited = ids.copy()
    for number, edit in enumerate(edits):
        rng = np.random.default_rng([seed, number])
        where = _region(edit, ids.shape)
        if edit.operation == "mute":
            edited[where] = neutral_id(levels)
        elif edit.operation == "resample":
            edited[where] = rng.integers(0, math.prod(levels), edited[where].shape)
        elif edit.operation == "perturb":
            edited[where] = perturbed(edited[where], levels, rng)
        elif edit.operation == "restore":
            edited[where] = ids[where]
        else:
            raise TokenError(f"An edit must be one of {', '.join(OPERATIONS)}, not {edit.operation!r:.40}.")
    return edited


def neutral_id(levels: Sequence[int]) -> int:
    """The id whose code is 0 in every dimension."""
    return sum((level // 2) * math.prod(levels[:i]) for i, level in enumerate(levels))


def perturbed(ids: np.ndarray, levels: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Each id with one dimension of its code, drawn evenly, moved by one level; at an end, inwards."""
    basis = np.array([math.prod(levels[:i]) for i in range(len(levels))])
    dimension = rng.integers(0, len(levels), ids.shape)
    up = np.where(rng.integers(0, 2, ids.shape), 1, -1)
    digit = ids // basis[dimension] % np.array(levels)[dimension]
    last = np.array(levels)[dimension] - 1
    up = np.where(digit == 0, 1, np.where(digit == last, -1, up))
    return ids + up * basis[dimension]


def swap_prefix(ids: np.ndarray, other: np.ndarray, first: int) -> np.ndarray:
    """The first `first` tokens of every latent frame from `other`, the rest from `ids`; both (t, k).

    Raises:
        TokenError: the two do not have the same shape, or `first` is outside 0..k.
    """
    if ids.shape != other.shape:
        raise TokenError(
            f"Tokens can only be swapped between clips of one length and budget, not {ids.shape} and {other.shape}."
        )
    if not 0 <= first <= ids.shape[1]:
        raise TokenError(f"Between 0 and {ids.shape[1]} tokens can be swapped, not {first}.")
    return np.concatenate([other[:, :first], ids[:, first:]], axis=1)


def _region(edit: Edit, shape: tuple[int, ...]) -> tuple[slice, slice]:
    parts = []
    for name, index, size in (("latent frame", edit.frame, shape[0]), ("register", edit.register, shape[1])):
        if index is None:
            parts.append(slice(None))
        elif type(index) is int and 0 <= index < size:
            parts.append(slice(index, index + 1))
        else:
            raise TokenError(f"There is no {name} {index!r:.40}; they count from 0 to {size - 1}.")
    return parts[0], parts[1]
