"""The strip of token ids as a Gradio component, and the values that it shows (see token_strip.js)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from app.components import DOM, text
from flextok.tokens.clip import ClipTokens
from flextok.tokens.edit import OPERATIONS, Edit

SCRIPT, STYLE = (Path(__file__).with_name(f"token_strip.{kind}") for kind in ("js", "css"))
MAX_EDITS = 200
_versions = itertools.count(1)


def token_strip(**kwargs: Any) -> gr.HTML:
    """The component. Its event `input` carries `edits`: all edits of the page, oldest first."""
    return gr.HTML(
        None,
        html_template='<div class="token-strip"></div>',
        css_template=text(STYLE),
        js_on_load=text(DOM, SCRIPT) + "\nmountStrip(element, props, watch, trigger);",
        **kwargs,
    )


def strip_value(
    tokens: ClipTokens, edited: np.ndarray, edits: Sequence[Edit], levels: Sequence[int], keep_k: int, turn: int = 0
) -> dict[str, Any]:
    """What the strip shows. `turn`: of the click that this answers; the page keeps later clicks. 0: it answers none."""
    return {
        "turn": turn,
        "ids": [list(row) for row in tokens.ids],
        "edited": edited.tolist(),
        "levels": list(levels),
        "k": keep_k,
        "numFrames": tokens.num_frames,
        "ratio": 4,
        "edits": [asdict(edit) for edit in edits],
        "version": next(_versions),
    }


def edits_from_page(data: object) -> list[Edit]:
    """Edits as the page, or anyone, sends them.

    Raises:
        gr.Error: they are no list of edits.
    """
    wrong = gr.Error("Edits must be a list of {operation, frame, register}.", print_exception=False)
    if not isinstance(data, list) or len(data) > MAX_EDITS:
        raise wrong
    edits = []
    for entry in data:
        if not isinstance(entry, dict) or not entry.keys() <= {"operation", "frame", "register"}:
            raise wrong
        if entry.get("operation") not in OPERATIONS:
            raise wrong
        frame, register = entry.get("frame"), entry.get("register")
        if any(value is not None and type(value) is not int for value in (frame, register)):
            raise wrong
        edits.append(Edit(entry["operation"], frame, register))
    return edits
