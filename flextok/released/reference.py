"""A released checkpoint run as in its reference implementation, draw by draw (contract, section 10): for parity.

Where the reference is not what anybody wants, `VideoTokenizerPipeline` does better: tokens there are deterministic,
given frames are encoded once, samples of a batch do not touch each other. Here they are as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flextok.pipelines.decode_options import DecodeOptions, Generator
from flextok.pipelines.pipeline_tokenizer import DecodedChunk, EncodedChunk, KeepK, VideoTokenizerPipeline
from flextok.pipelines.pixel_check import check_pixels
from flextok.pipelines.sampling import Guidance
from flextok.released.model import OneChunkModel
from flextok.released.preprocess import PreprocessOptions, reference_pixels
from flextok.released.vae import LATENT_CHANNELS, SPATIAL_RATIO, latent_frames
from flextok.video.clip import Clip


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


@dataclass(frozen=True)
class LeakyGuidance(Guidance):
    """One momentum buffer runs through all samples of a batch, one after another: they leak into each other."""

    def combine(
        self, told: Tensor, untold: Tensor, sigma: float, average: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        guided = []
        for one, other in zip(told.split(1), untold.split(1), strict=True):
            velocity, average = super().combine(one, other, sigma, average)
            guided.append(velocity)
        return torch.cat(guided), average


class ReferencePipeline(VideoTokenizerPipeline):
    """What a call of the reference returns, also where it draws, drops frames or forgets to check.

    A single file's config has no chunk size, as it has no chunk wrapper (`whole_clips`): a clip of any length is then
    one chunk, and given frames do not replace tokens.
    """

    tokenizer: OneChunkModel
    preprocess: PreprocessOptions
    draws = ReferenceDraws()

    @property
    def whole_clips(self) -> bool:
        return self.tokenizer.released_config.chunk_size is None

    def read(self, path: str | Path, *, fps: float | None = None, **options: Any) -> Clip:
        """The frames that the reference takes: spread over the whole file.

        Raises:
            VideoError: one sentence for whatever is wrong with the file.
            ValueError: fps or options, which the reference does not have.
        """
        if options or fps is not None:
            raise ValueError("the reference reads whole files at its own rate: it takes no fps, start_s or the like")
        video = reference_pixels(path, self.preprocess)
        return Clip(video, video.shape[2], self.config.fps)

    @torch.no_grad()
    def encode_chunks(
        self,
        video: Tensor | Clip,
        keep_k: int | None = None,
        generator: torch.Generator | None = None,  # noqa: ARG002 - the global one draws
    ) -> Iterator[EncodedChunk]:
        """One draw for all samples and chunks of the call, sample-major; surplus frames are dropped.

        Raises:
            ValueError: the video has another shape, or is shorter than a chunk.
        """
        video = self._checked_video(video)
        b, _, num_frames, height, width = video.shape
        slices = self._frame_slices(num_frames)
        t = latent_frames(slices[0].stop)
        size = (t, height // SPATIAL_RATIO, width // SPATIAL_RATIO)
        draws = self.draws.posterior((b * len(slices), LATENT_CHANNELS, *size)).unflatten(0, (b, -1))
        for index, frames in enumerate(slices):
            posterior = self.vae.encode(video[:, :, frames].to(self._execution_device))
            latents = posterior.sample(noise=draws[:, index].to(posterior.mean.device))
            yield EncodedChunk(posterior, latents, self.tokenizer.encode(latents, keep_k))

    def _checked_video(self, video: Tensor | Clip) -> Tensor:
        video = video.video if isinstance(video, Clip) else video
        if video.ndim != 5 or video.shape[1] != 3 or not video.numel():
            raise ValueError(f"video must be (b, 3, T, H, W), got {tuple(video.shape)}")
        check_pixels(video)
        return video

    def _frame_slices(self, num_frames: int) -> list[slice]:
        plan = self.plan
        if self.whole_clips:
            return [slice(0, num_frames)]
        if num_frames < plan.chunk_frames:
            raise ValueError(f"{num_frames} frames are fewer than a chunk of {plan.chunk_frames}")
        surplus = (num_frames - plan.chunk_frames) % plan.stride if plan.overlap else 0
        return plan.frame_slices(num_frames - surplus)

    def _latent_slices(self, t: int) -> list[slice]:
        plan = self.plan
        if self.whole_clips:
            return [slice(0, t)]
        if t > plan.chunk_latent:
            t -= (t - plan.chunk_latent) % (plan.chunk_latent - plan.overlap_latent)  # surplus tokens are dropped
        return plan.latent_slices(t)

    def decode_chunks(self, token_ids: Tensor, keep_k: KeepK | None = None, **settings: Any) -> Iterator[DecodedChunk]:
        """As there; ValueError for truncated tokens of several chunks, which the reference cannot decode."""
        truncated = token_ids.ndim == 3 and token_ids.shape[2] < self.info.num_registers
        if truncated and self.plan.overlap and len(self._latent_slices(token_ids.shape[1])) > 1:
            raise ValueError("the reference cannot decode several chunks of truncated tokens; use keep_k")
        return super().decode_chunks(token_ids, keep_k, **settings)

    def _checked_keep(self, keep_k: KeepK | None, num_tokens: int) -> Tensor | None:  # noqa: ARG002
        return None if keep_k is None else torch.as_tensor(keep_k).reshape(-1)

    def _check_given(self, frames: Tensor, t: int, size: tuple[int, int, int]) -> None:  # noqa: ARG002
        check_pixels(frames)

    def _guidance(self, options: DecodeOptions) -> Guidance:
        scale = self.config.guidance_scale if options.guidance_scale is None else options.guidance_scale
        return LeakyGuidance(scale, self.conventions.apg if options.apg == "default" else options.apg)

    def _encode_given(self, frames: Tensor, num_tokens: int) -> tuple[Tensor | None, Tensor]:  # noqa: ARG002
        """Given frames are encoded twice, with a draw each."""
        posterior = self.vae.encode(frames.to(self._execution_device))
        mean = posterior.mean

        def drawn() -> Tensor:
            return posterior.sample(noise=self.draws.posterior(mean.shape).to(mean.device))

        ids = None
        if not self.whole_clips:
            ids = self.tokenizer.encode(drawn()).token_ids
            self.draws.encoder(len(mean))
        return ids, drawn()

    def _noise(
        self,
        slices: Sequence[slice],  # noqa: ARG002
        batch: int,
        size: tuple[int, int, int],
        latents: Tensor | None,
        generator: Generator | None,
        shared: bool,
    ) -> Callable[[int], Tensor]:
        """Each chunk draws when its turn comes; given noise is the first one's, or all chunks' where none overlap."""

        def noise(index: int) -> Tensor:
            if latents is not None and (index == 0 or not self.plan.overlap):
                return latents
            return self._start_noise(batch, size[0], size, generator, shared)

        return noise
