"""Loading a released checkpoint from a folder, a file or the Hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flextok.chunking import ChunkPlan
from flextok.released.config import ReleasedConfig, parse_config, parse_single_file
from flextok.released.errors import CheckpointError
from flextok.released.model import OneChunkModel
from flextok.released.pipeline import FPS, ReleasedInfo, ReleasedTokenizerPipeline
from flextok.released.vae import SPATIAL_RATIO, TEMPORAL_RATIO, SpatialConv, VolumeConv
from flextok.released.weights import (
    Header,
    check_names,
    config_from_metadata,
    heavy_dtype,
    read_header,
    read_tensors,
    vae_size,
)

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MAX_CONFIG_BYTES = 4_000_000
DEFAULT_CHUNK_FRAMES = 17
DEFAULT_OVERLAP = 1
PROBE_SIZE = (1, 8, 8)
"""Latent size to check a model with that does not state one."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked against its config; its weights have not been read."""

    config: ReleasedConfig
    header: Header
    model: OneChunkModel
    num_registers: int

    @property
    def parameters(self) -> int:
        return sum(torch.Size(info.shape).numel() for info in self.header.tensors.values())


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Read config and header of a folder or file, build the model on the meta device, check that they fit.

    Raises:
        CheckpointError: they do not; names what is wrong.
    """
    config_path, weights_path = find_files(Path(source))
    header = read_header(weights_path)
    if config_path is None:
        config = parse_single_file(config_from_metadata(header))
    else:
        config = parse_config(read_json(config_path))
    model = OneChunkModel(config.model, vae_size(header))
    check_names(header, model.state_dict(), model.unused_prefixes())
    num_registers = model.check_shapes(config.vae_video_sizes or PROBE_SIZE)
    model.drop_unused()
    return Checkpoint(config, header, model, num_registers)


def find_files(source: Path) -> tuple[Path | None, Path]:
    """config.json (None for the single-file form) and the weights.

    Raises:
        CheckpointError: there are none.
    """
    if source.is_file():
        return None, source
    if not source.is_dir():
        raise CheckpointError(f"{source} does not exist")
    config, weights = source / CONFIG_NAME, source / WEIGHTS_NAME
    if config.is_file() and weights.is_file():
        return config, weights
    if config.is_file():
        raise CheckpointError(f"{source.name} has a {CONFIG_NAME} but no {WEIGHTS_NAME}")
    files = [
        path for path in sorted(source.glob("*.safetensors")) if "_target_" in read_header(path).metadata
    ]
    if len(files) != 1:
        raise CheckpointError(f"{source.name} holds neither {CONFIG_NAME} nor one single-file checkpoint")
    return None, files[0]


def read_json(path: Path) -> Any:
    """Raises CheckpointError where the file is too large or no JSON."""
    size = path.stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path.name} has {size} bytes, more than a config needs")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not valid JSON: {error}") from error


def load_released(
    source: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    reference: bool = False,
) -> ReleasedTokenizerPipeline:
    checkpoint = open_checkpoint(source)
    read_weights(checkpoint, dtype, device or "cpu")
    return make_pipeline(checkpoint, str(source), reference)


def read_weights(checkpoint: Checkpoint, dtype: torch.dtype | None, device: torch.device | str) -> None:
    """Fill the model, one tensor after another; `dtype` None keeps what is stored."""
    model, header = checkpoint.model, checkpoint.header
    heavy = set(model.heavy_parameters())
    heavy_as = heavy_dtype(header) if dtype is None else dtype
    tensors = {
        # A copy even where nothing changes: views of the file are not aligned, which costs speed and the last bit.
        name: tensor.to(device, heavy_as if name in heavy else torch.float32, copy=True)
        for name, tensor in read_tensors(header, list(model.state_dict()))
    }
    model.load_state_dict(tensors, assign=True)
    for module in model.modules():
        if isinstance(module, SpatialConv):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, VolumeConv):
            module.to(memory_format=torch.channels_last_3d)


def make_pipeline(checkpoint: Checkpoint, name: str, reference: bool) -> ReleasedTokenizerPipeline:
    config = checkpoint.config
    size = config.vae_video_sizes
    plan = ChunkPlan(
        DEFAULT_CHUNK_FRAMES if config.chunk_size is None else config.chunk_size,
        DEFAULT_OVERLAP if config.overlap_size_frames is None else config.overlap_size_frames,
        TEMPORAL_RATIO,
    )
    info = ReleasedInfo(
        id=name,
        num_registers=checkpoint.num_registers,
        chunk_frames=plan.chunk_frames,
        height=0 if size is None else size[1] * SPATIAL_RATIO,
        width=0 if size is None else size[2] * SPATIAL_RATIO,
        temporal_ratio=TEMPORAL_RATIO,
        fps=FPS,
        parameters=checkpoint.parameters,
        source=name,
        licence="",
    )
    chunked = config.chunk_size is not None
    return ReleasedTokenizerPipeline(checkpoint.model, info, plan, size, reference=reference, chunked=chunked)
