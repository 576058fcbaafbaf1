"""The clips that a run is looked at and measured on, which it must not train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from flextok.chunking import ChunkPlan
from flextok.data.datasets import ClipBank, ToyboxDataset
from flextok.toybox.sampling import VALIDATION_SEEDS
from flextok.video.pixels import to_float


def validation_clips(count: int, least: int, bank: Path | None = None) -> Tensor:
    """The first `count` clips of a bank, one chunk each, or of Toybox's validation seeds: (count, 3, T, H, W).

    Raises:
        ValueError: fewer than `least` clips, which a sample sheet shows.
    """
    clips = ToyboxDataset(VALIDATION_SEEDS) if bank is None else ClipBank(bank)
    found = min(count, len(clips))
    if found < least:
        raise ValueError(f"{found} validation clips must be at least {least}: the sample sheet shows so many")
    return to_float(np.stack([clips[i][: ChunkPlan().chunk_frames] for i in range(found)]))
