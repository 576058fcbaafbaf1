"""What a Cancel button does: its jobs end, and then the status says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

STOPPED = "Cancelled; what was ready stays."
AFTER_CANCEL: dict[str, Any] = {
    "js": "() => new Promise((go) => setTimeout(() => go([]), 300))",
    "show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None,
}  # fmt: skip
"""Options of a handler without inputs that has the last word after an event which cancels jobs.

Gradio runs the handlers of one event in the order of their registration, but does not wait until the server has ended
the jobs, so this one waits for a moment. Then it goes through the queue, whose messages reach a page in their order: a
result that was under way comes before it, and does not leave "Working" on the screen.
"""


def stopping(stop: gr.Button, status: gr.Markdown, jobs: Sequence[Any]) -> None:
    """Wire a Cancel button."""
    stop.click(None, cancels=list(jobs), api_visibility="private")
    stop.click(lambda: STOPPED, outputs=status, **AFTER_CANCEL)
