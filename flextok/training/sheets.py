"""Sample sheets: clips as rows of frames in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def clip_rows(clips: Sequence[np.ndarray], every: int = 2) -> np.ndarray:
    """Stack clips, uint8 (T, H, W, 3) each, as rows showing every n-th frame: uint8 (rows * H, frames * W, 3)."""
    return np.concatenate([np.concatenate(list(clip[::every]), axis=1) for clip in clips], axis=0)
