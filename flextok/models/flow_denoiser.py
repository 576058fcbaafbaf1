"""One chunk of an embedded tokenizer, ready to be sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flextok.models.flow_decoder import TokenCondition


@dataclass(frozen=True)
class FlowDenoiser:
    """Velocities at `sigmas`; what samples are told may differ in length, so each group of them is a call.

    `conditions` come with the number of samples each is for, in the order of the batch.
    """

    velocity: Callable[[Tensor, Tensor, TokenCondition, int], Tensor]
    conditions: Sequence[tuple[int, TokenCondition]]
    sigmas: Tensor
    given_frames: int = 0
    guided: bool = False

    def __call__(self, noisy: Tensor, index: int) -> tuple[Tensor, Tensor | None]:
        sigma = self.sigmas[index].to(noisy.device)
        groups = noisy.split([count for count, _ in self.conditions])
        parts = [
            self.velocity(group, sigma.expand(len(group)), condition, self.given_frames)
            for group, (_, condition) in zip(groups, self.conditions, strict=True)
        ]
        told = torch.cat(parts) if len(parts) > 1 else parts[0]
        if not self.guided:
            return told, None
        return told, self.velocity(noisy, sigma.expand(len(noisy)), TokenCondition(), self.given_frames)
