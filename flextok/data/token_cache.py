"""Token ids of cached latents, encoded once when a tokenizer's tokens are frozen: `python -m flextok.data.token_cache`.

What its decoder and the generators train on. Chunks of Toybox clips, which are known from their seeds, come with their
classes and captions.
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
from accelerate import PartialState
from torch import Tensor
from tqdm import tqdm

from flextok.data.datasets import ClipBank
from flextok.data.latent_cache import LatentCache
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.labels import bank_seeds
from flextok.toybox.sampling import sample_spec
from flextok.toybox.spec import ToyboxSpec


@dataclass(frozen=True)
class TokenCacheConfig:
    latents: Path
    out: Path
    tokenizer: Path = Path("assets/embedded/tokenizer")
    grid: bool = False
    """The tokenizer is a grid."""
    wordings: int = 8
    """Captions kept of each clip."""
    batch_size: int = 64


class TokenCache:
    """Ids of N chunks at every budget that cannot be cut from a larger one, with what is known of Toybox's.

    `ids` (N, t, K) int16 is the largest budget; `classes` (N,) int64 the action's index, `captions` a list of wordings
    for each chunk, both empty for other clips.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not (folder / "captions.json").exists():
            raise ValueError(
                f"{folder} holds no finished token cache; make one with python -m flextok.data.token_cache"
            )
        self.captions: list[list[str]] = json.loads((folder / "captions.json").read_text())
        self.classes = np.load(folder / "classes.npy")
        self._by_budget = {int(path.stem[4:]): np.load(path, mmap_mode="r") for path in folder.glob("ids-*.npy")}
        self.ids = self._by_budget[max(self._by_budget)]

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, index: int, budget: int) -> np.ndarray:
        """Ids (t, budget) of one chunk: a grid's of this size, or a prefix of the registers'."""
        if budget in self._by_budget:
            return np.asarray(self._by_budget[budget][index])
        return np.asarray(self.ids[index, :, :budget])


def chunk_specs(seeds: range, num_actions: int) -> list[ToyboxSpec]:
    """What each chunk of the clips of `seeds` shows, as a spec of one action: words and classes only, not poses."""
    specs = [sample_spec(seed, num_actions) for seed in seeds]
    return [dataclasses.replace(spec, actions=(action,)) for spec in specs for action in spec.actions]


@torch.no_grad()
def fill_token_cache(config: TokenCacheConfig) -> None:
    """Encode a latent cache; the captions, which make a cache readable, are written last."""
    from flextok.loading.checkpoint import load_strict
    from flextok.models.grid_tokenizer import GridTokenizer
    from flextok.models.register_tokenizer import RegisterTokenizer

    device = PartialState().device
    model = load_strict(GridTokenizer if config.grid else RegisterTokenizer, config.tokenizer).to(device)
    if model.quantizer.num_ids > np.iinfo(np.int16).max:
        raise ValueError(f"a token cache holds ids below 32,768, this tokenizer has {model.quantizer.num_ids}")
    latents = LatentCache(config.latents)
    budgets = [side * side for side in model.grid_sizes] if config.grid else [model.config.num_registers]
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "captions.json").unlink(missing_ok=True)  # of a cache that was filled here before
    parts: dict[int, list[Tensor]] = {k: [] for k in budgets}
    for start in tqdm(range(0, len(latents), config.batch_size), desc=str(config.out), mininterval=5):
        batch = torch.from_numpy(np.asarray(latents.latents[start : start + config.batch_size], dtype=np.float32))
        for k in budgets:
            parts[k].append(model.encode(batch.to(device), k).token_ids.to("cpu", torch.int16))
    for k, ids in parts.items():
        np.save(config.out / f"ids-{k}.npy", torch.cat(ids).numpy())
    specs = _specs(latents)
    np.save(config.out / "classes.npy", np.array([ACTIONS.index(spec.actions[0]) for spec in specs], dtype=np.int64))
    captions = [
        [caption(spec, i * config.wordings + w) for w in range(config.wordings)] for i, spec in enumerate(specs)
    ]
    temporary = config.out / "captions.tmp"
    temporary.write_text(json.dumps(captions))
    os.replace(temporary, config.out / "captions.json")


def _specs(latents: LatentCache) -> list[ToyboxSpec]:
    """What the chunks of a cache show; empty if they are not Toybox's."""
    bank = ClipBank(latents.about["bank"])
    if bank.about.get("folder") != "None":
        return []
    num_actions = (bank.frames.shape[1] - 1) // 16
    return chunk_specs(bank_seeds(bank.about)[: latents.about["clips"] // num_actions], num_actions)


if __name__ == "__main__":
    fill_token_cache(tyro.cli(TokenCacheConfig))
