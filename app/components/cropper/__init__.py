"""The crop box as a Gradio component (see cropper.js)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.components import DOM, text

SCRIPT, STYLE = (Path(__file__).with_name(f"cropper.{kind}") for kind in ("js", "css"))


def cropper(**kwargs: Any) -> gr.HTML:
    """The component; its value is "left,top,width,height" in fractions or empty, its event `input`."""
    return gr.HTML(
        "",
        html_template='<div class="cropper"></div>',
        css_template=text(STYLE),
        js_on_load=text(DOM, SCRIPT) + "\nmountCropper(element, props, watch, trigger);",
        poster="",
        **kwargs,
    )


def show_poster(poster: str) -> dict[str, Any]:
    """An update with another frame under the box, which stays where it is."""
    return gr.update(poster=poster)
