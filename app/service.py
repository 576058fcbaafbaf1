"""The only door from the page to the library: loads models once, checks requests, turns problems into sentences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from flextok.registry import ASSETS

if TYPE_CHECKING:  # PyTorch and diffusers take seconds: they load in the background, after the page is up
    from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
    from flextok.reconstruction import Clip, Reconstruction

EXAMPLES = ASSETS / "examples"
SWEEP = (1, 4, 16, 64)
NUM_REGISTERS = 64
MAX_STEPS = 50
MAX_GUIDANCE = 10.0
MAX_SEED = 2**31 - 1


@dataclass
class Progress:
    """What is there so far of one request; the service fills it in and yields it after every result."""

    clip: Clip
    keep_k: int
    stage: str = ""
    chosen: Reconstruction | None = None
    coarser_grid: Reconstruction | None = None
    fewer_frames: Reconstruction | None = None
    sweep: list[Reconstruction] = field(default_factory=list)
    done: bool = False


class VideoService:
    """Holds the embedded register tokenizer and its 3D-grid baseline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: tuple[VideoTokenizerPipeline, VideoTokenizerPipeline] | None = None

    def load_in_background(self) -> None:
        threading.Thread(target=self.models, daemon=True).start()

    def models(self) -> tuple[VideoTokenizerPipeline, VideoTokenizerPipeline]:
        """(register tokenizer, grid tokenizer); the first call loads them, calls beside it wait."""
        with self._lock:
            if self._models is None:
                from flextok.api import load_embedded

                self._models = (load_embedded("embedded"), load_embedded("embedded-grid"))
            return self._models

    @staticmethod
    def example_paths() -> list[Path]:
        return sorted(EXAMPLES.glob("*.mp4"))

    def reconstruct(
        self, path: str | None, keep_k: int, start_s: float, steps: int, guidance: float, seed: int
    ) -> Iterator[Progress]:
        """Reconstruct a clip at `keep_k`, at the sweep's budgets and with the grid at equal tokens, coarsest first.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        check_request(path, keep_k, start_s, steps, guidance, seed)
        try:
            register, grid = self.models()  # first: two threads that import diffusers at once can fail
            from flextok.reconstruction import grid_at_equal_tokens, load_clip, sweep

            clip = load_clip(str(path), register.info, start_s)
            progress = Progress(clip, keep_k, "clip read")
            yield progress
            results = sweep(register, clip, (*SWEEP, keep_k), steps, guidance, seed)
            for result in results:
                progress.stage = f"decoded k = {result.keep_k}"
                if result.keep_k in SWEEP:
                    progress.sweep.append(result)
                if result.keep_k == keep_k:
                    progress.chosen = result
                yield progress
            progress.coarser_grid = grid_at_equal_tokens(grid, clip, keep_k, "coarser", steps, seed)
            progress.stage = "decoded the coarser grid"
            yield progress
            progress.fewer_frames = grid_at_equal_tokens(grid, clip, keep_k, "fewer frames", steps, seed)
            progress.stage, progress.done = "done", True
            yield progress
        except ValueError as error:  # VideoError and CheckpointError included: sentences made for users
            raise gr.Error(str(error), print_exception=False) from error


def check_request(path: str | None, keep_k: int, start_s: float, steps: int, guidance: float, seed: int) -> None:
    """Refuse what the page's own controls cannot send but an API call can.

    Raises:
        gr.Error: naming the value and the rule.
    """
    if not path:
        raise gr.Error("Choose an example or upload a video first.", print_exception=False)
    rules = (
        ("Tokens per latent frame", keep_k, 1, NUM_REGISTERS),
        ("Start", start_s, 0, 86_400),
        ("Steps", steps, 1, MAX_STEPS),
        ("Guidance", guidance, 0, MAX_GUIDANCE),
        ("Seed", seed, 0, MAX_SEED),
    )
    for name, value, low, high in rules:
        if not isinstance(value, int | float) or not low <= value <= high:  # NaN fails the comparison
            raise gr.Error(f"{name} must be between {low} and {high}, not {value}.", print_exception=False)
    for name, value in (("Tokens per latent frame", keep_k), ("Steps", steps), ("Seed", seed)):
        if int(value) != value:
            raise gr.Error(f"{name} must be a whole number, not {value}.", print_exception=False)
