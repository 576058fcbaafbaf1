"""The one job that decodes clips, as a pure function: picklable values go in, uint8 frames come out.

On ZeroGPU jobs of large models run in a forked process that is lent a GPU for the seconds that the job states
beforehand; everything else runs in the process of the page. Embedded models use no quota.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from app.runtime import ZERO_GPU, on_gpu
from app.store import LOADED
from flextok.loading.registry import ModelEntry, list_models

if TYPE_CHECKING:
    from flextok.reconstruction import Reconstruction, Wanted
    from flextok.video.clip import Clip

ASSUMED_TFLOPS = 40.0
"""Speed that durations assume: a careful share of what the card of ZeroGPU's `large` size should do in bfloat16.
Nothing has run there yet; a job that takes longer is cut off, and what was decoded by then stays."""
OVERHEAD_S = 4
"""Starting the process, moving the weights, kernels that run for the first time."""
MAX_DURATION_S = 110
"""Less than the two minutes a day that a visitor who is not logged in has."""
ANONYMOUS_S, LOGGED_IN_S = 120, 300


@dataclass(frozen=True)
class Part:
    """What one model is to decode of the clip."""

    model: str
    wanted: tuple[Wanted, ...]
    steps: int
    guidance: float
    tflop: float


@dataclass(frozen=True)
class Job:
    """A clip and who decodes it how; all parts read the same pixels."""

    video: np.ndarray
    """float32 (1, 3, T, H, W), padded to whole chunks: the models' own pixels, which decide tokens."""
    parts: tuple[Part, ...]

    @property
    def tflop(self) -> float:
        return sum(part.tflop for part in self.parts)


@dataclass(frozen=True)
class Frames:
    """One decoded clip of a job, as values that any process can read."""

    part: int
    wanted: Wanted
    frames: np.ndarray
    """uint8 (T, H, W, 3)."""
    num_tokens: int
    seconds: float


def make_part(entry: ModelEntry, num_frames: int, wanted: Sequence[Wanted], steps: int, guidance: float) -> Part:
    tflop = work_tflop(entry, num_frames, [one.keep_k for one in wanted], steps, guidance)
    return Part(entry.id, tuple(wanted), int(steps), float(guidance), tflop)


def work_tflop(entry: ModelEntry, num_frames: int, budgets: Sequence[int], steps: int, guidance: float) -> float:
    """Work of a part in 10^12 operations: encoding once, and every decoding by its steps, guidance and tokens.

    The registry holds one number a model: encode one chunk of 17 frames and decode it with all K tokens, guided, in
    its own number of steps. A step's cost goes with its sequence, K patches and k tokens a latent frame. A grid's
    decoder is as dear as it says whatever is asked for.
    """
    known = entry.tflop_per_clip
    if not known:  # a checkpoint of the visitor's own: as much as a known one of its size
        known = max(e.tflop_per_clip / e.parameters_m for e in list_models()) * entry.parameters_m
    chunks = max(math.ceil((num_frames - 1) / 16), 1)
    if entry.kind == "grid":
        return known * chunks * len(budgets)
    passes = steps / entry.steps * (1 if guidance != 1 else 0.5)
    total = entry.num_registers
    decoding = sum((total + k) / (2 * total) for k in budgets) * passes
    return known * chunks * (0.1 + decoding)


def duration(job: Job) -> int:
    """Seconds of GPU that a job asks for.

    Raises:
        gr.Error: more than any visitor can be lent at once; says what would help.
    """
    seconds = math.ceil(OVERHEAD_S + job.tflop / ASSUMED_TFLOPS)
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


def decode(job: Job) -> Iterator[Frames]:
    """Decode every part of a job, in order.

    Raises:
        gr.Error: with one sentence, which unlike other exceptions reaches the page from another process.
    """
    import torch

    from flextok import reconstruction
    from flextok.video.pixels import to_uint8

    video = torch.from_numpy(job.video)
    try:
        for number, part in enumerate(job.parts):
            pipe = LOADED[part.model]
            for got in reconstruction.decode(pipe, video, part.wanted, part.steps, part.guidance):
                yield Frames(number, got.wanted, to_uint8(got.frames)[0], got.num_tokens, got.seconds)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


@on_gpu(duration=duration)
def decode_on_gpu(job: Job) -> Iterator[Frames]:
    """`decode`, in a process that is lent a GPU where GPUs are lent."""
    import torch

    if ZERO_GPU:
        torch.set_num_threads(1)  # the parent's thread pool does not survive the fork
        gc.freeze()  # nor do threads inside what is inherited: collecting it here could wait for them for ever
    yield from decode(job)


def run(job: Job, clip: Clip, on_this_machine: bool) -> Iterator[tuple[int, Wanted, Reconstruction]]:
    """The results of a job, measured here against its clip, with the number of the part and what was wanted.

    Args:
        on_this_machine: the models are small and use no lent GPU.
    """
    from flextok.reconstruction import Decoded, measure
    from flextok.video.pixels import to_float

    if not on_this_machine:
        # PyAV's frames lie in cycles and own threads: a fork that inherits such garbage hangs where it collects it.
        gc.collect()
    for got in (decode if on_this_machine else decode_on_gpu)(job):
        decoded = Decoded(got.wanted, to_float(got.frames), got.num_tokens, got.seconds)
        num_ids = LOADED[job.parts[got.part].model].info.num_ids
        yield got.part, got.wanted, measure(decoded, clip, num_ids)
