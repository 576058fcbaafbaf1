"""Result files: JSON with what is needed to judge and repeat a measurement."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import diffusers
import torch

import flextok

RESULTS = Path(__file__).resolve().parent.parent.parent / "assets" / "results"


def machine() -> dict[str, Any]:
    """Versions and the machine, without names of hosts or paths."""
    model = next(
        (line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")), platform.processor()
    )
    return {
        "flextok": flextok.__version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "cpu": model,
        "threads": torch.get_num_threads(),
    }


def write(name: str, results: dict[str, Any]) -> Path:
    """Write `assets/results/NAME.json`; floats are rounded to what their noise allows."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(_rounded({"machine": machine(), **results}), indent=1) + "\n")
    return path


def read(name: str) -> dict[str, Any]:
    """What `write` wrote, without the machine."""
    report = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in report.items() if key != "machine"}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) if abs(value) >= 0.01 else float(f"{value:.2g}")
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
