"""Strict and bounded loading: configs are parsed and checked, weights come from safetensors and must fit exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open

MAX_CONFIG_BYTES = 1 << 20
MAX_CONFIG_INT = 1 << 17
"""No width, count or depth of a real model is larger; a config that says so is not built."""
MAX_DEPTH = 512
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"

Model = TypeVar("Model", bound=torch.nn.Module)


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or not what it says; the message is one sentence for the user.

    Names in it come from the file, so they may hold line breaks or be megabytes long: all is put on one line and cut.
    """

    max_characters = 1000

    def __init__(self, message: str) -> None:
        line = " ".join(message[: 2 * self.max_characters].split())
        super().__init__(line if len(line) <= self.max_characters else f"{line[: self.max_characters - 3]}...")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises:
        CheckpointError: no such file, too large, not JSON or not an object.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing in {path.parent}")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_CONFIG_BYTES >> 20} MiB, which no config is")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        raise CheckpointError(f"{path} is not valid JSON") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return data


def load_strict(cls: Callable[..., Model], folder: Path, dtype: torch.dtype | None = None, **changes: Any) -> Model:
    """A `ModelMixin` from `config.json`, with `changes`, and safetensors in `folder`, in eval mode.

    The model is built on the meta device and compared with the file's header before a byte of weights is read, so a
    hostile config or file costs no memory.

    Raises:
        CheckpointError: the config does not describe `cls`, or weights are missing, unexpected, mis-shaped or damaged.
    """
    config = read_json(folder / "config.json")
    kwargs = {k: v for k, v in config.items() if not k.startswith("_")} | changes
    check_numbers(kwargs, folder)
    try:
        with torch.device("meta"):
            model = cls(**kwargs)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"the config in {folder} does not describe a {getattr(cls, '__name__', cls)}: {error}"
        ) from error
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise CheckpointError(f"{weights.name} is missing in {folder} (weights must be safetensors)")
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    try:
        with safe_open(weights, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no iterator
            _compare(expected, found, weights)
            state = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} is not a valid safetensors file") from error
    wide = tuple(f"{part}." for part in getattr(cls, "_keep_in_fp32_modules", None) or ())
    # Copies: tensors mapped from the file lie at any address, and a CPU's kernels round differently there.
    state = {
        name: t.to(torch.float32 if name.startswith(wide) else dtype or torch.float32, copy=True)
        if t.is_floating_point()
        else t.clone()
        for name, t in state.items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()


def check_numbers(config: object, folder: Path) -> None:
    """Refuse sizes that no model has, before anything is built from them."""
    if isinstance(config, dict):
        for key, value in config.items():
            if "depth" in str(key) or "blocks" in str(key):
                values = value if isinstance(value, list) else [value]
                if any(isinstance(v, int) and v > MAX_DEPTH for v in values):
                    raise CheckpointError(f"{key}={value} in the config of {folder} is more than {MAX_DEPTH}")
            check_numbers(value, folder)
    elif isinstance(config, list):
        if len(config) > 4096:
            raise CheckpointError(f"the config of {folder} holds a list of {len(config)} entries")
        for value in config:
            check_numbers(value, folder)
    elif isinstance(config, int) and abs(config) > MAX_CONFIG_INT:
        raise CheckpointError(f"the config of {folder} holds the number {config}, more than any model has")


def _compare(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], path: Path) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    wrong = [
        f"{n} is {found[n]}, not {expected[n]}"
        for n in sorted(expected.keys() & found.keys())
        if expected[n] != found[n]
    ]
    for what, names in (("lacks", missing), ("has unexpected", extra), ("has mis-shaped", wrong)):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise CheckpointError(f"{path} {what} weights: {shown}")
