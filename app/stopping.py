"""What a Cancel button does: its jobs end, and then the status says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

STOPPED = "Cancelled; what was ready stays."
AFTER_CANCEL: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Options of a handler that comes after one which cancels jobs, and has the last word.

Gradio runs the handlers of one event in the order of their registration. This one goes through the queue, whose
messages reach a page in their order: a result that was under way comes before it, and does not leave "Working".
"""


def stopping(stop: gr.Button, status: gr.Markdown, jobs: Sequence[Any]) -> None:
    """Wire a Cancel button.

    Gradio does not wait until the server has ended the jobs, so the words wait for a moment before they are asked for.
    """
    stop.click(None, cancels=list(jobs), api_visibility="private")
    moment = "() => new Promise((go) => setTimeout(() => go([]), 300))"
    stop.click(lambda: STOPPED, outputs=status, js=moment, **AFTER_CANCEL)
