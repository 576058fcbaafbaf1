"""One chunk of a released checkpoint, ready to be sampled (contract, section 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flextok.released.graph import GraphRun


@dataclass(frozen=True)
class ChunkTokens:
    """What the decoder is told of a chunk: codes (b, t, n, f), and per sample how many tokens and frames count."""

    codes: Tensor
    keep_k: Tensor | None = None
    prefix_len: Tensor | None = None

    def twice(self) -> ChunkTokens:
        """The batch [tokens, tokens]."""

        def repeated(x: Tensor | None) -> Tensor | None:
            return None if x is None else torch.cat([x, x])

        return ChunkTokens(torch.cat([self.codes, self.codes]), repeated(self.keep_k), repeated(self.prefix_len))


@dataclass(frozen=True)
class GraphDenoiser:
    """Velocities of a chunk; guided ones come from one batch, conditional samples first."""

    run: GraphRun
    velocity: Callable[[GraphRun, Tensor, int], Tensor]
    guided: bool

    def __call__(self, noisy: Tensor, index: int) -> tuple[Tensor, Tensor | None]:
        if not self.guided:
            return self.velocity(self.run, noisy, index), None
        told, untold = self.velocity(self.run, torch.cat([noisy, noisy]), index).chunk(2)
        return told, untold
