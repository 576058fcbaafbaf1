"""Datasets: a bank resumes; latents are cached mirrored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flextok.data.datasets import ClipBank, ToyboxDataset, fill_bank


def test_bank_goes_on_where_it_stopped(tmp_path: Path) -> None:
    dataset = ToyboxDataset(range(0, 4), size=16)

    class Watched:
        def __init__(self, breaks_at: int | None = None) -> None:
            self.breaks_at, self.asked = breaks_at, set[int]()

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> np.ndarray:
            if index == self.breaks_at:
                raise KeyboardInterrupt
            self.asked.add(index)
            return dataset[index]

    with pytest.raises(KeyboardInterrupt):
        fill_bank(Watched(breaks_at=3), tmp_path, 4, {"source": "test"}, save_every=2)
    rest = Watched()
    fill_bank(rest, tmp_path, 4, {"source": "test"}, save_every=2)
    assert rest.asked == {2, 3}
    bank = ClipBank(tmp_path)
    assert len(bank) == 4
    assert all(np.array_equal(bank[i], dataset[i]) for i in range(4))
    with pytest.raises(ValueError, match="another bank"):
        fill_bank(dataset, tmp_path, 4, {"source": "other"})
    with pytest.raises(ValueError, match="no clip bank"):
        ClipBank(tmp_path / "nothing")
