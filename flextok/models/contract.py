"""What `VideoTokenizerPipeline` asks of its parts: the one contract of own, released, register and grid models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from flextok.quantizers.fsq import FSQ


@dataclass
class TokenizerOutput(BaseOutput):
    """`token_ids` (b, t, k), int64, the `codes` (b, t, k, f) in [-1, 1] they stand for, and those before rounding."""

    token_ids: Tensor
    codes: Tensor
    unquantized: Tensor | None = None


class Posterior(Protocol):
    """What a VAE encoder gives: `mean` and `logvar` (b, c, t, h, w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None, noise: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class VideoAutoencoder(Protocol):
    """Clips (b, 3, T, H, W) in [-1, 1] to latents (b, c, t, H / s, W / s) and back, float32, whatever its own dtype."""

    @property
    def temporal_ratio(self) -> int: ...

    @property
    def spatial_ratio(self) -> int: ...

    def encode(self, video: Tensor) -> Any: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class Denoiser(Protocol):
    """One chunk, set up once: velocities (b, c, t, h, w) at entry `index` of the noise levels it was made for.

    The first is told the tokens, the second is not and is None where nothing guides away from it.
    """

    def __call__(self, noisy: Tensor, index: int) -> tuple[Tensor, Tensor | None]: ...


@runtime_checkable
class TokenizerModel(Protocol):
    """Latents to tokens, and tokens to the velocities of a flow."""

    quantizer: FSQ

    @property
    def kind(self) -> Literal["register", "grid"]: ...

    @property
    def token_budgets(self) -> tuple[int, ...]:
        """Tokens a latent frame can have, ascending. Registers take every number between them too."""
        ...

    @property
    def latent_channels(self) -> int: ...

    @property
    def latent_size(self) -> tuple[int, int, int] | None:
        """(t, h, w) of a chunk; None where a checkpoint does not say."""
        ...

    @property
    def takes_short_chunks(self) -> bool:
        """Are clips of fewer latent frames than a chunk encoded and decoded as they are?"""
        ...

    @property
    def can_be_guided(self) -> bool:
        """Does it also run without tokens?"""
        ...

    @property
    def clamps_given_frames(self) -> bool:
        """Do given latent frames overwrite what is sampled?"""
        ...

    @property
    def needs_tokens_of_given_frames(self) -> bool: ...

    @property
    def zero_noise(self) -> bool:
        """Does sampling start from zeros?"""
        ...

    def encode(self, latents: Tensor, keep_k: int | None = None) -> TokenizerOutput: ...

    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor:
        """The tokens that matter when keep_k of ids (b, t, k) are kept.

        Raises:
            ValueError: no such prefix, or more tokens than the model has.
        """
        ...

    def denoiser(
        self,
        token_ids: Tensor,
        sigmas: Tensor,
        *,
        keep_k: Tensor | None = None,
        given_frames: int = 0,
        guided: bool = False,
        like: Denoiser | None = None,
    ) -> Denoiser:
        """Set up one chunk.

        Args:
            token_ids: (b, t, k).
            sigmas: (steps,), the noise levels it will be asked at.
            keep_k: (b,), tokens each sample keeps; None keeps all.
            given_frames: how many latent frames at the front are clean.
            guided: give the velocity without tokens too.
            like: another chunk's over the same noise levels, of which some of the work can be kept.

        Raises:
            ValueError: an id is outside the codebook, or a shape does not fit.
        """
        ...
