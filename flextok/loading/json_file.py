"""JSON from strangers: of bounded size, an object, and every way it can be wrong one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flextok.loading.errors import CheckpointError

MAX_JSON_BYTES = 4_000_000
"""The largest config of a released checkpoint has a hundredth of it."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises:
        CheckpointError: no such file, too large, not JSON or not an object.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing in {path.parent}")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES // 10**6} MB, more than a config needs")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        raise CheckpointError(f"{path} is not valid JSON") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return data
