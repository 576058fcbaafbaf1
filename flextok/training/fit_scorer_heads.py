"""Fit the scorer's heads to the end: `python -m flextok.training.fit_scorer_heads --banks ...` after `train_scorer`.

With the network frozen the heads are logistic regressions, whose one optimum L-BFGS finds. Step by step they had stayed
noisy: attributes that are hard to see were read no better than by chance, though a linear map of the same inputs reads
them. Only `TEXTURES` may look at the texture energy: a head that does not need it had better not depend on it, since it
is what a blurred reconstruction changes most.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from tqdm import tqdm

from flextok.checks import bf16_is_fast
from flextok.models.scorer import ToyboxScorer
from flextok.training.train_scorer import PRESETS, ScorerStage

logger = logging.getLogger(__name__)
TEXTURES = ("pattern", "floor_pattern")


@dataclass(frozen=True)
class FitConfig:
    banks: tuple[Path, ...]
    """The Toybox banks it was trained on."""
    scorer: Path = Path("runs/scorer/weights")
    out: Path = Path("runs/scorer-fitted/weights")
    batches: int = 375
    """Of 32 clips, mirrored and degraded as in training; 375 are 12,000 clips."""
    ridge: float = 1e-3
    """Weight of the squared norm of the heads beside the mean cross-entropy."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""


def main(config: FitConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)
    preset = PRESETS["embedded"][1]
    run = dataclasses.replace(preset.run, init_from=config.scorer, seed=1001)
    stage = ScorerStage(dataclasses.replace(preset, run=run, banks=config.banks, num_validation=1))
    inputs, labels = [], []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast(torch.device("cpu"))):
        for step in tqdm(range(config.batches), mininterval=10):
            batch = stage.batch(step, slice(0, run.batch_size))
            inputs.append(stage.scorer.head_inputs(batch["video"]).float())
            labels.append(batch["labels"])
    fit_heads(stage.scorer, torch.cat(inputs), torch.cat(labels), config.ridge)
    config.out.mkdir(parents=True, exist_ok=True)
    stage.save(config.out)


def fit_heads(scorer: ToyboxScorer, inputs: Tensor, labels: Tensor, ridge: float) -> None:
    """Replace the weights of `scorer.heads` by the optimum for these clips.

    Args:
        inputs: (n, d) of `head_inputs`.
        labels: (n, attributes).
    """
    start, num_features = 0, int(scorer.config.feature_dim)
    with torch.no_grad():
        scorer.heads.weight.zero_()
    for index, (name, classes) in enumerate(zip(scorer.classes, scorer.class_counts, strict=True)):
        x = inputs if name in TEXTURES else inputs[:, :num_features]
        weight, bias, loss = _logistic_regression(x, labels[:, index], classes, ridge)
        with torch.no_grad():
            scorer.heads.weight[start : start + classes, : x.shape[1]] = weight
            scorer.heads.bias[start : start + classes] = bias
        logger.info("%s: cross-entropy %.3f", name, loss)
        start += classes


def _logistic_regression(x: Tensor, y: Tensor, classes: int, ridge: float) -> tuple[Tensor, Tensor, float]:
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y) + ridge * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        loss = float(F.cross_entropy(F.linear(x, weight, bias), y))
    return weight.detach(), bias.detach(), loss


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(tyro.cli(FitConfig))
