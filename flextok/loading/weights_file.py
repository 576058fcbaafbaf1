"""Safetensors files from strangers: the header is read and compared with a model before a byte of weights is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import read_json

MAX_NAMES = 5
MAX_SHARDS = 1000
_SHARD = re.compile(r"[\w-]+(\.[\w-]+)*\.safetensors")
FLOATING = frozenset(("F64", "F32", "F16", "BF16"))


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
            f"{path.name} is not a valid safetensors file (cut off, or another format): {error}"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror or error}") from error


def read_header(path: Path, rename: Callable[[str], str] = str) -> Header:
    """Names, shapes and metadata; reads no tensor.

    Args:
        rename: from a name in the file to that of our modules.

    Raises:
        CheckpointError: the file is damaged or no safetensors file, or two names mean the same tensor.
    """
    tensors: dict[str, TensorInfo] = {}
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        for stored in file.keys():  # noqa: SIM118  (a safetensors handle is no dict)
            part = file.get_slice(stored)
            name = rename(stored)
            if name in tensors:
                raise CheckpointError(f"{path.name} holds both {tensors[name].stored_name!r} and {stored!r}")
            tensors[name] = TensorInfo(stored, part.get_dtype(), tuple(part.get_shape()))
    return Header(path, tensors, metadata)


def shards(folder: Path, name: str) -> tuple[Path, ...]:
    """The files of a model's weights in `folder`: `name` itself, or what its index says it was split into.

    Raises:
        CheckpointError: neither is there, or the index names something else than files beside it.
    """
    whole, index = folder / name, folder / f"{name}.index.json"
    if whole.is_file() or not index.is_file():
        return (whole,)
    placed = read_json(index).get("weight_map")
    names = sorted({str(file) for file in placed.values()}) if isinstance(placed, dict) else []
    if not 0 < len(names) <= MAX_SHARDS or not all(_SHARD.fullmatch(file) for file in names):
        raise CheckpointError(f"{index.name} does not name the files that weights were split into")
    return tuple(folder / file for file in names)


def merged(headers: Sequence[Header]) -> Header:
    """What several files of one model say together.

    Raises:
        CheckpointError: two of them hold the same tensor.
    """
    tensors: dict[str, TensorInfo] = {}
    for header in headers:
        if twice := tensors.keys() & header.tensors.keys():
            raise CheckpointError(f"{header.path.name} holds {_some(sorted(twice))}, as another file of the model does")
        tensors |= header.tensors
    return Header(headers[0].path, tensors, headers[0].metadata)


def check_names(header: Header, expected: Mapping[str, Tensor], optional: Sequence[str] = ()) -> None:
    """Compare the file with the model.

    Args:
        expected: the model's tensors by name, on the meta device.
        optional: prefixes of names that the file may hold or not: weights of training-only modules.

    Raises:
        CheckpointError: names what is missing, unexpected, of another shape or of another kind of number.
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
            f"{name} {info.dtype}"
            for name, info in header.tensors.items()
            if info.dtype not in FLOATING and name in expected and expected[name].is_floating_point()
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
