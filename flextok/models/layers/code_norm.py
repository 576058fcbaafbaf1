"""Normalisation of codes before they are bounded."""

from __future__ import annotations

import torch
from torch import Tensor

from flextok.models.layers.keep_float32 import KeepFloat32


class CodeNorm(KeepFloat32):
    """Zero mean and unit variance for each (register, code dimension) over clips and frames (running ones in eval).

    Without it FSQ's bounded codes saturate within tens of steps and carry no gradient; with it every register starts
    with its ids about evenly in use.
    """

    momentum = 0.02
    mean: Tensor
    var: Tensor

    def __init__(self, num_registers: int, code_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_registers, code_dim))
        self.register_buffer("var", torch.ones(num_registers, code_dim))

    def forward(self, codes: Tensor, row: int | None = None) -> Tensor:
        """codes: (b, t, k, f), the first k registers, or all cells of a grid, which share one row of the statistics."""
        codes = codes.float()
        rows = slice(codes.shape[2]) if row is None else slice(row, row + 1)
        if not self.training:
            return (codes - self.mean[rows]) * torch.rsqrt(self.var[rows] + 1e-5)
        var, mean = torch.var_mean(codes, dim=(0, 1) if row is None else (0, 1, 2), unbiased=False)  # (k, f) or (f,)
        with torch.no_grad():
            self.mean[rows].lerp_(mean.expand_as(self.mean[rows]), self.momentum)
            self.var[rows].lerp_(var.expand_as(self.var[rows]), self.momentum)
        return (codes - mean) * torch.rsqrt(var + 1e-5)
