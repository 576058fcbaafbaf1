"""Loading a released checkpoint from a folder, a file or the Hub."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from flextok.checks import usable_device
from flextok.chunking import ChunkPlan
from flextok.guidance import APGSettings
from flextok.loading.errors import CheckpointError
from flextok.loading.hub import download, is_repo_id
from flextok.loading.json_file import read_json
from flextok.loading.weights_file import Header, check_names, read_header
from flextok.models.layers.transformer import Block
from flextok.pipelines.pipeline_tokenizer import Conventions, VideoTokenizerPipeline
from flextok.released.config import ReleasedConfig, parse_config, parse_single_file
from flextok.released.memory import estimate_memory, require_memory
from flextok.released.model import OneChunkModel
from flextok.released.placement import DeviceMap, fill, fill_and_dispatch, set_dtypes
from flextok.released.preprocess import DEFAULT_FPS, PreprocessOptions, to_pixels
from flextok.released.reference import ReferencePipeline
from flextok.released.saving import is_own_format, parse_own, save_released
from flextok.released.vae import SPATIAL_RATIO, TEMPORAL_RATIO
from flextok.released.weights import config_from_metadata, heavy_dtype, own_name, vae_size
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.video.clip import ClipReader

logger = logging.getLogger(__name__)

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
DEFAULT_CHUNK_FRAMES = 17
DEFAULT_OVERLAP = 1
DEFAULT_STEPS = 30
DEFAULT_GUIDANCE = 20.0
COMPILED_SHAPES = 64


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked against its config; its weights have not been read.

    `licence` is what a file says about itself; the reference's format has no place for it.
    """

    config: ReleasedConfig
    header: Header
    model: OneChunkModel
    plan: ChunkPlan
    preprocess: PreprocessOptions
    licence: str = ""


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Read config and header of a folder or file, build the model on the meta device, check that they fit.

    Raises:
        CheckpointError: they do not; names what is wrong.
    """
    config_path, weights_path = find_files(Path(source))
    header = read_header(weights_path, own_name)
    if config_path is None:
        config = parse_single_file(config_from_metadata(header))
    else:
        raw = read_json(config_path)
        config = parse_own(raw) if is_own_format(raw) else parse_config(raw)
    model = OneChunkModel(config, vae_size(header))
    # Names and shapes first: they bound what running the graph, even on the meta device, can cost.
    check_names(header, model.state_dict(), model.unused_prefixes())
    model.check_shapes(config.vae_video_sizes or model.smallest_size())
    model.drop_unused()
    try:
        plan = chunk_plan(config)
        sizes = config.vae_video_sizes
        stated = {} if sizes is None else {"size": sizes[1] * SPATIAL_RATIO}  # what fits, unless the config says more
        preprocess = PreprocessOptions.from_config({**stated, **config.video_preprocess_args})
    except ValueError as error:
        raise CheckpointError(f"config: {error}") from error
    return Checkpoint(config, header, model, plan, preprocess)


def chunk_plan(config: ReleasedConfig) -> ChunkPlan:
    """How clips are cut; what a single file does not state is as in the released checkpoints."""
    chunk, overlap = config.chunk_size, config.overlap_size_frames
    return ChunkPlan(
        DEFAULT_CHUNK_FRAMES if chunk is None else chunk,
        DEFAULT_OVERLAP if overlap is None else overlap,
        TEMPORAL_RATIO,
    )


def is_released(path: Path) -> bool:
    """Does this look like a checkpoint for `load_released`, and not like a saved `DiffusionPipeline`?"""
    if not path.is_dir():
        return path.suffix == ".safetensors"
    return not (path / "model_index.json").exists() and any(path.glob("*.safetensors"))


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
    files = [path for path in sorted(source.glob("*.safetensors")) if "_target_" in read_header(path).metadata]
    if len(files) != 1:
        raise CheckpointError(f"{source.name} holds neither {CONFIG_NAME} nor one single-file checkpoint")
    return None, files[0]


def load_released(
    source: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    device_map: DeviceMap | None = None,
    reference: bool = False,
    compiled: bool = False,
) -> VideoTokenizerPipeline:
    """Load a checkpoint: a Hub repository, a folder (Hub form or our own) or a single safetensors file.

    Args:
        device: where to load it; None takes cuda, mps or cpu, whatever there is first. With `device_map` it is
            where offloaded weights are used.
        dtype: of transformer blocks and VAE (float32, bfloat16 or float16); everything else stays float32. None keeps
            what is stored, and is float32 with `reference`.
        revision: branch, tag or commit of a Hub repository.
        device_map: spread or offload the weights with Accelerate: "auto", or module names to devices.
        reference: run as the reference does, draw by draw, instead of better (see `ReferencePipeline`).
        compiled: let torch.compile fuse the transformer blocks; the first call of each shape then takes minutes.

    Raises:
        CheckpointError: it cannot be fetched or read, its config is not understood, or its weights do not fit.
        InsufficientMemoryError: it does not fit the device; says what is needed and what is free.
        ValueError: a device that is not here, or another dtype.
    """
    name = str(source)
    folder = download(name, (CONFIG_NAME, WEIGHTS_NAME), revision) if is_repo_id(name) else Path(source)
    checkpoint = open_checkpoint(folder)
    if dtype is None:
        dtype = torch.float32 if reference else heavy_dtype(checkpoint.header)
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype} must be one of {', '.join(map(str, DTYPES))}")
    set_dtypes(checkpoint.model, dtype)
    target = usable_device(device) if device is not None else default_device()
    size = checkpoint.config.vae_video_sizes or checkpoint.model.smallest_size()
    estimate = estimate_memory(checkpoint.model, size, target)
    logger.info("%s needs %s as %s", name, estimate, dtype)
    if device_map is None:
        require_memory(estimate, target, dtype, name)
        fill(checkpoint.model, checkpoint.header, target)
    else:
        fill_and_dispatch(checkpoint.model, checkpoint.header, device_map, target)
    if compiled:
        # One compilation a token budget and chunk kind; beyond the limit torch would run uncompiled without a word.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, COMPILED_SHAPES)
        for module in checkpoint.model.modules():
            if isinstance(module, Block):
                module.compile(dynamic=False)
    pipe = make_pipeline(checkpoint, name, reference)
    pipe.memory = estimate
    return pipe


def default_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def describe_released(source: str | Path) -> VideoTokenizerPipeline:
    """A checkpoint's pipeline without its weights, for what `info` says. Raises CheckpointError as `load_released`."""
    return make_pipeline(open_checkpoint(source), str(source), reference=False)


def make_pipeline(checkpoint: Checkpoint, name: str, reference: bool) -> VideoTokenizerPipeline:
    """The pipeline around a model."""
    model, preprocess = checkpoint.model, checkpoint.preprocess
    kind = ReferencePipeline if reference else VideoTokenizerPipeline
    pipe = kind(
        model.vidtok,
        model,
        RectifiedFlowScheduler(),
        name,
        DEFAULT_FPS if preprocess.fps is None else preprocess.fps,
        checkpoint.licence,
        DEFAULT_STEPS,
        DEFAULT_GUIDANCE if model.can_be_guided or reference else 1.0,
    )
    if isinstance(pipe, ReferencePipeline):
        pipe.preprocess = preprocess
    size = preprocess.size
    pipe.conventions = Conventions(
        plan=checkpoint.plan,
        reader=ClipReader(size, lambda frames: to_pixels(frames, size)[None], False, preprocess.num_frames),
        apg=APGSettings(),
        soften_seams=False,
        save=save_released,
    )
    pipe.source = name
    pipe.weight_files = (checkpoint.header.path,)
    return pipe
