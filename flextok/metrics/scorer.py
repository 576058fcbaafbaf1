"""The Toybox scorer ready for use: network and tokenizer together, over any number of clips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from flextok.loading.checkpoint import load_strict
from flextok.loading.registry import ASSETS
from flextok.models.scorer import ScorerOutput, ToyboxScorer
from flextok.models.word_tokenizer import WordTokenizer

BATCH = 16


class Scorer:
    """Judges clips (n, 3, 17, 64, 64) in [-1, 1], in batches; results are float32 on the CPU.

    Being callable with a name, it is a feature extractor of `FrechetVideoDistance`.
    """

    name = "Toybox scorer"
    distance_name = "Toybox FVD"
    """What the Frechet video distance on these features is called: it is not comparable with an FVD on I3D."""
    num_features: int

    def __init__(self, model: ToyboxScorer, tokenizer: WordTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.num_features = int(model.config.feature_dim)

    @torch.no_grad()
    def score(self, video: Tensor) -> ScorerOutput:
        """Logits of every attribute, features and embeddings of clips (n, 3, 17, 64, 64), n >= 1.

        Raises:
            ValueError: clips of another shape.
        """
        device = next(self.model.parameters()).device
        parts = [self.model(clips.to(device)) for clips in video.split(BATCH)]
        logits = {name: torch.cat([p.logits[name] for p in parts]).cpu() for name in self.model.classes}
        features, embedding = (torch.cat([p[key] for p in parts]).cpu() for key in ("features", "embedding"))
        return ScorerOutput(logits, features, embedding, self.model.classes)

    def __call__(self, video: Tensor) -> Tensor:
        """Features (n, num_features)."""
        return self.score(video).features

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, d) of texts; words outside the vocabulary count as one unknown word (`unknown_words`)."""
        device = next(self.model.parameters()).device
        return self.model.embed_text(self.tokenizer.encode(texts, self.model.config.max_words).to(device)).cpu()

    def unknown_words(self, text: str) -> list[str]:
        """The words of `text` that the scorer has never seen: its judgement of such a text means little."""
        return self.tokenizer.unknown_words(text)


@lru_cache(maxsize=2)
def load_scorer(folder: str | Path | None = None) -> Scorer:
    """The shipped Toybox scorer, or one that `train_scorer` wrote to `folder`.

    Raises:
        CheckpointError: files are missing, damaged or of another model.
    """
    folder = ASSETS / "scorer" if folder is None else Path(folder)
    model = load_strict(ToyboxScorer, folder).to(memory_format=torch.channels_last)
    return Scorer(model, WordTokenizer.load(folder))
