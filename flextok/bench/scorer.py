"""How well the Toybox scorer judges clips it never saw: `python -m flextok.bench scorer`.

Test clips, blurred ones and held-out combinations; text match; and, as the floor of what can be
measured with it, its distances between sets of source clips. Everything the scorer says is to be read beside this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from torch import Tensor

from flextok.bench import results
from flextok.data.datasets import ToyboxDataset
from flextok.metrics.consistency import temporal_consistency
from flextok.metrics.frechet_video import FrechetVideoDistance
from flextok.metrics.perceptual import scorer_distance
from flextok.metrics.scorer import Scorer, load_scorer
from flextok.metrics.scores import WRONG_CAPTIONS, attribute_hits, strict_text_match_hits, text_match_hits
from flextok.toybox.labels import ATTRIBUTES, NUM_CLASSES, POSITIONS, labels_of_seeds
from flextok.toybox.sampling import HELD_OUT_SEEDS, TEST_SEEDS, sample_spec
from flextok.training.degradations import blur
from flextok.video.pixels import to_float

BLURS = (0.5, 0.25, 0.125)
"""Share of the resolution that is left."""


@dataclass(frozen=True)
class Options:
    clips: int = 256
    """Toybox test clips (and a quarter as many with held-out combinations)."""


def main(arguments: list[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m flextok.bench scorer")
    scorer = load_scorer()
    seeds, held_out = TEST_SEEDS[: options.clips], HELD_OUT_SEEDS[: options.clips // 4]
    video = clips_of(seeds)
    report: dict[str, object] = {
        "parameters": sum(p.numel() for p in scorer.model.parameters()),
        "classes": NUM_CLASSES,
        "chance": {**{name: 1 / n for name, n in NUM_CLASSES.items()}, "text_match": 1 / (WRONG_CAPTIONS + 1)},
        "most_frequent": _most_frequent(labels_of_seeds(seeds)),
        "test": _judge(scorer, video, seeds),
        "held_out_combinations": _judge(scorer, clips_of(held_out), held_out),
    }
    distance = FrechetVideoDistance(scorer, reset_real=False)
    distance.update(video, real=True)
    for scale in BLURS:
        blurred = torch.stack([blur(clip, scale) for clip in video]).clamp(-1, 1)
        distance.reset()
        distance.update(blurred, real=False)
        report[f"test_blurred_{scale}"] = {
            **_judge(scorer, blurred, seeds),
            **{name: float(value) for name, value in distance.compute().items()},
            "scorer_distance": float(scorer_distance(scorer, blurred, video).mean()),
        }
    report["floor_between_halves_of_test"] = _floor(scorer, video)
    path = results.write("scorer", report)
    print(f"written to {path}")


def clips_of(seeds: range) -> Tensor:
    """Clips of these seeds, (n, 3, 17, 64, 64) in [-1, 1]."""
    dataset = ToyboxDataset(seeds)
    return to_float(np.stack([dataset[i] for i in range(len(dataset))]))


def _judge(scorer: Scorer, video: Tensor, seeds: range) -> dict[str, object]:
    labels, specs = labels_of_seeds(seeds), [sample_spec(seed) for seed in seeds]
    output = scorer.score(video)
    read = {name: output.logits[name].argmax(1).numpy() for name in POSITIONS}
    return {
        "clips": len(video),
        "accuracy": {name: float(hits.mean()) for name, hits in attribute_hits(output, labels).items()},
        # Positions are cut into bins, so most of their errors are clips near an edge.
        "within_one_bin": {n: float((abs(read[n] - labels[:, ATTRIBUTES.index(n)]) <= 1).mean()) for n in POSITIONS},
        "text_match": float(text_match_hits(scorer, output, specs).mean()),
        "strict_text_match": float(strict_text_match_hits(scorer, output, specs).mean()),
        "temporal_consistency": temporal_consistency(scorer, video),
    }


def _most_frequent(labels: np.ndarray) -> Mapping[str, float]:
    """Accuracy of always naming the class that is most frequent in these labels."""
    return {name: float(np.bincount(labels[:, i]).max() / len(labels)) for i, name in enumerate(ATTRIBUTES)}


def _floor(scorer: Scorer, video: Tensor) -> dict[str, float]:
    """The distance between two sets of source clips: what a perfect model of so many clips would get."""
    half, metric = len(video) // 2, FrechetVideoDistance(scorer)
    metric.update(video[:half], real=True)
    metric.update(video[half:], real=False)
    return {"clips": half, **{name: float(value) for name, value in metric.compute().items()}}


if __name__ == "__main__":
    main()
