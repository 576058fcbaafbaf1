"""The sampling loop: integrate the velocities a tokenizer's decoder gives, from noise to latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flextok.guidance import APGSettings, adaptive_projected_guidance, classifier_free_guidance
from flextok.models.contract import Denoiser
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

GuidanceScale = float | Callable[[float], float]
ConditionType = Literal["clean", "sdedit"]
OnStep = Callable[[int, Tensor, Tensor], Tensor]
"""Called with (step index, timestep, latents) after every step; returns the latents to go on with."""


@dataclass(frozen=True)
class Guidance:
    """`scale` 1 is off; it may depend on the noise level. `apg` None is plain classifier-free guidance."""

    scale: GuidanceScale = 1.0
    apg: APGSettings | None = None

    @property
    def active(self) -> bool:
        return callable(self.scale) or self.scale != 1.0

    def combine(
        self, told: Tensor, untold: Tensor, sigma: float, average: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The guided velocity, and APG's running average to hand to the next step."""
        scale = self.scale(sigma) if callable(self.scale) else self.scale
        if self.apg is None:
            return classifier_free_guidance(told, untold, scale), None
        return adaptive_projected_guidance(told, untold, scale, self.apg, average)


@dataclass(frozen=True)
class GivenFrames:
    """Clean latents (b, c, k, h, w) of the first latent frames: kept "clean", or noised to the current level."""

    latents: Tensor
    how: ConditionType = "clean"

    def impose(self, x: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """x (b, c, t, h, w) with its first frames as they are at `sigma`."""
        k = self.latents.shape[2]
        given = self.latents
        if self.how == "sdedit":
            given = (1 - sigma) * given + sigma * noise[:, :, :k]
        return torch.cat([given.to(x.dtype), x[:, :, k:]], dim=2)


def sample_latents(
    denoise: Denoiser,
    scheduler: RectifiedFlowScheduler,
    noise: Tensor,
    guidance: Guidance | None = None,
    given: GivenFrames | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents (b, c, t, h, w) from `noise` of that shape.

    Args:
        denoise: set up for the scheduler's timesteps, which are on the CPU: reading them never waits for a GPU.
        given: None where no frame is given, or where the model keeps given frames by itself.
    """
    latents = noise
    average: Tensor | None = None
    for index, (timestep, sigma) in enumerate(zip(scheduler.timesteps, scheduler.exact_timesteps, strict=True)):
        if given is not None:
            latents = given.impose(latents, noise, sigma)
        velocity, untold = denoise(latents, index)
        if guidance is not None and untold is not None:
            velocity, average = guidance.combine(velocity, untold, sigma, average)
        (latents,) = scheduler.step(velocity, timestep, latents, return_dict=False)
        if on_step is not None:
            latents = on_step(index, timestep, latents)
    if given is not None and given.how == "clean":
        latents = given.impose(latents, noise, 0.0)
    return latents
