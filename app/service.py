"""The only door from the page to the library: loads models once, checks requests, turns problems into sentences."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app import gpu_runs
from app.runtime import ZERO_GPU
from flextok.availability import Availability, availability, describe_local, local_id
from flextok.registry import ASSETS, ModelEntry, list_models

if TYPE_CHECKING:  # PyTorch and diffusers take seconds: they load in the background, after the page is up
    from app.gpu_runs import Pipeline
    from flextok.reconstruction import Clip, Reconstruction

EXAMPLES = ASSETS / "examples"
EMBEDDED, EMBEDDED_GRID = "embedded", "embedded-grid"
MAX_STEPS = 50
MAX_GUIDANCE = 30.0
MAX_SEED = 2**31 - 1
MAX_FPS = 60.0
NUM_SEEDS = 4


@dataclass
class Progress:
    """What is there so far of one request; the service fills it in and yields it after every result."""

    clip: Clip
    stage: str = ""
    sweep: list[Reconstruction] = field(default_factory=list)
    """Registers, budgets ascending."""
    coarser_grid: list[Reconstruction] = field(default_factory=list)
    """The grid with fewer cells, for all frames."""
    shorter_grid: list[tuple[int, Reconstruction]] = field(default_factory=list)
    """The grid with all its cells, for as many frames as the tokens of a register budget afford."""
    seconds: float = 0.0
    done: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Tells a viewer that a new request has begun."""


@dataclass(frozen=True)
class Request:
    """What a visitor asks for; `check` refuses what the page's own controls cannot send but an API call can."""

    path: str | None
    also_k: int | None = None
    """A budget beside the powers of two."""
    start_s: float = 0.0
    fps: float | None = None
    """Frames read per second; None is the model's own rate."""
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    model: str = EMBEDDED

    def check(self, entry: ModelEntry) -> None:
        """Raises gr.Error naming the value and the rule."""
        if not self.path:
            raise gr.Error("Choose an example or upload a video first.", print_exception=False)
        rules = (
            ("Tokens per latent frame", self.also_k, 1, entry.num_registers, True),
            ("Start", self.start_s, 0, 86_400, False),
            ("Frames per second", self.fps, 0.5, MAX_FPS, False),
            ("Steps", self.steps, 1, MAX_STEPS, True),
            ("Guidance", self.guidance, 0, MAX_GUIDANCE, False),
            ("Seed", self.seed, 0, MAX_SEED, True),
        )
        for name, value, low, high, whole in rules:
            if value is None and name not in ("Start", "Seed"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # NaN too
                raise gr.Error(f"{name} must be between {low} and {high}, not {value}.", print_exception=False)
            if whole and int(value) != value:
                raise gr.Error(f"{name} must be a whole number, not {value}.", print_exception=False)


class VideoService:
    """Holds the embedded register tokenizer and its 3D-grid baseline; `gpu_runs` one other model at a time.

    Args:
        local: checkpoint folders or files offered beside the known models, e.g. tokenizers of one's own.
    """

    def __init__(self, local: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Pipeline] = {}
        self._local = {local_id(source): source for source in local}
        self._known: dict[str, tuple[ModelEntry, Availability | None]] = {
            entry.id: (entry, None if entry.needs_gpu else Availability("cpu"))
            for entry in list_models()
            if entry.kind == "register"
        }

    def load_zero_gpu_models(self) -> None:
        """On ZeroGPU, before the page opens: load every large model that can be had; the others say why not."""
        for name, source in self._local.items():
            self._known[name] = describe_local(source)
        for entry, available in self.known():
            if entry.source == "embedded" or (available is not None and not available.runs):
                continue
            try:
                gpu_runs.load_for_zero_gpu(entry.id, self._local.get(entry.id, entry.id))
                self._known[entry.id] = (entry, Availability("cuda"))
            except (ValueError, RuntimeError) as error:  # a model less is better than no page
                reason = str(error) if isinstance(error, ValueError) else "could not be loaded on this machine"
                self._known[entry.id] = (entry, Availability("cuda", reason))

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
            raise gr.Error(
                f"There is no model {model_id!r}; choose one of: {', '.join(self._known)}.", print_exception=False
            )
        if available is None or not available.runs:
            reason = "still being looked at" if available is None else available.reason
            raise gr.Error(f"{entry.id} cannot run here: {reason}.", print_exception=False)
        return entry

    def is_loaded(self, model_id: str) -> bool:
        return model_id in self._loaded or model_id in gpu_runs.PIPELINES

    def cost(self, model: str, also_k: int | None, steps: int, guidance: float) -> str:
        """What `reconstruct` would cost with these settings, in one sentence; empty where nothing is rationed."""
        entry = self.entry(model)
        tflop = gpu_runs.work_tflop(entry, 17, decoded_budgets(entry, also_k), 1, steps, guidance)
        return gpu_runs.cost_line(entry, tflop)

    def model(self, model_id: str) -> Pipeline:
        """A loaded model; the first call loads it, calls beside it wait. Large ones replace each other."""
        store = self._loaded if model_id in (EMBEDDED, EMBEDDED_GRID) else gpu_runs.PIPELINES
        with self._lock:  # also because two threads that import diffusers at once can fail
            if model_id not in store:
                from flextok.api import load_tokenizer

                if store is gpu_runs.PIPELINES:
                    store.clear()
                _, available = self._known.get(model_id, (None, None))
                device = available.device if available else "cpu"
                source = self._local.get(model_id, model_id)
                store[model_id] = load_tokenizer(source, device=device, dtype=dtype_for(device))
            return store[model_id]

    @staticmethod
    def example_paths() -> list[Path]:
        return sorted(EXAMPLES.glob("*.mp4"))

    def reconstruct(self, request: Request) -> Iterator[Progress]:
        """Reconstruct a clip at every budget, coarsest first, then with the grid at equal tokens.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(request.model)
        request.check(entry)
        started = time.perf_counter()
        try:
            pipe = self.model(entry.id)
            from flextok.reconstruction import load_clip, sweep

            clip = load_clip(str(request.path), pipe.info, request.start_s, fps=request.fps)
            progress = Progress(clip, "clip read")
            yield progress
            steps = request.steps or entry.steps
            guidance = entry.guidance if request.guidance is None else request.guidance
            if entry.source == "embedded":
                results = sweep(pipe, clip, budgets(entry, request.also_k), steps, guidance, request.seed)
            else:
                wanted = decoded_budgets(entry, request.also_k)
                order = gpu_runs.make_order(entry, clip, wanted, [request.seed], steps, guidance)
                results = gpu_runs.run_order(order, clip)
            for result in results:
                progress.sweep.append(result)
                progress.stage = f"decoded k = {result.keep_k}"
                yield progress
            if entry.id == EMBEDDED:  # the only model with a grid that was trained beside it
                yield from self._add_grids(progress, steps, request.seed)
            progress.seconds, progress.done = time.perf_counter() - started, True
            yield progress
        except gr.Error:  # a ValueError too, and a sentence already
            raise
        except ValueError as error:  # VideoError and CheckpointError included: sentences made for users
            raise gr.Error(str(error), print_exception=False) from error

    def seeds(self, request: Request, keep_k: int | None) -> tuple[Clip, list[Reconstruction]]:
        """One budget of a clip, decoded with `NUM_SEEDS` seeds from the request's on.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(request.model)
        if keep_k is None:  # comes from the page, whatever its type says
            raise gr.Error("Choose a budget first.", print_exception=False)
        replace(request, also_k=keep_k).check(entry)
        try:
            pipe = self.model(entry.id)
            from flextok.reconstruction import load_clip, several_seeds

            clip = load_clip(str(request.path), pipe.info, request.start_s, fps=request.fps)
            seeds = [int(request.seed) + i for i in range(NUM_SEEDS)]
            guidance = entry.guidance if request.guidance is None else request.guidance
            steps = request.steps or entry.steps
            if entry.source == "embedded":
                return clip, several_seeds(pipe, clip, int(keep_k), seeds, steps, guidance)
            order = gpu_runs.make_order(entry, clip, [int(keep_k)], seeds, steps, guidance)
            return clip, list(gpu_runs.run_order(order, clip))
        except gr.Error:
            raise
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _add_grids(self, progress: Progress, steps: int, seed: int) -> Iterator[Progress]:
        from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
        from flextok.reconstruction import grid_at_equal_tokens, sweep

        grid = self.model(EMBEDDED_GRID)
        assert isinstance(grid, VideoTokenizerPipeline)
        for result in sweep(grid, progress.clip, grid.info.token_budgets, steps, seed=seed):
            progress.coarser_grid.append(result)
            progress.stage = f"decoded the grid at {result.keep_k} cells"
            yield progress
        for decoded in progress.sweep:
            shorter = grid_at_equal_tokens(grid, progress.clip, decoded.keep_k, "fewer frames", steps, seed)
            if shorter is not None:
                progress.shorter_grid.append((decoded.keep_k, shorter))
        progress.stage = "decoded the shorter grids"
        yield progress


def budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """The budgets that are decoded: powers of two, K, and one more that was asked for."""
    powers = {1 << i for i in range(entry.num_registers.bit_length())}
    wanted = {k for k in powers if k <= entry.num_registers} | {entry.num_registers}
    return sorted(wanted | ({int(also_k)} if also_k else set()))


def decoded_budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """`budgets`, but where a GPU is lent by the second a large model decodes every third one and K."""
    every = budgets(entry, also_k)
    if not ZERO_GPU or entry.source == "embedded":
        return every
    return [k for i, k in enumerate(every) if i % 3 == 0 or k in (entry.num_registers, also_k)]


def dtype_for(device: str):  # type: ignore[no-untyped-def]  # PyTorch's dtype, and PyTorch is not loaded yet
    """bfloat16 on accelerators; a CPU takes what is stored, or float32."""
    import torch

    return None if device == "cpu" else torch.bfloat16
