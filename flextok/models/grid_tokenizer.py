"""3D-grid tokenizer: the baseline that register tokens replace, with the same VAE, width, depth, FSQ and flow decoder.

Token (t, i, j) belongs to cell (i, j) of latent frame t and is decoded there. There is no order and no prefix; at a
smaller budget a grid can be coarser (cells pooled 2x2, 4x4, 8x8; trained with random pooling) or cover fewer frames.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn

from flextok.models.contract import Denoiser, TokenizerOutput
from flextok.models.flow_decoder import FlowDecoder, TokenCondition
from flextok.models.flow_denoiser import FlowDenoiser
from flextok.models.flow_tokenizer import FlowTokenizer
from flextok.models.layers.attention_masks import time_causal_mask
from flextok.models.layers.code_norm import CodeNorm
from flextok.models.layers.compute_dtype import compute_dtype
from flextok.models.layers.patches import PatchEmbedder
from flextok.models.layers.transformer import Block, layer_norm
from flextok.quantizers.fsq import FSQ


class GridTokenizer(FlowTokenizer, ModelMixin, ConfigMixin):
    """Latents to one token per cell (or per pooled cell), raster order within a frame, and back to a velocity."""

    _keep_in_fp32_modules: ClassVar[list[str]] = ["code_norm"]  # their sums and statistics would lose what they add up
    kind: Literal["register", "grid"] = "grid"

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        latent_size: tuple[int, int, int] = (5, 8, 8),
        patch: int = 2,
        levels: tuple[int, ...] = (8, 5, 5, 5),
        dim: int = 192,
        encoder_depth: int = 4,
        decoder_depth: int = 6,
        head_dim: int = 32,
        decoder_attention: str = "time_causal",
        shared_modulation: bool = False,
    ) -> None:
        super().__init__()
        t, h, w = latent_size
        self.quantizer = FSQ(levels)
        self.embed = PatchEmbedder(latent_channels, patch, (h // patch, w // patch), t, dim)
        self.blocks = nn.ModuleList(Block(dim, head_dim) for _ in range(encoder_depth))
        self.head = nn.Linear(dim, len(levels) * patch * patch)
        self.code_norm = CodeNorm(len(self.grid_sizes), len(levels))
        self.token_in = nn.Linear(len(levels) * patch * patch, dim)
        self.resolution = nn.Parameter(torch.randn(len(self.grid_sizes), dim) * 0.1)
        self.decoder = FlowDecoder(
            latent_channels, (t, h, w), patch, dim, decoder_depth, head_dim, decoder_attention, False, shared_modulation
        )
        self.decoder.initialise()

    @property
    def token_budgets(self) -> tuple[int, ...]:
        """Cells of each size of grid, ascending."""
        return tuple(side * side for side in reversed(self.grid_sizes))

    @property
    def grid_sizes(self) -> tuple[int, ...]:
        """Side lengths a grid can have, finest first: 8, 4, 2, 1 (64, 16, 4, 1 tokens per latent frame)."""
        side = self.config.latent_size[1]
        return tuple(side >> i for i in range(side.bit_length()))

    def quantized_codes(self, latents: Tensor, side: int) -> Tensor:
        """Codes of the grid with side x side cells per latent frame: (b, t, side * side, f), straight through."""
        x = self.embed(latents)  # (b, t, n, d)
        t, n = x.shape[1:3]
        mask = time_causal_mask(t, n, x.device)
        x = x.flatten(1, 2)
        for block in self.blocks:
            x = block(x, mask)
        cells = self.head(layer_norm(x)).float().unflatten(1, (t, n))
        p, full = self.config.patch, self.config.latent_size[1]
        cells = rearrange(cells, "b t (h w) (p q f) -> (b t) f (h p) (w q)", p=p, q=p, h=full // p)
        cells = F.avg_pool2d(cells, full // side)  # (b t, f, side, side)
        codes = rearrange(cells, "(b t) f h w -> b t (h w) f", t=t)
        # One set of statistics for each size of grid: averages spread less.
        return self.quantizer.quantize(self.code_norm(codes, self.grid_sizes.index(side)))

    @apply_forward_hook
    def encode(self, latents: Tensor, keep_k: int | None = None) -> TokenizerOutput:
        """Encode latents (b, c, t, h, w) into keep_k = side * side tokens per latent frame (raster order).

        Raises:
            ValueError: keep_k is not one of the grid's sizes.
        """
        codes = self.quantized_codes(
            latents.to(self.dtype), self._side(self.grid_sizes[0] ** 2 if keep_k is None else keep_k)
        )
        return TokenizerOutput(self.quantizer.codes_to_ids(codes), codes)

    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor:
        """The tokens themselves: a grid has no prefix.

        Raises:
            ValueError: keep_k asks for one, or the number of tokens is not one of the grid's sizes.
        """
        k = token_ids.shape[2]
        self._side(k)
        if keep_k not in (None, k):
            raise ValueError(
                f"keep_k={keep_k}: {k} tokens per latent frame of a grid have no prefix; encode a coarser grid"
            )
        return token_ids

    def condition_on_codes(self, codes: Tensor) -> TokenCondition:
        side = self._side(codes.shape[2])
        p, full = self.config.patch, self.config.latent_size[1]
        cells = rearrange(codes, "b t (h w) f -> b t h w f", h=side)
        repeat = full // side
        cells = cells.repeat_interleave(repeat, dim=2).repeat_interleave(repeat, dim=3)
        cells = rearrange(cells, "b t (h p) (w q) f -> b t (h w) (p q f)", p=p, q=p)
        x = self.token_in(cells.to(compute_dtype(self.token_in)))  # (b, t, n, d)
        return TokenCondition(patches=x + self.resolution[self.grid_sizes.index(side)])

    @apply_forward_hook
    def denoiser(
        self,
        token_ids: Tensor,
        sigmas: Tensor,
        *,
        keep_k: Tensor | None = None,  # noqa: ARG002 - all of them, as `prefix` has checked
        given_frames: int = 0,
        guided: bool = False,
        like: Denoiser | None = None,  # noqa: ARG002 - chunks have nothing in common
    ) -> FlowDenoiser:
        """See `TokenizerModel.denoiser`."""
        return FlowDenoiser(self, [(len(token_ids), self.condition(token_ids))], sigmas, given_frames, guided)

    def _side(self, k: int) -> int:
        sides = {side * side: side for side in self.grid_sizes}
        if k not in sides:
            raise ValueError(f"a grid has one of {sorted(sides)} tokens per latent frame, not {k}")
        return sides[k]
