"""Time-causal register encoder (arXiv:2604.12887): latent frames to an ordered set of codes per latent frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flextok.models.layers.attention_masks import register_mask
from flextok.models.layers.patches import PatchEmbedder, coarse_to_fine_places
from flextok.models.layers.per_token_linear import PerTokenLinear
from flextok.models.layers.transformer import Block, layer_norm


class RegisterEncoder(nn.Module):
    """Transformer over [patches, registers] of each latent frame; only what the registers hold leaves it."""

    def __init__(
        self,
        latent_channels: int,
        latent_size: tuple[int, int, int],
        patch: int,
        num_registers: int,
        code_dim: int,
        dim: int,
        depth: int,
        head_dim: int,
    ) -> None:
        super().__init__()
        t, h, w = latent_size
        self.embed = PatchEmbedder(latent_channels, patch, (h // patch, w // patch), t, dim)
        places = coarse_to_fine_places(num_registers, h // patch, w // patch)
        start = self.embed.position.detach()[places] + self.embed.frame.detach()  # (t, k, d)
        self.registers = nn.Parameter(start + 0.1 * torch.randn_like(start))
        self.blocks = nn.ModuleList(Block(dim, head_dim) for _ in range(depth))
        self.head = PerTokenLinear(num_registers, dim, code_dim)

    def forward(self, latents: Tensor, keep_k: int) -> Tensor:
        """(b, c, t, h, w) -> the first keep_k registers' codes (b, t, keep_k, f), unbounded."""
        x = self.embed(latents)  # (b, t, n, d)
        b, t, n, _ = x.shape
        registers = self.registers[:t, :keep_k].to(x.dtype).expand(b, -1, -1, -1)
        x = torch.cat([x, registers], dim=2).flatten(1, 2)  # (b, t (n + k), d)
        mask = register_mask(t, n, keep_k, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(layer_norm(x.unflatten(1, (t, n + keep_k))[:, :, n:]))
