"""Where the app runs. On ZeroGPU it imports `spaces`, which must come before PyTorch: import this module first."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")
"""A Space whose GPU is lent for seconds at a time, to forked processes."""

Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(duration: Callable[..., int]) -> Callable[[Function], Function]:
    """Decorator: run in a process that is lent a GPU for `duration(*arguments)` seconds. Elsewhere it does nothing.

    The function must stand at module level and share nothing with the page but its picklable arguments and results.
    """
    if not ZERO_GPU:
        return lambda function: function
    import spaces  # only there, so no requirement of ours

    return spaces.GPU(duration=duration)


if ZERO_GPU:
    import spaces  # noqa: F401  # patches CUDA; refuses to where CUDA is in use already
