"""Rectified-flow decoder of the embedded tokenizers: noisy latents and kept tokens to a velocity (arXiv:2604.12887).

Registers enter as tokens of their own, in front of each frame's patches; dropped ones are not in the sequence at all,
so decoding gets cheaper as the budget falls, and "no tokens" is the unconditional model. Grid cells enter in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.models.layers.attention_masks import time_causal_mask
from flextok.models.layers.patches import PatchEmbedder, patchify, unpatchify
from flextok.models.layers.transformer import Block, Modulation, TimestepEmbedder, layer_norm


@dataclass(frozen=True)
class TokenCondition:
    """What the decoder is told, computed once a clip: registers (b, t, k, d), or features (b, t, n, d) per patch.

    `base` (b, c, t, h, w) are latents to start from: the decoder predicts what they lack.
    """

    registers: Tensor | None = None
    patches: Tensor | None = None
    base: Tensor | None = None


class FlowDecoder(nn.Module):
    """DiT that predicts the clean latents and returns the velocity they imply.

    Differs from the paper: the network's output is the clean latent, not the velocity. At sigma 1 it then is a plain
    regression from the tokens, which a small model learns first and does not forget (a velocity target asks it to
    copy the noise through). `sigma_floor` bounds the division that turns it into a velocity.
    """

    sigma_floor = 0.05

    def __init__(
        self,
        latent_channels: int,
        latent_size: tuple[int, int, int],
        patch: int,
        dim: int,
        depth: int,
        head_dim: int,
        attention: str,
        with_base: bool = False,
        shared_modulation: bool = False,
    ) -> None:
        super().__init__()
        t, h, w = latent_size
        if h % patch or w % patch:
            raise ValueError(f"latent size {h}x{w} must be divisible by patch={patch}")
        if attention not in ("full", "time_causal"):
            raise ValueError(f"attention={attention!r} must be 'full' or 'time_causal'")
        self.patch, self.attention, self.height = patch, attention, h
        self.embed = PatchEmbedder(latent_channels, patch, (h // patch, w // patch), t, dim)
        if with_base:
            self.base = nn.Linear(latent_channels * patch * patch, dim, bias=False)
        self.given = nn.Parameter(torch.zeros(dim))
        self.time = TimestepEmbedder(dim)
        self.blocks = nn.ModuleList(Block(dim, head_dim, modulated=not shared_modulation) for _ in range(depth))
        if shared_modulation:  # adaLN-single of PixArt-alpha (arXiv:2310.00426): a fifth fewer weights
            self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
            self.block_modulation = nn.Parameter(torch.zeros(depth, 6 * dim))
        self.head_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))
        self.head = nn.Linear(dim, latent_channels * patch * patch)

    @apply_forward_hook
    def predict(self, noisy: Tensor, sigma: Tensor, condition: TokenCondition, given_frames: int = 0) -> Tensor:
        """The clean latents expected behind `noisy` (b, c, t, h, w) at noise levels `sigma` (b,).

        The first `given_frames` latent frames of `noisy` are clean and marked as such.
        """
        x = self.embed(noisy)  # (b, t, n, d)
        t, n = x.shape[1:3]
        if given_frames:
            mark = torch.arange(t, device=x.device)[:, None, None] < given_frames  # (t, 1, 1)
            x = x + torch.where(mark, self.given, torch.zeros_like(self.given))
        if condition.patches is not None:
            x = x + condition.patches
        if condition.base is not None:
            x = x + self.base(patchify(condition.base, self.patch).to(x.dtype))
        k = 0
        if condition.registers is not None:
            k = condition.registers.shape[2]
            x = torch.cat([condition.registers.to(x.dtype), x], dim=2)  # (b, t, k + n, d)
        mask = time_causal_mask(t, k + n, x.device) if self.attention == "time_causal" else None
        time = self.time(sigma)  # (b, d)
        x = x.flatten(1, 2)  # (b, t (k + n), d)
        for block, modulation in zip(self._blocks(), self._modulations(time), strict=True):
            x = block(x, mask, modulation)
        x = x.unflatten(1, (t, k + n))[:, :, k:]  # (b, t, n, d)
        shift, scale = self.head_modulation(time)[:, None, None].chunk(2, dim=-1)
        x = self.head(layer_norm(x) * (1 + scale) + shift)
        clean = unpatchify(x, self.patch, self.height).float()
        return clean if condition.base is None else clean + condition.base

    def velocity(self, noisy: Tensor, sigma: Tensor, condition: TokenCondition, given_frames: int = 0) -> Tensor:
        """noise - data, as `schedulers` integrate it: (b, c, t, h, w); zero on the given frames."""
        clean = self.predict(noisy, sigma, condition, given_frames)
        velocity = (noisy - clean) / sigma.clamp(min=self.sigma_floor).reshape(-1, 1, 1, 1, 1)
        if given_frames:
            velocity[:, :, :given_frames] = 0
        return velocity

    def _modulations(self, time: Tensor) -> Iterator[Modulation]:
        """What the time embedding (b, d) does to each block."""
        if not hasattr(self, "block_modulation"):
            yield from (block.modulation(time) for block in self._blocks())
            return
        shared = self.modulation(time)  # (b, 6 d)
        for own in self.block_modulation:
            yield Modulation(*(shared + own).unsqueeze(1).chunk(6, dim=-1))

    def initialise(self) -> None:
        """Small random weights with gates that start open: closed ones let a small model ignore its tokens for long."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        shared = [self.modulation] if hasattr(self, "modulation") else []
        for modulation in shared or [block.adaLN_modulation for block in self._blocks()]:
            weight, bias = modulation.parameters()
            nn.init.zeros_(weight)
            with torch.no_grad():
                bias[: bias.numel() // 3] = 1.0  # gate_attention and gate_mlp, the first two of six
        nn.init.zeros_(next(self.head_modulation.parameters()))
        nn.init.zeros_(self.head.weight)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
