"""What embedded tokenizers of both kinds have in common: a small flow decoder over the codes of their tokens."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from flextok.models.flow_decoder import FlowDecoder, TokenCondition
from flextok.quantizers.fsq import FSQ


class FlowTokenizer:
    """Half of a `TokenizerModel`: what does not depend on how tokens are made.

    A mixin: diffusers loads a class only if its own module knows `ModelMixin` by name, so models name it themselves.
    """

    takes_short_chunks = True
    can_be_guided = clamps_given_frames = needs_tokens_of_given_frames = True
    zero_noise = False
    config: Any
    quantizer: FSQ
    decoder: FlowDecoder

    @property
    def latent_channels(self) -> int:
        return self.config.latent_channels

    @property
    def latent_size(self) -> tuple[int, int, int]:
        """(t, h, w) of a chunk."""
        return tuple(self.config.latent_size)

    @abstractmethod
    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor: ...

    @abstractmethod
    def condition_on_codes(self, codes: Tensor) -> TokenCondition: ...

    def condition(self, token_ids: Tensor) -> TokenCondition:
        """What the decoder needs of token ids (b, t, k): computed once, used at every step.

        Raises:
            ValueError: the model has no such k, or an id is outside the codebook.
        """
        return self.condition_on_codes(self.quantizer.ids_to_codes(self.prefix(token_ids)))

    def forward(self, noisy: Tensor, sigma: Tensor, condition: TokenCondition, given_frames: int = 0) -> Tensor:
        """Velocity (b, c, t, h, w) of `noisy` latents at `sigma` (b,); see `FlowDecoder.velocity`."""
        return self.decoder.velocity(noisy, sigma, condition, given_frames)
