"""Errors of the loader."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the text is one sentence for the user."""


def first_line(error: BaseException) -> str:
    """Torch appends its stack to some messages."""
    return (str(error).splitlines() or [type(error).__name__])[0]
