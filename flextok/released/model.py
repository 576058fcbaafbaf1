"""The one-chunk model: VAE, encoder graph, FSQ, decoder graph (contract, section 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.checks import whole_number
from flextok.loading.errors import CheckpointError, first_line
from flextok.models.contract import Denoiser, TokenizerOutput
from flextok.models.layers.transformer import Block
from flextok.nested_dropout import prefix_lengths
from flextok.quantizers.fsq import FSQ
from flextok.released.autocast import without_autocast
from flextok.released.config import ModuleDict, ReleasedConfig
from flextok.released.denoiser import ChunkTokens, GraphDenoiser
from flextok.released.graph import Changes, Graph, GraphRun
from flextok.released.nodes.base import Node
from flextok.released.nodes.tokens import LearnedNullCond, MaskedNestedDropout, MaskedPrefixDropout, PatchEmbedder
from flextok.released.nodes.trunk import BlockWiseSequenceInterleavePacker
from flextok.released.vae import LATENT_CHANNELS, VAESize, VidTok

CONDITION_KEY = "cond_vae_latents"
NESTED_DROPOUT = "dec_nested_dropout"
PREFIX_MASKING = "dec_prefix_masking"
DROP_FLAG_KEY = "eval_dropout_mask"


class _Modules(nn.Module):
    """Holds modules under `module_dict`, the checkpoints' name."""

    def __init__(self, config: ModuleDict) -> None:
        super().__init__()
        self.module_dict = nn.ModuleDict()
        for name, module in config.module_dict.items():
            try:
                self.module_dict.add_module(name, module)
            except KeyError as error:
                raise CheckpointError(f"module name {name!r} cannot be used") from error

    def nodes(self) -> Iterator[tuple[str, Node]]:
        for name, module in self.module_dict.items():
            yield name, cast(Node, module)


class OneChunkModel(nn.Module):
    """Latents to tokens and tokens to velocities for chunks of one size. Parameter names are the checkpoints'.

    A `TokenizerModel` that holds its VAE too.

    Raises:
        CheckpointError: the parts do not fit together.
    """

    kind: Literal["register", "grid"] = "register"
    latent_channels = LATENT_CHANNELS
    takes_short_chunks = False

    def __init__(self, whole: ReleasedConfig, size: VAESize) -> None:
        super().__init__()
        config, self.released_config = whole.model, whole
        self.latent_size = whole.vae_video_sizes
        self.num_registers: int | None = None  # known once `check_shapes` has run
        if config.vae.vae_latents_read_key != config.pipeline.reconst_write_key:
            raise CheckpointError(
                f"the VAE decodes {config.vae.vae_latents_read_key!r}, "
                f"the sampler writes {config.pipeline.reconst_write_key!r}"
            )
        if config.pipeline.latents_read_key != config.regularizer.quants_write_key:
            raise CheckpointError(
                f"the sampler reads {config.pipeline.latents_read_key!r}, "
                f"FSQ writes {config.regularizer.quants_write_key!r}"
            )
        if config.pipeline.out_channels != LATENT_CHANNELS:
            raise CheckpointError(f"pipeline.out_channels={config.pipeline.out_channels} must be {LATENT_CHANNELS}")
        self.config = config
        self.vae = nn.Module()
        with torch.device("meta"):
            self.vae.vidtok = VidTok(size)
        self.encoder, self.decoder = _Modules(config.encoder), _Modules(config.decoder)
        self.requires_grad_(False)  # inference only: activations are overwritten in place
        self.quantizer = FSQ(config.regularizer.levels)
        self.encoder_graph = self._compile_encoder()
        self.decoder_graph = self._compile_decoder()
        # Frames that are given need no tokens of their own where the decoder masks those tokens anyway.
        quants = config.regularizer.quants_write_key
        self.needs_tokens_of_given_frames = self.decoder_graph.depends(quants, without=PREFIX_MASKING)

    def _compile_encoder(self) -> Graph:
        inputs = {self.config.vae.vae_latents_write_key: Changes.EVERY_STEP}
        return self._compile(self.encoder, inputs, self.config.regularizer.latents_read_key)

    def _compile_decoder(self) -> Graph:
        sampler = self.config.pipeline
        inputs = {self.config.regularizer.quants_write_key: Changes.NEVER, DROP_FLAG_KEY: Changes.NEVER}
        for node in (self.nested_dropout, self.prefix_masking):
            if node is not None:
                inputs[node.keep_key if isinstance(node, MaskedNestedDropout) else node.prefix_key] = Changes.NEVER
        inputs[sampler.timesteps_read_key] = Changes.WITH_TIME
        inputs[sampler.noised_videos_read_key] = Changes.EVERY_STEP
        return self._compile(self.decoder, inputs, sampler.reconst_write_key)

    def _compile(self, part: _Modules, inputs: dict[str, Changes], output: str) -> Graph:
        graph = Graph([(name, node.ops()) for name, node in part.nodes()], inputs, [output])
        for name, node in part.nodes():
            reason = node.unsupported_when_used if name in graph.live_modules else None
            if reason is not None:
                raise CheckpointError(f"module {name!r}: {reason}")
        return graph

    @property
    def vidtok(self) -> VidTok:
        return cast(VidTok, self.vae.vidtok)

    @property
    def nested_dropout(self) -> MaskedNestedDropout | None:
        return self._special(NESTED_DROPOUT, MaskedNestedDropout)

    @property
    def prefix_masking(self) -> MaskedPrefixDropout | None:
        return self._special(PREFIX_MASKING, MaskedPrefixDropout)

    def _special(self, name: str, kind: type[Any]) -> Any:
        """One of the two modules that are known by name.

        Raises:
            CheckpointError: there is a module of that name, but of another kind.
        """
        if name not in self.decoder.module_dict:
            return None
        module = self.decoder.module_dict[name]
        if not isinstance(module, kind):
            raise CheckpointError(f"module {name!r} must be a {kind.__name__}")
        return module

    @property
    def token_budgets(self) -> tuple[int, ...]:
        return prefix_lengths(self._total)

    @property
    def _total(self) -> int:
        if self.num_registers is None:
            raise RuntimeError("check_shapes counts the registers and has not run")
        return self.num_registers

    @property
    def zero_noise(self) -> bool:
        return self.config.pipeline.zero_noise

    @property
    def can_be_guided(self) -> bool:
        """Is there a null token, so that the model runs unconditionally?"""
        live = self.decoder_graph.live_modules
        return any(
            isinstance(module, LearnedNullCond) and module.flag_key == DROP_FLAG_KEY and name in live
            for name, module in self.decoder.module_dict.items()
        )

    @property
    def clamps_given_frames(self) -> bool:
        """Does the sampler overwrite given latent frames? Only if the config names this very key."""
        return self.config.pipeline.cond_vae_latents_key == CONDITION_KEY

    def unused_prefixes(self) -> list[str]:
        """Prefixes of the weights of training-only modules, which need not be in a file and are never loaded."""
        parts = {"encoder": (self.encoder, self.encoder_graph), "decoder": (self.decoder, self.decoder_graph)}
        return [
            f"{half}.module_dict.{name}."
            for half, (part, graph) in parts.items()
            for name, node in part.nodes()
            if name not in graph.live_modules and node.unsupported_when_used is not None
        ]

    def drop_unused(self) -> None:
        """Forget modules that are never run."""
        for prefix in self.unused_prefixes():
            half, _, name, _ = prefix.split(".")
            del getattr(self, half).module_dict[name]

    def heavy_parameters(self) -> Iterator[str]:
        """Names of the weights that may be stored at lower precision: transformer blocks and VAE.

        Position tables, tokens, embeddings and heads stay float32, as they are under autocast or cost nothing.
        """
        for name, module in self.named_modules():
            if isinstance(module, Block | VidTok):
                yield from (f"{name}.{inner}" for inner, _ in module.named_parameters())

    def set_plain(self, plain: bool) -> None:
        """Lay out every token and attend under whole masks, or merge and cut (the default): for comparisons."""
        for module in self.modules():
            if isinstance(module, BlockWiseSequenceInterleavePacker):
                module.plain = plain

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self.vidtok.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the VAE; other parts may keep float32."""
        return self.vidtok.dtype

    @apply_forward_hook
    def encode(self, latents: Tensor, keep_k: int | None = None) -> TokenizerOutput:
        """Latents (b, 16, t, h, w) to the first keep_k tokens of each latent frame."""
        before = self.unquantized(latents)[:, :, :keep_k]
        codes = self.quantizer.quantize(before)
        return TokenizerOutput(self.quantizer.codes_to_ids(codes), codes, before)

    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor:
        """All tokens: those that are dropped stay in the sequence, behind a mask.

        Raises:
            ValueError: keep_k is outside 1..K, or no token can be dropped.
        """
        if keep_k is not None:
            if self.nested_dropout is None:
                raise ValueError(f"keep_k={keep_k}: this checkpoint has no nested dropout, so it cannot drop tokens")
            whole_number("keep_k", keep_k, 1, self._total)
        return token_ids

    @apply_forward_hook
    def denoiser(
        self,
        token_ids: Tensor,
        sigmas: Tensor,
        *,
        keep_k: Tensor | None = None,
        given_frames: int = 0,
        guided: bool = False,
        like: Denoiser | None = None,
    ) -> GraphDenoiser:
        """See `TokenizerModel.denoiser`."""
        given = torch.full((len(token_ids),), given_frames, device=token_ids.device) if given_frames else None
        tokens = ChunkTokens(self.quantizer.ids_to_codes(token_ids), keep_k, given)
        return self.denoise(tokens, sigmas, guided, like if isinstance(like, GraphDenoiser) else None)

    def denoise(
        self, tokens: ChunkTokens, times: Tensor, guided: bool = False, like: GraphDenoiser | None = None
    ) -> GraphDenoiser:
        """Set up a chunk over the time grid `times` (steps,); `like` has the same grid."""
        unconditional = None
        if guided:
            batch = len(tokens.codes)
            unconditional = torch.arange(2 * batch, device=tokens.codes.device) >= batch
            tokens = tokens.twice()
        reuse = None if like is None else like.run
        run = self.start_decoding(tokens.codes, times, tokens.keep_k, tokens.prefix_len, unconditional, reuse)
        return GraphDenoiser(run, self.velocity, guided)

    @apply_forward_hook
    @without_autocast
    def unquantized(self, latents: Tensor) -> Tensor:
        """Latents (b, 16, t, h, w) to codes (b, t, n, f) before they are rounded, float32."""
        key = self.config.regularizer.latents_read_key
        codes = self.encoder_graph.start({}).step({self.config.vae.vae_latents_write_key: latents})[key]
        return codes.float()

    @apply_forward_hook
    @without_autocast
    def start_decoding(
        self,
        codes: Tensor,
        times: Tensor,
        keep_k: Tensor | None = None,
        prefix_len: Tensor | None = None,
        unconditional: Tensor | None = None,
        reuse: GraphRun | None = None,
    ) -> GraphRun:
        """Set up one chunk; `velocity` then needs the noisy latents alone.

        Args:
            codes: (b, t, n, f).
            times: (steps,), the time grid.
            keep_k: (b,), tokens kept per latent frame.
            prefix_len: (b,), latent frames that are given.
            unconditional: (b,) bool, samples that see the null token.
            reuse: a run over the same grid.
        """
        inputs = {self.config.regularizer.quants_write_key: codes, DROP_FLAG_KEY: unconditional}
        if keep_k is not None:
            if self.nested_dropout is None:
                raise ValueError("keep_k: this checkpoint has no nested dropout, so it cannot drop tokens")
            inputs[self.nested_dropout.keep_key] = keep_k
        if prefix_len is not None and self.prefix_masking is not None:
            inputs[self.prefix_masking.prefix_key] = prefix_len
        run = self.decoder_graph.start(inputs, reuse)
        if reuse is None:
            run.give({self.config.pipeline.timesteps_read_key: times})
        return run

    @apply_forward_hook
    @without_autocast
    def velocity(self, run: GraphRun, noisy: Tensor, index: int) -> Tensor:
        """Velocity (b, 16, t, h, w), float32, of noisy latents at time `index` of the grid."""
        outputs = run.step({self.config.pipeline.noised_videos_read_key: noisy}, index)
        return outputs[self.config.pipeline.reconst_write_key].float()

    def smallest_size(self) -> tuple[int, int, int]:
        """The smallest latents (t, h, w) that all patch embedders take: to check a model that states no size."""
        sizes = [module.patch for module in self.modules() if isinstance(module, PatchEmbedder)]
        t, h, w = (math.lcm(*axis) for axis in zip(*sizes, strict=True)) if sizes else (1, 1, 1)
        return t, h, w

    def check_shapes(self, latent_size: Sequence[int]) -> None:
        """Run both graphs on the meta device; counts the registers.

        Raises:
            CheckpointError: a module does not fit the one before it.
        """
        t, h, w = latent_size
        latents = torch.empty(1, LATENT_CHANNELS, t, h, w, device="meta")
        try:
            codes = self.unquantized(latents)
            if codes.ndim != 4 or codes.shape[-1] != len(self.quantizer.levels):
                raise CheckpointError(
                    f"the encoder gives codes of shape {tuple(codes.shape)}, "
                    f"FSQ needs (b, t, n, {len(self.quantizer.levels)})"
                )
            run = self.start_decoding(codes, torch.ones(1, device="meta"))
            velocity = self.velocity(run, latents, 0)
        except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise CheckpointError(f"the config does not fit together: {first_line(error)}") from error
        if velocity.shape != latents.shape:
            raise CheckpointError(f"the decoder turns latents {tuple(latents.shape)} into {tuple(velocity.shape)}")
        self.num_registers = codes.shape[2]
