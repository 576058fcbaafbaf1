"""Transformer blocks of the tokenizers: parameter-free LayerNorms, QK-norm, gated MLP, adaLN for the flow decoder.

The released checkpoints and the embedded ones use the same blocks; parameter names are the released ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5


class Modulation(NamedTuple):
    """adaLN vectors of one block, each broadcastable to (b, s, d), in the order of the checkpoints."""

    gate_attention: Tensor
    gate_mlp: Tensor
    shift_attention: Tensor
    scale_attention: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last axis without weight or bias."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


class Attention(nn.Module):
    """Multi-head self-attention with LayerNorm on queries and keys; logits are scaled by 8 / head_dim (muP)."""

    def __init__(
        self, dim: int, head_dim: int, qk_norm: bool = True, qkv_bias: bool = False, proj_bias: bool = False
    ) -> None:
        super().__init__()
        if dim % head_dim:
            raise ValueError(f"dim={dim} must be divisible by head_dim={head_dim}")
        self.head_dim, self.qk_norm = head_dim, qk_norm
        self.wq, self.wk, self.wv = (nn.Linear(dim, dim, bias=qkv_bias) for _ in range(3))
        self.proj = nn.Linear(dim, dim, bias=proj_bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (b, s, d); mask: broadcastable to (b, heads, s, s), bool (True = may attend) or added to the logits."""
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        if self.qk_norm:
            q, k = layer_norm(q), layer_norm(k)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=8 / self.head_dim)  # (b, heads, s, head_dim)
        return self.proj(y.transpose(1, 2).flatten(2))


class GatedMLP(nn.Module):
    """fc2(SiLU(fc1 x) * fc3 x), with two thirds of the hidden width so that it costs what a plain MLP does."""

    def __init__(self, dim: int, mlp_ratio: float = 4.0, bias: bool = False) -> None:
        super().__init__()
        hidden = int(2 * int(dim * mlp_ratio) / 3)
        self.fc1, self.fc3 = (nn.Linear(dim, hidden, bias=bias) for _ in range(2))
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class Block(nn.Module):
    """Pre-norm transformer block; with `modulated` its norms and gates follow a time embedding (adaLN)."""

    def __init__(self, dim: int, head_dim: int, mlp_ratio: float = 4.0, modulated: bool = False) -> None:
        super().__init__()
        self.attn = Attention(dim, head_dim)
        self.mlp = GatedMLP(dim, mlp_ratio)
        if modulated:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))

    def modulation(self, time_embedding: Tensor) -> Modulation:
        """time_embedding: (b, d) -> six vectors (b, 1, d)."""
        return Modulation(*self.adaLN_modulation(time_embedding).unsqueeze(1).chunk(6, dim=-1))

    def forward(self, x: Tensor, mask: Tensor | None = None, modulation: Modulation | None = None) -> Tensor:
        if modulation is None:
            x = x + self.attn(layer_norm(x), mask)
            return x + self.mlp(layer_norm(x))
        m = modulation
        x = x + m.gate_attention * self.attn(layer_norm(x) * (1 + m.scale_attention) + m.shift_attention, mask)
        return x + m.gate_mlp * self.mlp(layer_norm(x) * (1 + m.scale_mlp) + m.shift_mlp)


class TimestepEmbedder(nn.Module):
    """Sinusoidal features of t in (0, max_timestep], then an MLP.

    The slowest frequency follows the period constant 256 (not the usual 10,000), as in the released checkpoints.
    """

    def __init__(self, dim: int, num_features: int = 256, max_timestep: float = 1.0) -> None:
        super().__init__()
        self.num_features, self.max_timestep = num_features, max_timestep
        self.mlp = nn.Sequential(nn.Linear(num_features, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """t: (b,) -> (b, d)."""
        half = self.num_features // 2
        steps = torch.arange(half, device=t.device, dtype=torch.float32) / half
        frequencies = 1000.0 / self.max_timestep * torch.exp(-torch.log(torch.tensor(256.0)) * steps)
        angles = t.float()[:, None] * frequencies  # (b, half)
        features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        features = F.pad(features, (0, self.num_features - 2 * half))
        return self.mlp(features.to(next(self.mlp.parameters()).dtype))
