"""One layer of the autoregressive model, arranged for single tokens.

With one token a step a layer's time goes into the number of calls, hardly into arithmetic. So what no token changes is
worked out once for a sequence (`ARLayer.prepare`): the gains of the norms go into the matrices behind them, and the
text's keys and values through the matrices of the queries and of the output, since (x Wq) K^T = x (Wq K^T).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.models.layers.kv_cache import KVCache
from flextok.models.layers.transformer import GatedMLP, attention_by_matmul

ROPE_BASE = 10_000.0

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, each (s, head_dim), of the rotary angles of s positions. The two halves of a head turn together:
x cos + (x with its halves exchanged) sin, so the sines of the first half are negative."""


@dataclass(frozen=True)
class PreparedLayer:
    """What a layer computes with, for sequences of b texts of s states and a model of width d.

    `qkv` (3 d, d), `up` (2 hidden, d), `down` (d, hidden) and `proj` (d, d) are its matrices. `text_logits`
    (b, d, heads * s) leads from a state to its logits over the text in every head, `text_values` (b, heads * s, d) from
    their softmax to what is added to the state.
    """

    qkv: Tensor
    proj: Tensor
    text_logits: Tensor
    text_values: Tensor
    up: Tensor
    down: Tensor


class _SelfAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)


class _CrossAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)


class ARLayer(nn.Module):
    """Self-attention, cross-attention to the text, and a gated MLP, each behind an RMSNorm."""

    def __init__(self, dim: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.norm1, self.norm2, self.norm3 = (nn.RMSNorm(dim) for _ in range(3))
        self.attn, self.cross = _SelfAttention(dim), _CrossAttention(dim)
        self.mlp = GatedMLP(dim)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, text: Tensor) -> PreparedLayer:
        """text: (b, s, d), the states of a text."""
        heads, dtype = (-1, self.head_dim), self.norm1.weight.dtype  # layerwise casting stores matrices in another
        q = with_gain(self.cross.q.weight, self.norm2).unflatten(0, heads)  # (heads, e, d)
        k, v = self.cross.kv(text).unflatten(-1, (2, *heads)).unbind(2)  # (b, s, heads, e)
        out = self.cross.proj.weight.to(dtype).unflatten(1, heads)  # (d, heads, e)
        return PreparedLayer(
            qkv=with_gain(self.attn.qkv.weight, self.norm1),
            proj=self.attn.proj.weight.to(dtype),
            text_logits=torch.einsum("hed,bshe->bdhs", q * self.head_dim**-0.5, k).flatten(2),
            text_values=torch.einsum("dhe,bshe->bhsd", out, v).flatten(1, 2),
            up=with_gain(torch.cat([self.mlp.fc1.weight, self.mlp.fc3.weight]), self.norm3),
            down=self.mlp.fc2.weight.to(dtype),
        )

    def forward(
        self, x: Tensor, rotation: Rotation, mask: Tensor, ready: PreparedLayer, cache: KVCache | None, index: int
    ) -> Tensor:
        """States (b, s, d) after this layer, the cache's layer `index`.

        Args:
            rotation: of the positions of x.
            mask: (b, 1, 1, words), added to the logits of the text: minus infinity where padded.
        """
        x = x + self._dropped(self._attend(unit(x), rotation, ready, cache, index))
        logits = (unit(x) @ ready.text_logits).unflatten(-1, (-1, mask.shape[-1])) + mask  # (b, s, heads, words)
        x = x + self._dropped(logits.softmax(-1).flatten(2) @ ready.text_values)
        gate, up = F.linear(unit(x), ready.up).chunk(2, dim=-1)
        return x + self._dropped(F.linear(F.silu(gate) * up, ready.down))

    def _attend(self, x: Tensor, rotation: Rotation, ready: PreparedLayer, cache: KVCache | None, index: int) -> Tensor:
        qkv = F.linear(x, ready.qkv).unflatten(-1, (3, -1, self.head_dim)).transpose(1, 3)  # (b, heads, 3, s, e)
        q, k = rotate(qkv.narrow(2, 0, 2), rotation).unbind(2)
        v = qkv.select(2, 2)
        if cache is not None:
            k, v = cache.extend(index, k, v)
        count, seen = q.shape[2], k.shape[2]
        training = q.requires_grad and q.device.type == "cpu"
        mask = None
        if training or (count > 1 and seen != count):
            mask = torch.ones(count, seen, dtype=torch.bool, device=q.device).tril(seen - count)
        if training:
            y = attention_by_matmul(q, k, v, mask, self.head_dim**-0.5)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and count > 1)
        return F.linear(y.transpose(1, 2).flatten(2), ready.proj)

    def _dropped(self, x: Tensor) -> Tensor:
        return self.dropout(x) if self.training else x


def unit(x: Tensor) -> Tensor:
    """States (..., d) at length 1: an RMSNorm without its gain and its factor of sqrt(d), see `with_gain`."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-6)


def with_gain(matrix: Tensor, norm: nn.RMSNorm) -> Tensor:
    """(out, d), so that `matrix` after `norm` is this one after `unit`."""
    return matrix.to(norm.weight.dtype) * (norm.weight * norm.weight.numel() ** 0.5)


def rotary_tables(count: int, head_dim: int, device: torch.device) -> Rotation:
    """Rotary position embedding of the first `count` positions."""
    half = head_dim // 2
    frequencies = ROPE_BASE ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angles = torch.arange(count, device=device, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotary position embedding of x (..., s, head_dim)."""
    cos, sin = (table.to(x.dtype) for table in rotation)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
