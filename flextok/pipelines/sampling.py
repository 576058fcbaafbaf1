"""The sampling loop: integrate the velocity a tokenizer's decoder gives, from noise to latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from flextok.guidance import APGSettings, adaptive_projected_guidance, classifier_free_guidance
from flextok.models.flow_decoder import TokenCondition
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler


class VelocityModel(Protocol):
    """The side of a tokenizer that sampling needs."""

    def __call__(self, noisy: Tensor, sigma: Tensor, condition: TokenCondition, given_frames: int = 0) -> Tensor: ...

    def unconditional(self) -> TokenCondition: ...


def sample_latents(
    model: VelocityModel,
    scheduler: RectifiedFlowScheduler,
    condition: TokenCondition,
    noise: Tensor,
    guidance_scale: float = 1.0,
    apg: APGSettings | None = None,
    given: Tensor | None = None,
    on_step: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Latents (b, c, t, h, w) from `noise` of that shape, over the timesteps set in `scheduler`.

    Args:
        guidance_scale: 1 calls the network once a step, anything else twice.
        apg: bounds the guidance; None is plain classifier-free guidance.
        given: clean latents (b, c, t0, h, w) of the first t0 latent frames; they are kept as they are.
        on_step: called with (step index, timestep, latents) after every step; returns the latents to go on with.
    """
    given_frames = 0 if given is None else given.shape[2]
    latents: Tensor = noise
    previous: Tensor | None = None
    average: Tensor | None = None
    for index, timestep in enumerate(scheduler.timesteps):
        if given is not None:
            latents = torch.cat([given, latents[:, :, given_frames:]], dim=2)
        sigma = timestep.expand(len(latents)).to(latents.device)
        velocity = model(latents, sigma, condition, given_frames)
        if guidance_scale != 1.0:
            unguided = model(latents, sigma, model.unconditional(), given_frames)
            if apg is None:
                velocity = classifier_free_guidance(velocity, unguided, guidance_scale)
            else:
                velocity, average = adaptive_projected_guidance(velocity, unguided, guidance_scale, apg, average)
        (latents,) = scheduler.step(velocity, timestep, latents, previous_output=previous, return_dict=False)
        previous = velocity
        if on_step is not None:
            latents = on_step(index, timestep, latents)
    if given is not None:
        latents = torch.cat([given, latents[:, :, given_frames:]], dim=2)
    return latents
