"""Files for download. Gradio copies what a handler returns into its own cache, which `build_demo` empties by age."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

KEEP_S = 120
"""Long enough for Gradio to take its copy."""


@lru_cache(maxsize=1)
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="flextok-")  # goes with the process


def fresh_file(name: str) -> Path:
    """A path that nobody else uses, deleted after `KEEP_S`; `name` is the app's own, never a visitor's."""
    folder = Path(_home().name) / secrets.token_hex(8)
    folder.mkdir()
    sweep = threading.Timer(KEEP_S, shutil.rmtree, (folder,), {"ignore_errors": True})
    sweep.daemon = True
    sweep.start()
    return folder / name
