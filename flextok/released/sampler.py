"""Sampling latents from tokens: rectified flow with guidance and frame conditioning (contract, section 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flextok.guidance import APGSettings, adaptive_projected_guidance, classifier_free_guidance
from flextok.released.graph import GraphRun
from flextok.released.model import OneChunkModel
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

GuidanceScale = float | Callable[[float], float]
ConditionType = Literal["clean", "sdedit"]


@dataclass(frozen=True)
class Guidance:
    """`scale` 1 is off; it may depend on time. `apg` None is plain classifier-free guidance.

    `shared_momentum` runs one momentum buffer through all samples of a batch, one after another, as the reference
    does: samples then leak into each other.
    """

    scale: GuidanceScale = 1.0
    apg: APGSettings | None = None
    shared_momentum: bool = False

    @property
    def active(self) -> bool:
        return callable(self.scale) or self.scale != 1.0

    def scale_at(self, time: float) -> float:
        return self.scale(time) if callable(self.scale) else self.scale

    def combine(
        self, cond: Tensor, uncond: Tensor, time: float, average: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The guided velocity, and APG's running average to hand to the next step."""
        scale = self.scale_at(time)
        if self.apg is None:
            return classifier_free_guidance(cond, uncond, scale), None
        if not self.shared_momentum:
            return adaptive_projected_guidance(cond, uncond, scale, self.apg, average)
        guided = []
        for c, u in zip(cond.split(1), uncond.split(1), strict=True):
            one, average = adaptive_projected_guidance(c, u, scale, self.apg, average)
            guided.append(one)
        return torch.cat(guided), average


@dataclass(frozen=True)
class GivenFrames:
    """Clean latents (b, c, k, h, w) of the first latent frames, and how they enter the sampler."""

    latents: Tensor
    how: ConditionType = "clean"

    def impose(self, x: Tensor, noise: Tensor, time: float) -> Tensor:
        """x (b, c, t, h, w) with its first frames as they are at `time`."""
        k = self.latents.shape[2]
        given = self.latents
        if self.how == "sdedit":
            given = (1 - time) * given + time * noise[:, :, :k]
        return torch.cat([given.to(x.dtype), x[:, :, k:]], dim=2)


@dataclass(frozen=True)
class ChunkTokens:
    """What the decoder is told of a chunk: codes (b, t, n, f), and per sample how many tokens and frames count."""

    codes: Tensor
    keep_k: Tensor | None = None
    prefix_len: Tensor | None = None


def repeat_batch(x: Tensor | None, times: int) -> Tensor | None:
    return None if x is None else torch.cat([x] * times)


def start_guided(
    model: OneChunkModel, tokens: ChunkTokens, times: Tensor, guided: bool, reuse: GraphRun | None
) -> GraphRun:
    """Set up a chunk; with guidance the batch is [conditional, unconditional]."""
    branches = 2 if guided else 1
    batch = tokens.codes.shape[0]
    unconditional = None
    if guided:
        unconditional = torch.arange(2 * batch, device=tokens.codes.device) >= batch
    codes = torch.cat([tokens.codes] * branches)
    keep_k, prefix_len = repeat_batch(tokens.keep_k, branches), repeat_batch(tokens.prefix_len, branches)
    return model.start_decoding(codes, times, keep_k, prefix_len, unconditional, reuse)


StepCallback = Callable[[int, float, Tensor], Tensor | None]
"""Called with step, time and latents after each step; what it returns replaces the latents."""


def sample_latents(
    model: OneChunkModel,
    scheduler: RectifiedFlowScheduler,
    tokens: ChunkTokens,
    noise: Tensor,
    guidance: Guidance,
    given: GivenFrames | None = None,
    reuse: GraphRun | None = None,
    on_step: StepCallback | None = None,
) -> tuple[Tensor, GraphRun]:
    """Latents (b, c, t, h, w) from noise of that shape, and the run, whose time tables the next chunk can reuse.

    The scheduler's timesteps are set and on the CPU: reading them never waits for a GPU.
    """
    branches = 2 if guidance.active else 1
    run = start_guided(model, tokens, scheduler.timesteps.to(noise.device), guidance.active, reuse)
    x = noise
    average: Tensor | None = None
    previous: Tensor | None = None
    steps = len(scheduler.timesteps)
    for index, timestep in enumerate(scheduler.timesteps):
        time = (steps - index) / steps  # the grid of `set_timesteps`, not rounded to float32 as its tensor is
        if given is not None:
            x = given.impose(x, noise, time)
        velocity = model.velocity(run, torch.cat([x] * branches), index)
        if guidance.active:
            cond, uncond = velocity.chunk(2)
            velocity, average = guidance.combine(cond, uncond, time, average)
        x = scheduler.step(velocity, timestep, x, previous, return_dict=False)[0]
        previous = velocity
        if on_step is not None:
            changed = on_step(index, time, x)
            x = x if changed is None else changed
    if given is not None and given.how == "clean":
        x = given.impose(x, noise, 0.0)
    return x, run
