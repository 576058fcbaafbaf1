"""How problems reach a visitor: as one sentence, never as a traceback."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

import gradio as gr

P = ParamSpec("P")


def refusal(sentence: str) -> gr.Error:
    """An error for the page, which shows it as HTML: names and values in it come from visitors."""
    return gr.Error(html.escape(sentence, quote=False), print_exception=False)


def require_number(name: str, value: object, low: float, high: float, whole: bool = False) -> None:
    """Raise gr.Error naming the value and the rule, unless it is a number in low..high; a field left empty is None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # refuses NaN
        given = "nothing" if value is None else f"{value!s:.40}"
        raise refusal(f"{name} must be between {low} and {high}, not {given}.")
    if whole and value != int(value):
        raise refusal(f"{name} must be a whole number, not {value}.")


@contextmanager
def told() -> Iterator[None]:
    """A ValueError of the library (VideoError, TokenError, CheckpointError) is a sentence for the user."""
    try:
        yield
    except gr.Error:  # a ValueError too, and a sentence already
        raise
    except ValueError as error:
        raise refusal(str(error)) from error


def as_plain_text(sentence: str) -> str:
    """A sentence whose characters mean nothing to Markdown: names in it come from visitors."""
    return re.sub(r"([\\`*_\[\]()!#|~])", r"\\\1", sentence)


def reason_in_status(
    job: Callable[P, Iterator[tuple[Any, ...]]], place: int = 0, outputs: int = 3
) -> Callable[P, Iterator[tuple[Any, ...]]]:
    """A job whose status, output `place` of so many, says why it failed; or else the "Done" of before would stay."""

    @functools.wraps(job)
    def told_too(*args: P.args, **kwargs: P.kwargs) -> Iterator[tuple[Any, ...]]:
        try:
            yield from job(*args, **kwargs)
        except gr.Error as error:
            said: list[Any] = [gr.skip()] * outputs
            said[place] = f"Not done. {as_plain_text(str(error.message))}"
            yield tuple(said)
            raise

    return told_too
