"""Frechet video distance: how far apart two sets of clips are as distributions, by the features of a video network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from flextok.metrics.features import FeatureExtractor


class FrechetVideoDistance(Metric):
    """The Frechet distance between Gaussians fitted to the features of real and of other clips.

    Like every such distance it depends on the extractor and on the number of clips (fewer clips give larger values,
    the more so where they are fewer than features), so compare values of one extractor and one number only.

    Args:
        extractor: gives the features and the name of the result ("Toybox FVD", "FVD (VideoMAE)").
        reset_real: False keeps the real clips at `reset`, to compare several sets with them.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    real_sum: Tensor
    real_outer: Tensor
    real_count: Tensor
    other_sum: Tensor
    other_outer: Tensor
    other_count: Tensor

    def __init__(self, extractor: FeatureExtractor, reset_real: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extractor, self.reset_real = extractor, reset_real
        d = extractor.num_features
        for side in ("real", "other"):
            # Sums in float64: a covariance from float32 sums of many clips loses its small directions.
            self.add_state(f"{side}_sum", torch.zeros(d, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(d, d, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, video: Tensor, real: bool) -> None:
        """Add clips, (n, 3, T, H, W) in [-1, 1] as the extractor wants them, to the real or to the other set."""
        if not len(video):
            return
        features = self.extractor(video).to(self.real_sum)  # (n, d)
        side = "real" if real else "other"
        setattr(self, f"{side}_sum", getattr(self, f"{side}_sum") + features.sum(0))
        setattr(self, f"{side}_outer", getattr(self, f"{side}_outer") + features.T @ features)
        setattr(self, f"{side}_count", getattr(self, f"{side}_count") + len(features))

    def forward(self, video: Tensor, real: bool) -> dict[str, Tensor]:  # type: ignore[override]
        """Add clips as `update` does; gives the distance of these alone to all real ones so far.

        Nothing where there is none: for real clips, and where a side has fewer than two.
        torchmetrics' own takes what `reset` leaves for a state of this batch and would add the real clips once more.
        """
        before = self.other_sum, self.other_outer, self.other_count
        self.update(video, real)
        now = self.other_sum, self.other_outer, self.other_count
        batch = [after - earlier for after, earlier in zip(now, before, strict=True)]
        value: dict[str, Tensor] = {}
        if not real and min(int(self.real_count), int(batch[2])) >= 2:
            value = {self.extractor.distance_name: frechet_distance(*self._real(), *_gaussian(*batch))}
        self._forward_cache: Any = value  # torchmetrics' loggers look there
        return value

    def _real(self) -> tuple[Tensor, Tensor]:
        return _gaussian(self.real_sum, self.real_outer, self.real_count)

    def compute(self) -> dict[str, Tensor]:
        """The distance under its name, such as {"Toybox FVD": ...}.

        Raises:
            ValueError: fewer than two clips on a side, so that there is no covariance.
        """
        if min(int(self.real_count), int(self.other_count)) < 2:
            raise ValueError(
                f"a distance between sets needs two clips or more in each, got {int(self.real_count)} real and "
                f"{int(self.other_count)} other"
            )
        other = _gaussian(self.other_sum, self.other_outer, self.other_count)
        return {self.extractor.distance_name: frechet_distance(*self._real(), *other)}

    def reset(self) -> None:
        kept = (self.real_sum, self.real_outer, self.real_count)
        super().reset()
        if not self.reset_real:
            self.real_sum, self.real_outer, self.real_count = kept


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), for means (d,) and covariances (d, d); float64, at least 0."""
    values, vectors = torch.linalg.eigh(cov1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # (C1 C2)^(1/2) has the trace of the root of the symmetric C1^(1/2) C2 C1^(1/2), whose eigenvalues are real.
    cross = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    return ((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * cross).clamp(min=0)


def _gaussian(total: Tensor, outer: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)
