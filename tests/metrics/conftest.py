"""The scorer that ships, and test clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flextok.data.datasets import ToyboxDataset
from flextok.metrics import Scorer, load_scorer
from flextok.toybox.sampling import TEST_SEEDS
from flextok.video.pixels import to_float

NUM_CLIPS = 64


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return load_scorer()


@pytest.fixture(scope="session")
def test_clips() -> torch.Tensor:
    """(64, 3, 17, 64, 64) of `TEST_SEEDS[:64]`."""
    dataset = ToyboxDataset(TEST_SEEDS)
    return to_float(np.stack([dataset[i] for i in range(NUM_CLIPS)]))
