"""Finite scalar quantization (Mentzer et al., arXiv:2309.15505): each code dimension is rounded to a few levels.

A token id counts the level indices in mixed radix with dimension 0 fastest; there is no codebook to learn or to lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BOUND_SLACK = 1e-3
"""The bound reaches this fraction beyond the outermost level, so that it can be reached at finite input."""


class FSQ:
    """Rounds codes (..., f) to `levels`; no parameters, so a plain object.

    Args:
        levels: levels of each of the f dimensions, e.g. (8, 8, 8, 5, 5, 5) = 64,000 ids.

    Raises:
        ValueError: a level below 2, or more ids than int64 holds.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        if not levels or min(levels) < 2:
            raise ValueError(f"levels={list(levels)} must be integers of at least 2")
        if math.prod(levels) >= 2**62:
            raise ValueError(f"levels={list(levels)} give more ids than fit into int64")
        self.levels = tuple(int(level) for level in levels)
        self.num_ids = math.prod(self.levels)

    def bound(self, z: Tensor) -> Tensor:
        """Squash unbounded z (..., f), float32, so that rounding gives exactly `levels` values per dimension."""
        levels = torch.tensor(self.levels, device=z.device, dtype=torch.float32)
        half = (levels - 1) * (1 + BOUND_SLACK) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)  # an even number of levels has no middle one
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset

    def quantize(self, z: Tensor, rounded: bool = True) -> Tensor:
        """Unbounded z (..., f) to codes (..., f) in [-1, 1]; the gradient passes the rounding unchanged.

        Args:
            rounded: False leaves the codes between the levels, for a warm-up before training with them.
        """
        bounded = self.bound(z.float())
        if rounded:
            bounded = bounded + (bounded.round() - bounded).detach()
        return bounded / self._half_width(z)

    def codes_to_ids(self, codes: Tensor) -> Tensor:
        """Codes (..., f) as `quantize` gives them to ids (...), int64 in [0, num_ids)."""
        half = self._half_width(codes)
        digits = (codes.float() * half + half).round().long()  # (..., f), digit i in [0, levels[i])
        return (digits * self._basis(codes.device)).sum(-1)

    def ids_to_codes(self, ids: Tensor) -> Tensor:
        """Ids (...) to codes (..., f), float32.

        Raises:
            ValueError: ids are not integers in [0, num_ids).
        """
        if ids.dtype.is_floating_point or ids.dtype == torch.bool:
            raise ValueError(f"token ids must be integers, got {ids.dtype}")
        # Values decide what a graph does next, so a compiled one leaves the check to its caller.
        checked = ids.numel() and not torch.compiler.is_compiling()
        if checked and not 0 <= int(ids.min()) <= int(ids.max()) < self.num_ids:
            raise ValueError(f"token ids must be in 0..{self.num_ids - 1}, got {int(ids.min())}..{int(ids.max())}")
        levels = torch.tensor(self.levels, device=ids.device)
        digits = ids.long().unsqueeze(-1) // self._basis(ids.device) % levels  # (..., f)
        half = levels // 2
        return ((digits - half) / half).float()

    def _half_width(self, like: Tensor) -> Tensor:
        return torch.tensor([level // 2 for level in self.levels], device=like.device, dtype=torch.float32)

    def _basis(self, device: torch.device) -> Tensor:
        return torch.tensor([math.prod(self.levels[:i]) for i in range(len(self.levels))], device=device)
