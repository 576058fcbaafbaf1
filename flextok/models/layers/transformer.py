"""Transformer blocks of the tokenizers: parameter-free LayerNorms, QK-norm, gated MLP, adaLN for the flow decoder.

The released checkpoints and the embedded ones use the same blocks; parameter names are the released ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.models.layers.compute_dtype import compute_dtype

NORM_EPS = 1e-5


Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""q, k, v (b, heads, s, head_dim) and the scale of the logits -> values (b, s, heads, head_dim)."""


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last axis without weight or bias."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


def attention_by_matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """What SDPA computes, as plain products: (b, heads, s, head_dim). For training on a CPU.

    The backward pass of SDPA's CPU kernel is slow at the sequence lengths of a clip: forward and backward in bf16 on
    one core took 31 ms against 11 ms here at 160 tokens, 106 ms against 67 ms at 400 (16 clips, 3 heads of 64).
    """
    logits = (q @ k.transpose(-1, -2)) * scale  # (b, heads, s, s)
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=logits.dtype).masked_fill(~mask, float("-inf"))
        logits = logits + mask.to(logits.dtype)
    return logits.softmax(-1) @ v


class BlockModulation(Protocol):
    """What a time embedding does to the two branches of a block (adaLN)."""

    def before_attention(self, x: Tensor) -> Tensor: ...

    def after_attention(self, x: Tensor, y: Tensor) -> Tensor: ...

    def before_mlp(self, x: Tensor) -> Tensor: ...

    def after_mlp(self, x: Tensor, y: Tensor) -> Tensor: ...


class Modulation(NamedTuple):
    """adaLN vectors of one block, each broadcastable to (b, s, d), in the order of the checkpoints."""

    gate_attention: Tensor
    gate_mlp: Tensor
    shift_attention: Tensor
    scale_attention: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor

    def before_attention(self, x: Tensor) -> Tensor:
        return layer_norm(x) * (1 + self.scale_attention) + self.shift_attention

    def after_attention(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.gate_attention * y

    def before_mlp(self, x: Tensor) -> Tensor:
        return layer_norm(x) * (1 + self.scale_mlp) + self.shift_mlp

    def after_mlp(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.gate_mlp * y


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

    def forward(self, x: Tensor, mask: Tensor | Attend | None = None) -> Tensor:
        """x: (b, s, d).

        mask: broadcastable to (b, heads, s, s), bool (True = may attend) or added to the logits; or a function that
        does the attending itself, for sequences that are packed.
        """
        x = x.to(compute_dtype(self.wq))  # the residual stream may be float32 where the weights are not
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)) for w in (self.wq, self.wk, self.wv))
        if self.qk_norm:
            q, k = layer_norm(q), layer_norm(k)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))  # (b, heads, s, head_dim)
        scale = 8 / self.head_dim
        if mask is not None and not isinstance(mask, Tensor):
            y = mask(q, k, v, scale)
        elif q.requires_grad and q.device.type == "cpu":
            y = attention_by_matmul(q, k, v, mask, scale).transpose(1, 2)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)
        return self.proj(y.flatten(2))


class GatedMLP(nn.Module):
    """fc2(SiLU(fc1 x) * fc3 x), with two thirds of the hidden width so that it costs what a plain MLP does."""

    def __init__(self, dim: int, mlp_ratio: float = 4.0, bias: bool = False) -> None:
        super().__init__()
        hidden = int(2 * int(dim * mlp_ratio) / 3)
        self.fc1, self.fc3 = (nn.Linear(dim, hidden, bias=bias) for _ in range(2))
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(compute_dtype(self.fc1))
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class MLP(nn.Module):
    """fc2(SiLU(fc1 x)): what a checkpoint with `gated_mlp: false` holds."""

    def __init__(self, dim: int, mlp_ratio: float = 4.0, bias: bool = False) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.fc1, self.fc2 = nn.Linear(dim, hidden, bias=bias), nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x.to(compute_dtype(self.fc1)))))


class Block(nn.Module):
    """Pre-norm transformer block; with `modulated` its norms and gates follow a time embedding (adaLN).

    Args:
        num_modulations: how many kinds of tokens are modulated each by vectors of their own (registers and patches).
    """

    def __init__(
        self,
        dim: int,
        head_dim: int,
        mlp_ratio: float = 4.0,
        modulated: bool = False,
        num_modulations: int = 1,
        gated_mlp: bool = True,
        qk_norm: bool = True,
        qkv_bias: bool = False,
        proj_bias: bool = False,
        mlp_bias: bool = False,
    ) -> None:
        super().__init__()
        self.attn = Attention(dim, head_dim, qk_norm, qkv_bias, proj_bias)
        self.mlp = (GatedMLP if gated_mlp else MLP)(dim, mlp_ratio, mlp_bias)
        if modulated:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, num_modulations * 6 * dim))

    def modulation(self, time_embedding: Tensor) -> Modulation:
        """time_embedding: (b, d) -> six vectors (b, 1, d)."""
        return Modulation(*self.adaLN_modulation(time_embedding).unsqueeze(1).chunk(6, dim=-1))

    def forward(
        self, x: Tensor, mask: Tensor | Attend | None = None, modulation: BlockModulation | None = None
    ) -> Tensor:
        if modulation is None:
            x = x + self.attn(layer_norm(x), mask)
            return x + self.mlp(layer_norm(x))
        x = modulation.after_attention(x, self.attn(modulation.before_attention(x), mask))
        return modulation.after_mlp(x, self.mlp(modulation.before_mlp(x)))


class TimestepEmbedder(nn.Module):
    """Sinusoidal features of t in (0, max_timestep], then an MLP.

    The slowest frequency follows the period constant 256 (not the usual 10,000), as in the released checkpoints.
    """

    def __init__(self, dim: int, num_features: int = 256, max_timestep: float = 1.0) -> None:
        super().__init__()
        self.num_features, self.max_timestep = num_features, max_timestep
        self.mlp = nn.Sequential(nn.Linear(num_features, dim), nn.SiLU(), nn.Linear(dim, dim))

    def features(self, t: Tensor) -> Tensor:
        """t: (b,) -> cosines, then sines, and a zero where num_features is odd: (b, num_features), float32.

        Angles reach 1000 rad, where the rounding of a float32 frequency shows in the fourth digit of its cosine. So
        the frequencies are computed on the CPU, in the order of operations that the checkpoints were trained with.
        """
        half = self.num_features // 2
        steps = torch.arange(half, dtype=torch.float32) / half
        frequencies = 1000.0 / self.max_timestep * torch.exp(-torch.log(torch.tensor(256.0)) * steps)
        angles = t.float()[:, None] * frequencies.to(t.device)  # (b, half)
        features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return F.pad(features, (0, self.num_features - 2 * half))

    def forward(self, t: Tensor) -> Tensor:
        """t: (b,) -> (b, d)."""
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        return self.mlp(self.features(t).to(compute_dtype(first)))
