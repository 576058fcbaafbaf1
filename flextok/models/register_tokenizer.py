"""Register tokenizer of arXiv:2604.12887 at embedded size: encoder, FSQ and flow decoder as one saved model."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.checks import whole_number
from flextok.models.contract import Denoiser, TokenizerOutput
from flextok.models.flow_decoder import FlowDecoder, TokenCondition
from flextok.models.flow_denoiser import FlowDenoiser
from flextok.models.flow_tokenizer import FlowTokenizer
from flextok.models.layers.code_norm import CodeNorm
from flextok.models.layers.patches import coarse_to_fine_places
from flextok.models.layers.per_token_linear import PerTokenLinear
from flextok.models.linear_codec import LinearCodec
from flextok.models.register_encoder import RegisterEncoder
from flextok.nested_dropout import prefix_lengths
from flextok.quantizers.fsq import FSQ

SUMMARY_DIM = 256


class RegisterTokenizer(FlowTokenizer, ModelMixin, ConfigMixin):
    """Latents to K ordered tokens per latent frame, and any prefix of them to a velocity.

    A code is the sum of a linear one (`LinearCodec`) and, through a gate for each of its dimensions, of the
    transformer's; the decoder starts from the linear reconstruction. The first `num_free_registers` are the
    transformer's alone.
    """

    _keep_in_fp32_modules: ClassVar[list[str]] = [
        "codec",
        "code_norm",
    ]  # their sums and statistics would lose what they add up
    kind: Literal["register", "grid"] = "register"

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        latent_size: tuple[int, int, int] = (5, 8, 8),
        patch: int = 2,
        num_registers: int = 64,
        levels: tuple[int, ...] = (8, 5, 5, 5),
        dim: int = 192,
        encoder_depth: int = 4,
        decoder_depth: int = 6,
        head_dim: int = 32,
        decoder_attention: str = "time_causal",
        num_free_registers: int = 1,
        shared_modulation: bool = False,
        clip_summary: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < num_free_registers <= num_registers:
            raise ValueError(f"num_free_registers={num_free_registers} must be in 1..{num_registers}")
        size = (latent_size[0], latent_size[1], latent_size[2])
        self.quantizer = FSQ(levels)
        self.encoder = RegisterEncoder(
            latent_channels, size, patch, num_registers, len(levels), dim, encoder_depth, head_dim
        )
        self.code_norm = CodeNorm(num_registers, len(levels))
        self.codec = LinearCodec(num_registers, len(levels), num_free_registers, (latent_channels, *size))
        gate = torch.zeros(num_registers, len(levels))
        gate[:num_free_registers] = 1.0
        self.code_gate = nn.Parameter(gate)
        self.token_in = PerTokenLinear(num_registers, len(levels), dim)
        self.decoder = FlowDecoder(
            latent_channels, size, patch, dim, decoder_depth, head_dim, decoder_attention, True, shared_modulation
        )
        places = coarse_to_fine_places(num_registers, size[1] // patch, size[2] // patch)
        start = self.decoder.embed.position.detach()[places]
        self.token_position = nn.Parameter(start + 0.1 * torch.randn_like(start))
        self.token_frame = nn.Parameter(self.decoder.embed.frame.detach().clone())
        self.decoder.initialise()
        if clip_summary:
            told = size[0] * num_free_registers * len(levels)
            self.summary = nn.Sequential(nn.Linear(told, SUMMARY_DIM), nn.SiLU(), nn.Linear(SUMMARY_DIM, size[0] * dim))

    @property
    def token_budgets(self) -> tuple[int, ...]:
        """Prefix lengths seen in training, ascending."""
        return prefix_lengths(self.config.num_registers)

    def quantized_codes(self, latents: Tensor, keep_k: int) -> Tensor:
        """The first keep_k codes of each latent frame, (b, t, keep_k, f); differentiable (straight through)."""
        learned = self.code_norm(self.encoder(latents, keep_k)) * self.code_gate[:keep_k].float()  # (b, t, k, f)
        # The linear part is computed for all registers, so that a prefix has the very same ids as the whole.
        learned = F.pad(learned, (0, 0, 0, self.config.num_registers - keep_k))
        return self._add_linear(latents.float(), learned)[:, :, :keep_k]

    def free_codes(self, latents: Tensor, rounded: bool = True) -> Tensor:
        """Codes (b, t, num_free, f) of the free registers alone, which owe the linear codec nothing."""
        free = self.codec.num_free
        learned = self.code_norm(self.encoder(latents, free)) * self.code_gate[:free].float()
        return self.quantizer.quantize(learned, rounded)

    def _add_linear(self, latents: Tensor, learned: Tensor) -> Tensor:
        """Quantised codes (b, t, K, f): the linear code of each frame given those before, plus the learned one."""
        codec, before, codes = self.codec, None, []
        with torch.autocast(latents.device.type, enabled=False):
            for frame, (flat, shift) in enumerate(
                zip(latents.transpose(1, 2).flatten(2).unbind(1), learned.flatten(2).unbind(1), strict=True)
            ):
                predicted = codec.predicted(frame, before)
                free = self._quantize_flat(shift[:, : codec.free])
                codes.append(self._quantize_flat(codec.innovation(frame, flat, free, predicted) + shift))
                before = codec.state(frame, codes[-1], predicted)
        return torch.stack(codes, dim=1).unflatten(2, learned.shape[2:])

    def _quantize_flat(self, values: Tensor) -> Tensor:
        return self.quantizer.quantize(values.unflatten(1, (-1, self.codec.code_dim))).flatten(1)

    @apply_forward_hook
    def encode(self, latents: Tensor, keep_k: int | None = None) -> TokenizerOutput:
        """Encode latents (b, c, t, h, w) into register tokens; latent frame j depends on frames <= j alone.

        Raises:
            ValueError: keep_k is outside 1..K.
        """
        codes = self.quantized_codes(latents.to(self.dtype), self._checked_k(keep_k))
        return TokenizerOutput(self.quantizer.codes_to_ids(codes), codes)

    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor:
        """The first keep_k tokens of each latent frame of ids (b, t, k); None keeps all.

        Raises:
            ValueError: keep_k is outside 1..k, or k is more than K.
        """
        k = token_ids.shape[2]
        if k > self.config.num_registers:
            raise ValueError(
                f"token ids hold {k} tokens per latent frame, this tokenizer has {self.config.num_registers}"
            )
        return token_ids if keep_k is None else token_ids[:, :, : whole_number("keep_k", keep_k, 1, k)]

    def condition_on_codes(self, codes: Tensor) -> TokenCondition:
        x = self.token_in(codes.to(self.token_in.weight.dtype))  # (b, t, k, d)
        x = x + self.token_position[: x.shape[2]] + self.token_frame[: x.shape[1]]
        return TokenCondition(registers=x, patches=self._summary(codes), base=self.codec.reconstruct(codes))

    def _summary(self, codes: Tensor) -> Tensor | None:
        """What all free registers of the clip say together, told to every patch of a frame: (b, t, 1, d).

        Differs from the paper. What few registers say of a clip is spread over its frames; a small decoder that has to
        gather it by attention learns it far more slowly: after 14,400 clips at k = 1 its error from pure noise was
        0.46 (variance 2.19), with the summary 0.37.
        """
        if not self.config.clip_summary:
            return None
        t, k = codes.shape[1:3]
        frames, free = self.config.latent_size[0], self.config.num_free_registers
        told = F.pad(codes[:, :, :free], (0, 0, 0, max(free - k, 0), 0, frames - t))  # frames that are not there are 0
        vectors = self.summary(told.flatten(1).to(self.token_in.weight.dtype))
        return vectors.unflatten(1, (frames, 1, -1))[:, :t]

    @apply_forward_hook
    def denoiser(
        self,
        token_ids: Tensor,
        sigmas: Tensor,
        *,
        keep_k: Tensor | None = None,
        given_frames: int = 0,
        guided: bool = False,
        like: Denoiser | None = None,  # noqa: ARG002 - chunks have nothing in common
    ) -> FlowDenoiser:
        """See `TokenizerModel.denoiser`; dropped registers are not in the sequence at all."""
        keep = torch.full((len(token_ids),), token_ids.shape[2]) if keep_k is None else keep_k
        budgets, counts = (values.tolist() for values in torch.unique_consecutive(keep, return_counts=True))
        groups = zip(budgets, token_ids.split(counts), strict=True)
        conditions = [(len(ids), self.condition(self.prefix(ids, k))) for k, ids in groups]
        return FlowDenoiser(self, conditions, sigmas, given_frames, guided)

    def _checked_k(self, keep_k: int | None) -> int:
        total = self.config.num_registers
        return total if keep_k is None else whole_number("keep_k", keep_k, 1, total)
