"""Keys and values of an autoregressive model, kept in tensors of one size from the first token to the last."""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """One (b, heads, max_len, head_dim) pair a layer; `length` positions are filled."""

    def __init__(
        self, layers: int, batch: int, heads: int, max_len: int, head_dim: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (layers, batch, heads, max_len, head_dim)
        self.keys, self.values = (torch.zeros(shape, device=device, dtype=dtype) for _ in range(2))
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (b, heads, s, head_dim) of one layer; all of that layer so far. See `advance`."""
        stop = self.length + k.shape[2]
        if stop > self.keys.shape[3]:
            raise ValueError(f"the cache holds {self.keys.shape[3]} positions, {stop} were asked for")
        self.keys[layer, :, :, self.length : stop] = k
        self.values[layer, :, :, self.length : stop] = v
        return self.keys[layer, :, :, :stop], self.values[layer, :, :, :stop]

    def advance(self, count: int) -> None:
        """After the last layer: `count` positions are filled."""
        self.length += count
