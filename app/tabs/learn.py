"""Learn: seven steps from a grid to ordered tokens. Everything is drawn in the page (app/learn/learn.js)."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.components import DOM, player, text
from app.components.player import prebaked, prebaked_names
from app.learn.content import HERE, content
from app.learn.content import baked as baked_output

SCRIPTS = (DOM, *player.SCRIPTS, *(HERE / f"learn{part}.js" for part in ("_math", "_films", "_widgets", "")))
STYLES = (player.STYLE, HERE / "learn.css")


def build() -> None:
    """Lay out the tab. The page asks for clips and baked results once, when the tab is opened; both are only read."""

    def example(name: str) -> dict[str, Any]:
        return prebaked(name)

    def baked(_: str) -> dict[str, Any]:  # the page always sends one argument
        return baked_output()

    gr.HTML(
        None,
        html_template='<div class="learn"></div>',
        css_template=text(*STYLES),
        js_on_load=text(*SCRIPTS) + "\nmountLearn(element, props.content, server);",
        server_functions=[example, baked],
        content=page_content(),
        elem_id="learn",
    )


def page_content() -> dict[str, Any]:
    """What `mountLearn` is given; the static edition gives it the same."""
    return {**content(), "clips": prebaked_names()}
