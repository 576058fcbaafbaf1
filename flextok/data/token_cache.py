"""Token ids of cached latents with their classes and captions: `python -m flextok.data.token_cache --latents ...`.

What the generators train on. Made from latent caches of Toybox banks, whose clips are known from their seeds.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from flextok.data.datasets import ClipBank
from flextok.data.latent_cache import LatentCache
from flextok.data.toybox_caption import caption
from flextok.data.toybox_labels import bank_seeds, mirrored_words
from flextok.data.toybox_spec import ACTIONS, ToyboxSpec, sample_spec


@dataclass(frozen=True)
class TokenCacheConfig:
    latents: Path
    """A latent cache of a Toybox bank."""
    out: Path
    tokenizer: Path = Path("assets/embedded/tokenizer")
    grid: bool = False
    """The tokenizer is a grid."""
    wordings: int = 8
    """Captions kept of each clip."""
    batch_size: int = 64


class TokenCache:
    """`ids` (n, t, K) int16, `classes` (n,) int64 (the action's index) and `captions`, a list of wordings for each."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not (folder / "captions.json").exists():
            raise ValueError(
                f"{folder} holds no finished token cache; make one with python -m flextok.data.token_cache"
            )
        self.captions: list[list[str]] = json.loads((folder / "captions.json").read_text())
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")
        self.classes = np.load(folder / "classes.npy")

    def __len__(self) -> int:
        return len(self.captions)


def chunk_specs(seeds: range, num_actions: int) -> list[ToyboxSpec]:
    """What each chunk of the clips of `seeds` shows, as a spec of one action: words and classes only, not poses."""
    specs = [sample_spec(seed, num_actions) for seed in seeds]
    return [dataclasses.replace(spec, actions=(action,)) for spec in specs for action in spec.actions]


@torch.no_grad()
def fill_token_cache(config: TokenCacheConfig) -> None:
    """Encode a latent cache; the captions, which make a cache readable, are written last."""
    from flextok.models.grid_tokenizer import GridTokenizer
    from flextok.models.loading import load_strict
    from flextok.models.register_tokenizer import RegisterTokenizer

    model = load_strict(GridTokenizer if config.grid else RegisterTokenizer, config.tokenizer)
    latents = LatentCache(config.latents)
    bank = ClipBank(latents.about["bank"])
    num_actions = (bank.frames.shape[1] - 1) // 16
    specs = chunk_specs(bank_seeds(bank.about)[: latents.about["clips"] // num_actions], num_actions)
    specs += [mirrored_words(spec) for spec in specs]

    if model.quantizer.num_ids > np.iinfo(np.int16).max:
        raise ValueError(f"a token cache holds ids below 32,768, this tokenizer has {model.quantizer.num_ids}")
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "captions.json").unlink(missing_ok=True)  # of a cache that was filled here before
    parts: list[Tensor] = []
    for start in tqdm(range(0, len(latents), config.batch_size), desc=str(config.out), mininterval=5):
        batch = torch.from_numpy(np.asarray(latents.latents[start : start + config.batch_size], dtype=np.float32))
        parts.append(model.encode(batch).token_ids.to(torch.int16))
    np.save(config.out / "ids.npy", torch.cat(parts).numpy())
    np.save(config.out / "classes.npy", np.array([ACTIONS.index(spec.actions[0]) for spec in specs]))
    captions = [
        [caption(spec, i * config.wordings + w) for w in range(config.wordings)] for i, spec in enumerate(specs)
    ]
    temporary = config.out / "captions.tmp"
    temporary.write_text(json.dumps(captions))
    os.replace(temporary, config.out / "captions.json")


if __name__ == "__main__":
    fill_token_cache(tyro.cli(TokenCacheConfig))
