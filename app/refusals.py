"""How problems reach a visitor: as one sentence, never as a traceback."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr


def refusal(sentence: str) -> gr.Error:
    """An error for the page, which shows it as HTML: names and values in it come from visitors."""
    return gr.Error(html.escape(sentence, quote=False), print_exception=False)


@contextmanager
def told() -> Iterator[None]:
    """A ValueError of the library (VideoError, TokenError, CheckpointError) is a sentence for the user."""
    try:
        yield
    except gr.Error:  # a ValueError too, and a sentence already
        raise
    except ValueError as error:
        raise refusal(str(error)) from error
