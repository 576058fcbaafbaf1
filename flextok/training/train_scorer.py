"""Train the Toybox scorer: `accelerate launch --cpu -m flextok.training.train_scorer embedded --banks ...`.

Clips come from Toybox banks, their labels and captions from the clips' seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.data.datasets import ClipBank, ToyboxDataset
from flextok.loading.checkpoint import load_strict
from flextok.models.scorer import ToyboxScorer
from flextok.models.word_tokenizer import WordTokenizer
from flextok.toybox.caption import caption, vocabulary
from flextok.toybox.distractors import distractors
from flextok.toybox.labels import (
    CLASS_NAMES,
    bank_seeds,
    labels_of_seeds,
)
from flextok.toybox.sampling import VALIDATION_SEEDS, sample_spec
from flextok.training.configs import RunConfig, compiled, shares
from flextok.training.degradations import degrade
from flextok.training.trainer import step_rng, train_preset
from flextok.video.pixels import to_float

VARIANTS = 2**31
"""Wordings are drawn from so many seeds."""


@dataclass(frozen=True)
class ScorerConfig:
    run: RunConfig
    banks: tuple[Path, ...] = ()
    """Toybox clip banks (python -m flextok.data.make_bank)."""
    num_validation: int = 128
    widths: tuple[int, int, int] = (64, 128, 192)
    blocks: tuple[int, int] = (1, 2)
    depth: int = 2
    text_depth: int = 2
    wrong_captions: int = 4
    """Captions of each clip that are wrong in one thing, beside those of the other clips of the batch."""
    contrast_weight: float = 1.0
    """Of the caption loss, beside the mean cross-entropy of the attributes times their number over 4."""


class ScorerObjective(nn.Module):
    """Cross-entropy of every attribute, and a contrastive loss between clips and captions (CLIP) with hard negatives.

    With several processes each contrasts the clips of its own share of the batch.
    """

    def __init__(self, scorer: ToyboxScorer, config: ScorerConfig) -> None:
        super().__init__()
        self.scorer, self.contrast_weight = scorer, config.contrast_weight
        scorer.video.forward = compiled(scorer.video.forward, config.run)  # type: ignore[method-assign]

    def forward(self, step: int, video: Tensor, labels: Tensor, words: Tensor, wrong: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """labels: (b, attributes); words: (b, s) ids of the right captions; wrong: (b, m, s) ids of wrong ones."""
        out = self.scorer(video)
        entropy = [F.cross_entropy(out.logits[name], labels[:, i]) for i, name in enumerate(self.scorer.classes)]
        right = self.scorer.embed_text(words)  # (b, d)
        near = self.scorer.embed_text(wrong.flatten(0, 1)).unflatten(0, wrong.shape[:2])  # (b, m, d)
        scale = self.scorer.logit_scale
        among = scale * out.embedding @ right.T  # (b, b): clips by captions
        beside = scale * torch.einsum("bd,bmd->bm", out.embedding, near)
        target = torch.arange(len(among), device=among.device)
        to_text = F.cross_entropy(torch.cat([among, beside], dim=1), target)
        contrast = 0.5 * (to_text + F.cross_entropy(among.T, target))
        attributes = torch.stack(entropy).sum() / 4
        loss = attributes + self.contrast_weight * contrast
        return {"loss": loss, "contrast": contrast, **dict(zip(self.scorer.classes, entropy, strict=True))}


class ScorerStage:
    def __init__(self, config: ScorerConfig) -> None:
        self.config = config
        if config.run.init_from is not None:
            self.scorer = load_strict(ToyboxScorer, config.run.init_from)
            self.tokenizer = WordTokenizer.load(config.run.init_from)
        else:
            torch.manual_seed(config.run.seed)
            self.tokenizer = WordTokenizer.from_words(vocabulary())
            self.scorer = ToyboxScorer(
                classes=tuple(CLASS_NAMES.items()),
                vocabulary_size=len(self.tokenizer),
                widths=config.widths,
                blocks=config.blocks,
                depth=config.depth,
                text_depth=config.text_depth,
            )
        self.module = ScorerObjective(self.scorer.to(memory_format=torch.channels_last), config)
        self.banks = [ClipBank(folder) for folder in config.banks]
        shares("banks", len(self.banks), ())
        self.seeds = [bank_seeds(bank.about) for bank in self.banks]
        self.labels = [labels_of_seeds(seeds) for seeds in self.seeds]
        self.starts = np.cumsum([0, *(len(bank) for bank in self.banks)])
        if config.run.init_from is None:
            some = np.linspace(0, len(self.banks[0]) - 1, min(96, len(self.banks[0]))).astype(int)
            self.scorer.video.measure_whitening(to_float(np.stack([self.banks[0][int(i)] for i in some])))
        clips = ToyboxDataset(VALIDATION_SEEDS)
        self.validation = to_float(np.stack([clips[i] for i in range(config.num_validation)]))

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        """Clips without repetition within an epoch: pixels, labels and captions."""
        size, total = self.config.run.batch_size, int(self.starts[-1])
        rng = step_rng(self.config.run.seed, step)
        variants = rng.integers(1, VARIANTS, size)
        videos, labels, right, wrong = [], [], [], []
        for row in range(size)[rows]:
            epoch, place = divmod(step * size + row, total)
            index = int(self._order(epoch, total)[place])
            bank = int(np.searchsorted(self.starts, index, side="right")) - 1
            index -= int(self.starts[bank])
            spec, label = sample_spec(self.seeds[bank][index]), self.labels[bank][index]
            video = to_float(np.array(self.banks[bank][index]))[0]
            videos.append(degrade(video, step_rng(self.config.run.seed, step, row)))
            labels.append(label)
            right.append(caption(spec, int(variants[row])))
            wrong += distractors(spec, self.config.wrong_captions, int(variants[row]), (step, row))
        words = self.tokenizer.encode([*right, *wrong], self.scorer.config.max_words)
        return {
            "video": torch.stack(videos),
            "labels": torch.from_numpy(np.stack(labels)),
            "words": words[: len(right)],
            "wrong": words[len(right) :].unflatten(0, (len(right), -1)),
        }

    def _order(self, epoch: int, total: int) -> np.ndarray:
        return step_rng(self.config.run.seed, epoch, 1).permutation(total)

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """Accuracy of each attribute and top-1 retrieval of the right caption among 16 on validation clips."""
        from flextok.metrics.scorer import Scorer
        from flextok.metrics.scores import attribute_accuracy, strict_text_match

        scorer = Scorer(self.scorer, self.tokenizer)
        seeds = VALIDATION_SEEDS[: self.config.num_validation]
        accuracy = attribute_accuracy(scorer, self.validation, labels_of_seeds(seeds))
        match = strict_text_match(scorer, self.validation, [sample_spec(seed) for seed in seeds])
        return {**accuracy, "mean": float(np.mean(list(accuracy.values()))), "strict_text_match": match}, None

    def save(self, folder: Path) -> None:
        self.scorer.save_pretrained(folder)
        self.tokenizer.save(folder)


PRESETS = {
    "embedded": (
        "The shipped scorer",
        ScorerConfig(
            RunConfig(
                Path("runs/scorer"),
                steps=1500,
                batch_size=32,
                optimizer="muon",
                lr=2e-3,
                muon_lr=0.02,
                warmup_steps=30,
                cooldown=0.6,
                ema_decay=0.99,
                evaluate_every=250,
                save_every=100,
            )
        ),
    ),
    "tiny": (
        "A few seconds, for tests",
        ScorerConfig(
            RunConfig(
                Path("runs/scorer-tiny"),
                steps=4,
                batch_size=4,
                mixed_precision="no",
                compile=False,
                evaluate_every=4,
                save_every=2,
            ),
            num_validation=4,
            widths=(8, 8, 32),
            blocks=(1, 1),
            depth=1,
            text_depth=1,
            wrong_captions=2,
        ),
    ),
}


if __name__ == "__main__":
    train_preset(PRESETS, ScorerStage)
