"""A two-sample test by a classifier (Lopez-Paz and Oquab, arXiv:1610.06545): can a network tell sets of clips apart?

0.5 says that it cannot. A fresh small network learns on one half of both sets and is asked about the other, so no fixed
feature extractor decides what counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, PAIRS, FRAMES = 100, 8, 3


class _Classifier(nn.Module):
    """Frames with their fine detail and their change since the frame before, to one logit a clip."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(9, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(4 * width, 1)

    def forward(self, video: Tensor, frames: Tensor) -> Tensor:
        """video: (b, 3, T, H, W); frames: (f,), which are looked at, from 1 on. -> (b,)"""
        now, before = (video[:, :, f].transpose(1, 2).flatten(0, 1) for f in (frames, frames - 1))  # (b f, 3, H, W)
        fine = now - F.avg_pool2d(now, 3, stride=1, padding=1, count_include_pad=False)
        maps = self.layers(torch.cat([now, 4 * fine, 4 * (now - before)], dim=1))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)
        return self.head(pooled)[:, 0].unflatten(0, (len(video), -1)).mean(1)


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
    truth = torch.cat([torch.zeros(PAIRS), torch.ones(PAIRS)])
    with torch.enable_grad():
        for _ in range(STEPS):
            # Both of a pair: what they show is the same and teaches nothing.
            chosen = torch.randint(half, (PAIRS,), generator=generator)
            frames = torch.randint(1, real.shape[2], (FRAMES,), generator=generator)
            said = network(torch.cat([real[chosen], other[chosen]]).clamp(-1, 1), frames)
            loss = F.binary_cross_entropy_with_logits(said, truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    every = torch.arange(1, real.shape[2], 4)
    with torch.no_grad():
        logits = [
            torch.cat([network(part.clamp(-1, 1), every) for part in x[half:].split(2 * PAIRS)]) for x in (real, other)
        ]
    return float(torch.cat([logits[0] <= 0, logits[1] > 0]).float().mean())
