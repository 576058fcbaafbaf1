"""Files for download. Gradio copies what a handler returns into its own cache, which `build_demo` empties by age."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from functools import lru_cache
from pathlib import Path

KEEP_S = 120
"""Long enough for Gradio to take its copy."""


@lru_cache(maxsize=1)
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="flextok-")  # goes with the process


def fresh_file(name: str) -> Path:
    """A path that nobody else uses; `name` is the app's own, never a visitor's. Older ones are deleted."""
    home = Path(_home().name)
    for old in home.iterdir():
        if time.time() - old.stat().st_mtime > KEEP_S:
            shutil.rmtree(old, ignore_errors=True)
    folder = home / secrets.token_hex(8)
    folder.mkdir()
    return folder / name
