"""Components of the page: each folder holds the Python, the script and the style that belong together.

Scripts are read into the page as they are, with no build step; what they share is dom.js.
"""

from __future__ import annotations

from pathlib import Path

DOM = Path(__file__).with_name("dom.js")


def text(*files: Path) -> str:
    """Scripts or styles, one after the other."""
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
