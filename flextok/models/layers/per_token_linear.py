"""A linear map of its own for each register."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PerTokenLinear(nn.Module):
    """(b, t, k, in) -> (b, t, k, out); register i has its own weight and bias, and k may be any prefix of them.

    With one map for all, registers that look at the same place can only differ by what the blocks make of them.
    """

    def __init__(self, num_tokens: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_tokens, in_features, out_features) * in_features**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_tokens, out_features))

    def forward(self, x: Tensor) -> Tensor:
        k = x.shape[2]
        return torch.einsum("btki,kio->btko", x, self.weight[:k].to(x.dtype)) + self.bias[:k].to(x.dtype)
