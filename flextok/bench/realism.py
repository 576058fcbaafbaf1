"""How real decoded clips look, beside yardsticks: part of `python -m flextok.bench reconstruction`.

Distances are to *other* source clips, so that content does not count. Source clips against them give the noise of the
measure, blurred ones its scale, the VAE's the floor of every model here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from flextok.metrics.frechet_video import FrechetVideoDistance
from flextok.metrics.kernel_video import FOLDS, kernel_distance
from flextok.metrics.scorer import Scorer
from flextok.metrics.scores import attribute_hits
from flextok.metrics.sharpness import edge_strength, flicker
from flextok.metrics.two_sample import two_sample_accuracy
from flextok.training.degradations import blur

BLURS = (2, 4, 8)
ENOUGH_FOR_FVD = 1000
"""The Frechet distance of fewer clips says more of their number than of the model."""
READ = ("action", "color", "shape", "size", "pattern", "floor", "sky")

Row = dict[str, float | None]


def realism(
    scorer: Scorer,
    decoded: Mapping[str, Mapping[int, Tensor]],
    source: Tensor,
    vae: Tensor,
    others: Tensor,
    labels: np.ndarray,
) -> dict[str, Row | dict[int, Row]]:
    """One row of measures for each set of clips, by name.

    Args:
        decoded: of each model and budget, reconstructions of `source`.
        source, vae: (n, 3, 17, 64, 64) in [-1, 1], and what the VAE alone makes of them.
        others: source clips of other content, (m, 3, 17, 64, 64).
        labels: (n, attributes), the truth of `source`.

    Raises:
        ValueError: too few clips for a kernel distance.
    """
    if min(len(source), len(others)) < 2 * FOLDS:
        raise ValueError(f"realism needs at least {2 * FOLDS} clips and as many others")
    features, edges = scorer(others), edge_strength(source)
    frechet = FrechetVideoDistance(scorer, reset_real=False) if len(source) >= ENOUGH_FOR_FVD else None
    if frechet is not None:
        frechet.update(others, real=True)

    def row(video: Tensor, tell_apart: bool) -> Row:
        output = scorer.score(video)
        distance, still = kernel_distance(features, output.features), flicker(video, source)
        measured: Row = {
            "kernel_distance": distance.value,
            "kernel_distance_error": distance.error,
            "edges": float((edge_strength(video) / edges).mean()),
            "flicker": float(still.nanmean()),
            "told_from_vae": two_sample_accuracy(vae, video) if tell_apart else None,
        }
        hits = attribute_hits(output, labels)
        measured |= {f"read_{name}": float(hits[name].mean()) for name in READ}
        measured["read_action_and_color"] = float((hits["action"] & hits["color"]).mean())
        if frechet is not None:
            frechet.reset()
            frechet.update(video, real=False)
            measured["frechet_distance"] = float(frechet.compute()[scorer.distance_name])
        return measured

    report: dict[str, Row | dict[int, Row]] = {"source": row(source, False)}
    for factor in BLURS:
        report[f"blurred_{factor}"] = row(torch.stack([blur(clip, 1 / factor) for clip in source]).clamp(-1, 1), False)
    report["vae"] = row(vae, False)
    for model, clips in decoded.items():
        report[model] = {k: row(video, True) for k, video in clips.items()}
    return report
