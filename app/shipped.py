"""What ships for the page to show (`python -m app.bake.examples`)."""

from __future__ import annotations

from pathlib import Path

from flextok.loading.registry import ASSETS

EXAMPLES = ASSETS / "examples"
"""Clips, and their captions in README.md."""
PREBAKED = ASSETS / "prebaked"
"""What the player shows of each."""
EXAMPLE_CLIP, EXAMPLE_VIDEO = ASSETS / "generated" / "clip.json", ASSETS / "generated" / "long.mp4"
"""What Generate and Long video show before anything was asked for."""


def example_paths() -> list[Path]:
    """The example clips, in the order they are shown."""
    return sorted(EXAMPLES.glob("*.mp4"))
