"""Put a trained scorer where the library looks for it: `python -m flextok.training.export_scorer` (float16)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from flextok.loading.checkpoint import load_strict
from flextok.models.scorer import ToyboxScorer
from flextok.models.word_tokenizer import WordTokenizer


@dataclass(frozen=True)
class ExportConfig:
    scorer: Path = Path("runs/scorer-fitted/weights")
    out: Path = Path("assets/scorer")


def main(config: ExportConfig) -> None:
    load_strict(ToyboxScorer, config.scorer, torch.float16).save_pretrained(config.out)
    WordTokenizer.load(config.scorer).save(config.out)


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
