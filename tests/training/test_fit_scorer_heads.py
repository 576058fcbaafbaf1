"""Heads fitted in one go: they read what is there, and only textures look at the texture energy."""

from __future__ import annotations

import torch

from flextok.models.scorer import ToyboxScorer
from flextok.training.fit_scorer_heads import fit_heads

CLASSES = {"action": ("rolls", "drops", "spins"), "pattern": ("plain", "striped")}


def test_heads_find_the_optimum_and_keep_to_their_inputs(generator: torch.Generator) -> None:
    scorer = ToyboxScorer(CLASSES, 7, (8, 8, 32), (1, 1), 1, 2, 16, 8, 32, 1)
    inputs = torch.randn(600, scorer.heads.in_features, generator=generator)
    action = inputs[:, :3].argmax(1)  # told by the features
    pattern = (inputs[:, 16 + 5] > 0).long()  # told by the energy alone
    fit_heads(scorer, inputs, torch.stack([action, pattern], dim=1), ridge=1e-3)
    with torch.no_grad():
        logits = scorer.heads(inputs)
    assert (logits[:, :3].argmax(1) == action).float().mean() > 0.95
    assert (logits[:, 3:].argmax(1) == pattern).float().mean() > 0.95
    assert scorer.heads.weight[:3, 16:].abs().max() == 0
    assert scorer.heads.weight[3:, 16:].abs().max() > 0
