"""Runs of large models as pure functions: a picklable order goes in, uint8 frames come out.

On ZeroGPU they run in a forked process that is lent a GPU for the seconds that the order states beforehand; anywhere
else in the process of the page. The embedded models never come here: they run on the CPU and use no quota.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from app.runtime import ZERO_GPU, on_gpu
from flextok.loading.registry import ModelEntry, list_models

if TYPE_CHECKING:
    from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
    from flextok.reconstruction import Reconstruction
    from flextok.video.clip import Clip

    Pipeline = VideoTokenizerPipeline

PIPELINES: dict[str, Pipeline] = {}
"""Loaded large models by id; on ZeroGPU all of them are here before the page opens, and forks inherit them."""

ASSUMED_TFLOPS = 40.0
"""Speed that durations assume: a careful share of what the card of ZeroGPU's `large` size should do in bfloat16.
Nothing has run there yet; an order that takes longer is cut off, and what was decoded by then stays."""
OVERHEAD_S = 4
"""Starting the process, moving the weights, kernels that run for the first time."""
MAX_DURATION_S = 110
"""Less than the two minutes a day that a visitor who is not logged in has."""
ANONYMOUS_S, LOGGED_IN_S = 120, 300


@dataclass(frozen=True)
class Order:
    """One run: a clip, budgets and seeds, everything in plain values."""

    model: str
    video: np.ndarray
    """float32 (1, 3, T, H, W), padded to whole chunks: the model's own pixels, which decide its tokens."""
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    """One seed for a sweep over budgets; several for one budget."""
    steps: int
    guidance: float
    tflop: float


@dataclass(frozen=True)
class Decoded:
    """One decoded clip of an order, as values that any process can read."""

    keep_k: int
    seed: int
    frames: np.ndarray
    """uint8 (T, H, W, 3)."""
    latent_frames: int
    seconds: float


def work_tflop(
    entry: ModelEntry, num_frames: int, budgets: Sequence[int], seeds: int, steps: int, guidance: float
) -> float:
    """Work of a run in 10^12 operations: encoding once, and every decoding by its steps, guidance and tokens.

    The registry holds one number a model: encode one chunk of 17 frames and decode it with all K tokens, guided, in
    its own number of steps. A step's cost goes with its sequence, K patches and k tokens a latent frame.
    """
    known = entry.tflop_per_clip
    if not known:  # a checkpoint of the visitor's own: as much as a known one of its size
        known = max(e.tflop_per_clip / e.parameters_m for e in list_models()) * entry.parameters_m
    chunks = max(math.ceil((num_frames - 1) / 16), 1)
    passes = steps / entry.steps * (1 if guidance != 1 else 0.5)
    total = entry.num_registers
    decoding = sum((total + k) / (2 * total) for k in budgets) * seeds * passes
    return known * chunks * (0.1 + decoding)


def duration(order: Order) -> int:
    """Seconds of GPU that an order asks for.

    Raises:
        gr.Error: more than any visitor can be lent at once; says what would help.
    """
    seconds = math.ceil(OVERHEAD_S + order.tflop / ASSUMED_TFLOPS)
    if seconds > MAX_DURATION_S:
        raise gr.Error(
            f"This would take about {seconds} s of GPU, more than the {MAX_DURATION_S} s that one run may ask for; "
            "take fewer steps or another model.",
            print_exception=False,
        )
    return seconds


def cost_line(entry: ModelEntry, tflop: float) -> str:
    """What a click will cost, in one sentence; empty where nothing is rationed."""
    if not ZERO_GPU:
        return ""
    if entry.source == "embedded":
        return "Runs on this Space's CPU: uses **no GPU quota**."
    seconds = math.ceil(OVERHEAD_S + tflop / ASSUMED_TFLOPS)
    if seconds > MAX_DURATION_S:
        return f"About {seconds} s of GPU, more than the {MAX_DURATION_S} s one run may take: lower the steps."
    return (
        f"Asks for **about {seconds} s of your ZeroGPU quota** (estimated from the model's work; a day has "
        f"{ANONYMOUS_S} s for visitors and {LOGGED_IN_S} s when logged in)."
    )


@on_gpu(duration=duration)
def decode_order(order: Order) -> Iterator[Decoded]:
    """Tokenize the clip of an order and decode it at every budget, ascending, or at one budget with every seed.

    Raises:
        gr.Error: with one sentence, which unlike other exceptions reaches the page from another process.
    """
    import torch

    from flextok.video.pixels import to_uint8

    if ZERO_GPU:
        torch.set_num_threads(1)  # the parent's thread pool does not survive the fork
        gc.freeze()  # nor do threads inside what is inherited: collecting it here could wait for them for ever
    pipe = PIPELINES[order.model]
    try:
        ids = pipe.tokenize(torch.from_numpy(order.video))
        for k in order.budgets:
            for seed in order.seeds:
                started = time.perf_counter()
                frames = pipe.detokenize(
                    ids,
                    keep_k=k,
                    num_inference_steps=order.steps,
                    guidance_scale=order.guidance,
                    generator=torch.Generator().manual_seed(seed),
                ).frames
                yield Decoded(k, seed, to_uint8(frames)[0], ids.shape[1], time.perf_counter() - started)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def run_order(order: Order, clip: Clip) -> Iterator[Reconstruction]:
    """The results of an order, measured here against its clip."""
    from flextok.reconstruction import measure
    from flextok.video.pixels import to_float

    pipe = PIPELINES[order.model]
    # PyAV's frames lie in cycles and own threads: a fork that inherits such garbage hangs where it collects it.
    gc.collect()
    for got in decode_order(order):
        label = f"k = {got.keep_k}" if len(order.seeds) == 1 else f"seed {got.seed}"
        tokens = got.latent_frames * got.keep_k
        yield measure(pipe, clip, to_float(got.frames), got.keep_k, label, tokens, got.seconds)


def make_order(
    entry: ModelEntry,
    clip: Clip,
    budgets: Sequence[int],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> Order:
    tflop = work_tflop(entry, clip.video.shape[2], budgets, len(seeds), steps, guidance)
    return Order(
        entry.id, clip.video.numpy(), tuple(budgets), tuple(map(int, seeds)), int(steps), float(guidance), tflop
    )


def load_for_zero_gpu(model_id: str, source: str) -> None:
    """Load a model into `PIPELINES` from the main thread before the page opens, so that it is packed for forks.

    To the CPU first, since reading a file straight to CUDA would pass by the emulation of CUDA in this process.

    Raises:
        ValueError: it cannot be had or read, in one sentence.
    """
    import torch

    from flextok.api import load_tokenizer
    from flextok.released.load import default_device

    device = default_device()
    dtype = torch.bfloat16 if device.type == "cuda" else None
    PIPELINES[model_id] = load_tokenizer(source, device="cpu", dtype=dtype).to(device)
