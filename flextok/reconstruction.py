"""Reconstruct a clip at several token budgets, coarsest first: what the command line, the app and the benches share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flextok.metrics.reconstruction import psnr, ssim
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.video.clip import Clip


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


def sweep(
    pipe: VideoTokenizerPipeline,
    clip: Clip,
    budgets: Sequence[int],
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    seed: int = 0,
) -> Iterator[Reconstruction]:
    """Reconstruct `clip` at each budget, in ascending order, all from the same noise so that only the tokens differ.

    Raises:
        ValueError: a budget the tokenizer does not have.
    """
    ids = None
    for k in sorted(set(budgets)):
        started = time.perf_counter()
        grid = pipe.info.kind == "grid"
        if grid:
            ids = pipe.tokenize(clip.video, keep_k=k)  # another grid, other tokens
        elif ids is None:
            ids = pipe.tokenize(clip.video)
        generator = torch.Generator().manual_seed(seed)
        frames = pipe.detokenize(
            ids,
            keep_k=None if grid else k,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generator,
        ).frames
        yield measure(pipe, clip, frames, k, f"k = {k}", ids.shape[1] * k, time.perf_counter() - started)


def several_seeds(
    pipe: VideoTokenizerPipeline,
    clip: Clip,
    keep_k: int,
    seeds: Sequence[int],
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
) -> list[Reconstruction]:
    """The same tokens decoded from several noises, as one batch: what differs is what the decoder invents.

    Raises:
        ValueError: a budget the tokenizer does not have, or no seed.
    """
    if not seeds:
        raise ValueError("seeds is empty")
    started = time.perf_counter()
    ids = pipe.tokenize(clip.video)
    frames = pipe.detokenize(
        ids,
        keep_k=keep_k,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).frames
    seconds = (time.perf_counter() - started) / len(seeds)
    videos = zip(seeds, frames.split(1), strict=True)
    return [measure(pipe, clip, v, keep_k, f"seed {seed}", ids.shape[1] * keep_k, seconds) for seed, v in videos]


def grid_at_equal_tokens(
    grid: VideoTokenizerPipeline,
    clip: Clip,
    keep_k: int,
    option: Literal["coarser", "fewer frames"],
    num_inference_steps: int | None = None,
    seed: int = 0,
) -> Reconstruction | None:
    """What a 3D grid can do with the keep_k * t tokens that registers get: a coarser grid, or only the first frames.

    Returns:
        None where "fewer frames" leaves not even one latent frame.
    """
    if option not in ("coarser", "fewer frames"):
        raise ValueError(f"option={option!r} must be 'coarser' or 'fewer frames'")
    started = time.perf_counter()
    info = grid.info
    if option == "coarser":
        k = max(size for size in info.token_budgets if size <= keep_k)
        ids = grid.tokenize(clip.video, k)
        label = f"grid {math.isqrt(k)}x{math.isqrt(k)}"
    else:
        k = info.num_registers
        ids = grid.tokenize(clip.video)
        affordable = keep_k * ids.shape[1] // k
        if affordable < 1:
            return None
        ids = ids[:, :affordable]
        chunk = 1 + (info.chunk_frames - 1) // info.temporal_ratio
        if affordable > chunk:  # whole chunks only: a part of a later one cannot be decoded by itself
            ids = ids[:, : chunk + (affordable - chunk) // (chunk - 1) * (chunk - 1)]
        label = "grid, fewer frames"
    generator = torch.Generator().manual_seed(seed)
    frames = grid.detokenize(ids, num_inference_steps=num_inference_steps, generator=generator).frames
    return measure(grid, clip, frames, k, label, ids.shape[1] * k, time.perf_counter() - started)


def measure(
    pipe: VideoTokenizerPipeline,
    clip: Clip,
    frames: Tensor,
    k: int,
    label: str,
    num_tokens: int,
    seconds: float,
) -> Reconstruction:
    """Compare decoded frames with the real frames of the clip that they cover."""
    length = min(frames.shape[2], clip.num_real)
    shown, reference = frames[:, :, :length].cpu(), clip.video[:, :, :length]
    bits = math.ceil(math.log2(pipe.info.num_ids))
    return Reconstruction(
        label=label,
        keep_k=k,
        frames=frames[:, :, : clip.num_real].cpu(),
        num_tokens=num_tokens,
        num_bytes=math.ceil(num_tokens * bits / 8),
        psnr_db=float(psnr(shown, reference)[0]),
        ssim=float(ssim(shown, reference)[0]),
        seconds=seconds,
    )
