"""What every training stage shares: the run's settings. Stages nest it in their own dataclass (CLI by tyro)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch


@dataclass(frozen=True)
class RunConfig:
    """Settings of one run. All counts are global: they do not depend on the number of processes."""

    out: Path
    """Folder of the run: state-*/ (to resume), metrics.jsonl, samples-*.png, and the EMA weights in weights/."""
    steps: int = 10_000
    batch_size: int = 16
    """Clips a step over all processes; must be divisible by their number."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` orthogonalises the updates of matrices (`flextok.training.muon`); AdamW serves all other parameters."""
    lr: float = 1e-3
    muon_lr: float = 0.02
    warmup_steps: int = 100
    cooldown: float = 0.4
    """The learning rate is constant, then falls linearly to 0 over this last fraction of the run."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.998
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"
    """`auto` is bf16 where the machine is faster with it (`flextok.checks`), else float32."""
    compile: bool = True
    """torch.compile the networks of stages that gain by it, where there is a C++ compiler: minutes, once a machine."""
    threads: int = 0
    """CPU threads of each process; 0 leaves torch's choice."""
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    save_every: int = 1_000_000
    """Steps between states, beside `save_minutes`."""
    save_minutes: float = 10.0
    """A state is saved when the last one is so old, and at the end."""
    init_from: Path | None = None
    """Start from the model in this folder (another run's weights/), with its sizes and a fresh optimizer."""


def compiled(function: Callable[..., Any], run: RunConfig, dynamic: bool = False) -> Callable[..., Any]:
    """The function through torch.compile while gradients are wanted, if the run wants that and the machine can.

    Args:
        dynamic: one graph for all shapes instead of one for each.
    """
    if not run.compile or shutil.which(os.environ.get("CXX", "g++")) is None:
        return function
    fast = torch.compile(function, dynamic=dynamic)

    def choose(*args: Any, **kwargs: Any) -> Any:
        # Evaluation would be compiled once more, for a few calls.
        return (fast if torch.is_grad_enabled() else function)(*args, **kwargs)

    return choose


def shares(what: str, count: int, weights: Sequence[float]) -> np.ndarray:
    """How often each of `count` sources is drawn from: (count,), summing to 1; equal if there are no weights.

    Raises:
        ValueError: no sources, or weights that do not fit them.
    """
    if not count:
        raise ValueError(f"give at least one of --{what}")
    values = np.asarray(weights or [1.0] * count, dtype=np.float64)
    if len(values) != count or not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise ValueError(f"{count} {what} need as many weights, none negative and not all 0, got {list(weights)}")
    return values / values.sum()
