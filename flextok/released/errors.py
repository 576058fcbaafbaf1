"""Errors of the loader."""

from __future__ import annotations

from flextok.loading.checkpoint import CheckpointError

__all__ = ["CheckpointError", "first_line"]


def first_line(error: BaseException) -> str:
    """Torch appends its stack to some messages."""
    return (str(error).splitlines() or [type(error).__name__])[0]
