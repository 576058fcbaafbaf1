"""Strict and bounded loading: configs are parsed and checked, weights come from safetensors and must fit exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from flextok.loading.eight_bit import SUFFIX, from_eight_bits, split_scales
from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import read_json
from flextok.loading.weights_file import check_names, merged, read_header, read_tensors, shards

MAX_CONFIG_INT = 1 << 17
"""No width, count or depth of a real model is larger; a config that says so is not built."""
MAX_DEPTH = 512
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"

Model = TypeVar("Model", bound=torch.nn.Module)


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
    files = shards(folder, WEIGHTS_NAME)
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file.name} is missing in {folder} (weights must be safetensors)")
    headers, expected = [read_header(file) for file in files], model.state_dict()
    header, scales = split_scales(merged(headers))
    check_names(header, expected)
    stored = {name: tensor for part in headers for name, tensor in read_tensors(part, list(part.tensors))}
    state = {name: stored[name] for name in expected}
    for name in scales:
        state[name] = from_eight_bits(state[name], stored[name + SUFFIX])
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
