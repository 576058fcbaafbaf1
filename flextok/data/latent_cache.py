"""Latents of clip banks, encoded once when the VAE is frozen: `python -m flextok.data.latent_cache --vae ...`.

Clips of several actions are cut into the chunks they would be tokenized in.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from accelerate import PartialState
from torch import Tensor
from tqdm import tqdm

from flextok.checks import bf16_is_fast
from flextok.chunking import ChunkPlan
from flextok.data.datasets import ClipBank
from flextok.toybox.labels import NUM_CLASSES, bank_labels
from flextok.video.pixels import to_float


@dataclass(frozen=True)
class CacheConfig:
    vae: Path
    """Folder of the VAE's weights."""
    bank: Path
    out: Path
    batch_size: int = 32
    limit: int | None = None
    """Encode the first so many clips only."""


class LatentCache:
    """float16 (N, c, t, h, w) on disk: posterior means of N chunks.

    `labels` (N, attributes), int64, is the ground truth of Toybox clips (`toybox.labels`); -1 where there is none.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not (folder / "cache.json").exists():
            raise ValueError(
                f"{folder} holds no finished latent cache; make one with python -m flextok.data.latent_cache"
            )
        self.about = json.loads((folder / "cache.json").read_text())
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")
        labels = folder / "labels.npy"
        self.labels = np.load(labels) if labels.exists() else np.full((len(self.latents), len(NUM_CLASSES)), -1)
        if len(self.labels) != len(self.latents):
            raise ValueError(f"{folder} holds labels of other latents; fill it anew")

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.asarray(self.latents[index], dtype=np.float32))

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        """`count` different latents (count, c, t, h, w), float32."""
        chosen = np.sort(rng.choice(len(self), size=min(count, len(self)), replace=False))
        return torch.from_numpy(np.asarray(self.latents[chosen], dtype=np.float32))


@torch.no_grad()
def fill_cache(config: CacheConfig) -> None:
    """Encode a bank; the note that makes a cache readable is written last."""
    from flextok.loading.checkpoint import load_strict
    from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo

    device = PartialState().device
    vae = load_strict(AutoencoderCausalVideo, config.vae).to(device, memory_format=torch.channels_last)
    bank = ClipBank(config.bank)
    windows = ChunkPlan().frame_slices(bank.frames.shape[1])
    total = min(len(bank), len(bank) if config.limit is None else config.limit) * len(windows)
    config.out.mkdir(parents=True, exist_ok=True)
    for name in ("cache.json", "labels.npy"):  # of a bank that was encoded here before
        (config.out / name).unlink(missing_ok=True)
    array = None
    for start in tqdm(range(0, total, config.batch_size), desc=str(config.out), mininterval=5):
        indices = range(start, min(start + config.batch_size, total))
        video = to_float(np.stack([bank[i // len(windows)][windows[i % len(windows)]] for i in indices]))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_fast(device)):
            latents = vae.encode(video.to(device)).mean.half().cpu().numpy()
        if array is None:
            shape = (total, *latents.shape[1:])
            array = np.lib.format.open_memmap(config.out / "latents.npy", mode="w+", dtype=np.float16, shape=shape)
        array[start : start + len(indices)] = latents
    if array is None:
        raise ValueError(f"{config.bank} holds no clips")
    array.flush()
    if bank.about.get("folder") == "None" and len(windows) == 1:  # Toybox, whose clips have ground truth
        np.save(config.out / "labels.npy", bank_labels(bank.about)[:total])
    temporary = config.out / "cache.tmp"
    temporary.write_text(json.dumps({"vae": str(config.vae), "bank": str(config.bank), "clips": total}))
    os.replace(temporary, config.out / "cache.json")


if __name__ == "__main__":
    fill_cache(tyro.cli(CacheConfig))
