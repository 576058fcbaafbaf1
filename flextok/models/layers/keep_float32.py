"""Modules whose numbers must not be rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class KeepFloat32(nn.Module):
    """Moves between devices like any module, but `to(bfloat16)` or `half()` of a model leaves it float32."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> KeepFloat32:
        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        applied: Any = super()._apply(moved, recurse)
        return applied
