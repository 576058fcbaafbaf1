"""Generate: a clip from an action or a text, sharpening as its tokens arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.components.player import player, source_frames
from app.files import fresh_file
from app.generation import GRID_TOKENS, GenerateRequest, GeneratorService, generated_payload
from app.limits import MAX_SEED
from app.page import FORGET_EXAMPLE, LANE, QUIET, WHOLE, ShownClip, stopping
from app.refusals import reason_in_status
from app.render import enlarged
from app.share import Shared, choice, number
from app.shipped import EXAMPLE_CLIP
from app.tabs import measured
from flextok.toybox.actions import ACTIONS

INTRO = (
    "An autoregressive model writes tokens **time first**: token 1 of every latent frame, then token 2 of every latent "
    "frame, and so on. Wherever it stops there is a whole clip, and each further round adds detail. It knows the small "
    "world it was trained on: four shapes, seven colours, twelve actions."
)
SHOWN_FIRST = "An example, made beforehand. Choose an action or write a text."
PROMPTS = [
    "a large red ball rolls left past a blue cube on grass in daylight",
    "a small green cube bounces on sand at sunset",
    "a large blue cylinder spins on a stone floor at night",
    "a small yellow cone comes closer on a wooden floor in daylight",
]


class Generating:
    """What happens on this tab; handlers take and give the values of components."""

    def __init__(self, generators: GeneratorService) -> None:
        self.generators = generators

    def open_tab(self, frames: Any) -> tuple[Any, Any]:
        """What is shown before anything was asked for; not in the page itself, which most visitors see first."""
        if frames is not None:
            return gr.skip(), gr.skip()
        example = json.loads(EXAMPLE_CLIP.read_text(encoding="utf-8"))
        return example, source_frames(example)

    def generate(
        self, action: str, prompt: str, keep_k: int, seed: int, guidance: float, temperature: float
    ) -> Iterator[tuple[Any, ...]]:
        """Generate a clip: yields the status, what the player shows and the frames so far, coarsest first."""
        request = GenerateRequest(action, prompt or "", keep_k, seed, guidance, temperature)
        request.check()
        unknown = self.generators.unknown(request.prompt)
        note = f" This small model does not know: {', '.join(unknown)[:200]}." if unknown else ""
        results, said = [], ""
        for result in self.generators.generate(request):
            results.append(result)
            said = (
                f"k = {result.keep_k}: {result.tokens} tokens for {len(result.frames)} frames; a grid of 8x8 cells has "
                f"{GRID_TOKENS * 5}.{note}"
            )
            shown = len(results) > 1  # the player compares two budgets
            payload = generated_payload(results, request.said) if shown else gr.skip()
            yield said, payload, result.frames if shown else gr.skip()
        grid = self.generators.grid(request)
        said += f" The grid's own generator wrote all {grid.tokens} of its tokens."
        yield said, generated_payload(results, request.said, grid), results[-1].frames

    def open_in_explore(self, frames: Any) -> tuple[Any, ...]:
        from flextok.video.write import write_video

        path = fresh_file("generated.mp4")
        write_video(enlarged(frames), path, 8)
        words = "Working: the generated clip is decoded anew ..."
        return str(path), gr.Tabs(selected="explore"), words, *WHOLE


def build(generators: GeneratorService, clip: ShownClip, tabs: gr.Tabs, tab: gr.Tab, shared: Shared) -> None:
    """Lay out and wire the tab. A generated clip can become the one in Explore."""
    gr.Markdown(INTRO)
    last = gr.State(None)
    with gr.Row():
        with gr.Column(min_width=280):
            action = gr.Radio(list(ACTIONS), value="bounces", label="Action", elem_id="action")
            prompt = gr.Textbox(
                "",
                label="or a text (counts before the action)",
                placeholder=PROMPTS[0],
                max_length=400,
                elem_id="prompt",
            )
        with gr.Column(min_width=280):
            keep_k = gr.Slider(1, 64, 16, step=1, label="Tokens per latent frame, k", elem_id="generate-k")
            seed = gr.Number(0, minimum=0, maximum=MAX_SEED, precision=0, label="Seed", elem_id="generate-seed")
            with gr.Accordion("How tokens are drawn", open=False):
                guidance = gr.Slider(0, 6, 3, step=0.1, label="Guidance scale", elem_id="generate-guidance")
                temperature = gr.Slider(0, 1.5, 1.0, step=0.05, label="Temperature", elem_id="temperature")
            with gr.Row():
                run = gr.Button("Generate", variant="primary", elem_id="generate", elem_classes="press-once")
                stop = gr.Button("Stop", elem_id="generate-stop", elem_classes="press-once")
                to_explore = gr.Button("Open in Explore", elem_id="to-explore")
    gr.Examples([[text] for text in PROMPTS], prompt, label="Texts to try", api_name=False)  # type: ignore[arg-type]
    status = gr.Markdown(SHOWN_FIRST, elem_id="generate-status")
    view = player(None, elem_id="generate-player")
    measured.build()
    generating = Generating(generators)
    generate = reason_in_status(generating.generate)
    for name, component, parse in (
        ("action", action, choice(*ACTIONS)),
        ("prompt", prompt, str),
        ("gk", keep_k, number(1, 64, whole=True)),
        ("gseed", seed, number(0, MAX_SEED, whole=True)),
        ("gguidance", guidance, number(0, 6)),
        ("gtemperature", temperature, number(0, 1.5)),
    ):
        shared.add(name, component, parse)
    tab.select(generating.open_tab, last, [view, last], **QUIET)
    inputs = [action, prompt, keep_k, seed, guidance, temperature]
    options: dict[str, Any] = {**LANE, "show_progress_on": status}
    running = run.click(generate, inputs, [status, view, last], api_name="generate", **options)
    entered = prompt.submit(generate, inputs, [status, view, last], api_visibility="private", **options)
    stopping(stop, status, [running, entered])
    taken = to_explore.click(
        generating.open_in_explore, last, [clip.video, tabs, clip.status, *clip.where], api_visibility="private"
    )
    taken.success(**FORGET_EXAMPLE)
    # What Explore shows is the clip that it holds.
    decoded = taken.success(
        clip.reconstruct, list(clip.inputs), [clip.status, clip.view, clip.shown],
        api_visibility="private", show_progress_on=clip.status, **LANE,
    )  # fmt: skip
    clip.jobs.append(decoded)
