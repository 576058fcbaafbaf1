"""Causal video VAE, 4x8x8 with 16 channels: the embedded counterpart of the frozen VidTok VAE of arXiv:2604.12887.

The first frame stands alone, every later latent frame for four pixel frames: 17 frames give 5 latent frames {0},
{1..4}, {5..8}, {9..12}, {13..16}. Pixels are folded into channels first (4x4x4), so that all convolutions run at a
quarter of the resolution and below; this is what makes it fast on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from diffusers.utils.torch_utils import randn_tensor
from einops import rearrange
from torch import Tensor, nn

from flextok.chunking import num_latent_frames
from flextok.models.layers.causal_conv import ChannelNorm, ResidualBlock
from flextok.models.layers.compute_dtype import compute_dtype


@dataclass
class VAEEncoderOutput(BaseOutput):
    """Posterior of the latents: `mean` and `logvar`, each (b, c, t, h, w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """A draw; the noise is drawn from `generator` unless it is given."""
        if noise is None:
            noise = randn_tensor(self.mean.shape, generator, self.mean.device, self.mean.dtype)
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class _Trunk(nn.Module):
    def __init__(self, channels: int, num_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(num_blocks))

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        for block in self.blocks:
            x = block(x, num_frames)
        return x


class AutoencoderCausalVideo(ModelMixin, ConfigMixin):
    """Clips to latents and back; any T = 1 + 4 n and any H, W divisible by 8.

    Latents leave `encode` as the posterior of normalised values: `latents_mean` and `latents_std` (measured once over
    the training clips) bring every channel to zero mean and unit variance, so models of latents need no statistics.
    """

    temporal_ratio = 4
    spatial_ratio = 8
    _patch = 4

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        encoder_widths: tuple[int, int] = (96, 160),
        decoder_widths: tuple[int, int] = (128, 224),
        encoder_blocks: tuple[int, int] = (2, 3),
        decoder_blocks: tuple[int, int] = (3, 3),
        latents_mean: tuple[float, ...] | None = None,  # noqa: ARG002 - read from the config
        latents_std: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> None:
        super().__init__()
        pixels = 3 * self._patch * self._patch * self.temporal_ratio
        fine, coarse = encoder_widths
        self.encoder_in = nn.Conv2d(pixels, fine, 3, padding=1)
        self.encoder_fine = _Trunk(fine, encoder_blocks[0])
        self.encoder_down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.encoder_coarse = _Trunk(coarse, encoder_blocks[1])
        self.encoder_norm = ChannelNorm(coarse)
        self.encoder_out = nn.Conv2d(coarse, 2 * latent_channels, 1)
        fine, coarse = decoder_widths
        self.decoder_in = nn.Conv2d(latent_channels, coarse, 3, padding=1)
        self.decoder_coarse = _Trunk(coarse, decoder_blocks[1])
        self.decoder_up = nn.Conv2d(coarse, 4 * fine, 1)
        self.decoder_fine = _Trunk(fine, decoder_blocks[0])
        self.decoder_norm = ChannelNorm(fine)
        self.decoder_out = nn.Conv2d(fine, pixels, 3, padding=1)

    def _latents_statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the raw latents, each (1, c or 1, 1, 1, 1)."""
        values = (self.config.latents_mean or (0.0,), self.config.latents_std or (1.0,))
        mean, std = (torch.tensor(v, device=like.device, dtype=like.dtype).reshape(1, -1, 1, 1, 1) for v in values)
        return mean, std

    @apply_forward_hook
    def encode(self, video: Tensor) -> VAEEncoderOutput:
        """Encode clips.

        Args:
            video: (b, 3, T, H, W) in [-1, 1], T = 1 + 4 n, H and W divisible by 8.

        Returns:
            The posterior of latents (b, c, t, H / 8, W / 8), t = 1 + (T - 1) / 4.

        Raises:
            ValueError: T, H or W is not of that form.
        """
        _, _, num_frames, height, width = video.shape
        t = num_latent_frames(num_frames, self.temporal_ratio)
        if height % self.spatial_ratio or width % self.spatial_ratio:
            raise ValueError(f"height={height} and width={width} must be divisible by {self.spatial_ratio}")
        video = video.to(compute_dtype(self.encoder_in))
        front = video[:, :, :1].expand(-1, -1, self.temporal_ratio - 1, -1, -1)
        x = torch.cat([front, video], dim=2)  # the first frame fills a latent frame by itself
        p, r = self._patch, self.temporal_ratio
        x = rearrange(x, "b c (t r) (h p) (w q) -> (b t) (r p q c) h w", r=r, p=p, q=p)
        x = x.to(memory_format=torch.channels_last)
        x = self.encoder_fine(self.encoder_in(x), t)
        x = self.encoder_coarse(self.encoder_down(x), t)
        x = self.encoder_out(self.encoder_norm(x))
        x = rearrange(x, "(b t) c h w -> b c t h w", t=t)
        mean, logvar = x.float().chunk(2, dim=1)
        shift, scale = self._latents_statistics(mean)
        # Normalised values have the posterior's spread divided by the same scale.
        return VAEEncoderOutput((mean - shift) / scale, logvar.clamp(-20, 10) - 2 * scale.log())

    @apply_forward_hook
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (b, c, t, h, w) to clips (b, 3, 1 + 4 (t - 1), 8 h, 8 w), about [-1, 1] and not clamped."""
        t = latents.shape[2]
        shift, scale = self._latents_statistics(latents)
        x = (latents * scale + shift).to(compute_dtype(self.decoder_in))
        x = rearrange(x, "b c t h w -> (b t) c h w").to(memory_format=torch.channels_last)
        x = self.decoder_coarse(self.decoder_in(x), t)
        x = rearrange(self.decoder_up(x), "n (p q c) h w -> n c (h p) (w q)", p=2, q=2)
        x = self.decoder_fine(x.to(memory_format=torch.channels_last), t)
        x = self.decoder_out(self.decoder_norm(x))
        p, r = self._patch, self.temporal_ratio
        x = rearrange(x, "(b t) (r p q c) h w -> b c (t r) (h p) (w q)", t=t, r=r, p=p, q=p)
        return x[:, :, self.temporal_ratio - 1 :].float()

    def forward(self, video: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, VAEEncoderOutput]:
        """One training pass: the reconstruction from a posterior sample, and the posterior."""
        posterior = self.encode(video)
        return self.decode(posterior.sample(generator)), posterior
