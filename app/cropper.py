"""The crop box as a Gradio component (see app/static/cropper.js)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"


def cropper(**kwargs: Any) -> gr.HTML:
    """The component; its value is "left,top,width,height" in fractions or empty, its event `input`."""
    return gr.HTML(
        "",
        html_template='<div class="cropper"></div>',
        css_template=(STATIC / "cropper.css").read_text(encoding="utf-8"),
        js_on_load=(STATIC / "cropper.js").read_text(encoding="utf-8")
        + "\nmountCropper(element, props, watch, trigger);",
        poster="",
        **kwargs,
    )


def show_poster(poster: str) -> dict[str, Any]:
    """An update with another frame under the box, which stays where it is."""
    return gr.update(poster=poster)
