"""What all modules of a config share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from flextok.loading.errors import CheckpointError
from flextok.released.graph import Op

DtypeOverride = Literal["fp32", "bf16", "fp16", "float32", "bfloat16", "float16"]
MAX_PATCH = 32
_DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


class Node(nn.Module):
    """A module of the encoder or decoder.

    Parameters are read inside `forward` only: Accelerate's offloading brings them in for a call of the module.
    """

    TRAINING_ONLY: ClassVar[frozenset[str]] = frozenset()
    """Arguments that change nothing at inference: accepted and left alone."""

    unsupported_when_used: str | None = None
    """Why a model whose output depends on this module is refused."""

    def ops(self) -> list[Op]:
        raise NotImplementedError


def refuse(node: Node, argument: str, value: object, reason: str) -> None:
    """Raise for an option that this loader does not support."""
    raise CheckpointError(f"{type(node).__name__}: {argument}={value!r} is not supported: {reason}")


def autocast_override(override: str | None, x: Tensor) -> AbstractContextManager[object]:
    """A layer's own precision: float32 switches autocast off, others switch it on."""
    if override is None or x.device.type == "meta":  # shapes alone
        return nullcontext()
    dtype = _DTYPES[override]
    if dtype is torch.float32:
        return torch.autocast(x.device.type, enabled=False)
    return torch.autocast(x.device.type, dtype=dtype)


def checked_patch(node: Node, patch_sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Three sizes whose product keeps layers within bounds."""
    if len(patch_sizes) != 3 or not all(1 <= size <= MAX_PATCH for size in patch_sizes):
        refuse(node, "patch_sizes", patch_sizes, f"video patches have three sizes in 1..{MAX_PATCH}")
    return patch_sizes[0], patch_sizes[1], patch_sizes[2]
