"""The way in for users who generate: `load_generator`."""

from __future__ import annotations

from pathlib import Path

import torch

from flextok.api import load_embedded, load_folder
from flextok.checks import check_dtype, usable_device
from flextok.loading.checkpoint import load_strict
from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import read_json
from flextok.loading.registry import ASSETS
from flextok.models.ar_transformer import ARTransformer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline

EMBEDDED_GENERATORS = {
    "embedded-class": ("embedded-generator", "embedded"),
    "embedded-text": ("embedded-generator", "embedded"),
    "embedded-grid-class": ("embedded-grid-generator", "embedded-grid"),
    "embedded-grid-text": ("embedded-grid-generator", "embedded-grid"),
}
"""Folder in the assets and tokenizer of each name. One network takes a class or a text, so pairs of names are one."""
SETTINGS = ("name", "fps", "licence", "num_inference_steps", "guidance_scale", "guidance_by_budget")


def load_generator(
    source: str | Path = "embedded-class",
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> VideoGeneratorPipeline:
    """Load a generator with the tokenizer whose tokens it writes.

    Args:
        source: one of `EMBEDDED_GENERATORS`, or a folder that `VideoGeneratorPipeline.save_pretrained` wrote.
        device: None stays on the CPU.
        dtype: None is float32.

    Raises:
        CheckpointError: a ValueError in one sentence: no such model, damaged or foreign files.
        ValueError: a device that is not here.
    """
    device = None if device is None else usable_device(device)
    check_dtype(dtype)
    name, tokenizer_name = EMBEDDED_GENERATORS.get(str(source), (None, ""))
    folder = ASSETS / name if name else Path(source)
    if not folder.is_dir():
        raise CheckpointError(f"{source} is not a folder; built in are {', '.join(EMBEDDED_GENERATORS)}")
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != VideoGeneratorPipeline.__name__:
        raise CheckpointError(f"{folder} holds {index.get('_class_name')!r}, not a {VideoGeneratorPipeline.__name__}")
    tokens = load_embedded(tokenizer_name, dtype) if name else load_folder(folder, dtype, expected=index["_class_name"])
    transformer = load_strict(ARTransformer, folder / "transformer", dtype)
    config, tokenizer = transformer.config, tokens.tokenizer
    shape = (config.num_frames, config.tokens_per_frame, tuple(config.levels))
    wanted = (tokenizer.config.latent_size[0], tokens.info.num_registers, tuple(tokenizer.config.levels))
    if shape != wanted:
        raise CheckpointError(f"{folder} writes tokens of shape {shape}, its tokenizer reads {wanted}")
    settings = {key: index[key] for key in SETTINGS if key in index}
    try:
        pipe = VideoGeneratorPipeline(tokens.vae, tokenizer, tokens.scheduler, transformer, **settings)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} has settings this version does not know: {error}") from error
    pipe.weight_files = tokens.weight_files
    return pipe if device is None else pipe.to(device)
