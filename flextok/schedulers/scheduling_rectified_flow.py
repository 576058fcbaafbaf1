"""Rectified flow: x_sigma = (1 - sigma) data + sigma noise, velocity = noise - data, sampling from sigma 1 to 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from flextok.checks import whole_number


@dataclass
class RectifiedFlowSchedulerOutput(BaseOutput):
    """`prev_sample`: the sample at the next, lower sigma."""

    prev_sample: Tensor


class RectifiedFlowScheduler(SchedulerMixin, ConfigMixin):
    """Integrates dx/dsigma = velocity. Timesteps are the sigmas themselves; the network is called once a step.

    Args:
        shift: > 1 spends more steps near sigma 1, s' = shift s / (1 + (shift - 1) s); 1 is a uniform grid.
    """

    order = 1
    init_noise_sigma = 1.0
    """Sampling starts from noise of this deviation."""

    @register_to_config
    def __init__(self, shift: float = 1.0) -> None:
        if not 0 < shift < math.inf:
            raise ValueError(f"shift={shift} must be positive and finite")
        self.set_timesteps(10)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Fill `sigmas` (one longer than the steps, ending in 0), `timesteps` and, not rounded, `exact_timesteps`.

        Args:
            sigmas: own noise levels, decreasing from at most 1 and without the final 0; `shift` is not applied to them.

        Raises:
            ValueError: fewer than one step, or sigmas that do not decrease within (0, 1].
        """
        if sigmas is None:
            steps = whole_number("num_inference_steps", num_inference_steps, 1)
            grid = torch.arange(steps, 0, -1, dtype=torch.float64) / steps
            shift = self.config.shift
            grid = shift * grid / (1 + (shift - 1) * grid)
        else:
            grid = torch.tensor(list(sigmas), dtype=torch.float64)
            if not len(grid) or not (grid.isfinite().all() and grid[-1] > 0 and grid[0] <= 1):
                raise ValueError(f"sigmas={list(sigmas)} must decrease within (0, 1]")
        self.sigmas = torch.cat([grid, grid.new_zeros(1)]).to(torch.float32).to(device)
        if (self.sigmas.diff() >= 0).any():  # as float32, in which `step` looks them up
            raise ValueError(f"sigmas={self.sigmas.tolist()[:-1]} must decrease within (0, 1]")
        self.timesteps = self.sigmas[:-1]
        self.exact_timesteps = tuple(grid.tolist())
        self.num_inference_steps = len(self.timesteps)

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        return_dict: bool = True,
    ) -> Any:
        """One step down from `timestep`, an entry of `timesteps`.

        Args:
            model_output: velocity at (sample, timestep).
            return_dict: a `RectifiedFlowSchedulerOutput`, or else a tuple of the sample alone.

        Raises:
            ValueError: timestep is not one of `timesteps`.
        """
        found = (self.timesteps == torch.as_tensor(timestep, device=self.timesteps.device)).nonzero()
        if not len(found):
            raise ValueError(f"timestep={float(timestep)} is not one of the scheduler's timesteps")
        i = int(found[0])  # no hidden step counter: the same call gives the same answer
        width = self.sigmas[i + 1] - self.sigmas[i]  # negative
        previous = (sample.float() + width * model_output.float()).to(sample.dtype)  # fp32 sum: errors add up
        return RectifiedFlowSchedulerOutput(prev_sample=previous) if return_dict else (previous,)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:  # noqa: ARG002
        """The sample itself: there for pipelines that serve many schedulers."""
        return sample
