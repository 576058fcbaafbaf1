"""Learn: seven steps from a grid to ordered tokens. Everything is drawn in the page (app/static/learn.js)."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.learn.content import baked as baked_output
from app.learn.content import content
from app.player import STATIC, prebaked, prebaked_names

SCRIPTS = ("player.js", "learn_math.js", "learn_films.js", "learn_widgets.js", "learn.js")
STYLES = ("player.css", "learn.css")


def build() -> None:
    """Lay out the tab. The page asks for clips and baked results once, when the tab is opened; both are only read."""

    def example(name: str) -> dict[str, Any]:
        return prebaked(name)

    def baked(_: str) -> dict[str, Any]:  # the page always sends one argument
        return baked_output()

    gr.HTML(
        None,
        html_template='<div class="learn"></div>',
        css_template=read(STYLES),
        js_on_load=read(SCRIPTS) + "\nmountLearn(element, props.content, server);",
        server_functions=[example, baked],
        content=page_content(),
        elem_id="learn",
    )


def page_content() -> dict[str, Any]:
    """What `mountLearn` is given; the static edition gives it the same."""
    return {**content(), "clips": prebaked_names()}


def read(names: tuple[str, ...]) -> str:
    """Files of app/static, one after the other."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
