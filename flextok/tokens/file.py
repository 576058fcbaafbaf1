"""Token files: `ClipTokens` as JSON or safetensors. Reading is strict: exactly the known fields, within limits."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from flextok.tokens.clip import ClipTokens, TokenError, rows_of

FORMAT = "flextok-tokens"
VERSION = 1
MAX_BYTES = 2 << 20
_FIELDS = {field.name for field in fields(ClipTokens)}
_NO_TOKENS = "This is no token file: it must be JSON or safetensors written by this app."


def to_json(tokens: ClipTokens) -> dict[str, Any]:
    """As it stands in a JSON file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        **{name: value for name, value in asdict(tokens).items() if name != "ids"},
        "ids": [list(row) for row in tokens.ids],
    }


def from_json(data: object) -> ClipTokens:
    """Inverse of `to_json`.

    Raises:
        TokenError: a field is missing, unknown or out of range.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise TokenError(_NO_TOKENS)
    if data.get("version") != VERSION:
        raise TokenError(f"The token file is of version {data.get('version')!r:.20}; this app reads {VERSION}.")
    values = {name: value for name, value in data.items() if name not in ("format", "version")}
    missing, unknown = sorted(_FIELDS - values.keys()), sorted(str(name) for name in values.keys() - _FIELDS)
    if missing:
        raise TokenError(f"The token file lacks {', '.join(missing)}.")
    if unknown:
        raise TokenError(f"The token file holds a field that is not known: {unknown[0][:40]!r}.")
    ids = values.pop("ids")
    if not isinstance(ids, list) or not all(isinstance(row, list) for row in ids):
        raise TokenError("The ids must be rows of the same length, one row for each latent frame.")
    return ClipTokens(ids=tuple(tuple(row) for row in ids), **values)


def save_tokens(tokens: ClipTokens, path: str | Path) -> None:
    """Write a token file.

    Raises:
        TokenError: the suffix is neither .json nor .safetensors, or there is no such folder.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise TokenError(f"There is no folder {str(target.parent)!r} to write {target.name!r} into.")
    if target.suffix == ".json":
        target.write_text(json.dumps(to_json(tokens)) + "\n", encoding="utf-8")
    elif target.suffix == ".safetensors":
        from safetensors.numpy import save_file

        about = {name: value for name, value in to_json(tokens).items() if name != "ids"}
        save_file({"ids": tokens.array().astype(np.int32)}, target, metadata={FORMAT: json.dumps(about)})
    else:
        raise TokenError("A token file ends in .json or .safetensors.")


def load_tokens(path: str | Path) -> ClipTokens:
    """Read a token file; its content says which of the two it is, not its name.

    Raises:
        TokenError: one sentence for whatever is wrong with it.
    """
    source = Path(path)
    if not source.is_file():
        raise TokenError("There is no such token file.")
    if source.stat().st_size > MAX_BYTES:
        raise TokenError(f"A token file has at most {MAX_BYTES >> 20} MB.")
    data = source.read_bytes()
    return from_json(_parsed(data) if data.lstrip()[:1] == b"{" else _from_safetensors(source))


def _from_safetensors(path: Path) -> object:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
            about = _parsed(metadata.get(FORMAT, "null").encode())
            if names != ["ids"] or not isinstance(about, dict):
                raise TokenError(_NO_TOKENS)
            ids = file.get_tensor("ids")
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        if isinstance(error, TokenError):
            raise
        raise TokenError(_NO_TOKENS) from error
    if ids.dtype != np.int32 or ids.ndim != 2:
        raise TokenError("The ids of a token file must be int32, one row for each latent frame.")
    return {**about, "ids": [list(row) for row in rows_of(ids)]}


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise TokenError(_NO_TOKENS) from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
