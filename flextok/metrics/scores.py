"""What the Toybox scorer says of clips whose truth is known. How often it errs itself: assets/results/scorer.json."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from flextok.metrics.scorer import Scorer
from flextok.models.scorer import ScorerOutput
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.distractors import distractors
from flextok.toybox.labels import ATTRIBUTES, CLASS_NAMES
from flextok.toybox.spec import ToyboxSpec

WRONG_CAPTIONS = 15


def attribute_accuracy(scorer: Scorer, video: Tensor, labels: np.ndarray) -> dict[str, float]:
    """Share of clips in which the scorer reads each attribute as it is.

    Args:
        video: (n, 3, 17, 64, 64) in [-1, 1].
        labels: (n, len(ATTRIBUTES)), of `toybox.labels`.
    """
    return {name: float(hits.mean()) for name, hits in attribute_hits(scorer.score(video), labels).items()}


def attribute_hits(output: ScorerOutput, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Which clips are read rightly: bool (n,) of each attribute that the scorer knows, from `Scorer.score` and labels
    (n, len(ATTRIBUTES))."""
    return {
        name: output.read(name) == np.array(CLASS_NAMES[name])[labels[:, i]]
        for i, name in enumerate(ATTRIBUTES)
        if name in output.classes
    }


def class_score(scorer: Scorer, video: Tensor, actions: Sequence[str]) -> float:
    """Top-1 accuracy of the action: share of clips whose most probable of the 12 actions is the one asked for.

    The paper's class score is the same of a UMT-L classifier on Kinetics; chance is 1/12 here.

    Raises:
        ValueError: an unknown action, or not one for each clip.
    """
    if len(actions) != len(video):
        raise ValueError(f"{len(video)} clips need as many actions, got {len(actions)}")
    if unknown := set(actions) - set(ACTIONS):
        raise ValueError(f"{sorted(unknown)[0]!r} is not one of the actions {', '.join(ACTIONS)}")
    return float((scorer.score(video).read("action") == np.array(actions)).mean())


def text_match(scorer: Scorer, video: Tensor, specs: Sequence[ToyboxSpec], variant: int = 0) -> float:
    """Top-1 retrieval: share of clips nearer to their own caption than to 15 of the other clips; chance is 1/16.

    The R-precision of Park et al., "Benchmark for compositional text-to-image synthesis" (2021), in the scorer's space.

    Raises:
        ValueError: not one spec for each clip, or fewer than 16 different captions.
    """
    return float(text_match_hits(scorer, scorer.score(video), specs, variant).mean())


def text_match_hits(scorer: Scorer, output: ScorerOutput, specs: Sequence[ToyboxSpec], variant: int = 0) -> np.ndarray:
    """Which clips `text_match` counts: bool (n,), from `scorer.score`. Raises ValueError as `text_match`."""
    said = [caption(spec) for spec in specs]  # in the plainest words, to tell which clips say the same
    if len(set(said)) <= WRONG_CAPTIONS:
        raise ValueError(f"text match needs at least {WRONG_CAPTIONS + 1} different captions, got {len(set(said))}")

    wrong = []
    for index, own in enumerate(said):
        others = {other: i for i, other in enumerate(said) if other != own}
        chosen = np.random.default_rng(index).choice([*others.values()], WRONG_CAPTIONS, replace=False)
        wrong.append([caption(specs[i], variant) for i in chosen])
    return _retrieved(scorer, output, specs, variant, wrong)


def strict_text_match(scorer: Scorer, video: Tensor, specs: Sequence[ToyboxSpec], variant: int = 0) -> float:
    """Like `text_match`, against 15 captions each false in exactly one thing (`distractors`); chance is 1/16.

    To be right the scorer must see the asked action, colours, shape, size, floor and sky all at once.

    Raises:
        ValueError: not one spec for each clip.
    """
    return float(strict_text_match_hits(scorer, scorer.score(video), specs, variant).mean())


def strict_text_match_hits(
    scorer: Scorer, output: ScorerOutput, specs: Sequence[ToyboxSpec], variant: int = 0
) -> np.ndarray:
    """Which clips `strict_text_match` counts: bool (n,), from `scorer.score`. Raises ValueError as that."""
    wrong = [distractors(spec, WRONG_CAPTIONS, variant, index) for index, spec in enumerate(specs)]
    return _retrieved(scorer, output, specs, variant, wrong)


def _retrieved(
    scorer: Scorer,
    output: ScorerOutput,
    specs: Sequence[ToyboxSpec],
    variant: int,
    wrong: Sequence[list[str]],
) -> np.ndarray:
    """Which clips are nearer to their own caption than to all of its `wrong` ones, equally many for each."""
    clips = output.embedding  # (n, d)
    if len(specs) != len(clips):
        raise ValueError(f"{len(clips)} clips need as many specs, got {len(specs)}")
    texts = [t for spec, others in zip(specs, wrong, strict=True) for t in (caption(spec, variant), *others)]
    embedded = scorer.embed_text(texts).unflatten(0, (len(specs), -1))  # (n, 16, d)
    return (torch.einsum("nd,ntd->nt", clips, embedded).argmax(1) == 0).numpy()
