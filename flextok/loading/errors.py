"""The error of everything that loads."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or not what it says; the message is one sentence for the user.

    Names in it come from the file, so they may hold line breaks or be megabytes long: all is put on one line and cut.
    """

    max_characters = 1000

    def __init__(self, message: str) -> None:
        line = " ".join(message[: 2 * self.max_characters].split())
        super().__init__(line if len(line) <= self.max_characters else f"{line[: self.max_characters - 3]}...")


def first_line(error: BaseException) -> str:
    """Torch appends its stack to some messages."""
    return (str(error).splitlines() or [type(error).__name__])[0]
