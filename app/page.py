"""What the tabs of the page share: the lane of the models, quiet events, Cancel, and the clip that is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.request import WHERE

LANE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cpu", "show_progress": "minimal"}
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
WHOLE = tuple(setting.unset for setting in WHERE)
"""Start, length and crop of a clip that has just come: those of the one before are none of its own."""
FORGET_EXAMPLE: dict[str, Any] = {
    "fn": None, "js": "() => window.flextokUrl.set('example', '', '')", "show_progress": "hidden"
}  # fmt: skip
"""Options of an event after which the clip is no example."""
STOPPED = "Cancelled; what was ready stays."
AFTER_CANCEL: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Options of a handler that comes after one which cancels jobs, and has the last word.

Gradio runs the handlers of one event in the order of their registration. This one goes through the queue, whose
messages reach a page in their order: a result that was under way comes before it, and does not leave "Working".
"""


@dataclass(frozen=True)
class ShownClip:
    """The clip of Explore, as other tabs use it."""

    shown: gr.State
    """`qualities` of the clip that is shown."""
    video: gr.Video
    status: gr.Markdown
    settings: tuple[gr.components.Component, ...]
    """Inputs for `Request.of`: the clip, where it is read, and how it is decoded."""
    where: tuple[gr.components.Component, ...]
    """Start, length and crop; a handler that puts in a new clip sets them to `WHOLE`."""
    view: gr.HTML
    stop: gr.Button
    jobs: list[Any]
    """Events that change what is shown; a tab that puts a clip in adds its own, and `wire_ends` ends them all."""
    reconstruct: Callable[..., Iterator[tuple[Any, ...]]]
    """(*inputs) -> status, what the player shows, `shown`, again and again."""
    inputs: tuple[gr.components.Component, ...]


def stopping(stop: gr.Button, status: gr.Markdown, jobs: Sequence[Any]) -> None:
    """Wire a Cancel button: its jobs end, and then the status says so.

    Gradio does not wait until the server has ended the jobs, so the words wait for a moment before they are asked for.
    """
    stop.click(None, cancels=list(jobs), api_visibility="private")
    moment = "() => new Promise((go) => setTimeout(() => go([]), 300))"
    stop.click(lambda: STOPPED, outputs=status, js=moment, **AFTER_CANCEL)
