"""Released models choose the precision of each part themselves; a caller's autocast must not change it midway."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with autocast off on all devices. The dtype of the weights decides: load with dtype=bfloat16."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        active = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
        if not active:
            return function(*args, **kwargs)
        with torch.autocast(active[0], enabled=False):
            return run(*args, **kwargs)

    return run
