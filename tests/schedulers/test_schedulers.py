"""Rectified flow: straight paths are integrated exactly, curved ones at first order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler


@given(st.integers(1, 40), st.floats(0.2, 6))
@settings(deadline=None)
def test_constant_velocity_is_exact(steps: int, shift: float) -> None:
    scheduler = RectifiedFlowScheduler(shift)
    scheduler.set_timesteps(steps)
    assert scheduler.sigmas[0] == 1
    assert scheduler.sigmas[-1] == 0
    data, noise = torch.tensor([2.0]), torch.tensor([-1.0])
    x, velocity = noise, noise - data
    for timestep in scheduler.timesteps:
        x = scheduler.step(velocity, timestep, x).prev_sample
    torch.testing.assert_close(x, data, atol=1e-5, rtol=0)


def _error(steps: int) -> float:
    """dx/dsigma = x from 1 at sigma 1; exact value at 0 is exp(-1)."""
    scheduler = RectifiedFlowScheduler()
    scheduler.set_timesteps(steps)
    x = torch.ones(1, dtype=torch.float64)
    for timestep in scheduler.timesteps:
        x = scheduler.step(x.clone(), timestep, x).prev_sample
    return abs(float(x) - 0.36787944)


def test_the_error_falls_with_the_steps() -> None:
    assert 1.8 < _error(10) / _error(20) < 2.3


def test_a_step_keeps_no_state() -> None:
    scheduler = RectifiedFlowScheduler()
    scheduler.set_timesteps(4)
    x = torch.ones(2)
    first = scheduler.step(x, scheduler.timesteps[2], x).prev_sample
    assert torch.equal(first, scheduler.step(x, scheduler.timesteps[2], x).prev_sample)
    assert torch.equal(first, scheduler.step(x, scheduler.timesteps[2], x, return_dict=False)[0])


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="shift"):
        RectifiedFlowScheduler(shift=0)
    scheduler = RectifiedFlowScheduler()
    for arguments in ({"num_inference_steps": 0}, {"num_inference_steps": 1, "sigmas": [0.5, 0.7]}):
        with pytest.raises(ValueError, match=r"num_inference_steps|sigmas"):
            scheduler.set_timesteps(**arguments)
    for sigmas in ([], [float("nan")], [1.0, float("nan"), 0.5], [0.5, 0.5 - 1e-12]):
        with pytest.raises(ValueError, match="decrease"):
            scheduler.set_timesteps(sigmas=sigmas)
    with pytest.raises(ValueError, match="whole number"):
        scheduler.set_timesteps(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timesteps"):
        scheduler.step(torch.ones(1), 0.123, torch.ones(1))


def test_own_sigmas() -> None:
    scheduler = RectifiedFlowScheduler(shift=3)
    scheduler.set_timesteps(sigmas=[1.0, 0.4], device=None)  # as pipelines of diffusers call it
    torch.testing.assert_close(scheduler.sigmas, torch.tensor([1.0, 0.4, 0.0]))


def test_save_and_load(tmp_path) -> None:
    RectifiedFlowScheduler(shift=2.5).save_pretrained(tmp_path)
    loaded = RectifiedFlowScheduler.from_pretrained(tmp_path)
    assert loaded.config.shift == 2.5
