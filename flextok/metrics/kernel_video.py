"""Kernel video distance: the KID of Binkowski et al. (arXiv:1801.01401) on the features of a video network.

Unlike the Frechet distance it is unbiased, so a few hundred clips do, and it compares sets of different content: a
model's clips with *other* real clips, where what is shown cancels out and what is left is how real it looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FOLDS = 16


@dataclass(frozen=True)
class KernelDistance:
    """An estimate and its standard error; 0 for equal distributions, and so at times below it."""

    value: float
    error: float


def kernel_distance(real: Tensor, other: Tensor) -> KernelDistance:
    """Unbiased squared MMD between two sets of features with the kernel (x.y / d + 1)^3.

    The error is a jackknife over `FOLDS` groups of clips, left out of both sets one after another.

    Args:
        real, other: (n, d) and (m, d), features of clips (`FeatureExtractor`).

    Raises:
        ValueError: fewer clips than two a group, or features of different sizes.
    """
    if real.ndim != 2 or other.ndim != 2 or real.shape[1] != other.shape[1]:
        raise ValueError(f"features must be (n, d) and (m, d), got {tuple(real.shape)} and {tuple(other.shape)}")
    if min(len(real), len(other)) < 2 * FOLDS:
        raise ValueError(f"a kernel distance needs at least {2 * FOLDS} clips a set, got {len(real)} and {len(other)}")
    x, y = real.double(), other.double()
    kernels = _kernel(x, x), _kernel(x, y), _kernel(y, y)
    folds_x, folds_y = (torch.arange(len(z)) % FOLDS for z in (x, y))
    without = torch.stack([_mmd(*kernels, folds_x != fold, folds_y != fold) for fold in range(FOLDS)])
    everything = _mmd(*kernels, folds_x >= 0, folds_y >= 0)
    spread = (without - without.mean()).square().sum() * (FOLDS - 1) / FOLDS
    return KernelDistance(float(everything), math.sqrt(float(spread)))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mmd(xx: Tensor, xy: Tensor, yy: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of the clips that `rows` (n,) and `columns` (m,) choose."""
    xx, yy, xy = xx[rows][:, rows], yy[columns][:, columns], xy[rows][:, columns]
    n, m = len(xx), len(yy)
    same = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return same - 2 * xy.mean()
