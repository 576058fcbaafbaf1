"""How much memory a checkpoint needs, found before anything is loaded: its real code run on the meta device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flextok.loading.errors import CheckpointError
from flextok.released.denoiser import ChunkTokens
from flextok.released.model import OneChunkModel
from flextok.released.vae import LATENT_CHANNELS, SPATIAL_RATIO, TEMPORAL_RATIO

GIB = 1024**3
SCRATCH = {("cpu", torch.float32): 1.2, ("cpu", torch.bfloat16): 2.0, ("cpu", torch.float16): 2.0}
"""Working memory over what tensors hold: a CPU's kernels take buffers of their own, float32 ones in half precision.

Measured as resident memory of a 175 M parameter model at 128 px: with these the estimate of the whole is 5 % low in
float32 and 3 % low in bfloat16. Other devices are not measured and count as 1.
"""
CGROUP = Path("/sys/fs/cgroup")


class InsufficientMemoryError(CheckpointError):
    """A checkpoint does not fit; the text says how much is needed and how much there is."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes: the weights, and what each phase holds beside them at its peak, for one clip with guidance."""

    weights: int
    encoding: int
    sampling: int
    decoding: int

    @property
    def working(self) -> int:
        return max(self.encoding, self.sampling, self.decoding)

    @property
    def total(self) -> int:
        return self.weights + self.working

    def __str__(self) -> str:
        return (
            f"{self.total / GIB:.2f} GiB ({self.weights / GIB:.2f} GiB of weights and {self.working / GIB:.2f} GiB to "
            f"work in: encoding {self.encoding / GIB:.2f}, a guided step {self.sampling / GIB:.2f}, "
            f"decoding {self.decoding / GIB:.2f})"
        )


class _OpaqueAttention(TorchFunctionMode):
    """On the meta device attention is spelled out with its matrix of weights, which no real kernel stores."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            q, _, v = args[:3]
            return q.new_empty(*q.shape[:-1], v.shape[-1])
        return func(*args, **(kwargs or {}))


class PeakMeter(TorchDispatchMode):
    """The most bytes that tensors made inside held at once, without views of `known` ones; read `peak` afterwards."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._live = {key: (ref, size) for key, (ref, size) in self._live.items() if not ref.expired()}
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self._known:
                    self._live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result


def peak_bytes(function: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Peak of tensors that `function` makes, beside `known` ones."""
    with torch.no_grad(), _OpaqueAttention(), PeakMeter(known) as meter:
        function()
    return meter.peak


def estimate_memory(
    model: OneChunkModel, latent_size: tuple[int, int, int], device: torch.device, batch: int = 1
) -> MemoryEstimate:
    """Estimate for a model on the meta device, whose parameters have the dtypes they will be loaded with.

    Args:
        device: where it is to run.
    """
    t, h, w = latent_size
    num_frames, height, width = 1 + (t - 1) * TEMPORAL_RATIO, h * SPATIAL_RATIO, w * SPATIAL_RATIO
    video = torch.empty(batch, 3, num_frames, height, width, device="meta")
    latents = torch.empty(batch, LATENT_CHANNELS, t, h, w, device="meta")
    codes = model.unquantized(latents)

    def encode() -> None:
        model.unquantized(model.vidtok.encode(video).mean)

    def sample() -> None:
        model.denoise(ChunkTokens(codes), torch.ones(1, device="meta"), guided=True)(latents, 0)

    known = list(model.parameters())
    scratch = SCRATCH.get((device.type, model.vidtok.dtype), 1.0)
    phases = (encode, sample, lambda: model.vidtok.decode(latents))
    encoding, sampling, decoding = (round(scratch * peak_bytes(phase, known)) for phase in phases)
    return MemoryEstimate(sum(p.numel() * p.element_size() for p in known), encoding, sampling, decoding)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(psutil.virtual_memory().available, _container_free())


def _container_free() -> float:
    """What a container's limit leaves; infinite where there is none."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        return float("inf") if limit == "max" else int(limit) - int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")


def require_memory(estimate: MemoryEstimate, device: torch.device, dtype: torch.dtype, name: str) -> None:
    """Raises InsufficientMemoryError where the estimate does not fit the device."""
    free = free_bytes(device)
    if estimate.total <= free:
        return
    advice = "use a machine with more memory or device_map='auto'"
    if dtype == torch.float32:
        advice = f"dtype=torch.bfloat16 nearly halves it; otherwise {advice}"
    raise InsufficientMemoryError(
        f"{os.path.basename(name)} needs {estimate} as {str(dtype).removeprefix('torch.')}, "
        f"but {device} has {free / GIB:.2f} GiB free; {advice}"
    )
