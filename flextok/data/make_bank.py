"""Render clips once to disk: `python -m flextok.data.make_bank --out runs/banks/toybox --num-clips 12000`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from flextok.data.datasets import ToyboxDataset, fill_bank
from flextok.data.folder import FolderDataset
from flextok.toybox.sampling import TRAIN_SEEDS


@dataclass(frozen=True)
class BankConfig:
    """What to put into a bank: Toybox clips, or clips from a folder of videos and images."""

    out: Path
    num_clips: int = 12_000
    folder: Path | None = None
    """A tree of videos and images; None renders Toybox."""
    first_seed: int = 0
    """First Toybox training seed, so that several banks can hold different clips."""
    size: int = 64
    num_actions: int = 1
    """Actions of each Toybox clip, 16 frames each: 5 for the 81 frames of long video."""


def main(config: BankConfig) -> None:
    about: dict[str, object] = {k: str(v) for k, v in asdict(config).items() if k not in ("out", "num_clips")}
    if config.num_clips < 1:
        raise ValueError(f"num_clips={config.num_clips} must be at least 1")
    if config.folder is None:
        last = len(TRAIN_SEEDS) - config.num_clips
        if not 0 <= config.first_seed <= last:
            raise ValueError(f"first_seed={config.first_seed} must be in 0..{last} for {config.num_clips} clips")
        seeds = TRAIN_SEEDS[config.first_seed : config.first_seed + config.num_clips]
        fill_bank(ToyboxDataset(seeds, config.size, config.num_actions), config.out, config.num_clips, about)
    else:
        dataset = FolderDataset(config.folder, size=config.size, length=config.num_clips)
        fill_bank(dataset, config.out, config.num_clips, about)


if __name__ == "__main__":
    main(tyro.cli(BankConfig))
