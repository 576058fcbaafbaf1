"""Rectified flow: straight paths are integrated exactly, curved ones at each solver's order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flextok.schedulers.scheduling_rectified_flow import SOLVERS, RectifiedFlowScheduler


@given(st.integers(1, 40), st.floats(0.2, 6), st.sampled_from(SOLVERS))
@settings(deadline=None)
def test_constant_velocity_is_exact(steps: int, shift: float, solver: str) -> None:
    scheduler = RectifiedFlowScheduler(shift, solver)
    scheduler.set_timesteps(steps)
    assert scheduler.sigmas[0] == 1
    assert scheduler.sigmas[-1] == 0
    data, noise = torch.tensor([2.0]), torch.tensor([-1.0])
    x, velocity = noise, noise - data
    for timestep in scheduler.timesteps:
        x = scheduler.step(velocity, timestep, x, previous_output=velocity).prev_sample
    torch.testing.assert_close(x, data, atol=1e-5, rtol=0)


def _error(solver: str, steps: int) -> float:
    """dx/dsigma = x from 1 at sigma 1; exact value at 0 is exp(-1)."""
    scheduler = RectifiedFlowScheduler(solver=solver)
    scheduler.set_timesteps(steps)
    x, previous = torch.ones(1, dtype=torch.float64), None
    for timestep in scheduler.timesteps:
        velocity = x.clone()
        x = scheduler.step(velocity, timestep, x, previous_output=previous).prev_sample
        previous = velocity
    return abs(float(x) - 0.36787944)


def test_orders_of_the_solvers() -> None:
    assert 1.8 < _error("euler", 10) / _error("euler", 20) < 2.3
    assert _error("adams", 10) / _error("adams", 20) > 3.4
    assert _error("adams", 10) < _error("euler", 10) / 5


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
    with pytest.raises(ValueError, match="solver"):
        RectifiedFlowScheduler(solver="magic")
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
    RectifiedFlowScheduler(shift=2.5, solver="adams").save_pretrained(tmp_path)
    loaded = RectifiedFlowScheduler.from_pretrained(tmp_path)
    assert (loaded.config.shift, loaded.config.solver) == (2.5, "adams")
