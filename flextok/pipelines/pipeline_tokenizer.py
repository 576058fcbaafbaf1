"""Video to tokens and any prefix of tokens back to video, for embedded tokenizers of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from flextok.chunking import ChunkPlan, num_latent_frames
from flextok.guidance import APGSettings
from flextok.loading.fingerprint import fingerprint
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_output import VideoPipelineOutput
from flextok.pipelines.pixel_check import check_pixels
from flextok.pipelines.sampling import sample_latents
from flextok.pipelines.seams import soften_seam
from flextok.pipelines.settings import check_guidance, check_settings, check_steps
from flextok.quantizers.fsq import FSQ
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.video.clip import Clip, read_clip
from flextok.video.pixels import to_float

Generator = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True)
class TokenizerInfo:
    """What a user needs to know of a loaded tokenizer."""

    id: str
    kind: str
    """"register" (any prefix decodes) or "grid" (8x8, 4x4, 2x2 or 1x1 cells)."""
    num_registers: int
    """Tokens per latent frame at the full budget, K."""
    token_budgets: tuple[int, ...]
    """Budgets it was trained at; a register tokenizer takes every one between them too."""
    num_ids: int
    chunk_frames: int
    height: int
    width: int
    temporal_ratio: int
    fps: float
    parameters: int
    source: str
    licence: str


class VideoTokenizerPipeline(DiffusionPipeline):
    """VAE, tokenizer and flow sampler as one object that saves and loads like any `DiffusionPipeline`.

    `tokenize` is the way in, `detokenize` (also `__call__`) the way out. Clips longer than a chunk go through chunks
    that share one pixel frame; each later chunk is decoded given the last decoded frame of the one before.
    """

    model_cpu_offload_seq = "tokenizer->vae"
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        vae: AutoencoderCausalVideo,
        tokenizer: RegisterTokenizer | GridTokenizer,
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
        self.register_modules(vae=vae, tokenizer=tokenizer, scheduler=scheduler)
        self.register_to_config(**settings)
        frames = 1 + vae.temporal_ratio * (tokenizer.config.latent_size[0] - 1)
        self.plan = ChunkPlan(chunk_frames=frames, overlap=1, ratio=vae.temporal_ratio)
        self.source = "memory"
        self.weight_files: tuple[Path, ...] = ()

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
        grid = isinstance(model, GridTokenizer)
        budgets = tuple(side * side for side in reversed(model.grid_sizes)) if grid else model.token_budgets
        return TokenizerInfo(
            id=self.config.name,
            kind="grid" if grid else "register",
            num_registers=budgets[-1],
            token_budgets=budgets,
            num_ids=model.quantizer.num_ids,
            chunk_frames=self.plan.chunk_frames,
            height=model.config.latent_size[1] * vae.spatial_ratio,
            width=model.config.latent_size[2] * vae.spatial_ratio,
            temporal_ratio=vae.temporal_ratio,
            fps=self.config.fps,
            parameters=sum(p.numel() for part in (model, vae) for p in part.parameters()),
            source=self.source,
            licence=self.config.licence,
        )

    def read(self, path: str | Path, *, fps: float | None = None, **options: Any) -> Clip:
        """A video file or an image as `tokenize` wants it: this model's size and rate, padded to whole chunks.

        Args:
            fps: None takes the model's own.
            options: `start_s`, `max_chunks`, `crop`, `num_frames`, `max_pixels` and `max_decode_s` of
                `flextok.video.clip.read_clip`.

        Raises:
            VideoError: one sentence for whatever is wrong with the file.
        """
        info = self.info
        return read_clip(path, self.plan, info.fps if fps is None else fps, to_float, info.height, **options)

    @torch.no_grad()
    def tokenize(self, video: Tensor | Clip, keep_k: int | None = None) -> Tensor:
        """Encode clips into token ids; deterministic, and later frames never change the ids of earlier ones.

        Args:
            video: what `read` gives, or (b, 3, T, H, W) in [-1, 1], H and W as in `info`; T is 17 + 16 n, or 1 + 4 n
                below one chunk.
            keep_k: tokens per latent frame. A register tokenizer computes that prefix alone; a grid tokenizer pools
                its cells to that many. None is the full budget.

        Returns:
            int64 (b, t, keep_k), t = 1 + (T - 1) / 4.

        Raises:
            ValueError: shape, range of values or keep_k is not as above; the message says what would do.
        """
        video = video.video if isinstance(video, Clip) else video
        self._check_video(video)
        video = video.to(self._execution_device)
        if video.shape[2] < self.plan.chunk_frames:
            return self._encode_chunk(video, keep_k)
        ids = [self._encode_chunk(video[:, :, frames], keep_k) for frames in self.plan.frame_slices(video.shape[2])]
        return torch.cat([ids[0]] + [later[:, self.plan.overlap_latent :] for later in ids[1:]], dim=1)

    def detokenize(self, token_ids: Tensor, keep_k: int | None = None, **options: Any) -> VideoPipelineOutput:
        """Decode a prefix of the tokens; see `__call__`, which this is under the name that fits `tokenize`."""
        return self(token_ids, keep_k, **options)  # type: ignore[return-value]  # unless return_dict=False is among them

    @torch.no_grad()
    def __call__(
        self,
        token_ids: Tensor,
        keep_k: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        conditioning_frames: Tensor | None = None,
        generator: Generator | None = None,
        latents: Tensor | None = None,
        apg: APGSettings | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: tuple[str, ...] = ("latents",),
    ) -> VideoPipelineOutput | tuple[Tensor]:
        """Decode token ids (b, t, k) to clips.

        Args:
            token_ids: as `tokenize` gives them; t is 5 + 4 n, or fewer than 5.
            keep_k: use the first keep_k tokens of each latent frame; None uses all that are there.
            num_inference_steps: steps of the flow sampler; None takes the model's default.
            guidance_scale: 1 is no guidance and half the work; None takes the model's default.
            conditioning_frames: (b, 3, 1 + 4 m, H, W); the clip begins with these instead of what its tokens say.
            generator: decides the noise; without one the noise is random. A list gives each clip its own; several for
                a single clip give as many videos of it, decoded as one batch.
            latents: the start noise itself, (b, c, t, h, w).
            apg: adaptive projected guidance instead of plain guidance.
            output_type: "pt" for `frames` (b, 3, T, H, W) in about [-1, 1], or "latent" for (b, c, t, h, w).
            callback_on_step_end: called as callback(pipe, step, timestep, kwargs) -> kwargs after every step.

        Raises:
            ValueError: an argument is out of range; the message says what would do.
        """
        chunks = list(
            self.stream(
                token_ids,
                keep_k,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                conditioning_frames=conditioning_frames,
                generator=generator,
                latents=latents,
                apg=apg,
                output_type=output_type,
                callback_on_step_end=callback_on_step_end,
                callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            )
        )
        frames = torch.cat(chunks, dim=2)
        return VideoPipelineOutput(frames=frames) if return_dict else (frames,)

    @torch.no_grad()
    def stream(
        self,
        token_ids: Tensor,
        keep_k: int | None = None,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        conditioning_frames: Tensor | None = None,
        generator: Generator | None = None,
        latents: Tensor | None = None,
        apg: APGSettings | None = None,
        output_type: str = "pt",
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: tuple[str, ...] = ("latents",),
    ) -> Iterator[Tensor]:
        """`__call__`, chunk by chunk: yields the new frames of each chunk as they are ready (arguments as there)."""
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        self._check_ids(token_ids)
        device = self._execution_device
        token_ids = self.tokenizer.prefix(token_ids.to(device), keep_k)
        if isinstance(generator, Sequence):
            token_ids = _for_each(generator, token_ids)
            conditioning_frames = None if conditioning_frames is None else _for_each(generator, conditioning_frames)
            latents = None if latents is None else _for_each(generator, latents)
        self.check_inputs(token_ids, steps, scale, output_type, conditioning_frames, latents)
        if wrong := set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise ValueError(f"callback_on_step_end_tensor_inputs can be {self._callback_tensor_inputs}, not {wrong}")
        noise = self.prepare_latents(token_ids, generator, latents)
        # One per call: streams that are open at once must not share a grid.
        scheduler = RectifiedFlowScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(steps, device=device)

        def on_step(index: int, timestep: Tensor, current: Tensor) -> Tensor:
            if callback_on_step_end is None:
                return current
            kwargs = {name: current for name in callback_on_step_end_tensor_inputs}
            return callback_on_step_end(self, index, timestep, kwargs).pop("latents", current)

        begin = None if conditioning_frames is None else conditioning_frames.to(device)
        for number, chunk in enumerate(self._latent_chunks(token_ids.shape[1])):
            ids, chunk_noise, given = token_ids[:, chunk], noise[:, :, chunk], None
            if begin is not None:
                ids, chunk_noise, given = self._begin_with(begin, ids, chunk_noise, replace=number == 0)
            decoded = sample_latents(
                self.tokenizer,
                scheduler,
                self.tokenizer.condition(ids),
                chunk_noise,
                guidance_scale=scale,
                apg=apg,
                given=given,
                on_step=on_step,
            )
            frames = self.vae.decode(decoded)
            if begin is not None:
                known = begin.shape[2]
                rest = soften_seam(begin[:, :, -1].to(frames.dtype), frames[:, :, known:])
                frames = torch.cat([frames[:, :, :known], rest], dim=2)
            begin = frames[:, :, -self.plan.overlap :]
            if output_type == "latent":
                yield decoded if number == 0 else decoded[:, :, self.plan.overlap_latent :]
            else:
                yield frames if number == 0 else frames[:, :, self.plan.overlap :]

    def check_inputs(
        self,
        token_ids: Tensor,
        num_inference_steps: int,
        guidance_scale: float,
        output_type: str,
        conditioning_frames: Tensor | None,
        latents: Tensor | None,
    ) -> None:
        """Raise ValueError with one sentence for whatever a caller can get wrong."""
        self._check_ids(token_ids)
        check_steps(num_inference_steps)
        check_guidance(guidance_scale)
        if output_type not in ("pt", "latent"):
            raise ValueError(f"output_type={output_type!r} must be 'pt' or 'latent'")
        self._latent_chunks(token_ids.shape[1])
        if conditioning_frames is not None:
            self._check_video(conditioning_frames)
            t = num_latent_frames(conditioning_frames.shape[2], self.plan.ratio)
            if t >= min(token_ids.shape[1], self.plan.chunk_latent):
                raise ValueError(f"{conditioning_frames.shape[2]} conditioning frames leave nothing to decode")
            if len(conditioning_frames) != len(token_ids):
                raise ValueError(f"{len(conditioning_frames)} conditioning clips for {len(token_ids)} token grids")
        expected = self._noise_shape(token_ids)
        if latents is not None and tuple(latents.shape) != expected:
            raise ValueError(f"latents must be {expected} for these tokens, got {tuple(latents.shape)}")
        if latents is not None and not bool(latents.isfinite().all()):
            raise ValueError("latents must be finite numbers")

    def prepare_latents(
        self, token_ids: Tensor, generator: Generator | None = None, latents: Tensor | None = None
    ) -> Tensor:
        """The start noise of every latent frame, (b, c, t, h, w): the same for every keep_k of the same seed."""
        device = self._execution_device
        if latents is not None:
            return latents.to(device, torch.float32)
        shape = self._noise_shape(token_ids)
        if isinstance(generator, Sequence):
            if len(generator) != shape[0]:
                raise ValueError(f"{len(generator)} generators do not fit {shape[0]} clips")
            generator = list(generator)
        return randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)

    def _noise_shape(self, token_ids: Tensor) -> tuple[int, ...]:
        _, height, width = self.tokenizer.config.latent_size
        return (len(token_ids), self.tokenizer.config.latent_channels, token_ids.shape[1], height, width)

    def _latent_chunks(self, t: int) -> list[slice]:
        return [slice(0, t)] if t < self.plan.chunk_latent else self.plan.latent_slices(t)

    def _encode_chunk(self, video: Tensor, keep_k: int | None) -> Tensor:
        latents = self.vae.encode(video.to(self.vae.dtype)).mean
        return self.tokenizer.encode(latents.to(self.tokenizer.dtype), keep_k).token_ids

    def _begin_with(self, frames: Tensor, ids: Tensor, noise: Tensor, replace: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, noise and clean latents of a chunk that begins with known `frames`.

        Their tokens come from encoding them: in place of the first chunk's own (`replace`), in front of a later one's.
        """
        given = self.vae.encode(frames.clamp(-1, 1).to(self.vae.dtype)).mean
        known = self.tokenizer.encode(given.to(self.tokenizer.dtype), ids.shape[2]).token_ids
        t = given.shape[2]
        ids = torch.cat([known, ids[:, t:] if replace else ids], dim=1)
        return ids, noise if replace else torch.cat([torch.zeros_like(given), noise], dim=2), given

    def _check_ids(self, token_ids: Tensor) -> None:
        if token_ids.ndim != 3 or not token_ids.numel():
            raise ValueError(f"token_ids must be (b, t, k) and not empty, got {tuple(token_ids.shape)}")

    def _check_video(self, video: Tensor) -> None:
        height, width = (self.tokenizer.config.latent_size[i] * self.vae.spatial_ratio for i in (1, 2))
        if not isinstance(video, Tensor):
            raise ValueError(f"video must be a tensor (b, 3, T, {height}, {width}), not {type(video).__name__}")
        if video.ndim != 5 or video.shape[1] != 3 or tuple(video.shape[3:]) != (height, width) or not video.numel():
            raise ValueError(f"video must be (b, 3, T, {height}, {width}), got {tuple(video.shape)}")
        check_pixels(video)
        if video.shape[2] < self.plan.chunk_frames:
            num_latent_frames(video.shape[2], self.plan.ratio)
        else:
            self.plan.frame_slices(video.shape[2])


def _for_each(generators: Sequence[torch.Generator], of_one: Tensor) -> Tensor:
    """What belongs to a single clip, once for each of several generators; a batch stays as it is."""
    if not generators:
        raise ValueError("generator is an empty list")
    if len(of_one) != 1:
        return of_one
    return of_one.expand(len(generators), *of_one.shape[1:])
