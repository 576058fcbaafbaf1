"""Map-style clip datasets: Toybox, a mixture of datasets, and a bank of clips rendered once to disk.

A dataset here has `len()` and `dataset[i] -> uint8 (T, H, W, 3)`, and the same `i` always gives the same clip.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from flextok.toybox.render import render
from flextok.toybox.sampling import sample_spec

CLIP_FRAMES = 17


class ClipDataset(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class ToyboxDataset:
    """Clips of the Toybox world, one a seed; a range of seeds is a split (`toybox.sampling.TRAIN_SEEDS`, ...)."""

    def __init__(self, seeds: range, size: int = 64, num_actions: int = 1) -> None:
        self.seeds, self.size, self.num_actions = seeds, size, num_actions

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> np.ndarray:
        return render(sample_spec(self.seeds[index], self.num_actions), self.size)


class ClipBank:
    """Clips kept on disk as one uint8 array (N, T, H, W, 3), read through a memory map."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            self.about = json.loads((folder / "bank.json").read_text())
        except FileNotFoundError as error:
            raise ValueError(f"{folder} holds no clip bank; make one with python -m flextok.data.make_bank") from error
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")

    def __len__(self) -> int:
        return int(self.about["clips_done"])

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return np.asarray(self.frames[index])


def fill_bank(
    dataset: ClipDataset,
    folder: str | Path,
    num_clips: int,
    about: dict[str, object],
    save_every: int = 200,
    workers: int = 0,
    deadline: float | None = None,
) -> bool:
    """Write the first `num_clips` clips of `dataset` into a `ClipBank`; goes on where an earlier call stopped.

    Args:
        save_every: clips after which what was done is noted.
        workers: processes that make clips; 0 makes them in this one.
        deadline: of `time.monotonic()`; the bank is left as it is then, to go on with.

    Returns:
        Whether all clips are there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    note, array = folder / "bank.json", folder / "frames.npy"
    about = {**about, "clips": num_clips}
    done = 0
    if note.exists():
        earlier = json.loads(note.read_text())
        done = int(earlier.pop("clips_done"))
        if earlier != about:
            raise ValueError(f"{folder} holds another bank ({earlier}); choose another folder")
        frames = np.load(array, mmap_mode="r+")
    else:
        shape = (num_clips, *dataset[0].shape)
        frames = np.lib.format.open_memmap(array, mode="w+", dtype=np.uint8, shape=shape)
    left = range(done, num_clips)
    with _clips(dataset, left, workers) as clips:
        for index, clip in zip(left, tqdm(clips, str(folder), num_clips, initial=done, mininterval=5), strict=True):
            frames[index] = clip
            late = deadline is not None and time.monotonic() > deadline
            if late or index + 1 == num_clips or (index + 1) % save_every == 0:
                frames.flush()
                temporary = note.with_suffix(".tmp")
                temporary.write_text(json.dumps({**about, "clips_done": index + 1}))
                os.replace(temporary, note)
            if late:
                return index + 1 == num_clips
    return True


@contextlib.contextmanager
def _clips(dataset: ClipDataset, indices: range, workers: int) -> Iterator[Iterator[np.ndarray]]:
    """The clips of `indices` in order."""
    if not workers:
        yield (dataset[index] for index in indices)
        return
    # Spawned, since a process that has started threads (PyTorch's) may not fork safely.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield pool.imap(dataset.__getitem__, indices, chunksize=8)
