"""Reconstruct a clip in several ways, and measure each: what the command line, the app and the benches share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flextok.metrics.reconstruction import psnr, ssim
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.pipelines.tokenizer_info import TokenizerInfo
from flextok.video.clip import Clip


@dataclass(frozen=True)
class Wanted:
    """One way to decode a clip: how many tokens of each latent frame, from which noise, and of how many frames."""

    keep_k: int
    label: str
    seed: int = 0
    latent_frames: int | None = None
    """The first ones alone; None is all of them."""


@dataclass(frozen=True)
class Decoded:
    """`frames` (1, 3, T, H, W), not clamped, and what they cost."""

    wanted: Wanted
    frames: Tensor
    num_tokens: int
    seconds: float


@dataclass(frozen=True)
class Reconstruction:
    """One decoded clip and what it cost. `frames` (1, 3, T, H, W) may be shorter than the source (a grid's)."""

    label: str
    keep_k: int
    frames: Tensor
    num_tokens: int
    num_bytes: int
    psnr_db: float
    ssim: float
    seconds: float


def budgets_of(keep_k: Sequence[int], seed: int = 0) -> list[Wanted]:
    """Each budget once, ascending, all from the same noise so that only the tokens differ."""
    return [Wanted(k, f"k = {k}", seed) for k in sorted(set(keep_k))]


def seeds_of(keep_k: int, seeds: Sequence[int]) -> list[Wanted]:
    """The same tokens from several noises: what differs is what the decoder invents."""
    return [Wanted(keep_k, f"seed {seed}", seed) for seed in seeds]


def coarser_grid(grid: TokenizerInfo, keep_k: int, seed: int = 0) -> Wanted | None:
    """The finest grid of at most keep_k cells a latent frame, for all frames; None where even the coarsest has more."""
    sizes = [size for size in grid.token_budgets if size <= keep_k]
    if not sizes:
        return None
    side = math.isqrt(max(sizes))
    return Wanted(side * side, f"grid {side}x{side}", seed)


def shorter_grid(grid: TokenizerInfo, keep_k: int, latent_frames: int, seed: int = 0) -> Wanted | None:
    """All cells, for as many latent frames as keep_k registers in each of `latent_frames` pay for; None if for none."""
    cells = grid.num_registers
    affordable = keep_k * latent_frames // cells
    if affordable < 1:
        return None
    chunk = 1 + (grid.chunk_frames - 1) // grid.temporal_ratio
    if affordable > chunk:  # whole chunks only: a part of a later one cannot be decoded by itself
        affordable = chunk + (affordable - chunk) // (chunk - 1) * (chunk - 1)
    return Wanted(cells, "grid, fewer frames", seed, affordable)


def decode(
    pipe: VideoTokenizerPipeline,
    video: Tensor,
    wanted: Sequence[Wanted],
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
) -> Iterator[Decoded]:
    """Tokenize a clip (1, 3, T, H, W) and decode it in every wanted way, in this order.

    Raises:
        ValueError: a budget the tokenizer does not have.
    """
    known: dict[int | None, Tensor] = {}
    for one in wanted:
        started = time.perf_counter()
        grid = pipe.info.kind == "grid"
        size = one.keep_k if grid else None  # another grid has other tokens; registers have one set
        if size not in known:
            known[size] = pipe.tokenize(video, size)
        ids = known[size][:, : one.latent_frames]
        frames = pipe.detokenize(
            ids,
            keep_k=None if grid else one.keep_k,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(one.seed),
        ).frames
        yield Decoded(one, frames, ids.shape[1] * one.keep_k, time.perf_counter() - started)


def measure(decoded: Decoded, clip: Clip, num_ids: int) -> Reconstruction:
    """Compare decoded frames with the real frames of the clip that they cover."""
    length = min(decoded.frames.shape[2], clip.num_real)
    shown, source = decoded.frames[:, :, :length].cpu(), clip.video[:, :, :length]
    return Reconstruction(
        label=decoded.wanted.label,
        keep_k=decoded.wanted.keep_k,
        frames=shown,
        num_tokens=decoded.num_tokens,
        num_bytes=math.ceil(decoded.num_tokens * math.ceil(math.log2(num_ids)) / 8),
        psnr_db=float(psnr(shown, source)[0]),
        ssim=float(ssim(shown, source)[0]),
        seconds=decoded.seconds,
    )


def reconstruct(
    pipe: VideoTokenizerPipeline,
    clip: Clip,
    wanted: Sequence[Wanted],
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
) -> Iterator[Reconstruction]:
    """`decode`, measured against the clip."""
    for decoded in decode(pipe, clip.video, wanted, num_inference_steps, guidance_scale):
        yield measure(decoded, clip, pipe.info.num_ids)
