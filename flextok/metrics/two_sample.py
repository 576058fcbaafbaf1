"""A two-sample test by a classifier (Lopez-Paz and Oquab, arXiv:1610.06545): can a network tell sets of clips apart?

0.5 says that it cannot. A fresh small network learns on one half of both sets and is asked about the other, so no fixed
feature extractor decides what counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, BATCH = 120, 16


class _Classifier(nn.Module):
    """Frames of a clip to one logit: convolutions on frames and on their differences, averaged over time."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1), nn.GroupNorm(4, width), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(4 * width, 1)

    def forward(self, video: Tensor) -> Tensor:
        """(b, 3, T, H, W) -> (b,)"""
        change = F.pad(video.diff(dim=2), (0, 0, 0, 0, 1, 0))
        frames = torch.cat([video, 4 * change], dim=1)[:, :, ::4].transpose(1, 2)  # (b, T / 4, 6, H, W)
        maps = self.layers(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        pooled = torch.cat([maps.mean((1, 3, 4)), maps.amax((1, 3, 4))], dim=1)
        return self.head(pooled)[:, 0]


def two_sample_accuracy(real: Tensor, other: Tensor, seed: int = 0) -> float:
    """Share of the second halves of two sets, equally many, that a network tells apart after the first halves.

    Args:
        real, other: (n, 3, T, H, W) in [-1, 1]; clip i of both may show the same: halves are split alike.

    Raises:
        ValueError: the shapes differ, or fewer than 8 clips.
    """
    if real.shape != other.shape or len(real) < 8:
        raise ValueError(f"two sets of at least 8 clips of one shape, got {tuple(real.shape)} and {tuple(other.shape)}")
    half = len(real) // 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Classifier()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    learnt = torch.cat([real[:half], other[:half]]).clamp(-1, 1)
    truth = torch.cat([torch.zeros(half), torch.ones(half)])
    with torch.enable_grad():
        for _ in range(STEPS):
            chosen = torch.randint(2 * half, (BATCH,), generator=generator)
            loss = F.binary_cross_entropy_with_logits(network(learnt[chosen]), truth[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        asked = [network(part).gt(0).float() for x in (real, other) for part in x[half:].clamp(-1, 1).split(BATCH)]
    said = torch.cat(asked)
    rest = len(real) - half
    return float(torch.cat([1 - said[:rest], said[rest:]]).mean())
