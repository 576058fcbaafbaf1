"""A converted checkpoint in our own format: config.json that says which format it is, and weights under our names.

The config keeps the order of its modules, which is the order they run in. Weights of training-only modules are gone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from flextok.loading.errors import CheckpointError
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.config import ReleasedConfig, parse_config
from flextok.released.model import OneChunkModel

FORMAT = "flextok.released"
VERSION = 1


def is_own_format(config: Any) -> bool:
    return isinstance(config, dict) and config.get("format") == FORMAT


def parse_own(config: dict[str, Any]) -> ReleasedConfig:
    """Raises CheckpointError where the file is newer than this code, or as `parse_config`."""
    if config.get("version") != VERSION:
        raise CheckpointError(f"config: version {config.get('version')!r} of the {FORMAT} format is not supported")
    return parse_config({key: value for key, value in config.items() if key not in ("format", "version", "info")})


def save_released(pipeline: VideoTokenizerPipeline, folder: Path) -> None:
    """Write a loaded checkpoint to a folder that `load_released` reads.

    Raises:
        ValueError: the model is offloaded, or the folder holds something else.
    """
    model = pipeline.tokenizer
    assert isinstance(model, OneChunkModel)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if any(tensor.device.type == "meta" for tensor in weights.values()):
        raise ValueError("an offloaded model cannot be saved; load it without device_map first")
    existing = folder / "config.json"
    if existing.exists() and not is_own_format(json.loads(existing.read_text(encoding="utf-8"))):
        raise ValueError(f"{folder.name} holds a checkpoint of another format, which is not overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    written = {
        "format": FORMAT,
        "version": VERSION,
        **model.released_config.as_wrapper(),
        "info": asdict(pipeline.info),
    }
    existing.write_text(json.dumps(written, indent=1), encoding="utf-8")
