"""A clip as tokens that can leave the machine: the ids, which weights they belong to, and how to decode them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flextok.loading.fingerprint import FINGERPRINT_BYTES

MAX_TOKENS = 1 << 17
MAX_LATENT_FRAMES = 1 << 12
MAX_NUM_IDS = 1 << 31
MAX_MODEL_CHARACTERS = 200
MAX_SEED = 2**31 - 1


class TokenError(ValueError):
    """Tokens that cannot be used; the text is one sentence for the user."""


@dataclass(frozen=True)
class ClipTokens:
    """Token ids of one clip and what is needed to decode them alike elsewhere.

    Raises:
        TokenError: a field is out of its range; ids, texts and numbers from strangers end here.
    """

    ids: tuple[tuple[int, ...], ...]
    """t rows, one for each latent frame, of k ids each."""
    num_ids: int
    """Values an id can have."""
    model: str
    """As `load_tokenizer` and the app call it."""
    fingerprint: str
    """Of its weights, see `flextok.loading.fingerprint`."""
    num_frames: int
    """Frames of the clip; what the last chunk was padded with does not count."""
    fps: float
    steps: int
    guidance: float
    seed: int

    def __post_init__(self) -> None:
        rows, k = len(self.ids), len(self.ids[0]) if self.ids else 0
        if not rows or not k or any(len(row) != k for row in self.ids):
            raise TokenError("The ids must be rows of the same length, one row for each latent frame.")
        if rows > MAX_LATENT_FRAMES or rows * k > MAX_TOKENS:
            raise TokenError(f"{rows} x {k} tokens are more than a clip of this app has.")
        _whole("num_ids", self.num_ids, 2, MAX_NUM_IDS)
        for row in self.ids:
            for value in row:
                if type(value) is not int or not 0 <= value < self.num_ids:
                    raise TokenError(f"Token ids must be whole numbers in 0..{self.num_ids - 1}, not {value!r:.40}.")
        if not isinstance(self.model, str) or not 0 < len(self.model) <= MAX_MODEL_CHARACTERS:
            raise TokenError(f"The model's name must have 1 to {MAX_MODEL_CHARACTERS} characters.")
        if not self.model.isprintable():
            raise TokenError("The model's name holds characters that cannot be shown.")
        if not isinstance(self.fingerprint, str) or not re.fullmatch(
            f"[0-9a-f]{{{2 * FINGERPRINT_BYTES}}}", self.fingerprint
        ):
            raise TokenError(f"A fingerprint is {2 * FINGERPRINT_BYTES} hexadecimal digits.")
        _whole("num_frames", self.num_frames, 1, 16 * rows)
        _number("fps", self.fps, 0.001, 1000)
        _whole("steps", self.steps, 1, 1000)
        _number("guidance", self.guidance, 0, 100)
        _whole("seed", self.seed, 0, MAX_SEED)

    @property
    def latent_frames(self) -> int:
        return len(self.ids)

    @property
    def keep_k(self) -> int:
        """Tokens of each latent frame."""
        return len(self.ids[0])

    @property
    def bits_per_token(self) -> int:
        return (self.num_ids - 1).bit_length()

    @property
    def num_bytes(self) -> int:
        """Of the ids alone, packed."""
        return math.ceil(self.latent_frames * self.keep_k * self.bits_per_token / 8)

    def array(self) -> np.ndarray:
        """The ids as int64 (t, k)."""
        return np.array(self.ids, np.int64)

    def prefix(self, keep_k: int) -> ClipTokens:
        """The first keep_k tokens of each latent frame.

        Raises:
            TokenError: there are fewer.
        """
        _whole("k", keep_k, 1, self.keep_k)
        return replace(self, ids=tuple(row[:keep_k] for row in self.ids))

    def with_ids(self, ids: np.ndarray) -> ClipTokens:
        return replace(self, ids=rows_of(ids))


def rows_of(ids: np.ndarray | Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Integers (t, k), NumPy or nested, as plain tuples."""
    return tuple(tuple(int(value) for value in row) for row in np.asarray(ids, np.int64))


def _whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:  # bool is no number here
        raise TokenError(f"{name} must be a whole number in {low}..{high}, not {value!r:.40}.")


def _number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # refuses NaN
        raise TokenError(f"{name} must be a number in {low}..{high}, not {value!r:.40}.")
