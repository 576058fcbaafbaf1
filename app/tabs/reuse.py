"""Share and reuse: a link to what the page shows, the same as Python and curl, and downloads."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.components.player import prebaked_names
from app.page import LANE, QUIET, ShownClip
from app.render import FORMS, Form, render
from app.request import Request, with_settings
from app.service import VideoService
from app.snippets import clip_name, curl_snippet, python_snippet

HELP = (
    "The address of this page always holds its state: tab, example, k, model, seed and all settings. A clip of your "
    "own is not in it; the Tokens tab makes a link that holds the clip itself."
)
LABELS = {"mp4": "mp4", "gif": "GIF", "side by side": "Side by side, mp4", "strip": "Frames, PNG"}
WITH_URL = """(k, example, address, ...rest) => {
  const url = window.flextokUrl;
  return [Number(url.get("k")) || 8, url.get("example") || "", url.root(), ...rest];
}"""


def build(service: VideoService, clip: ShownClip) -> None:
    """Lay out and wire the section below the clip of Explore."""
    with gr.Accordion("Share, reuse, download", open=False, elem_id="reuse"):
        gr.Markdown(HELP)
        with gr.Row():
            link = gr.Button("Copy link", min_width=130, elem_id="copy-link")
            python = gr.Button("Copy as Python", min_width=130, elem_id="copy-python")
            curl = gr.Button("Copy as curl", min_width=130, elem_id="copy-curl")
        copied = gr.Code(label="Copied", language=None, interactive=False, visible=False, elem_id="copied")
        gr.Markdown("Downloads are decoded anew at the k of the slider; their settings are inside each file.")
        with gr.Row():
            buttons = {form: gr.Button(label, min_width=130) for form, label in LABELS.items()}
        file = gr.File(visible="hidden", elem_id="download")
        # Filled in by the browser, which alone knows the slider and the address.
        k, example, address = gr.Number(visible=False), gr.Textbox(visible=False), gr.Textbox(visible=False)

    def scripts(keep_k: float, example: str, settings: tuple[Any, ...]) -> tuple[Any, ...]:
        request = Request.of(*settings)
        entry = service.entry(request.model)
        request.check(entry)
        steps = int(request.steps or entry.steps)
        guidance = float(entry.guidance if request.guidance is None else request.guidance)
        known = example in prebaked_names() or not settings[0]
        clip = clip_name(example if example in prebaked_names() else prebaked_names()[0]) if known else clip_name("")
        return request, clip, min(max(int(keep_k), 1), entry.num_registers), steps, guidance

    def as_python(keep_k: float, example: str, address: str, *settings: Any) -> Any:  # noqa: ARG001 - as the others
        return gr.Code(python_snippet(*scripts(keep_k, example, settings)), language="python", visible=True)

    def as_curl(keep_k: float, example: str, address: str, *settings: Any) -> Any:
        where = (
            address if address.startswith(("http://", "https://")) and len(address) < 200 else "http://127.0.0.1:7860"
        )
        return gr.Code(curl_snippet(where, *scripts(keep_k, example, settings)), language="shell", visible=True)

    def make(form: str, keep_k: float, example: str, address: str, *settings: Any) -> str:  # noqa: ARG001 - as above
        request = Request.of(*settings)
        most = service.entry(request.model).num_registers
        return str(render(service, request, form, min(max(int(keep_k), 1), most)))

    inputs = [k, example, address, *clip.settings]
    copy: dict[str, Any] = {
        "fn": None, "inputs": copied, "js": "(text) => { window.flextokUrl.copy(text); }", "show_progress": "hidden"
    }  # fmt: skip
    link.click(
        fn=None, outputs=copied, show_progress="hidden",
        js="() => { const here = window.flextokUrl.here(); window.flextokUrl.copy(here); return here; }",
    ).then(lambda: gr.Code(visible=True, language=None), outputs=copied, **QUIET)  # fmt: skip
    python.click(as_python, inputs, copied, js=WITH_URL, **QUIET).then(**copy)
    curl.click(as_curl, inputs, copied, js=WITH_URL, **QUIET).then(**copy)
    for form, button in buttons.items():
        made = button.click(
            lambda *values, form=form: make(form, *values), inputs, file, js=WITH_URL, api_visibility="private",
            show_progress_on=button, **LANE,
        )  # fmt: skip
        made.success(fn=None, inputs=file, js="(file) => window.flextokUrl.save(file)", show_progress="hidden")
    # The same as an endpoint, with a name, types and an explanation of its own.
    form_, keep_k = gr.Radio(list(FORMS), value="mp4", visible=False), gr.Number(8, precision=0, visible=False)
    called = gr.Button(visible=False)

    def render_file(video: str | None = None, form: Form = "mp4", keep_k: int = 8, *settings: Any) -> str:
        """Decode a video from its first keep_k tokens per latent frame; returns a file of the form asked for."""
        return str(render(service, Request.of(video, *settings), form, keep_k))

    video, *rest = clip.settings
    called.click(with_settings(render_file), [video, form_, keep_k, *rest], file, api_name="render", **LANE)
