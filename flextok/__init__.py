"""FlexTok Video: flexible-length, coarse-to-fine video tokenization (VideoFlexTok, arXiv:2604.12887).

Nothing heavy happens at import: PyTorch and diffusers load with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from flextok.api import load_tokenizer
    from flextok.generators import load_generator
    from flextok.loading.registry import list_models

_HOME = {
    "load_tokenizer": "flextok.api",
    "load_generator": "flextok.generators",
    "list_models": "flextok.loading.registry",
}
__all__ = ["__version__", "list_models", "load_generator", "load_tokenizer"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'flextok' has no attribute {name!r}")
