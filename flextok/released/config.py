"""A checkpoint's config to modules: a fixed table of node types, every argument checked (contract, sections 2 and 3).

Configs come from strangers. Names in them choose entries of `TARGETS` and nothing else: nothing is imported or called
by name, numbers are bounded, and modules are built on the meta device, where they take no memory.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from torch import nn

from flextok.loading.errors import CheckpointError, first_line
from flextok.quantizers.fsq import FSQ
from flextok.released.nodes import tokens, trunk
from flextok.released.nodes.base import Node

PREFIX = "videoflextok."
MAX_NUMBER = 1 << 20
MAX_DEPTH = 512
MAX_LATENT_SIZE = 512
MAX_MODULES = 512
MAX_PATH = 1000


@dataclass(frozen=True)
class VAEConfig:
    """Keys of the VAE in the data dictionary; its sizes come from the weights."""

    images_read_key: str
    vae_latents_read_key: str
    vae_latents_write_key: str
    images_reconst_write_key: str
    tokenizer_id: Literal["vidtok_kl_causal_488_16chn"]
    chunk_size: None = None
    TRAINING_ONLY: typing.ClassVar = frozenset({"compile", "force_vae_encode"})
    # force_vae_encode only skips encoding where latents are given, which tokenizing a video never does.


@dataclass(frozen=True)
class FSQConfig:
    latents_read_key: str
    quants_write_key: str
    tokens_write_key: str
    levels: tuple[int, ...]
    TRAINING_ONLY: typing.ClassVar = frozenset(
        {"drop_quant_p", "corrupt_tokens_p", "min_corrupt_tokens_p", "apply_corrupt_tokens_p", "packed_call"}
    )

    def __post_init__(self) -> None:
        FSQ(self.levels)  # raises what is wrong with them


@dataclass(frozen=True)
class SamplerConfig:
    """Keys of the flow sampler; `out_channels` are those of the latents."""

    target_sizes_read_key: str
    latents_read_key: str
    timesteps_read_key: str
    noised_videos_read_key: str
    reconst_write_key: str
    out_channels: int
    zero_noise: bool = False
    cond_vae_latents_key: str | None = None
    noise_read_key: None = None


@dataclass(frozen=True)
class ModuleDict:
    """Modules in the order of the file, which is the order they run in."""

    module_dict: dict[str, Node]


@dataclass(frozen=True)
class NoiseModule:
    """Training noise: any argument is accepted and ignored."""


@dataclass(frozen=True)
class OneChunkConfig:
    """The parts of a one-chunk model, built on the meta device."""

    vae: VAEConfig
    encoder: ModuleDict
    decoder: ModuleDict
    regularizer: FSQConfig
    pipeline: SamplerConfig
    flow_matching_noise_module: NoiseModule | None = None


@dataclass(frozen=True)
class ReleasedConfig:
    """A checkpoint's whole config. Chunks and sizes are None where a single-file checkpoint does not state them.

    `raw_model` is the one-chunk model's config as read, for saving.
    """

    model: OneChunkConfig
    chunk_size: int | None
    overlap_size_frames: int | None
    vae_video_sizes: tuple[int, int, int] | None
    video_preprocess_args: Mapping[str, Any]
    raw_model: Mapping[str, Any] = field(repr=False)

    def as_wrapper(self) -> dict[str, Any]:
        """The config as `parse_config` reads it, in the order it was read."""
        return {
            "video_flex_tok": self.raw_model,
            "chunk_size": self.chunk_size,
            "overlap_size_frames": self.overlap_size_frames,
            "vae_video_sizes": self.vae_video_sizes,
            "video_preprocess_args": self.video_preprocess_args,
        }


TARGETS: Mapping[str, Any] = {
    PREFIX + name: target
    for name, target in {
        "wrappers.VideoFlexTok": OneChunkConfig,
        "resamplers.video_wrappers.VideoFlowMatchingResampler": OneChunkConfig,
        "compressors.vidtok.VidTokVAE": VAEConfig,
        "regularizers.quantize_fsq.FSQ": FSQConfig,
        "flow_matching.pipelines.VideoMinRFPipeline": SamplerConfig,
        "flow_matching.noise_modules.PrefixMinRFNoiseModule": NoiseModule,
        "flow_matching.noise_modules.MinRFNoiseModule": NoiseModule,
        "model.utils.wrappers.SequentialModuleDictWrapper": ModuleDict,
        "model.utils.dict_ops.PerSampleOp": tokens.PerSampleOp,
        "model.utils.dict_ops.channels_first_to_last": tokens.channels_first_to_last,
        "model.utils.dict_ops.channels_last_to_first": tokens.channels_last_to_first,
        "model.utils.posembs.PositionalEmbeddingAdder": tokens.PositionalEmbeddingAdder,
        "model.trunks.transformers.FlexTransformer": trunk.FlexTransformer,
        "model.preprocessors.patching.PatchEmbedder": tokens.PatchEmbedder,
        "model.preprocessors.registers.RegistersTemporal2D": tokens.RegistersTemporal2D,
        "model.preprocessors.linear.LinearLayer": tokens.LinearLayer,
        "model.preprocessors.time_embedding.TimestepEmbedder": tokens.TimestepEmbedder,
        "model.preprocessors.nullcond.LearnedNullCond": tokens.LearnedNullCond,
        "model.preprocessors.token_dropout.MaskedNestedDropout": tokens.MaskedNestedDropout,
        "model.preprocessors.token_dropout.MaskedPrefixDropout": tokens.MaskedPrefixDropout,
        "model.preprocessors.flex_seq_packing.BlockWiseSequenceInterleavePacker": (
            trunk.BlockWiseSequenceInterleavePacker
        ),
        "model.postprocessors.seq_unpacking.SequenceInterleavedUnpacker": trunk.SequenceInterleavedUnpacker,
        "model.postprocessors.heads.LinearHead": trunk.LinearHead,
        "model.postprocessors.heads.ToPatchesLinearHead": trunk.ToPatchesLinearHead,
        "model.postprocessors.heads.TransformerHead": trunk.TransformerHead,
    }.items()
}
DEFERRED = (SamplerConfig, tokens.channels_first_to_last, tokens.channels_last_to_first)
"""Targets that the reference calls later (`_partial_: true`)."""


def parse_config(raw: Any) -> ReleasedConfig:
    """Check and build a whole `config.json`.

    Raises:
        CheckpointError: something in it is unknown, missing, of the wrong type or out of bounds; names it.
    """
    config = _mapping(raw, "config")
    check_targets(config)
    known = {
        "video_flex_tok",
        "chunk_size",
        "overlap_size_frames",
        "vae_video_sizes",
        "video_preprocess_args",
    }
    if unknown := sorted(set(config) - known):
        raise CheckpointError(f"config: unknown entry {unknown[0]!r}; known are {', '.join(sorted(known))}")
    if "video_flex_tok" not in config:
        raise CheckpointError("config: 'video_flex_tok' is missing, so this is no VideoFlexTok checkpoint")
    sizes = _value(config.get("vae_video_sizes", (5, 32, 32)), tuple[int, ...] | None, "vae_video_sizes")
    if sizes is not None and (len(sizes) != 3 or not all(0 < size <= MAX_LATENT_SIZE for size in sizes)):
        raise CheckpointError(
            f"vae_video_sizes={list(sizes)[:9]} must be three sizes (t, h, w) in 1..{MAX_LATENT_SIZE}"
        )
    return ReleasedConfig(
        model=parse_one_chunk(config["video_flex_tok"]),
        chunk_size=_value(config.get("chunk_size", 17), int | None, "chunk_size"),
        overlap_size_frames=_value(config.get("overlap_size_frames", 1), int | None, "overlap_size_frames"),
        vae_video_sizes=sizes,
        video_preprocess_args=_mapping(config.get("video_preprocess_args") or {}, "video_preprocess_args"),
        raw_model=config["video_flex_tok"],
    )


def parse_single_file(raw: Mapping[str, Any]) -> ReleasedConfig:
    """Build the config of a single-file checkpoint: the one-chunk model alone."""
    check_targets(raw)
    return ReleasedConfig(parse_one_chunk(raw), None, None, None, {}, raw)


def check_targets(raw: Any) -> None:
    """Look through a whole config, also at what is never built: every `_target_` is known, and depths are bounded.

    Raises:
        CheckpointError: one is not, or all transformers together are too deep.
    """
    depth, waiting = 0, [(raw, "config")]
    while waiting:
        value, path = waiting.pop()
        path = path[-MAX_PATH:]
        if isinstance(value, Mapping):
            name = value.get("_target_")
            if name is not None and (not isinstance(name, str) or name not in TARGETS):
                raise CheckpointError(f"{path}: _target_ {_short(name)} is not a module type this loader knows")
            blocks = value.get("depth")
            depth += max(blocks, 0) if isinstance(blocks, int) else 0
            waiting += [(part, f"{path}.{key}") for key, part in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(part, f"{path}[{i}]") for i, part in enumerate(value)]
    if depth > MAX_DEPTH:
        raise CheckpointError(f"config: a depth of {depth} transformer blocks in all is more than {MAX_DEPTH}")


def parse_one_chunk(raw: Any) -> OneChunkConfig:
    """Build a one-chunk model's config.

    Raises:
        CheckpointError: as `parse_config`.
    """
    try:
        with torch.device("meta"):
            model = _node(raw, "video_flex_tok")
    except RecursionError as error:
        raise CheckpointError("config: nested too deeply") from error
    if not isinstance(model, OneChunkConfig):
        raise CheckpointError("config: 'video_flex_tok' is not a one-chunk video model")
    return model


def _node(raw: Any, path: str) -> Any:
    """One mapping with `_target_` to the object it stands for; children first."""
    if len(path) > MAX_PATH:
        raise CheckpointError(f"{path[:80]}...: nested too deeply")
    mapping = _mapping(raw, path)
    name = mapping.get("_target_")
    if not isinstance(name, str) or name not in TARGETS:
        raise CheckpointError(f"{path}: _target_ {_short(name)} is not a module type this loader knows")
    target = TARGETS[name]
    arguments = {key: value for key, value in mapping.items() if key not in ("_target_", "_partial_")}
    _check_partial(mapping, target, path)
    if target is NoiseModule:
        return NoiseModule()
    if isinstance(target, types.FunctionType):
        if arguments:
            raise CheckpointError(f"{path}: {name} takes no argument {next(iter(arguments))!r}")
        return target
    ignored: frozenset[str] = getattr(target, "TRAINING_ONLY", frozenset())
    accepted = dict(_parameters(target))
    for key in arguments:
        if key not in accepted and key not in ignored:
            raise CheckpointError(f"{path}: argument {_short(key)} of {name} is not supported")
    values = {
        key: _value(value, accepted[key][0], f"{path}.{key}") for key, value in arguments.items() if key in accepted
    }
    if missing := [key for key, (_, required) in accepted.items() if required and key not in values]:
        raise CheckpointError(f"{path}: {name} needs the argument {missing[0]!r}")
    try:
        return target(**values)
    except (ValueError, RuntimeError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {first_line(error)}") from error


def _check_partial(mapping: Mapping[str, Any], target: Any, path: str) -> None:
    if bool(mapping.get("_partial_", False)) != (target in DEFERRED):
        raise CheckpointError(f"{path}: _partial_={mapping.get('_partial_', False)!r} does not fit this module type")


def _parameters(target: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Names, types and whether they are required of a constructor's arguments."""
    hints = typing.get_type_hints(vars(target)["__init__"])
    for name, parameter in inspect.signature(target).parameters.items():
        yield name, (hints[name], parameter.default is inspect.Parameter.empty)


def _value(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type `hint`.

    Raises:
        CheckpointError: it has another type, or a number is out of bounds.
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        return _value(value, next(option for option in options if option is not type(None)), path)
    if origin is Literal:
        if value not in options:
            raise CheckpointError(f"{path}: {_short(value)} must be one of {', '.join(map(repr, options))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) > MAX_MODULES:
            raise CheckpointError(f"{path}: {_short(value)} must be a list")
        return tuple(_value(item, options[0], f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        items = _mapping(value, path)
        if len(items) > MAX_MODULES:
            raise CheckpointError(f"{path}: {len(items)} entries are more than {MAX_MODULES}")
        return {key: _value(item, options[1], f"{path}.{key}") for key, item in items.items()}
    if origin is Callable or (isinstance(hint, type) and (dataclass_like(hint) or issubclass(hint, nn.Module))):
        made = _node(value, path)
        fits = isinstance(made, types.FunctionType) if origin is Callable else isinstance(made, hint)
        if not fits:
            raise CheckpointError(f"{path}: a {type(made).__name__} cannot stand here")
        return made
    return _scalar(value, hint, path)


def _scalar(value: Any, hint: Any, path: str) -> Any:
    if hint is type(None):
        if value is not None:
            raise CheckpointError(f"{path}: {_short(value)} is not supported; it must be null")
        return None
    if hint is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-05 as text, so single-file configs hold such numbers
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
            raise CheckpointError(f"{path}: must be a number in 0..{MAX_NUMBER}")
        return float(value)
    if hint is int:
        most = MAX_DEPTH if path.endswith(".depth") else MAX_NUMBER
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise CheckpointError(f"{path}: {_short(value)} must be an integer in 0..{most}")
        return value
    if not isinstance(value, hint):
        raise CheckpointError(f"{path}: {_short(value)} must be a {hint.__name__}")
    return value


def dataclass_like(hint: type) -> bool:
    return hasattr(hint, "__dataclass_fields__")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise CheckpointError(f"{path}: {_short(value)} must be a mapping")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
