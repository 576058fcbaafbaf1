"""Which models there are, which can run here, and the loaded ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app import gpu_runs
from app.refusals import refusal
from app.runtime import ZERO_GPU
from flextok.availability import Availability, availability, describe_local, local_id
from flextok.loading.registry import ModelEntry, list_models

if TYPE_CHECKING:  # PyTorch and diffusers take seconds: they load in the background, after the page is up
    from app.gpu_runs import Pipeline

EMBEDDED, EMBEDDED_GRID = "embedded", "embedded-grid"


class ModelStore:
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
            raise refusal(f"There is no model {str(model_id)[:100]!r}; choose one of: {', '.join(self._known)}.")
        if available is None or not available.runs:
            reason = "still being looked at" if available is None else available.reason
            raise refusal(f"{entry.id} cannot run here: {reason}.")
        return entry

    def is_loaded(self, model_id: str) -> bool:
        return model_id in self._loaded or model_id in gpu_runs.PIPELINES

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


def refuse_on_zero_gpu(entry: ModelEntry) -> None:
    """Single tokens of a model that runs in forks with a lent GPU are not offered: each click would ask for one."""
    if ZERO_GPU and entry.source != "embedded":
        raise refusal(f"Tokens of {entry.id} cannot be edited on ZeroGPU; choose the embedded model.")


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
