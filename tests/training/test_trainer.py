"""The loop itself, on a model of one weight: what a run that is stopped, killed or given other settings does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flextok.training.configs import RunConfig, shares
from flextok.training.trainer import chosen_precision, train


@dataclass(frozen=True)
class Settings:
    run: RunConfig


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, step: int, x: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        return {"loss": (self.weight * x).square().mean()}


class SlopeStage:
    """Trains a slope to 0; may be killed while it is evaluated."""

    def __init__(self, killed: bool = False) -> None:
        self.module, self.killed = Slope(), killed

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        return {"x": torch.full((rows.stop - rows.start, 1), 1.0 + step)}

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        if self.killed:
            raise KeyboardInterrupt
        return {"slope": float(self.module.weight.detach())}, None

    def save(self, folder: Path) -> None:
        folder.mkdir()
        torch.save(self.module.weight.detach(), folder / "slope.pt")


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return RunConfig(
        tmp_path / "run", steps=4, batch_size=2, lr=0.1, warmup_steps=1, cooldown=0.0, mixed_precision="no",
        save_every=2, evaluate_every=4,
    )  # fmt: skip


def trained(run: RunConfig, killed: bool = False) -> float:
    stage = SlopeStage(killed)
    train(stage, run, Settings(run))
    return stage.module.weight.item()


def test_a_resumed_run_has_the_learning_rate_it_is_given(run: RunConfig) -> None:
    before = trained(run)
    after = trained(replace(run, steps=6, lr=0.0))
    assert before < 1
    assert after == before
    assert json.loads((run.out / "config.json").read_text())["run"]["lr"] == 0.0


@pytest.mark.parametrize("change", [{"seed": 1}, {"init_from": Path("other")}])
def test_a_run_that_began_otherwise_is_not_gone_on_with(run: RunConfig, change: dict[str, Any]) -> None:
    trained(run)
    with pytest.raises(ValueError, match="give another"):
        trained(replace(run, **change))


def test_a_run_killed_in_its_last_evaluation_writes_its_weights_when_started_again(run: RunConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(run, killed=True)
    assert not (run.out / "weights").exists()
    trained(run)
    assert [path.name for path in run.out.glob("weights*")] == ["weights"]


@pytest.mark.parametrize(("count", "weights"), [(0, ()), (2, (1.0,)), (2, (1.0, -1.0)), (1, (0.0,))])
def test_sources_and_weights_must_fit(count: int, weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="caches"):
        shares("caches", count, weights)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "FSDP, which this training does not support"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DEEPSPEED, which"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "set --run.batch-size"),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, "fp8, which this training does not support"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "fp16, which needs a GPU"),
    ],
)
def test_what_accelerate_config_asks_for_is_done_or_refused(
    run: RunConfig, told: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=says):
        trained(replace(run, mixed_precision="auto"))
    assert not run.out.exists()


@pytest.mark.parametrize(
    ("asked", "told", "chosen"),
    [("auto", "bf16", "bf16"), ("auto", "fp16", "fp16"), ("no", "bf16", "no"), ("bf16", "no", "bf16")],
)
def test_the_precision_is_the_runs_or_else_that_of_accelerate_config(
    run: RunConfig,
    asked: Any,
    told: str,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", told)
    assert chosen_precision(replace(run, mixed_precision=asked), torch.device("cuda")) == chosen
    assert ("counts, not Accelerate's" in caplog.text) == (asked == "no")


def test_a_wrong_call_of_a_stage_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flextok.training.train_ar", "register-tiny", "--run.out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "give at least one of --caches"
    assert "Traceback" not in done.stderr
