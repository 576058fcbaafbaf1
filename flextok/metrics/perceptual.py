"""The scorer distance: how differently two clips look to the Toybox scorer. In the manner of LPIPS, but not LPIPS."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flextok.metrics.reconstruction import require_same_shape
from flextok.metrics.scorer import BATCH, Scorer


@torch.no_grad()
def scorer_distance(scorer: Scorer, video: Tensor, reference: Tensor) -> Tensor:
    """Distance of each clip to its reference: (n, 3, 17, 64, 64) in [-1, 1] -> (n,), 0 where equal, at most 4.

    At every place of the scorer's two convolutional stages the feature vectors are brought to unit length; their
    squared difference is averaged over places, then over stages. No weights are fitted to human judgement (LPIPS's
    are), and what the network does not know (faces, text) it does not see.

    Raises:
        ValueError: the shapes differ.
    """
    require_same_shape(video, reference)
    device = next(scorer.model.parameters()).device
    parts = []
    for clips, others in zip(video.clamp(-1, 1).split(BATCH), reference.split(BATCH), strict=True):
        stages = zip(scorer.model.maps(clips.to(device)), scorer.model.maps(others.to(device)), strict=True)
        # Each map (b, t, c, h, w); the norm is over c.
        differences = [(F.normalize(a, dim=2) - F.normalize(b, dim=2)).square().sum(2) for a, b in stages]
        parts.append(torch.stack([d.mean(dim=(1, 2, 3)) for d in differences]).mean(0))
    return torch.cat(parts).cpu()
