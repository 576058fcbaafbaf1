"""The order in which a generator writes tokens, and the shape it writes them into.

Time-first, for registers: the first token of every latent frame, then the second of every latent frame, and so on, so
that wherever it stops there is a whole clip, only coarser (arXiv:2604.12887). Raster, for grids: frame by frame, cell
by cell; stopping early leaves frames out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Order = Literal["time_first", "raster"]


@dataclass(frozen=True)
class TokenOrder:
    """Sequences of `num_frames` x `tokens_per_frame` tokens in one of two orders."""

    order: Order
    num_frames: int
    tokens_per_frame: int

    def __post_init__(self) -> None:
        if self.order not in ("time_first", "raster"):
            raise ValueError(f"order={self.order!r} must be 'time_first' or 'raster'")
        if min(self.num_frames, self.tokens_per_frame) < 1:
            raise ValueError(f"{self.num_frames} frames of {self.tokens_per_frame} tokens make no sequence")

    def __len__(self) -> int:
        return self.num_frames * self.tokens_per_frame

    def flatten(self, token_ids: Tensor) -> Tensor:
        """(b, t, k) -> (b, t k)."""
        return (token_ids.transpose(1, 2) if self.order == "time_first" else token_ids).flatten(1)

    def unflatten(self, sequence: Tensor) -> Tensor:
        """(b, n) -> (b, t, k). Any whole number of tokens per frame (time-first), or of frames (raster), will do.

        Raises:
            ValueError: n tokens are not that.
        """
        part = self.num_frames if self.order == "time_first" else self.tokens_per_frame
        if not 0 < sequence.shape[1] <= len(self) or sequence.shape[1] % part:
            raise ValueError(f"{sequence.shape[1]} tokens in {self.order} order are not a multiple of {part}")
        grid = sequence.unflatten(1, (-1, part))
        return grid.transpose(1, 2) if self.order == "time_first" else grid

    def places(self) -> tuple[Tensor, Tensor]:
        """Latent frame and place in it of each token of the sequence, two int64 tensors (t k,)."""
        index = torch.arange(len(self))
        if self.order == "time_first":
            return index % self.num_frames, index // self.num_frames
        return index // self.tokens_per_frame, index % self.tokens_per_frame
