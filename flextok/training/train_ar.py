"""Train a generator on cached tokens: `accelerate launch --cpu -m flextok.training.train_ar register --caches ...`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.data.token_cache import TokenCache
from flextok.loading.checkpoint import load_strict
from flextok.models.ar_transformer import ARTransformer
from flextok.nested_dropout import prefix_lengths
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import vocabulary
from flextok.training.configs import RunConfig, shares
from flextok.training.trainer import step_rng, train_preset


@dataclass(frozen=True)
class ARConfig:
    run: RunConfig
    order: str = "time_first"
    caches: tuple[Path, ...] = ()
    """Token caches (python -m flextok.data.token_cache)."""
    cache_weights: tuple[float, ...] = ()
    tokens_per_frame: int = 64
    dim: int = 192
    depth: int = 6
    head_dim: int = 64
    text_depth: int = 2
    dropout: float = 0.1
    class_share: float = 0.2
    """Share of clips that are told their class ..."""
    text_share: float = 0.7
    """... and that are told a text, which says the class and more; the rest are told neither (for guidance)."""
    budgets: tuple[int, ...] = (4, 16, 64)
    """Steps train on the first so many tokens of each latent frame (time-first) ..."""
    budget_weights: tuple[float, ...] = (0.5, 0.35, 0.15)
    """... drawn with these weights. A step on k serves all budgets up to k."""
    scale_batch: bool = True
    """Steps on shorter sequences take more clips, so that each costs about the same; `run.batch_size` is for K."""
    num_validation: int = 256


class ARObjective(nn.Module):
    """Cross-entropy of the tokens of a batch, in time-first order weighted so that every doubling of k counts alike.

    Without weights the first token of each frame, which says most of what was asked for, is 1 of 16 or 64.
    """

    def __init__(self, model: ARTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, step: int, sequence: Tensor, classes: Tensor, words: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """sequence: (b, n) ids in the model's order; classes: (b,), -1 for none; words: (b, s), 0 for none."""
        errors = self.errors(sequence, classes, words)
        weights = torch.ones(errors.shape[1], device=errors.device)
        if self.model.token_order.order == "time_first":
            _, register = self.model.token_order.places()
            weights = 1 / (1 + register[: errors.shape[1]].to(errors.device))
        return {"loss": (errors * weights).mean() / weights.mean(), "nats": errors.detach().mean()}

    def errors(self, sequence: Tensor, classes: Tensor, words: Tensor) -> Tensor:
        """Cross-entropy of each token, nats: (b, n)."""
        logits = self.model(sequence[:, :-1], self.model.condition(classes, words))
        return F.cross_entropy(logits.transpose(1, 2), sequence, reduction="none")


class ARStage:
    def __init__(self, config: ARConfig) -> None:
        self.config = config
        self.caches = [TokenCache(folder) for folder in config.caches]
        self.probabilities = shares("caches", len(self.caches), config.cache_weights)
        if len(config.budgets) != len(config.budget_weights):
            raise ValueError(f"{len(config.budgets)} budgets need as many budget_weights")
        if config.run.init_from is not None:
            self.model = load_strict(ARTransformer, config.run.init_from)
        else:
            torch.manual_seed(config.run.seed)
            self.model = ARTransformer(
                order=config.order,
                num_frames=self.caches[0].ids.shape[1],
                tokens_per_frame=config.tokens_per_frame,
                classes=ACTIONS,
                words=vocabulary(),
                dim=config.dim,
                depth=config.depth,
                head_dim=config.head_dim,
                text_depth=config.text_depth,
                dropout=config.dropout,
            )
        self.module = ARObjective(self.model)
        # The last clips of the first cache are kept for validation.
        total = len(self.caches[0])
        self.kept = range(total - min(config.num_validation, total // 4), total)
        self.validation = [(self.caches[0], i) for i in self.kept]

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        c = self.config
        rng = step_rng(c.run.seed, step)
        weights = np.asarray(c.budget_weights) / sum(c.budget_weights)
        budget = int(rng.choice(c.budgets, p=weights))
        share = rows.stop - rows.start
        factor = self.model.config.tokens_per_frame // budget if c.scale_batch else 1
        items = [self._draw(rng) for _ in range(c.run.batch_size * factor)]
        kinds, wordings = rng.random(len(items)), rng.integers(2**31, size=len(items))
        own = slice(rows.start * factor, (rows.start + share) * factor)
        return self._collate(items[own], budget, kinds[own], wordings[own])

    def _draw(self, rng: np.random.Generator) -> tuple[TokenCache, int]:
        while True:
            number = int(rng.choice(len(self.caches), p=self.probabilities))
            item = int(rng.integers(len(self.caches[number])))
            if number or item not in self.kept:
                return self.caches[number], item

    def _collate(
        self, items: list[tuple[TokenCache, int]], budget: int, kinds: np.ndarray, wordings: np.ndarray
    ) -> dict[str, Tensor]:
        """Items with what they are told: `kinds` (n,) in [0, 1) says of which kind, `wordings` (n,) which caption."""
        order = self.model.token_order
        ids = torch.from_numpy(np.stack([cache.ids[i] for cache, i in items]).astype(np.int64))
        sequence = order.flatten(ids[:, :, :budget] if order.order == "time_first" else ids)
        classes = torch.tensor([int(cache.classes[i]) for cache, i in items])
        classes[torch.from_numpy(kinds >= self.config.class_share)] = -1
        texts = [
            cache.captions[i][int(wording) % len(cache.captions[i])]
            if self.config.class_share <= draw < self.config.class_share + self.config.text_share
            else ""
            for (cache, i), draw, wording in zip(items, kinds, wordings, strict=True)
        ]
        return {"sequence": sequence, "classes": classes, "words": self.model.word_tokenizer.encode(texts)}

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """Nats a token of held-out clips up to each budget, told the class or told a text."""
        order, metrics = self.model.token_order, {"nats_of_guessing": math.log(self.model.quantizer.num_ids)}
        zeros = np.zeros(len(self.validation), np.int64)
        batch = self._collate(self.validation, self.model.config.tokens_per_frame, zeros, zeros)
        classes = torch.tensor([int(cache.classes[i]) for cache, i in self.validation])
        words = self.model.word_tokenizer.encode([cache.captions[i][0] for cache, i in self.validation])
        for name, told in (
            ("class", (classes, torch.zeros_like(words[:, :1]))),
            ("text", (torch.full_like(classes, -1), words)),
        ):
            parts = zip(*(x.to(self.model.device).split(16) for x in (batch["sequence"], *told)), strict=True)
            errors = torch.cat([self.module.errors(*part) for part in parts]).cpu()
            for k in prefix_lengths(self.model.config.tokens_per_frame):
                metrics[f"{name}_nats_k{k}"] = float(errors[:, : k * order.num_frames].mean())
        return metrics, None

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


def _preset(kind: str) -> ARConfig:
    run = RunConfig(
        Path(f"runs/ar-{kind}"),
        steps=2500,
        batch_size=16,
        optimizer="muon",
        lr=1e-3,
        muon_lr=0.02,
        warmup_steps=50,
        cooldown=0.5,
        ema_decay=0.99,
        evaluate_every=500,
        save_every=200,
    )
    if kind == "grid":  # no prefix, so no budget
        return ARConfig(run, "raster", budgets=(64,), budget_weights=(1.0,))
    return ARConfig(run)


def _tiny(kind: str) -> ARConfig:
    run = RunConfig(Path("runs/ar-tiny"), steps=4, batch_size=2, mixed_precision="no", evaluate_every=4, save_every=2)
    small = ARConfig(run, dim=32, depth=1, head_dim=16, text_depth=1)
    if kind == "grid":
        return replace(small, order="raster", budgets=(64,), budget_weights=(1.0,))
    return replace(small, tokens_per_frame=4, budgets=(2, 4), budget_weights=(1.0, 1.0))


PRESETS = {
    "register": ("The shipped generator over register tokens", _preset("register")),
    "grid": ("The generator over 3D-grid tokens it is compared with", _preset("grid")),
    "register-tiny": ("A few seconds, for tests", _tiny("register")),
    "grid-tiny": ("A few seconds, for tests", _tiny("grid")),
}


if __name__ == "__main__":
    train_preset(PRESETS, ARStage)
