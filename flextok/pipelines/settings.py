"""What a `model_index.json` may say of a pipeline beside its parts."""

from __future__ import annotations

from typing import Any

from flextok.checks import number, whole_number
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

MAX_STEPS = 1000


def check_scheduler(scheduler: Any) -> None:
    """Raise ValueError for a scheduler that does not integrate velocities over noise levels as ours does."""
    if not isinstance(scheduler, RectifiedFlowScheduler):
        raise ValueError(
            f"the scheduler must be a RectifiedFlowScheduler or one derived from it, not a {type(scheduler).__name__}"
        )


def check_settings(
    *, name: Any, fps: Any, licence: Any, num_inference_steps: Any, guidance_scale: Any, guidance_by_budget: Any = None
) -> None:
    """Raise ValueError in one sentence for a setting of a wrong type or out of range; it may come from any file."""
    for key, value in (("name", name), ("licence", licence)):
        if not isinstance(value, str):
            raise ValueError(f"{key}={value!r} must be a text")
    number("fps", fps, 0.01, 1000)
    check_steps(num_inference_steps)
    check_guidance(guidance_scale)
    if guidance_by_budget is None:
        return
    if not isinstance(guidance_by_budget, dict):
        raise ValueError(f"guidance_by_budget={guidance_by_budget!r} must map budgets to guidance scales")
    for budget, scale in guidance_by_budget.items():
        if not str(budget).isdecimal() or int(budget) < 1:
            raise ValueError(f"guidance_by_budget names the budget {budget!r}, which is no whole number from 1")
        check_guidance(scale)


def check_steps(value: Any) -> None:
    whole_number("num_inference_steps", value, 1, MAX_STEPS)


def check_guidance(value: Any) -> None:
    number("guidance_scale", value, 0, 100)
