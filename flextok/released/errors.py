"""The one error of the loader."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the text is one sentence for the user."""
