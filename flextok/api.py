"""The way in for users: `load_tokenizer`."""

from __future__ import annotations

from pathlib import Path

import torch

from flextok.checks import check_dtype, usable_device
from flextok.loading.checkpoint import WEIGHTS_NAME, load_strict
from flextok.loading.errors import CheckpointError
from flextok.loading.hub import MissingFileError, download, is_repo_id
from flextok.loading.json_file import read_json
from flextok.loading.registry import ASSETS, MODELS, VIDTOK
from flextok.loading.weights_file import shards
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.load import is_released, load_released
from flextok.released.placement import DeviceMap
from flextok.released.preprocess import DEFAULT_FPS
from flextok.released.vidtok_grid import FILE, load_vidtok_grid
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

DEFAULT_PIXELS = 256
"""Of a grid baseline that does not say."""
EMBEDDED = ("embedded", "embedded-grid")
OWN_FILES = ("model_index.json", "scheduler/scheduler_config.json", "tokenizer/config.json", "vae/config.json")
"""A repository in our own format, and beside them the weights of tokenizer and VAE."""
TOKENIZERS = {"RegisterTokenizer": RegisterTokenizer, "GridTokenizer": GridTokenizer}
"""The only classes a checkpoint can name; anything else is refused, never imported."""


def load_tokenizer(
    source: str | Path = "embedded",
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    *,
    revision: str | None = None,
    device_map: DeviceMap | None = None,
    reference: bool = False,
) -> VideoTokenizerPipeline:
    """Load a tokenizer, ready to run.

    Args:
        source: "embedded", "embedded-grid", a folder written by `save_pretrained`, a released VideoFlexTok checkpoint
            (folder or single file), or a Hub id of either kind. "microsoft/VidTok@128" is the 3D grid that the paper
            compares with, for clips of 128 x 128 (also a .ckpt file of it, with or without @128).
        device: None stays on the CPU.
        dtype: None is float32 for our own format and what is stored for released checkpoints.
        revision: branch, tag or commit of a Hub id.
        device_map: spreads a released checkpoint with Accelerate ("auto", or module names to devices).
        reference: a released checkpoint repeats its reference implementation draw by draw.

    Raises:
        CheckpointError: a ValueError in one sentence: no such model, no network, damaged or foreign files.
        ValueError: an option that this source does not have, or a device that is not here.
    """
    name = str(source)
    device = None if device is None else usable_device(device)
    check_dtype(dtype)
    if name in EMBEDDED:
        if device_map is not None or reference or revision is not None:
            raise ValueError(f"revision, device_map and reference are for models of the Hub, which {name!r} is not")
        return _placed(load_embedded(name, dtype), name, device)
    if (grid := _vidtok(name)) is not None:
        if device_map is not None or reference:
            raise ValueError(f"device_map and reference are for released checkpoints, which {name!r} is not")
        path, pixels = grid
        path = path or download(VIDTOK, (FILE,), revision) / FILE
        return load_vidtok_grid(path, pixels, DEFAULT_FPS, name, device or "cpu", dtype)
    folder = _own_format(name, revision)
    if folder is None:
        return load_released(
            name, device=device or "cpu", dtype=dtype, revision=revision, device_map=device_map, reference=reference
        )
    if device_map is not None or reference:
        raise ValueError(f"device_map and reference are for released checkpoints, which {name!r} is not")
    return _placed(load_folder(folder, dtype), name, device)


def _vidtok(name: str) -> tuple[Path | None, int] | None:
    """File (None: of the Hub) and pixels of a grid baseline; None where the name is none's.

    Raises:
        ValueError: what stands behind the @ is no number.
    """
    source, at, pixels = name.rpartition("@")
    if not at or name.endswith(".ckpt"):  # a folder on the way may have an @ too
        source, pixels = name, ""
    if source != VIDTOK and not source.endswith(".ckpt"):
        return None
    if pixels and not pixels.isdecimal():
        raise ValueError(f"{name!r}: behind the @ stands the height of clips in pixels, such as 128")
    return None if source == VIDTOK else Path(source), int(pixels or DEFAULT_PIXELS)


def load_embedded(name: str, dtype: torch.dtype | None = None) -> VideoTokenizerPipeline:
    """One of `EMBEDDED` from this repository's assets; the grid shares the VAE of the register tokenizer."""
    return load_folder(ASSETS / name, dtype, vae_folder=ASSETS / "embedded" / "vae")


def load_folder(
    folder: Path,
    dtype: torch.dtype | None = None,
    vae_folder: Path | None = None,
    expected: str = VideoTokenizerPipeline.__name__,
) -> VideoTokenizerPipeline:
    """A pipeline folder as `VideoTokenizerPipeline.save_pretrained` writes it; `vae_folder` shares another one's VAE.

    `expected` is the class the folder names: a generator's folder holds a tokenizer's parts too.

    Raises:
        CheckpointError: as in `load_tokenizer`.
    """
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != expected:
        raise CheckpointError(f"{folder} holds {index.get('_class_name')!r}, not a {expected}")
    kind = index.get("tokenizer", [None, None])
    if not isinstance(kind, list) or len(kind) != 2 or kind[1] not in TOKENIZERS:
        raise CheckpointError(f"{folder} names tokenizer {kind!r}; known are {', '.join(TOKENIZERS)}")
    scheduler = {
        k: v for k, v in read_json(folder / "scheduler" / "scheduler_config.json").items() if not k.startswith("_")
    }
    options = {k: index[k] for k in ("name", "fps", "licence", "num_inference_steps", "guidance_scale") if k in index}
    vae_folder = vae_folder or folder / "vae"
    try:
        pipe = VideoTokenizerPipeline(
            vae=load_strict(AutoencoderCausalVideo, vae_folder, dtype).to(memory_format=torch.channels_last),
            tokenizer=load_strict(TOKENIZERS[kind[1]], folder / "tokenizer", dtype),
            scheduler=RectifiedFlowScheduler(**scheduler),
            **options,
        )
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} has settings this version does not know: {error}") from error
    pipe.weight_files = (*shards(folder / "tokenizer", WEIGHTS_NAME), *shards(vae_folder, WEIGHTS_NAME))
    return pipe


def _placed(pipe: VideoTokenizerPipeline, name: str, device: str | torch.device | None) -> VideoTokenizerPipeline:
    pipe.source = name
    return pipe if device is None else pipe.to(device)


def _refuse_what_is_no_model(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path} is no folder, no file and no Hub id; built in are {', '.join(EMBEDDED)}")
    if (path / "config.json").is_file() and not (path / "model_index.json").exists():
        part = read_json(path / "config.json").get("_class_name")
        if part in TOKENIZERS:
            raise CheckpointError(
                f"{path} holds a {part} without its VAE; put both together with python -m "
                "flextok.training.export tokenizer"
            )


def _own_format(name: str, revision: str | None) -> Path | None:
    """The folder, fetched if need be, of a model in our own format; None for a released checkpoint."""
    if not is_repo_id(name):
        _refuse_what_is_no_model(Path(name))
        return None if is_released(Path(name)) else Path(name)
    if any(entry.id == name and entry.source == "hub" for entry in MODELS):
        return None
    try:
        folder = download(name, OWN_FILES, revision)
    except MissingFileError:
        return None
    for part in ("tokenizer", "vae"):
        try:
            download(name, (f"{part}/{WEIGHTS_NAME}",), revision)
        except MissingFileError:  # split into several
            download(name, (f"{part}/{WEIGHTS_NAME}.index.json",), revision)
            download(name, tuple(f"{part}/{file.name}" for file in shards(folder / part, WEIGHTS_NAME)), revision)
    return folder


__all__ = ["CheckpointError", "load_embedded", "load_folder", "load_tokenizer"]
