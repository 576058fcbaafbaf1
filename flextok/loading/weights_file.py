"""Safetensors files from strangers: the header is read and compared with a model before a byte of weights is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from flextok.loading.errors import CheckpointError

MAX_NAMES = 5
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
