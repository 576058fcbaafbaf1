"""Video to tokens and any prefix of tokens back to video: the one pipeline of all tokenizers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from flextok.checks import whole_number
from flextok.chunking import ChunkPlan, num_latent_frames
from flextok.guidance import APGSettings
from flextok.loading.fingerprint import fingerprint
from flextok.models.contract import Denoiser, Posterior, TokenizerModel, TokenizerOutput, VideoAutoencoder
from flextok.pipelines.decode_options import (
    CALLBACK_TENSORS,
    DecodeOptions,
    EndOfStep,
    Generator,
    callback_tensors,
    same_batch,
)
from flextok.pipelines.pipeline_output import VideoPipelineOutput, as_asked, check_output_type
from flextok.pipelines.pixel_check import check_pixels
from flextok.pipelines.sampling import ConditionType, GivenFrames, Guidance, GuidanceScale, OnStep, sample_latents
from flextok.pipelines.seams import soften_seam
from flextok.pipelines.settings import check_scheduler, check_settings
from flextok.pipelines.tokenizer_info import TokenizerInfo
from flextok.quantizers.fsq import FSQ
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.video.clip import Clip, ClipReader

KeepK = int | Sequence[int] | Tensor


@dataclass(frozen=True)
class Conventions:
    """What a family of models expects around its networks, and what cannot be read off them."""

    plan: ChunkPlan
    reader: ClipReader
    apg: APGSettings | None = None
    """What guidance is bounded by unless a call says otherwise."""
    soften_seams: bool = True
    """Fade out the small jump between chunks that were decoded apart."""
    save: Callable[[VideoTokenizerPipeline, Path], None] | None = None
    """Writes a format of its own; None is the one of `DiffusionPipeline`."""


@dataclass(frozen=True)
class EncodedChunk:
    """One chunk of each clip: posterior and latents (b, c, t, h, w), and its tokens."""

    posterior: Posterior
    latents: Tensor
    tokens: TokenizerOutput


@dataclass(frozen=True)
class DecodedChunk:
    """One chunk: its new frames (b, 3, T, H, W), all its latents (b, c, t, h, w), ids (b, k, n) read from given frames.

    `tail`: its last frames, which the next chunk begins with; with a long overlap some of them are not new.
    """

    index: int
    frames: Tensor
    tail: Tensor
    latents: Tensor
    given_ids: Tensor | None


class VideoTokenizerPipeline(DiffusionPipeline):
    """VAE, tokenizer and flow sampler as one object: embedded, own and released models, registers and grids.

    `tokenize` is the way in, `detokenize` (also `__call__`) the way out. Clips longer than a chunk go through chunks
    that share pixel frames; each later chunk is decoded given the last decoded frames of the one before.
    """

    model_cpu_offload_seq = "tokenizer->vae"
    _callback_tensor_inputs = CALLBACK_TENSORS
    _num_timesteps = 0
    _guidance_scale: GuidanceScale = 1.0

    def __init__(
        self,
        vae: VideoAutoencoder,
        tokenizer: TokenizerModel,
        scheduler: RectifiedFlowScheduler,
        name: str = "unnamed",
        fps: float = 8.0,
        licence: str = "unknown",
        num_inference_steps: int = 8,
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__()
        settings = dict(
            name=name, fps=fps, licence=licence, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale
        )
        check_settings(**settings)
        check_scheduler(scheduler)
        self.register_modules(vae=vae, tokenizer=tokenizer, scheduler=scheduler)
        self.register_to_config(**settings)
        if tokenizer.latent_size is not None:
            t, h, _ = tokenizer.latent_size
            plan = ChunkPlan(1 + vae.temporal_ratio * (t - 1), overlap=1, ratio=vae.temporal_ratio)
            self.conventions = Conventions(plan, ClipReader(h * vae.spatial_ratio))
        self.source = "memory"
        self.weight_files: tuple[Path, ...] = ()

    @property
    def plan(self) -> ChunkPlan:
        """How long clips are cut into chunks."""
        return self.conventions.plan

    @property
    def quantizer(self) -> FSQ:
        """What ids mean as codes."""
        return self.tokenizer.quantizer

    @property
    def fingerprint(self) -> str:
        """Names the weights by their content; ValueError unless `flextok.load_tokenizer` loaded it."""
        return fingerprint(self.weight_files)

    @property
    def info(self) -> TokenizerInfo:
        model, vae = self.tokenizer, self.vae
        budgets, side = model.token_budgets, self.conventions.reader.side
        height, width = (
            (side, side) if model.latent_size is None else (n * vae.spatial_ratio for n in model.latent_size[1:])
        )
        parts = (part for part in (model, vae) if isinstance(part, torch.nn.Module))
        return TokenizerInfo(
            id=self.config.name,
            kind=model.kind,
            num_registers=budgets[-1],
            token_budgets=budgets,
            num_ids=model.quantizer.num_ids,
            chunk_frames=self.plan.chunk_frames,
            height=height,
            width=width,
            temporal_ratio=vae.temporal_ratio,
            fps=self.config.fps,
            parameters=sum(p.numel() for p in {id(p): p for part in parts for p in part.parameters()}.values()),
            source=self.source,
            licence=self.config.licence,
        )

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write a folder that `flextok.load_tokenizer` reads; options as in `DiffusionPipeline.save_pretrained`.

        Raises:
            ValueError: a released checkpoint is offloaded or would overwrite another format, or there are options.
        """
        if self.conventions.save is None:
            super().save_pretrained(save_directory, **options)
        elif options:
            raise ValueError(f"released checkpoints are saved without {', '.join(options)}")
        else:
            self.conventions.save(self, Path(save_directory))

    def read(self, path: str | Path, *, fps: float | None = None, **options: Any) -> Clip:
        """A video file or an image as `tokenize` wants it: the model's own pixels and rate, padded to whole chunks.

        Args:
            fps: None takes the model's own.
            options: `start_s`, `max_chunks`, `crop`, `num_frames`, `max_pixels` and `budget` of
                `flextok.video.clip.read_clip`.

        Raises:
            VideoError: one sentence for whatever is wrong with the file.
        """
        return self.conventions.reader.read(path, self.plan, self.config.fps if fps is None else fps, **options)

    # --- tokenize -----------------------------------------------------------------------------------------

    def tokenize(
        self, video: Tensor | Clip, keep_k: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Encode clips into token ids; later frames never change the ids of earlier ones.

        Args:
            video: what `read` gives, or (b, 3, T, H, W) in [-1, 1], H and W as in `info`; T is 17 + 16 n, or 1 + 4 n
                below one chunk where the model takes short ones.
            keep_k: tokens per latent frame. A register tokenizer computes that prefix alone; a grid tokenizer pools
                its cells to that many. None is the full budget.
            generator: draw from the VAE's posterior with it; None takes the mean, so ids are the same every time.

        Returns:
            int64 (b, t, keep_k), t = 1 + (T - 1) / 4.

        Raises:
            ValueError: shape, range of values or keep_k is not as above; the message says what would do.
        """
        repeated = self.plan.overlap_latent
        ids = [
            chunk.tokens.token_ids[:, repeated if index else 0 :]
            for index, chunk in enumerate(self.encode_chunks(video, keep_k, generator))
        ]
        return torch.cat(ids, dim=1)

    @torch.no_grad()
    def encode_chunks(
        self, video: Tensor | Clip, keep_k: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[EncodedChunk]:
        """Encode chunk after chunk, so that memory does not grow with the clip; arguments as in `tokenize`."""
        video = self._checked_video(video)
        for frames in self._frame_slices(video.shape[2]):
            posterior = self.vae.encode(video[:, :, frames].to(self._execution_device))
            latents = posterior.mean if generator is None else posterior.sample(generator)
            yield EncodedChunk(posterior, latents, self.tokenizer.encode(latents, keep_k))

    # --- detokenize ---------------------------------------------------------------------------------------

    def detokenize(self, token_ids: Tensor, keep_k: KeepK | None = None, **options: Any) -> VideoPipelineOutput:
        """Decode a prefix of the tokens; see `__call__`, which this is under the name that fits `tokenize`."""
        return self(token_ids, keep_k, **options)  # type: ignore[return-value]  # unless return_dict=False is among them

    def __call__(
        self,
        token_ids: Tensor,
        keep_k: KeepK | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: GuidanceScale | None = None,
        conditioning_frames: Tensor | None = None,
        generator: Generator | None = None,
        latents: Tensor | None = None,
        apg: APGSettings | Literal["default"] | None = "default",
        condition_type: ConditionType = "clean",
        latent_size: tuple[int, int, int] | None = None,
        num_frames: int | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: EndOfStep | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = CALLBACK_TENSORS,
    ) -> VideoPipelineOutput | tuple[Any]:
        """Decode token ids (b, t, k) to clips.

        Args:
            token_ids: as `tokenize` gives them; t is 5 + 4 n, or fewer than 5 where the model takes short chunks.
            keep_k: use the first keep_k tokens of each latent frame, one number or one per clip; None uses all that
                are there. For a single clip, a list gives as many videos of it, all from the same noise.
            num_inference_steps: steps of the flow sampler; None takes the model's default.
            guidance_scale: 1 is no guidance and half the work; may be a function of the noise level in (0, 1]. None
                takes the model's default.
            conditioning_frames: (b, 3, 1 + 4 m, H, W); the clip begins with these instead of what its tokens say.
            generator: decides the noise; without one the noise is random. A list gives each clip its own; several for
                a single clip give as many videos of it, decoded as one batch.
            latents: the start noise itself, (b, c, t, h, w).
            apg: adaptive projected guidance instead of plain guidance, which None is; "default" is what the model
                was tuned with.
            condition_type: "clean" keeps given latent frames clean, "sdedit" noises them to the current level.
            latent_size: (t, h, w) of a chunk, for checkpoints that do not state it.
            num_frames: give back the first ones alone: cuts off what `read` padded.
            output_type: "pt" for `frames` (b, 3, T, H, W) in about [-1, 1], "np" for float32 (b, T, H, W, 3) in [0, 1],
                "pil" for a list of images a clip, "latent" for latents (b, c, t, h, w).
            return_dict: False gives a tuple of the frames alone.
            callback_on_step_end: called as callback(pipe, step, timestep, kwargs) -> kwargs after every step, with
                `pipe.num_timesteps` of this call; the `pipe._guidance_scale` it sets counts from the next step on.

        Raises:
            ValueError: an argument is out of range or does not fit the others; the message says what would do.
        """
        if num_frames is not None:
            whole_number("num_frames", num_frames, 1)
        check_output_type(output_type)
        chunks = self.stream(
            token_ids,
            keep_k,
            output_type="latent" if output_type == "latent" else "pt",
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            conditioning_frames=conditioning_frames,
            generator=generator,
            latents=latents,
            apg=apg,
            condition_type=condition_type,
            latent_size=latent_size,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_tensors(
                callback_on_step_end, callback_on_step_end_tensor_inputs
            ),
        )
        frames = as_asked(torch.cat(list(chunks), dim=2)[:, :, :num_frames], output_type)
        self.maybe_free_model_hooks()
        return VideoPipelineOutput(frames=frames) if return_dict else (frames,)

    def stream(
        self, token_ids: Tensor, keep_k: KeepK | None = None, *, output_type: str = "pt", **options: Any
    ) -> Iterator[Tensor]:
        """`__call__`, chunk by chunk: yields the new frames of each chunk as they are ready (options as there).

        output_type: "pt" or "latent".
        """
        if output_type not in ("pt", "latent"):
            raise ValueError(f"output_type={output_type!r} must be 'pt' or 'latent'")
        for chunk in self.decode_chunks(token_ids, keep_k, **options):
            repeated = self.plan.overlap_latent if chunk.index else 0
            yield chunk.frames if output_type == "pt" else chunk.latents[:, :, repeated:]

    @torch.no_grad()
    def decode_chunks(self, token_ids: Tensor, keep_k: KeepK | None = None, **settings: Any) -> Iterator[DecodedChunk]:
        """Decode chunk after chunk: frames are ready early and memory does not grow; settings as in `__call__`."""
        options = DecodeOptions(**settings)
        options.check()
        device = self._execution_device
        size = self._checked_size(options.latent_size)
        if token_ids.ndim != 3 or not token_ids.numel():
            raise ValueError(f"token ids must be (b, t, K) and not empty, got {tuple(token_ids.shape)}")
        keep = self._checked_keep(keep_k, token_ids.shape[2])
        # One clip at several budgets shares its noise, unless it is to have several noises.
        shared_noise = len(token_ids) == 1 and keep_k is not None and not isinstance(keep_k, int)
        shared_noise = shared_noise and options.num_seeds == 1
        kept = self.tokenizer.prefix(token_ids.to(device), None if keep is None else int(keep.max()))
        ids, keep, latents, begin = same_batch(
            options.num_seeds,
            {
                "token ids": kept,
                "keep_k": None if keep is None else keep.to(device),
                "latents": None if options.latents is None else options.latents.to(device, torch.float32),
            },
            {"conditioning_frames": options.conditioning_frames},
        )
        assert ids is not None
        slices = self._latent_slices(ids.shape[1])
        if begin is not None:
            self._check_given(begin, ids.shape[1], size)
            begin = begin.to(device)
        guidance = self._guidance(options)
        scheduler = self._own_scheduler()
        steps = self.config.num_inference_steps if options.num_inference_steps is None else options.num_inference_steps
        scheduler.set_timesteps(steps)
        guidance, on_step = self._with_callback(options, guidance, len(scheduler.timesteps))
        sigmas = scheduler.timesteps.to(device)
        noise_of = self._noise(slices, len(ids), size, latents, options.generator, shared_noise)
        denoiser: Denoiser | None = None
        for index, chunk in enumerate(slices):
            tokens, given, given_ids, noise = ids[:, chunk], None, None, noise_of(index)
            if begin is not None:
                given_ids, known = self._encode_given(begin, ids.shape[2])
                if given_ids is not None:
                    tokens = torch.cat([given_ids, tokens if index else tokens[:, known.shape[2] :]], dim=1)
                given = GivenFrames(known, options.condition_type)
            denoiser = self.tokenizer.denoiser(
                tokens,
                sigmas,
                keep_k=keep,
                given_frames=0 if given is None else given.latents.shape[2],
                guided=guidance.active,
                like=denoiser,
            )
            sampled = sample_latents(
                denoiser,
                scheduler,
                noise,
                guidance,
                given if self.tokenizer.clamps_given_frames else None,
                on_step,
            )
            decoded = self._decoded(index, sampled, begin, given_ids)
            yield decoded
            begin = decoded.tail if self.plan.overlap else None

    def prepare_latents(
        self,
        token_ids: Tensor,
        generator: Generator | None = None,
        latent_size: tuple[int, int, int] | None = None,
    ) -> Tensor:
        """The start noise of every latent frame, (b, c, t, h, w): the same for every keep_k of the same seed."""
        return self._start_noise(len(token_ids), token_ids.shape[1], self._checked_size(latent_size), generator)

    def _start_noise(
        self, batch: int, t: int, size: tuple[int, int, int], generator: Generator | None, shared: bool = False
    ) -> Tensor:
        drawn = 1 if shared else batch
        shape = (drawn, self.tokenizer.latent_channels, t, *size[1:])
        device = self._execution_device
        if self.tokenizer.zero_noise:
            return torch.zeros(batch, *shape[1:], device=device)
        if isinstance(generator, Sequence):
            if len(generator) != drawn:
                raise ValueError(f"{len(generator)} generators do not fit {drawn} clips")
            generator = list(generator)
        noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        return noise.expand(batch, *shape[1:])

    def _noise(
        self,
        slices: Sequence[slice],
        batch: int,
        size: tuple[int, int, int],
        latents: Tensor | None,
        generator: Generator | None,
        shared: bool,
    ) -> Callable[[int], Tensor]:
        """Start noise (b, c, t', h, w) of chunk after chunk; what two chunks share has the same noise in both."""
        t = slices[-1].stop
        expected = (batch, self.tokenizer.latent_channels, t, *size[1:])
        if latents is not None and tuple(latents.shape) != expected:
            raise ValueError(f"latents must be {expected} for these tokens, got {tuple(latents.shape)}")
        noise = self._start_noise(batch, t, size, generator, shared) if latents is None else latents
        repeated = self.plan.overlap_latent
        return lambda index: noise[:, :, slices[index].start - (repeated if index else 0) : slices[index].stop]

    def _decoded(self, index: int, latents: Tensor, begin: Tensor | None, given_ids: Tensor | None) -> DecodedChunk:
        """Frames of a chunk's latents, which begin with the given ones."""
        frames = self.vae.decode(latents)
        if begin is not None and self.conventions.soften_seams:
            known = begin.shape[2]
            rest = soften_seam(begin[:, :, -1].to(frames.dtype), frames[:, :, known:])
            frames = torch.cat([frames[:, :, :known], rest], dim=2)
        overlap = self.plan.overlap
        tail = frames[:, :, frames.shape[2] - overlap :]
        return DecodedChunk(index, frames[:, :, overlap if index else 0 :], tail, latents, given_ids)

    def _encode_given(self, frames: Tensor, num_tokens: int) -> tuple[Tensor | None, Tensor]:
        """Ids (b, k, n) that stand in for those of given frames, None where the rest keep theirs, and their latents."""
        latents = self.vae.encode(frames.clamp(-1, 1).to(self._execution_device)).mean
        if self.tokenizer.needs_tokens_of_given_frames:
            return self.tokenizer.encode(latents, num_tokens).token_ids, latents
        shape = (len(latents), latents.shape[2], num_tokens)
        return torch.zeros(shape, dtype=torch.long, device=latents.device), latents

    def _own_scheduler(self) -> RectifiedFlowScheduler:
        """A copy for one call: streams that are open at once must not share a grid."""
        check_scheduler(self.scheduler)
        scheduler: RectifiedFlowScheduler = copy.deepcopy(self.scheduler)
        return scheduler

    def _with_callback(
        self, options: DecodeOptions, guidance: Guidance, num_steps: int
    ) -> tuple[Guidance, OnStep | None]:
        """What calls the callback after each step, and the guidance as the callback last left it."""
        callback = options.callback_on_step_end
        if callback is None:
            return guidance, None
        scale: GuidanceScale = guidance.scale

        def on_step(index: int, timestep: Tensor, current: Tensor) -> Tensor:
            nonlocal scale
            # Said anew each time: another stream may be open on the same pipeline.
            self._num_timesteps, self._guidance_scale = num_steps, scale
            kwargs = dict.fromkeys(options.callback_on_step_end_tensor_inputs, current)
            current = callback(self, index, timestep, kwargs).pop("latents", current)
            scale = self._guidance_scale
            return current

        def latest(sigma: float) -> float:
            return scale(sigma) if callable(scale) else scale

        return replace(guidance, scale=latest) if guidance.active else guidance, on_step

    @property
    def num_timesteps(self) -> int:
        """Of the call whose callback is being called."""
        return self._num_timesteps

    # --- checks: ValueError in one sentence for whatever a caller can get wrong ---------------------------

    def _guidance(self, options: DecodeOptions) -> Guidance:
        scale = self.config.guidance_scale if options.guidance_scale is None else options.guidance_scale
        guidance = Guidance(scale, self.conventions.apg if options.apg == "default" else options.apg)
        if guidance.active and not self.tokenizer.can_be_guided:
            raise ValueError("guidance_scale must be 1: this model has no null token to guide away from")
        return guidance

    def _checked_size(self, latent_size: tuple[int, int, int] | None) -> tuple[int, int, int]:
        size = self.tokenizer.latent_size if latent_size is None else latent_size
        if size is None:
            raise ValueError("latent_size=(t, h, w) must be given: this checkpoint does not state it")
        return size

    def _checked_keep(self, keep_k: KeepK | None, num_tokens: int) -> Tensor | None:
        """As int64 (1,) or (b,), each in 1..num_tokens."""
        if keep_k is None:
            return None
        keep = torch.as_tensor(keep_k).reshape(-1)
        if not keep.numel() or keep.dtype.is_floating_point or keep.dtype == torch.bool:
            raise ValueError(f"keep_k={keep_k} must be whole numbers in 1..{num_tokens}")
        if not 1 <= int(keep.min()) <= int(keep.max()) <= num_tokens:
            raise ValueError(f"keep_k={keep_k} must be in 1..{num_tokens}")
        return keep

    def _frame_slices(self, num_frames: int) -> list[slice]:
        if num_frames < self.plan.chunk_frames and self.tokenizer.takes_short_chunks:
            num_latent_frames(num_frames, self.plan.ratio)
            return [slice(0, num_frames)]
        return self.plan.frame_slices(num_frames)

    def _latent_slices(self, t: int) -> list[slice]:
        if t < self.plan.chunk_latent and self.tokenizer.takes_short_chunks:
            return [slice(0, t)]
        return self.plan.latent_slices(t)

    def _checked_video(self, video: Tensor | Clip) -> Tensor:
        video = video.video if isinstance(video, Clip) else video
        size, ratio = self.tokenizer.latent_size, self.vae.spatial_ratio
        height, width = ("H", "W") if size is None else (ratio * n for n in size[1:])
        if not isinstance(video, Tensor):
            raise ValueError(f"video must be a tensor (b, 3, T, {height}, {width}), not {type(video).__name__}")
        fits = size is None or tuple(video.shape[3:]) == (height, width)
        if video.ndim != 5 or video.shape[1] != 3 or not fits or not video.numel():
            raise ValueError(f"video must be (b, 3, T, {height}, {width}), got {tuple(video.shape)}")
        check_pixels(video)
        self._frame_slices(video.shape[2])
        return video

    def _check_given(self, frames: Tensor, t: int, size: tuple[int, int, int]) -> None:
        ratio, plan = self.vae.spatial_ratio, self.plan
        height, width = size[1] * ratio, size[2] * ratio
        expected = frames.ndim == 5 and frames.shape[1] == 3 and tuple(frames.shape[3:]) == (height, width)
        if not expected or frames.shape[2] % plan.ratio != 1:
            raise ValueError(
                f"conditioning_frames must be (b, 3, 1 + {plan.ratio}*n, {height}, {width}), got {tuple(frames.shape)}"
            )
        check_pixels(frames)
        if num_latent_frames(frames.shape[2], plan.ratio) >= min(t, plan.chunk_latent):
            raise ValueError(f"{frames.shape[2]} conditioning frames leave nothing to decode")
