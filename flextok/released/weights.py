"""Weight files: headers checked before anything is read, names matched strictly (contract, sections 2 and 2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flextok.released.errors import CheckpointError
from flextok.released.vae import VAESize

HUB_PREFIX = "video_tokenizer."
VAE_PREFIX = "vae.vidtok."
MAX_METADATA_CHARACTERS = 1_000_000
MAX_VAE_CHANNELS = 1024
MAX_RES_BLOCKS = 16
MAX_NAMES = 5
FLOATING = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class TensorInfo:
    """A stored tensor: its name in the file, dtype as safetensors names it, and shape."""

    stored_name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself. `tensors` are under the names of our modules."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


@contextmanager
def _opened(path: Path, device: str = "cpu") -> Iterator[Any]:
    """A safetensors file; what cannot be read as one becomes a single sentence."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is not a readable safetensors file (cut off, or another format): {error}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror or error}") from error


def read_header(path: Path) -> Header:
    """Names, shapes and metadata; reads no tensor.

    Raises:
        CheckpointError: the file is damaged or no safetensors file, or two names mean the same tensor.
    """
    tensors: dict[str, TensorInfo] = {}
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        for stored in file.keys():  # noqa: SIM118  (a safetensors handle is no dict)
            part = file.get_slice(stored)
            name = stored.removeprefix(HUB_PREFIX)
            for half in ("encoder", "decoder"):
                # left behind where the VAE was compiled
                name = name.replace(f"{VAE_PREFIX}{half}._orig_mod.", f"{VAE_PREFIX}{half}.", 1)
            if name in tensors:
                raise CheckpointError(f"{path.name} holds both {tensors[name].stored_name!r} and {stored!r}")
            tensors[name] = TensorInfo(stored, part.get_dtype(), tuple(part.get_shape()))
    return Header(path, tensors, metadata)


def vae_size(header: Header) -> VAESize:
    """Channels and blocks of the VAE, which the config leaves to the weights.

    Raises:
        CheckpointError: there are no VAE weights, or of a size that no VAE has.
    """
    first = header.tensors.get(f"{VAE_PREFIX}encoder.conv_in.conv.weight")
    if first is None or not first.shape:
        raise CheckpointError(f"{header.path.name} holds no VAE weights ({VAE_PREFIX}encoder.conv_in.conv.weight)")
    prefix = f"{VAE_PREFIX}encoder.down.0.block."
    blocks = {name.removeprefix(prefix).split(".")[0] for name in header.tensors if name.startswith(prefix)}
    channels = first.shape[0]
    if not 1 <= channels <= MAX_VAE_CHANNELS or not 1 <= len(blocks) <= MAX_RES_BLOCKS:
        raise CheckpointError(
            f"{header.path.name}: a VAE with {channels} channels and {len(blocks)} blocks is not supported"
        )
    return VAESize(channels, len(blocks))


def check_names(header: Header, expected: Mapping[str, Tensor], optional: Sequence[str]) -> None:
    """Compare the file with the model.

    Args:
        expected: the model's tensors by name, on the meta device.
        optional: prefixes of names that the file may hold or not: weights of training-only modules.

    Raises:
        CheckpointError: names what is missing, unexpected or of another shape.
    """
    needed = [name for name in expected if not name.startswith(tuple(optional))]
    problems = {
        "missing": [name for name in needed if name not in header.tensors],
        "unexpected": [name for name in header.tensors if name not in expected],
        "of another shape": [
            f"{name} {list(info.shape)} instead of {list(expected[name].shape)}"
            for name, info in header.tensors.items()
            if name in expected and info.shape != tuple(expected[name].shape)
        ],
        "not floating point": [
            f"{name} {info.dtype}" for name, info in header.tensors.items() if info.dtype not in FLOATING
        ],
    }
    found = [f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{header.path.name} does not fit its config: tensors {'; '.join(found)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def read_tensors(header: Header, names: Sequence[str], device: str = "cpu") -> Iterator[tuple[str, Tensor]]:
    """The named tensors one after another; on the CPU they are views of the file until they are changed."""
    with _opened(header.path, device) as file:
        for name in names:
            yield name, file.get_tensor(header.tensors[name].stored_name)


class _PlainLoader(yaml.SafeLoader):
    """YAML 1.1 without aliases, which could make a small text stand for a huge tree."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise CheckpointError("the config in the file's metadata uses YAML aliases")
        return super().compose_node(parent, index)


def config_from_metadata(header: Header) -> dict[str, Any]:
    """The config of a single-file checkpoint, one entry per top-level key, as the reference reads it.

    Differs from the reference: values beyond 10,000 characters are parsed too, not left as text that then fails.

    Raises:
        CheckpointError: there is no config in the file, or it is too large.
    """
    if "_target_" not in header.metadata:
        raise CheckpointError(
            f"{header.path.name} holds no config in its metadata, and there is no config.json beside it"
        )
    return {key: _parse_text(key, text) for key, text in header.metadata.items() if key != "format"}


def _parse_text(key: str, text: str) -> Any:
    if len(text) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(f"metadata entry {key!r} has {len(text)} characters, more than a config needs")
    text = text.replace("None", "null")
    try:
        return yaml.load(text, _PlainLoader)
    except CheckpointError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: dates and numbers that there are not
        return text
    except RecursionError as error:
        raise CheckpointError(f"metadata entry {key!r} is nested too deeply") from error


def heavy_dtype(header: Header) -> torch.dtype:
    """Dtype that most weights are stored in."""
    sizes: dict[str, int] = {}
    for info in header.tensors.values():
        sizes[info.dtype] = sizes.get(info.dtype, 0) + torch.Size(info.shape).numel()
    names = {"F64": torch.float32, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return names[max(sizes, key=lambda name: sizes[name])]
