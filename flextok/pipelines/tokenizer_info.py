"""What a user needs to know of a loaded tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TokenizerInfo:
    """Sizes, rates and origin; `VideoTokenizerPipeline.info`."""

    id: str
    kind: Literal["register", "grid"]
    """Any prefix of registers decodes; the cells of a grid are all needed."""
    num_registers: int
    """Tokens per latent frame at the full budget, K."""
    token_budgets: tuple[int, ...]
    """Budgets it was trained at; a register tokenizer takes every one between them too."""
    num_ids: int
    chunk_frames: int
    height: int
    width: int
    temporal_ratio: int
    fps: float
    parameters: int
    source: str
    licence: str
