"""Latent frames as patch tokens and back."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from flextok.models.layers.compute_dtype import compute_dtype


def patchify(latents: Tensor, patch: int) -> Tensor:
    """(b, c, t, h, w) -> (b, t, n, patch * patch * c), rows first, channels fastest."""
    return rearrange(latents, "b c t (h p) (w q) -> b t (h w) (p q c)", p=patch, q=patch)


def unpatchify(patches: Tensor, patch: int, height: int) -> Tensor:
    """Inverse of `patchify`; height is that of the latents."""
    return rearrange(patches, "b t (h w) (p q c) -> b c t (h p) (w q)", p=patch, q=patch, h=height // patch)


def coarse_to_fine_places(count: int, rows: int, columns: int) -> Tensor:
    """Places for `count` registers on a grid of patches, any prefix spread evenly: indices (count,) into the patches.

    The Halton sequence of bases 2 and 3. Registers that start out at places differ from the first step; nothing ties
    them there, and training moves what a place cannot serve.
    """

    def radical_inverse(index: int, base: int) -> float:
        value, scale = 0.0, 1.0
        while index:
            scale /= base
            value += scale * (index % base)
            index //= base
        return value

    points = [(radical_inverse(i + 1, 2), radical_inverse(i + 1, 3)) for i in range(count)]
    return torch.tensor([int(y * rows) * columns + int(x * columns) for x, y in points])


class PatchEmbedder(nn.Module):
    """Patches of latents to tokens (b, t, n, d), with learned positions (frame + place in the frame)."""

    def __init__(self, channels: int, patch: int, grid: tuple[int, int], max_frames: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        rows, columns = grid
        self.proj = nn.Linear(channels * patch * patch, dim)
        self.position = nn.Parameter(torch.randn(rows * columns, dim) * 0.5)
        self.frame = nn.Parameter(torch.randn(max_frames, 1, dim) * 0.2)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.proj(patchify(latents, self.patch).to(compute_dtype(self.proj)))  # (b, t, n, d)
        return x + self.position + self.frame[: x.shape[1]]
