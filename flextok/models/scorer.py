"""The Toybox scorer: a small video network that names what a clip shows, and a text tower that says if a caption fits.

It judges reconstructions and generations where I3D, VideoMAE and ViCLIP weights cannot be had: its classes stand in for
a class score, its features for those of the Frechet video distance, its two embeddings for a text alignment score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from einops import rearrange
from torch import Tensor, nn

from flextok.models.layers.causal_conv import ChannelNorm, ResidualBlock
from flextok.models.layers.transformer import Block, layer_norm

HEAD_DIM = 32
MAX_LOGIT_SCALE = math.log(100.0)


@dataclass
class ScorerOutput(BaseOutput):
    """What the video tower says of clips.

    `logits`: of each attribute, (b, classes), which `classes` names; `features`: (b, feature_dim); `embedding`:
    (b, embedding_dim), unit length, comparable with `embed_text`.
    """

    logits: dict[str, Tensor]
    features: Tensor
    embedding: Tensor
    classes: dict[str, tuple[str, ...]]

    def read(self, attribute: str) -> np.ndarray:
        """What the scorer takes an attribute for, by name: str (b,)."""
        return np.array(self.classes[attribute])[self.logits[attribute].argmax(1).cpu().numpy()]


class _VideoTower(nn.Module):
    """Clips (b, 3, 17, 64, 64) to features (b, feature_dim) and texture energy (b, num_energies).

    Pixels are folded 4x4x4 as in the VAE and whitened, convolved at 16x16 and 8x8, then a transformer runs over 4x4
    places of five latent frames. Features are read by a few learned queries, from the means of both stages, and from
    the texture energy: the mean magnitude of each whitened axis in each quarter of the picture's height.

    Textures (a floor's pattern, a subject's) have a hundredth of the variance that brightness has, and any phase: 750
    steps of convolutions alone had not begun to learn them, while from the energy of 560 clips a linear map told 84 %
    of the floors' patterns and 74 % of the subjects'. So the heads see it too.
    """

    pixel_mean: Tensor
    whitening: Tensor
    energy_mean: Tensor
    energy_std: Tensor

    num_frames, size = 17, 64
    _patch, _ratio, _bands = 4, 4, 4

    def __init__(
        self, widths: tuple[int, int, int], blocks: tuple[int, int], depth: int, queries: int, feature_dim: int
    ) -> None:
        super().__init__()
        fine, coarse, dim = widths
        self.latent_frames = 1 + (self.num_frames - 1) // self._ratio
        places = (self.size // 16) ** 2 * self.latent_frames
        pixels = 3 * self._patch**2 * self._ratio
        self.num_energies = self._bands * pixels
        self.register_buffer("pixel_mean", torch.zeros(pixels))
        self.register_buffer("whitening", torch.eye(pixels))
        self.register_buffer("energy_mean", torch.zeros(self.num_energies))
        self.register_buffer("energy_std", torch.ones(self.num_energies))
        self.conv_in = nn.Conv2d(pixels, fine, 3, padding=1)
        self.fine_blocks = nn.ModuleList(ResidualBlock(fine) for _ in range(blocks[0]))
        self.down1 = nn.Conv2d(fine, coarse, 2, stride=2)
        self.energy_in = nn.Conv2d(pixels, coarse, 1, bias=False)
        self.coarse_blocks = nn.ModuleList(ResidualBlock(coarse) for _ in range(blocks[1]))
        self.fine_norm, self.norm = ChannelNorm(fine), ChannelNorm(coarse)
        self.down2 = nn.Conv2d(coarse, dim, 2, stride=2)
        self.position = nn.Parameter(torch.randn(places, dim) * 0.2)
        self.queries = nn.Parameter(torch.randn(queries, dim) * 0.2)
        self.blocks = nn.ModuleList(Block(dim, HEAD_DIM) for _ in range(depth))
        self.proj = nn.Linear(queries * dim + fine + coarse + self.num_energies, feature_dim)

    @torch.no_grad()
    def measure_whitening(self, video: Tensor) -> None:
        """Set the whitening from training clips (n, 3, 17, 64, 64): axes of the folded pixels' covariance, unit spread;
        and the statistics of the texture energy.

        Axes with less variance than 5e-3 stay small: there is little but noise in them.
        """
        x = self._fold(video).flatten(0, 2).double()  # (places, pixels)
        self.pixel_mean.copy_(x.mean(0))
        values, vectors = torch.linalg.eigh(torch.cov(x.T))
        self.whitening.copy_(vectors.T / (values.clamp(min=0) + 5e-3).sqrt()[:, None])
        energy = self._energy(self._magnitude(self._white(video)))
        self.energy_mean.copy_(energy.mean(0))
        self.energy_std.copy_(energy.std(0) + 1e-2)

    def _fold(self, video: Tensor) -> Tensor:
        """(b, 3, 17, H, W) -> (b * 5, H / 4, W / 4, pixels); the first latent frame repeats the first frame."""
        front = video[:, :, :1].expand(-1, -1, self._ratio - 1, -1, -1)
        p, r = self._patch, self._ratio
        x = torch.cat([front, video], dim=2)
        return rearrange(x, "b c (t r) (h p) (w q) -> (b t) h w (r p q c)", r=r, p=p, q=p)

    def _white(self, video: Tensor) -> Tensor:
        """(b, 3, 17, 64, 64) -> (b * 5, pixels, 16, 16), channels-last memory."""
        if video.shape[1:] != (3, self.num_frames, self.size, self.size):
            raise ValueError(
                f"the scorer sees clips (b, 3, {self.num_frames}, {self.size}, {self.size}), got {tuple(video.shape)}"
            )
        folded = self._fold(video.to(self.whitening.dtype)) - self.pixel_mean
        return F.linear(folded, self.whitening).permute(0, 3, 1, 2)

    def _magnitude(self, white: Tensor) -> Tensor:
        """Pooled over the cells of the coarse stage: (b * 5, pixels, 8, 8)."""
        return F.avg_pool2d(white.abs().log1p(), 2)

    def _energy(self, magnitude: Tensor) -> Tensor:
        """The mean over frames and over each band of the picture: (b, bands * pixels)."""
        x = magnitude.unflatten(0, (-1, self.latent_frames)).unflatten(3, (self._bands, -1))  # (b, t, p, bands, h, w)
        return x.mean(dim=(1, 4, 5)).transpose(1, 2).flatten(1)

    def _stages(self, white: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.conv_in(white)
        for block in self.fine_blocks:
            fine = block(fine, self.latent_frames)
        coarse = self.down1(fine) + self.energy_in(magnitude)
        for block in self.coarse_blocks:
            coarse = block(coarse, self.latent_frames)
        return fine, coarse

    def maps(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps of the two convolutional stages, each (b * 5, c, h, w), h = 16 and 8."""
        white = self._white(video)
        return self._stages(white, self._magnitude(white))

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        white = self._white(video)
        magnitude = self._magnitude(white)
        fine, coarse = self._stages(white, magnitude)
        fine, coarse = self.fine_norm(fine), self.norm(coarse)
        means = [F.silu(x).mean(dim=(2, 3)).unflatten(0, (len(video), -1)).mean(1) for x in (fine, coarse)]  # (b, c)
        energy = (self._energy(magnitude) - self.energy_mean) / self.energy_std
        x = rearrange(self.down2(coarse), "(b t) c h w -> b (t h w) c", t=self.latent_frames)
        queries = self.queries.expand(len(x), -1, -1)
        x = torch.cat([queries, x + self.position], dim=1)  # (b, queries + places, d)
        for block in self.blocks:
            x = block(x)
        read = layer_norm(x[:, : queries.shape[1]]).flatten(1)
        return self.proj(torch.cat([read, *means, energy], dim=1)).float(), energy.float()


class _TextTower(nn.Module):
    """Word ids (b, s), 0 where padded, to one vector a text (b, d): the mean of a transformer's states."""

    def __init__(self, vocabulary_size: int, max_words: int, dim: int, depth: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, dim)
        self.position = nn.Parameter(torch.randn(max_words, dim) * 0.2)
        self.blocks = nn.ModuleList(Block(dim, HEAD_DIM) for _ in range(depth))

    def forward(self, ids: Tensor) -> Tensor:
        real = ids > 0  # (b, s)
        x = self.words(ids) + self.position[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, real[:, None, None])
        x = layer_norm(x) * real[..., None]
        return x.sum(1) / real.sum(1, keepdim=True).clamp(min=1)


class ToyboxScorer(ModelMixin, ConfigMixin):
    """Video and text tower with one linear head an attribute.

    Args:
        classes: (attribute, names of its classes), in the order of the heads' rows, so that weights say themselves what
            they tell apart. Not a dict: the JSON of a config is sorted by its keys.
        vocabulary_size: of the word tokenizer, padding and unknown included.
    """

    @register_to_config
    def __init__(
        self,
        classes: Sequence[tuple[str, Sequence[str]]],
        vocabulary_size: int,
        widths: tuple[int, int, int] = (64, 128, 192),
        blocks: tuple[int, int] = (1, 2),
        depth: int = 2,
        queries: int = 4,
        feature_dim: int = 256,
        embedding_dim: int = 128,
        text_dim: int = 128,
        text_depth: int = 2,
        max_words: int = 64,
    ) -> None:
        super().__init__()
        self.video = _VideoTower(tuple(widths), tuple(blocks), depth, queries, feature_dim)  # type: ignore[arg-type]
        self.text = _TextTower(vocabulary_size, max_words, text_dim, text_depth)
        self.classes = {name: tuple(names) for name, names in classes}
        self.class_counts = [len(names) for names in self.classes.values()]
        self.heads = nn.Linear(feature_dim + self.video.num_energies, sum(self.class_counts))
        self.video_proj = nn.Linear(feature_dim, embedding_dim, bias=False)
        self.text_proj = nn.Linear(text_dim, embedding_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def logit_scale(self) -> Tensor:
        """What cosines are multiplied by before a softmax over captions; learned, at most 100."""
        return self.log_scale.clamp(max=MAX_LOGIT_SCALE).exp()

    def forward(self, video: Tensor) -> ScorerOutput:
        """video: (b, 3, 17, 64, 64) in [-1, 1]. Raises ValueError for another shape."""
        inputs = self.head_inputs(video)
        logits = self.heads(inputs).float().split(self.class_counts, dim=1)
        features = inputs[:, : self.config.feature_dim]
        embedding = F.normalize(self.video_proj(features).float(), dim=-1)
        return ScorerOutput(dict(zip(self.classes, logits, strict=True)), features, embedding, self.classes)

    def head_inputs(self, video: Tensor) -> Tensor:
        """Features, normalised so that none of their directions is large without being of use, and texture energy."""
        features, energy = self.video(video)
        return torch.cat([F.layer_norm(features, features.shape[-1:]), energy], dim=1)

    def embed_text(self, ids: Tensor) -> Tensor:
        """Word ids (b, s), padded with 0, s <= max_words -> (b, embedding_dim), unit length."""
        return F.normalize(self.text_proj(self.text(ids)).float(), dim=-1)

    def maps(self, video: Tensor) -> tuple[Tensor, ...]:
        """Feature maps from fine to coarse, each (b, t, c, h, w): what the scorer distance compares."""
        return tuple(x.float().unflatten(0, (len(video), -1)) for x in self.video.maps(video))
