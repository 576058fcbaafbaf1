"""Videos to tokens and back with a released checkpoint: chunks, conditioning, guidance (contract, section 10).

Two ways of running. By default tokens are deterministic (the VAE's posterior mean, or a draw from `generator`), clips
of any length are padded to whole chunks, samples of a batch do not touch each other, and what is encoded twice in the
reference is encoded once. With `reference=True` everything is as in the reference, draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from flextok.chunking import ChunkPlan
from flextok.guidance import APGSettings
from flextok.loading.fingerprint import fingerprint
from flextok.pipelines.pipeline_output import VideoPipelineOutput
from flextok.pipelines.pipeline_tokenizer import TokenizerInfo
from flextok.pipelines.pixel_check import check_pixels
from flextok.pipelines.settings import check_guidance
from flextok.quantizers.fsq import FSQ
from flextok.released.config import ReleasedConfig
from flextok.released.graph import GraphRun
from flextok.released.memory import MemoryEstimate
from flextok.released.model import OneChunkModel
from flextok.released.preprocess import PreprocessOptions, reference_pixels, to_pixels
from flextok.released.sampler import (
    ChunkTokens,
    ConditionType,
    GivenFrames,
    Guidance,
    GuidanceScale,
    StepCallback,
    sample_latents,
)
from flextok.released.saving import save_released
from flextok.released.vae import LATENT_CHANNELS, SPATIAL_RATIO, TEMPORAL_RATIO, Posterior, latent_frames
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.video.clip import Clip, padded, read_clip

Generator = torch.Generator | Sequence[torch.Generator]
EndOfStep = Callable[["ReleasedTokenizerPipeline", int, float, dict[str, Tensor]], dict[str, Tensor]]
DEFAULT_STEPS = 30
DEFAULT_GUIDANCE = 20.0
DEFAULT_APG = APGSettings()


@dataclass(frozen=True)
class EncodedChunk:
    """One chunk of each sample: posterior, latents (b, 16, t, h, w), codes before FSQ (b, t, n, f), ids (b, t, n)."""

    posterior: Posterior
    latents: Tensor
    unquantized: Tensor
    codes: Tensor
    ids: Tensor


@dataclass(frozen=True)
class DecodedChunk:
    """One chunk: new frames (b, 3, T, H, W), latents handed to the VAE, ids (b, k, n) read from given frames.

    `tail`: its last `overlap` frames, which the next chunk continues; with a long overlap some of them are not new.
    """

    index: int
    frames: Tensor
    tail: Tensor
    latents: Tensor
    given_ids: Tensor | None


@dataclass(frozen=True)
class DecodeOptions:
    """How chunks are sampled; see `ReleasedTokenizerPipeline.detokenize`."""

    scheduler: RectifiedFlowScheduler
    guidance: Guidance
    condition_type: ConditionType
    generator: Generator | None
    on_step: StepCallback | None


class ReferenceDraws:
    """Random numbers of the reference: all but the start noise come from the global CPU generator."""

    def posterior(self, shape: Sequence[int]) -> Tensor:
        """Noise for one call of the VAE encoder."""
        return torch.randn(tuple(shape))

    def encoder(self, batch: int) -> None:
        """The encoder takes one number per sample that changes nothing, but later draws depend on it.

        Measured on the parity cases: 32 bits per sample lie between the draws of the two VAE calls.
        """
        torch.rand(batch)


class ReleasedTokenizerPipeline:
    """A loaded checkpoint.

    Args:
        plan: how long clips are cut into chunks.
        latent_size: (t, h, w) that every chunk is decoded to; None where the checkpoint does not say.
        preprocess: how `read` makes pixels of a file.
        config: for saving. One without a chunk size is a single file's, which has no chunk wrapper: in reference mode
            a clip of any length is then one chunk, and given frames do not replace tokens.
        memory: what was estimated before loading.
        reference: run as the reference does, see above.
    """

    def __init__(
        self,
        model: OneChunkModel,
        info: TokenizerInfo,
        plan: ChunkPlan,
        latent_size: tuple[int, int, int] | None,
        preprocess: PreprocessOptions,
        config: ReleasedConfig,
        memory: MemoryEstimate,
        reference: bool = False,
    ) -> None:
        self.model, self.info, self.plan, self.latent_size = model, info, plan, latent_size
        self.preprocess, self.config, self.memory = preprocess, config, memory
        self.reference, self.whole_clips = reference, reference and config.chunk_size is None
        self.draws = ReferenceDraws()
        self.weight_files: tuple[Path, ...] = ()

    @property
    def quantizer(self) -> FSQ:
        """What ids mean as codes."""
        return self.model.quantizer

    @property
    def fingerprint(self) -> str:
        """Names the weights by their content; ValueError for a pipeline that was not loaded from files."""
        return fingerprint(self.weight_files)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def to(self, device: torch.device | str) -> ReleasedTokenizerPipeline:
        self.model.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write our own format, which loads without conversion; see `flextok.released.saving`."""
        save_released(self, self.config, folder)

    def read(self, path: str | Path, *, fps: float | None = None, **options: Any) -> Clip:
        """A video file or an image as `tokenize` wants it, in the very pixels that the checkpoint was trained on.

        Args:
            fps: None takes the checkpoint's own, or 8 where it says nothing.
            options: as in `VideoTokenizerPipeline.read`. With `reference` there are none, nor `fps`: frames are
                spread over the whole file, as the reference has it.

        Raises:
            VideoError: one sentence for whatever is wrong with the file.
            ValueError: options with `reference`.
        """
        rate = self.info.fps if fps is None else fps
        if self.reference:
            if options or fps is not None:
                raise ValueError(
                    "the reference reads whole files at its own rate: it takes no fps, start_s or the like"
                )
            video = reference_pixels(path, self.preprocess)
            return Clip(video, video.shape[2], rate)
        if options.get("num_frames") is None:
            options["num_frames"] = self.preprocess.num_frames
        size = self.preprocess.size
        return read_clip(path, self.plan, rate, lambda frames: to_pixels(frames, size)[None], **options)

    # --- tokenize -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def tokenize(self, video: Tensor | Clip, generator: torch.Generator | None = None) -> Tensor:
        """Token ids (b, t, K), int64, of clips (b, 3, T, H, W) in [-1, 1], or of what `read` gives.

        Args:
            generator: draw from the VAE's posterior with it; None takes the mean. Unused in reference mode, where
                the global CPU generator draws.

        A clip that does not end with a whole chunk is padded by its last frame; `num_frames` of `detokenize` cuts the
        padding off again. In reference mode such frames are dropped, and a clip shorter than a chunk is refused.

        Raises:
            ValueError: the video has another shape, or (reference mode) is too short.
        """
        plan = self.plan
        ids = [
            chunk.ids[:, plan.overlap_latent if index else 0 :]
            for index, chunk in enumerate(self.encode_chunks(video, generator))
        ]
        return torch.cat(ids, dim=1)

    @torch.no_grad()
    def encode_chunks(self, video: Tensor | Clip, generator: torch.Generator | None = None) -> Iterator[EncodedChunk]:
        """Encode chunk after chunk, so that memory does not grow with the clip; arguments as in `tokenize`."""
        video = self._whole_chunks(video.video if isinstance(video, Clip) else video)
        b, _, num_frames, height, width = video.shape
        slices = [slice(0, num_frames)] if self.whole_clips else self.plan.frame_slices(num_frames)
        draws: Tensor | None = None
        if self.reference:  # one draw for all samples and chunks of the call, sample-major
            t = latent_frames(slices[0].stop)
            size = (t, height // SPATIAL_RATIO, width // SPATIAL_RATIO)
            draws = self.draws.posterior((b * len(slices), LATENT_CHANNELS, *size)).unflatten(0, (b, -1))
        for index, frames in enumerate(slices):
            noise = None if draws is None else draws[:, index]
            yield self._encode(video[:, :, frames], generator, noise)

    def _encode(self, video: Tensor, generator: torch.Generator | None, noise: Tensor | None) -> EncodedChunk:
        posterior = self.model.vidtok.encode(video.to(self.device))
        latents = self._posterior_latents(posterior, generator, noise)
        unquantized = self.model.encode(latents)
        codes = self.model.quantizer.quantize(unquantized)
        return EncodedChunk(posterior, latents, unquantized, codes, self.model.quantizer.codes_to_ids(codes))

    def _posterior_latents(
        self, posterior: Posterior, generator: torch.Generator | None, noise: Tensor | None
    ) -> Tensor:
        if noise is None and generator is None:
            return posterior.mean
        if noise is None:
            noise = draw_normal(posterior.mean.shape, generator, posterior.mean.device)
        return posterior.sample(noise.to(posterior.mean.device))

    def _whole_chunks(self, video: Tensor) -> Tensor:
        """The clip with as many frames as its chunks need."""
        if video.ndim != 5 or video.shape[1] != 3 or not video.numel():
            raise ValueError(f"video must be (b, 3, T, H, W), got {tuple(video.shape)}")
        check_pixels(video)
        plan, num_frames = self.plan, video.shape[2]
        if self.whole_clips:
            return video
        if self.reference:
            if num_frames < plan.chunk_frames:
                raise ValueError(f"{num_frames} frames are fewer than a chunk of {plan.chunk_frames}")
            if not plan.overlap:
                return video  # the plan refuses what is no whole number of chunks
            return video[:, :, : num_frames - (num_frames - plan.chunk_frames) % plan.stride]
        return padded(video, plan)

    # --- detokenize ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def detokenize(
        self,
        ids: Tensor,
        keep_k: int | Sequence[int] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: GuidanceScale | None = None,
        conditioning_frames: Tensor | None = None,
        generator: Generator | None = None,
        latents: Tensor | None = None,
        apg: APGSettings | None = DEFAULT_APG,
        condition_type: ConditionType = "clean",
        latent_size: tuple[int, int, int] | None = None,
        num_frames: int | None = None,
        callback_on_step_end: EndOfStep | None = None,
    ) -> VideoPipelineOutput:
        """Video of token ids (b, t, K).

        Args:
            keep_k: tokens used per latent frame, one number or one per sample. For a single clip, a list gives as
                many videos of it, all from the same noise, decoded as one batch.
            guidance_scale: 1 is off; may be a function of time in (0, 1].
            conditioning_frames: (b, 3, k, H, W), k = 1 + 4 n, given first frames; they come back VAE-decoded.
            generator: for the noise, one or one per sample; several for a single clip give as many videos of it,
                decoded as one batch.
            latents: (b, 16, t, h, w), start noise of the first chunk; later ones draw from `generator`, unless chunks
                do not overlap: then all start from it.
            apg: None is plain classifier-free guidance.
            condition_type: "clean" keeps given latent frames clean, "sdedit" noises them to the current time.
            latent_size: (t, h, w) of each chunk, for checkpoints that do not state it.
            num_frames: return the first ones only: cuts off what `tokenize` padded.
            callback_on_step_end: called (pipeline, step, time, {"latents": ...}) after each step of each chunk.

        Raises:
            ValueError: an argument is out of range or does not fit the others.
        """
        if num_frames is not None and num_frames < 1:
            raise ValueError(f"num_frames={num_frames} must be at least 1")
        chunks = self.decode_chunks(
            ids,
            keep_k,
            num_inference_steps,
            guidance_scale,
            conditioning_frames,
            generator,
            latents,
            apg,
            condition_type,
            latent_size,
            callback_on_step_end,
        )
        return VideoPipelineOutput(frames=torch.cat([chunk.frames for chunk in chunks], dim=2)[:, :, :num_frames])

    def stream(self, ids: Tensor, keep_k: int | Sequence[int] | None = None, **options: Any) -> Iterator[Tensor]:
        """The new frames of each chunk as soon as they are decoded; options as in `decode_chunks`."""
        for chunk in self.decode_chunks(ids, keep_k, **options):
            yield chunk.frames

    @torch.no_grad()
    def decode_chunks(
        self,
        ids: Tensor,
        keep_k: int | Sequence[int] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: GuidanceScale | None = None,
        conditioning_frames: Tensor | None = None,
        generator: Generator | None = None,
        latents: Tensor | None = None,
        apg: APGSettings | None = DEFAULT_APG,
        condition_type: ConditionType = "clean",
        latent_size: tuple[int, int, int] | None = None,
        callback_on_step_end: EndOfStep | None = None,
    ) -> Iterator[DecodedChunk]:
        """Decode chunk after chunk: frames are ready early and memory does not grow; arguments as in `detokenize`."""
        if condition_type not in get_args(ConditionType):
            raise ValueError(f"condition_type={condition_type!r} must be one of {', '.join(get_args(ConditionType))}")
        size = self._checked_size(latent_size)
        seeds = len(generator) if isinstance(generator, Sequence) else 1
        # One clip at several budgets shares its noise, unless it is to have several noises.
        shared_noise = len(ids) == 1 and isinstance(keep_k, Sequence | Tensor) and seeds == 1
        ids, keep, latents = self._checked_tokens(ids.to(self.device), keep_k, latents, seeds)
        slices = self._chunk_slices(ids.shape[1])
        self._check_truncation(ids, len(slices))
        batch = ids.shape[0]
        given = None if conditioning_frames is None else self._checked_frames(conditioning_frames, batch, size)
        guidance = self._guidance(guidance_scale, apg)
        scheduler = RectifiedFlowScheduler()  # one per call: streams that are open at once must not share a grid
        scheduler.set_timesteps(DEFAULT_STEPS if num_inference_steps is None else num_inference_steps)
        options = DecodeOptions(scheduler, guidance, condition_type, generator, self._on_step(callback_on_step_end))
        run: GraphRun | None = None
        for index, latent_slice in enumerate(slices):
            chunk_ids = ids[:, latent_slice]
            start = latents if index == 0 or not self.plan.overlap else None
            decoded, run = self._decode_chunk(index, chunk_ids, keep, given, start, size, options, shared_noise, run)
            yield decoded
            given = decoded.tail if self.plan.overlap else None

    def _decode_chunk(
        self,
        index: int,
        ids: Tensor,
        keep_k: Tensor | None,
        given_frames: Tensor | None,
        noise: Tensor | None,
        size: tuple[int, int, int],
        options: DecodeOptions,
        shared_noise: bool,
        reuse: GraphRun | None,
    ) -> tuple[DecodedChunk, GraphRun]:
        """One chunk of new tokens (b, t', n); given frames come before them (index > 0) or replace the first."""
        given: GivenFrames | None = None
        prefix_len: Tensor | None = None
        given_ids: Tensor | None = None
        if given_frames is not None:
            given_ids, given_latents = self._encode_given(given_frames, ids.shape[2])
            k = given_latents.shape[2]
            if given_ids is not None:
                ids = torch.cat([given_ids, ids if index else ids[:, k:]], dim=1)
            prefix_len = torch.full((len(ids),), k, device=ids.device)
            if self.model.clamps_condition:
                given = GivenFrames(given_latents, options.condition_type)
        if noise is None:
            noise = self._start_noise((len(ids), LATENT_CHANNELS, *size), options.generator, shared_noise)
        tokens = ChunkTokens(self.model.quantizer.ids_to_codes(ids), keep_k, prefix_len)
        latents, run = sample_latents(
            self.model, options.scheduler, tokens, noise, options.guidance, given, reuse, options.on_step
        )
        frames = self.model.vidtok.decode(latents)
        overlap = self.plan.overlap
        new = frames[:, :, overlap if index else 0 :]  # frames before a later chunk are the end of the one before
        return DecodedChunk(index, new, frames[:, :, frames.shape[2] - overlap :], latents, given_ids), run

    def _encode_given(self, frames: Tensor, num_tokens: int) -> tuple[Tensor | None, Tensor]:
        """Ids (b, k, n), None where they are not to replace tokens, and latents (b, 16, k, h, w) of given frames.

        The reference encodes them twice, with a draw each. By default they are encoded once, and their tokens only
        where the decoder does not mask them anyway.
        """
        posterior = self.model.vidtok.encode(frames.to(self.device))
        mean = posterior.mean
        if not self.reference:
            latents = mean
            if not self.model.given_frames_need_tokens:
                return torch.zeros(len(mean), mean.shape[2], num_tokens, dtype=torch.long, device=mean.device), latents
            return self._ids(latents)[:, :, :num_tokens], latents
        ids = None
        if not self.whole_clips:
            ids = self._ids(posterior.sample(self.draws.posterior(mean.shape).to(mean.device)))
            self.draws.encoder(len(mean))
        return ids, posterior.sample(self.draws.posterior(mean.shape).to(mean.device))

    def _ids(self, latents: Tensor) -> Tensor:
        """Ids (b, t, n) of latents (b, 16, t, h, w)."""
        return self.model.quantizer.codes_to_ids(self.model.quantizer.quantize(self.model.encode(latents)))

    def _on_step(self, callback: EndOfStep | None) -> StepCallback | None:
        if callback is None:
            return None
        return lambda index, time, x: callback(self, index, time, {"latents": x}).get("latents")

    def _start_noise(self, shape: tuple[int, ...], generator: Generator | None, shared: bool) -> Tensor:
        if self.model.config.pipeline.zero_noise:
            return torch.zeros(shape, device=self.device)
        drawn = 1 if shared else shape[0]
        if isinstance(generator, Sequence) and len(generator) != drawn:
            raise ValueError(f"{len(generator)} generators do not fit {drawn} noise tensors")
        parts = [
            draw_normal((1, *shape[1:]), generator[i] if isinstance(generator, Sequence) else generator, self.device)
            for i in range(drawn)
        ]
        return torch.cat(parts).expand(shape[0], -1, -1, -1, -1)

    # --- checks -------------------------------------------------------------------------------------------

    def _guidance(self, scale: GuidanceScale | None, apg: APGSettings | None) -> Guidance:
        if scale is not None and not callable(scale):
            check_guidance(scale)
        guidance = Guidance(DEFAULT_GUIDANCE if scale is None else scale, apg, self.reference)
        if not guidance.active or self.reference or self.model.has_null_token:
            return guidance
        if scale is None:
            return Guidance(1.0)
        raise ValueError("guidance_scale must be 1: this checkpoint has no null token to guide away from")

    def _checked_size(self, latent_size: tuple[int, int, int] | None) -> tuple[int, int, int]:
        size = self.latent_size if latent_size is None else latent_size
        if size is None:
            raise ValueError("latent_size=(t, h, w) must be given: this checkpoint does not state it")
        if len(size) != 3:
            raise ValueError(f"latent_size={size} must be (t, h, w)")
        return size

    def _checked_tokens(
        self, ids: Tensor, keep_k: int | Sequence[int] | None, latents: Tensor | None, seeds: int
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Ids, keep_k and noise with the same batch; a single clip is repeated for several keep_k or noises."""
        if ids.ndim != 3 or not ids.numel():
            raise ValueError(f"token ids must be (b, t, K), got {tuple(ids.shape)}")
        keep = None if keep_k is None else torch.as_tensor(keep_k, device=ids.device).reshape(-1)
        if keep is not None:
            if not keep.numel() or keep.dtype.is_floating_point or keep.dtype == torch.bool:
                raise ValueError(f"keep_k={keep_k} must be whole numbers")
            if self.model.nested_dropout is None:
                raise ValueError("keep_k: this checkpoint has no nested dropout, so it cannot drop tokens")
            if not self.reference and not 1 <= int(keep.min()) <= int(keep.max()) <= self.info.num_registers:
                raise ValueError(f"keep_k={keep_k} must be in 1..{self.info.num_registers}")
        if seeds < 1:
            raise ValueError("generator is an empty list")
        if latents is not None and (latents.ndim != 5 or not len(latents)):
            raise ValueError(f"latents must be (b, c, t, h, w), got {tuple(latents.shape)}")
        batch = max(len(ids), 0 if keep is None else len(keep), 0 if latents is None else len(latents))
        batch = seeds if batch == 1 else batch
        noise = None if latents is None else latents.to(self.device, torch.float32)
        for name, value in {"token ids": ids, "keep_k": keep, "latents": noise}.items():
            if value is not None and len(value) not in (1, batch):
                raise ValueError(f"{name} has {len(value)} entries for a batch of {batch}")
        return (
            ids.expand(batch, -1, -1),
            None if keep is None else keep.expand(batch),
            None if noise is None else noise.expand(batch, -1, -1, -1, -1),
        )

    def _chunk_slices(self, t: int) -> list[slice]:
        plan = self.plan
        if self.whole_clips:
            return [slice(0, t)]
        if self.reference and t > plan.chunk_latent:
            t -= (t - plan.chunk_latent) % (plan.chunk_latent - plan.overlap_latent)  # surplus tokens are dropped
        return plan.latent_slices(t)

    def _check_truncation(self, ids: Tensor, num_chunks: int) -> None:
        if self.reference and self.plan.overlap and num_chunks > 1 and ids.shape[2] < self.info.num_registers:
            raise ValueError("the reference cannot decode several chunks of truncated tokens; use keep_k")

    def _checked_frames(self, frames: Tensor, batch: int, size: tuple[int, int, int]) -> Tensor:
        if frames.ndim != 5 or frames.shape[1] != 3 or len(frames) not in (1, batch):
            raise ValueError(f"conditioning_frames must be (b, 3, k, H, W) with b = {batch}, got {tuple(frames.shape)}")
        check_pixels(frames)
        if not self.reference:
            height, width = size[1] * SPATIAL_RATIO, size[2] * SPATIAL_RATIO
            k = frames.shape[2]
            if k % TEMPORAL_RATIO != 1 or k > self.plan.chunk_frames or frames.shape[3:] != (height, width):
                raise ValueError(
                    f"conditioning_frames must be 1 + {TEMPORAL_RATIO}*n <= {self.plan.chunk_frames} frames of "
                    f"{height}x{width}, got {k} of {frames.shape[3]}x{frames.shape[4]}"
                )
        return frames.expand(batch, -1, -1, -1, -1)


def draw_normal(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard normal numbers on `device`, drawn where the generator lives: a CPU one gives the same everywhere."""
    source = device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=source).to(device)
