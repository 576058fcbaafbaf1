"""Which models there are, which can run here, and the one store of the loaded ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from app.refusals import refusal
from app.runtime import ZERO_GPU
from flextok.availability import Availability, availability, describe_local, local_id
from flextok.loading.registry import ModelEntry, grid_entry, list_models
from flextok.nested_dropout import prefix_lengths

EMBEDDED, EMBEDDED_GRID = "embedded", "embedded-grid"
LOADED: dict[str, Any] = {}
"""Pipelines by model id, generators among them; on ZeroGPU all are here before the page opens, and forks inherit them.
"""


class ModelStore:
    """What is known of models, and loading them. Embedded ones stay; of others one and its grid baseline are held.

    What is known grows while pages ask for it, so it is copied before it is gone through.

    Args:
        local: checkpoint folders or files offered beside the known models, e.g. tokenizers of one's own.
    """

    def __init__(self, local: Sequence[str] = ()) -> None:
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._local = {local_id(source): source for source in local}
        self._known: dict[str, tuple[ModelEntry, Availability | None]] = {
            entry.id: (entry, Availability("cpu") if entry.source == "embedded" else None) for entry in list_models()
        }

    def load_zero_gpu_models(self) -> None:
        """On ZeroGPU, before the page opens: load every large model that can be had; the others say why not."""
        self._describe_local()
        for entry, available in list(self._known.values()):
            if entry.source == "embedded" or (available is not None and not available.runs):
                continue
            try:
                load_for_zero_gpu(entry.id, self._local.get(entry.id, entry.id))
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
        return [known for known in list(self._known.values()) if known[0].kind == "register"]

    def look_around(self) -> list[tuple[ModelEntry, Availability | None]]:
        """Find out which models can run here, as far as that is not known yet; a grid only where a model can use it.

        The Hub may take its time to answer, so nothing waits for this but those who look.
        """
        with self._looking:
            self._describe_local()
            by_kind = sorted(self._known.values(), key=lambda known: known[0].kind == "grid")
            for entry, available in by_kind:
                if available is None and self._is_of_use(entry):
                    self._known[entry.id] = (entry, availability(entry))
            return self.known()

    def _is_of_use(self, entry: ModelEntry) -> bool:
        users = (known for known in list(self._known.values()) if known[0].grid == entry.id)
        return entry.kind == "register" or any(available is not None and available.runs for _, available in users)

    def _describe_local(self) -> None:
        for name, source in self._local.items():
            if name in self._known:
                continue
            entry, available = describe_local(source)
            self._known[name] = entry, available
            if entry.grid and entry.grid not in self._known:
                self._known[entry.grid] = grid_entry(entry.pixels), None

    def entry(self, model_id: str | None) -> ModelEntry:
        """The facts of a model that runs here.

        Raises:
            gr.Error: there is none of that name, or it cannot run here.
        """
        entry, available = self._known.get(str(model_id), (None, None))
        if entry is None or entry.kind != "register":
            names = ", ".join(entry.id for entry, _ in self.known())
            raise refusal(f"There is no model {str(model_id)[:100]!r}; choose one of: {names}.")
        if available is None or not available.runs:
            reason = "still being looked at" if available is None else available.reason
            raise refusal(f"{entry.id} cannot run here: {reason}.")
        return entry

    def grid_of(self, entry: ModelEntry) -> tuple[ModelEntry | None, str]:
        """The grid baseline of a register model, or None and why it is not here."""
        grid, available = self._known.get(entry.grid, (None, None))
        if grid is None:
            return None, "no grid is known that was made for such clips"
        if available is None or not available.runs:
            return None, "still being looked at" if available is None else available.reason
        return grid, ""

    def is_loaded(self, model_id: str) -> bool:
        return model_id in LOADED

    def model(self, model_id: str) -> Any:
        """A loaded tokenizer; the first call loads it, calls beside it wait. Large ones replace each other."""
        with self._lock:  # also because two threads that import diffusers at once can fail
            if model_id not in LOADED:
                from flextok.api import load_tokenizer

                self._make_room(model_id)
                _, available = self._known.get(model_id, (None, None))
                device = available.device if available else "cpu"
                source = self._local.get(model_id, model_id)
                LOADED[model_id] = load_tokenizer(source, device=device, dtype=dtype_for(device))
            return LOADED[model_id]

    def generator(self, name: str) -> Any:
        """A loaded embedded generator."""
        with self._lock:
            if name not in LOADED:
                from flextok.generators import load_generator

                LOADED[name] = load_generator(name)
            return LOADED[name]

    def _make_room(self, model_id: str) -> None:
        """Drop large models that are neither the grid of the new one nor the model it is the grid of."""
        new = self._known.get(model_id, (None, None))[0]
        for name in list(LOADED):
            held = self._known.get(name, (None, None))[0]
            if held is None or held.source == "embedded" or ZERO_GPU:
                continue
            if new is not None and new.source != "embedded" and new.id != held.grid and held.id != new.grid:
                del LOADED[name]


def load_for_zero_gpu(model_id: str, source: str) -> None:
    """Load a model from the main thread before the page opens, so that it is packed for forks.

    To the CPU first, since reading a file straight to CUDA would pass by the emulation of CUDA in this process.

    Raises:
        ValueError: it cannot be had or read, in one sentence.
    """
    from flextok.api import load_tokenizer
    from flextok.released.load import default_device

    device = default_device()
    LOADED[model_id] = load_tokenizer(source, device="cpu", dtype=dtype_for(device.type)).to(device)


def refuse_on_zero_gpu(entry: ModelEntry) -> None:
    """Single tokens of a model that runs in forks with a lent GPU are not offered: each click would ask for one."""
    if ZERO_GPU and entry.source != "embedded":
        raise refusal(f"Tokens of {entry.id} cannot be edited on ZeroGPU; choose the embedded model.")


def budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """The budgets that are decoded: powers of two, K, and one more that was asked for."""
    return sorted({*prefix_lengths(entry.num_registers), *([int(also_k)] if also_k else [])})


def decoded_budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """`budgets`, but where a GPU is lent by the second a large model decodes every third one and K."""
    every = budgets(entry, also_k)
    if not ZERO_GPU or entry.source == "embedded":
        return every
    return [k for i, k in enumerate(every) if i % 3 == 0 or k in (entry.num_registers, also_k)]


def dtype_for(device: str) -> Any:
    """bfloat16 on CUDA and its like; elsewhere what is stored, or float32."""
    import torch  # takes seconds: it loads in the background, after the page is up

    return None if device == "cpu" else torch.bfloat16
