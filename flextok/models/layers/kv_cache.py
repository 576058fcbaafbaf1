"""Keys and values of an autoregressive model, kept in tensors of one size from the first token to the last."""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """One (b, heads, max_len, head_dim) pair a layer; `length` positions are filled.

    Slices are taken by `narrow`: with one token a step the time goes into calls, and indexing makes several.
    """

    def __init__(
        self, layers: int, batch: int, heads: int, max_len: int, head_dim: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (batch, heads, max_len, head_dim)
        self.layers = [tuple(torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)) for _ in range(layers)]
        self.max_len = max_len
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (b, heads, s, head_dim) of one layer; all of that layer so far. See `advance`."""
        stop = self.length + k.shape[2]
        if stop > self.max_len:
            raise ValueError(f"the cache holds {self.max_len} positions, {stop} were asked for")
        keys, values = self.layers[layer]
        keys.narrow(2, self.length, k.shape[2]).copy_(k)
        values.narrow(2, self.length, k.shape[2]).copy_(v)
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)

    def advance(self, count: int) -> None:
        """After the last layer: `count` positions are filled."""
        self.length += count
