"""The only door from the page to the library: loads models once, checks requests, turns problems into sentences."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from flextok.availability import Availability, availability, describe_local, local_id
from flextok.registry import ASSETS, ModelEntry, list_models

if TYPE_CHECKING:  # PyTorch and diffusers take seconds: they load in the background, after the page is up
    from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
    from flextok.reconstruction import Clip, Reconstruction
    from flextok.released.pipeline import ReleasedTokenizerPipeline

EXAMPLES = ASSETS / "examples"
EMBEDDED, EMBEDDED_GRID = "embedded", "embedded-grid"
SWEEP = (1, 4, 16, 64, 256)
MAX_STEPS = 50
MAX_GUIDANCE = 30.0
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
    has_grid: bool = True
    """Is there a grid trained beside this model to compare with?"""
    done: bool = False


class VideoService:
    """Holds the embedded register tokenizer and its 3D-grid baseline, and one other model at a time.

    Args:
        local: checkpoint folders or files offered beside the known models, e.g. tokenizers of one's own.
    """

    def __init__(self, local: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, VideoTokenizerPipeline | ReleasedTokenizerPipeline] = {}
        self._local = {local_id(source): source for source in local}
        self._known: dict[str, tuple[ModelEntry, Availability | None]] = {
            entry.id: (entry, None if entry.needs_gpu else Availability("cpu"))
            for entry in list_models()
            if entry.kind == "register"
        }

    def load_in_background(self) -> None:
        threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        self.model(EMBEDDED)
        self.model(EMBEDDED_GRID)
        self.look_around()

    def known(self) -> list[tuple[ModelEntry, Availability | None]]:
        """Models of the picker; None where it is not known yet whether one can run here."""
        return list(self._known.values())

    def look_around(self) -> list[tuple[ModelEntry, Availability | None]]:
        """Find out which models can run here, as far as that is not known yet."""
        with self._lock:
            for name, source in self._local.items():
                if name not in self._known:
                    self._known[name] = describe_local(source)
            for entry, available in self.known():
                if available is None:
                    self._known[entry.id] = (entry, availability(entry))
            return self.known()

    def entry(self, model_id: str | None) -> ModelEntry:
        """The facts of a model that runs here.

        Raises:
            gr.Error: there is none of that name, or it cannot run here.
        """
        entry, available = self._known.get(str(model_id), (None, None))
        if entry is None:
            raise gr.Error(f"There is no model {model_id!r}; choose one of: {', '.join(self._known)}.")
        if available is None or not available.runs:
            reason = "still being looked at" if available is None else available.reason
            raise gr.Error(f"{entry.id} cannot run here: {reason}.", print_exception=False)
        return entry

    def model(self, model_id: str) -> VideoTokenizerPipeline | ReleasedTokenizerPipeline:
        """A loaded model; the first call loads it, calls beside it wait. Large ones replace each other."""
        with self._lock:  # also because two threads that import diffusers at once can fail
            if model_id not in self._loaded:
                from flextok.api import load_tokenizer

                for other in set(self._loaded) - {EMBEDDED, EMBEDDED_GRID}:
                    del self._loaded[other]
                _, available = self._known.get(model_id, (None, None))
                device = available.device if available else "cpu"
                source = self._local.get(model_id, model_id)
                self._loaded[model_id] = load_tokenizer(source, device=device, dtype=dtype_for(device))
            return self._loaded[model_id]

    @staticmethod
    def example_paths() -> list[Path]:
        return sorted(EXAMPLES.glob("*.mp4"))

    def reconstruct(
        self,
        path: str | None,
        keep_k: int,
        start_s: float,
        steps: int,
        guidance: float,
        seed: int,
        model_id: str = EMBEDDED,
    ) -> Iterator[Progress]:
        """Reconstruct a clip at `keep_k`, at the sweep's budgets and with the grid at equal tokens, coarsest first.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(model_id)
        check_request(path, keep_k, start_s, steps, guidance, seed, entry.num_registers)
        try:
            pipe = self.model(entry.id)
            from flextok.reconstruction import load_clip, sweep

            clip = load_clip(str(path), pipe.info, start_s)
            progress = Progress(clip, keep_k, "clip read", has_grid=entry.id == EMBEDDED)
            yield progress
            shown = budgets(entry)
            for result in sweep(pipe, clip, (*shown, keep_k), steps, guidance, seed):
                progress.stage = f"decoded k = {result.keep_k}"
                if result.keep_k in shown:
                    progress.sweep.append(result)
                if result.keep_k == keep_k:
                    progress.chosen = result
                yield progress
            if progress.has_grid:
                yield from self._add_grids(progress, steps, seed)
            progress.stage, progress.done = "done", True
            yield progress
        except ValueError as error:  # VideoError and CheckpointError included: sentences made for users
            raise gr.Error(str(error), print_exception=False) from error

    def _add_grids(self, progress: Progress, steps: int, seed: int) -> Iterator[Progress]:
        from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
        from flextok.reconstruction import grid_at_equal_tokens

        grid = self.model(EMBEDDED_GRID)
        assert isinstance(grid, VideoTokenizerPipeline)
        clip, keep_k = progress.clip, progress.keep_k
        progress.coarser_grid = grid_at_equal_tokens(grid, clip, keep_k, "coarser", steps, seed)
        progress.stage = "decoded the coarser grid"
        yield progress
        progress.fewer_frames = grid_at_equal_tokens(grid, clip, keep_k, "fewer frames", steps, seed)
        progress.stage = "decoded the shorter grid"
        yield progress


def budgets(entry: ModelEntry) -> list[int]:
    """The budgets of the coarse-to-fine row: powers of four, and K."""
    return sorted({k for k in SWEEP if k < entry.num_registers} | {entry.num_registers})


def dtype_for(device: str):  # type: ignore[no-untyped-def]  # PyTorch's dtype, and PyTorch is not loaded yet
    """bfloat16 on accelerators; a CPU takes what is stored, or float32."""
    import torch

    return None if device == "cpu" else torch.bfloat16


def check_request(
    path: str | None, keep_k: int, start_s: float, steps: int, guidance: float, seed: int, num_registers: int
) -> None:
    """Refuse what the page's own controls cannot send but an API call can.

    Raises:
        gr.Error: naming the value and the rule.
    """
    if not path:
        raise gr.Error("Choose an example or upload a video first.", print_exception=False)
    rules = (
        ("Tokens per latent frame", keep_k, 1, num_registers),
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
