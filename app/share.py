"""Every state of the page in its address, and back: `?tab=swap&example=3-spins&k=4&seed=7`.

A component joins with `Shared.add`; what it shows then stands in the address as long as it is not the default. The
player keeps its own part (k, view) in the browser, see app/share.js.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import gradio as gr

from app.components.player import prebaked, prebaked_names, qualities
from app.request import Request, parse_crop
from app.shipped import EXAMPLES

if TYPE_CHECKING:
    from app.page import ShownClip

MAX_ADDRESS = 10_000
MAX_VALUE = 400
"""Characters of one value; no text field of the page takes more."""
SCRIPT = Path(__file__).with_name("share.js")
Parse = Callable[[str], Any]
"""Text of an address to a component's value; ValueError or gr.Error where it is none."""


@dataclass
class Shared:
    """The components whose values stand in the address."""

    entries: dict[str, tuple[gr.components.Component, Parse, Any]] = field(default_factory=dict)
    reruns: set[str] = field(default_factory=set)
    """Names that change what is decoded: an address with one of them is decoded anew, not shown as prebaked."""

    def add(self, name: str, component: gr.components.Component, parse: Parse, rerun: bool = False) -> None:
        assert name not in self.entries, name
        default = component.value
        self.entries[name] = (component, parse, default)
        if rerun:
            self.reruns.add(name)
        js = f"(value) => window.flextokUrl.set({json.dumps(name)}, value, {json.dumps(default)})"
        options: dict[str, Any] = {"fn": None, "inputs": component, "js": js, "show_progress": "hidden"}
        component.change(**options)  # type: ignore[attr-defined]  # every component here has it
        if isinstance(component, gr.HTML):
            component.input(**options)

    def values(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What an address says; a value that will not do is left out, since anyone can write an address."""
        found = {}
        for name, (_, parse, _) in self.entries.items():
            if name in query and len(query[name]) <= MAX_VALUE:
                try:
                    found[name] = parse(query[name])
                except (ValueError, gr.Error):
                    continue
        return found

    def wire(self, demo: gr.Blocks, tabs: gr.Tabs, names: Mapping[str, gr.Tab], clip: ShownClip) -> None:
        """Read the address when the page opens; keep the tab in it.

        Args:
            names: tab ids to tabs; the first is the one that needs no name.
        """
        home = next(iter(names))
        labels = json.dumps({"" if name == home else name: tab.label for name, tab in names.items()})
        for name, tab in names.items():
            js = f"() => window.flextokUrl.tab({json.dumps('' if name == home else name)}, {labels})"
            tab.select(fn=None, js=js, show_progress="hidden")
        components = [component for component, _, _ in self.entries.values()]
        rerun = gr.Textbox(visible="hidden", elem_id="decode-anew")

        def restore(search: str) -> list[Any]:
            query = query_of(search)
            values = self.values(query)
            updates: list[Any] = [values.get(name, gr.skip()) for name in self.entries]
            tab: Any = gr.Tabs(selected=query["tab"]) if query.get("tab") in names else gr.skip()
            example = query.get("example")
            shown: list[Any] = [gr.skip()] * 4
            if example in prebaked_names():
                payload = prebaked(str(example))
                path, status = str(EXAMPLES / f"{example}.mp4"), f"Shown: {payload['title']}, decoded beforehand."
                shown = [path, payload, status, qualities(payload, Request(path))]
            return ["&".join(sorted(self.reruns & values.keys())) or gr.skip(), tab, *shown, *updates]

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        outputs = [rerun, tabs, clip.video, clip.view, clip.status, clip.shown, *components]
        demo.load(restore, gr.Textbox(visible=False), outputs, queue=False, js=OPENED, **private)
        # Only a page that has something to decode takes a place in the queue.
        reopened = rerun.change(
            clip.reconstruct, list(clip.inputs), [clip.status, clip.view, clip.shown],
            concurrency_limit=1, concurrency_id="cpu", **private,
        )  # fmt: skip
        clip.jobs.append(reopened)


OPENED = "() => window.flextokUrl.opened()"
"""JavaScript: the part of the address after the question mark, as it was when the page opened."""


def query_of(search: object) -> dict[str, str]:
    """Names and values of the part of an address after the question mark; it comes from the page, so from anyone."""
    return dict(parse_qsl(str(search)[:MAX_ADDRESS].removeprefix("?"))) if search else {}


def number(low: float, high: float, whole: bool = False) -> Parse:
    def parse(text: str) -> float | int:
        value = float(text)
        if not low <= value <= high or (whole and value != int(value)):  # refuses NaN
            raise ValueError(f"{text!r} is not in {low}..{high}")
        return int(value) if whole else value

    return parse


def choice(*values: str) -> Parse:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"{text!r} is none of {values}")
        return text

    return parse


def crop(text: str) -> str:
    """The crop in its own numbers, never the text of an address, which goes on into scripts to copy."""
    box = parse_crop(text)
    return ",".join(f"{side:g}" for side in box) if box else ""


def head() -> str:
    """For `launch(head=...)`: the script that keeps the address, and on a Space the address that others can open."""
    space = os.environ.get("SPACE_ID", "")
    public = f"https://huggingface.co/spaces/{space}" if space else ""
    script = SCRIPT.read_text(encoding="utf-8")
    return f"<script>{script}\nmountShare({json.dumps(public)});</script>"
