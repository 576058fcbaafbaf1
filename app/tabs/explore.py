"""The first tab: a clip, every budget of its tokens, and a 3D grid at equal tokens, on canvases with one clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.picker import model_picker, picker_rows, show_models
from app.player import payload, player, prebaked, prebaked_names, seeds_payload, thumbnail
from app.service import EMBEDDED, EXAMPLES, MAX_FPS, MAX_GUIDANCE, MAX_SEED, MAX_STEPS, Progress, Request, VideoService

INTRO = (
    "A clip becomes 5 latent frames of **K tokens each, ordered from coarse to fine**: keep the first k of each and "
    "you have the whole clip, in less detail. Drag the slider. Beside it: a classic **3D grid** given as many tokens."
)
RULE = (
    "Videos are read at the model's 8 frames a second: 17 frames, or 2.1 seconds, from Start on. Shorter ones are "
    "padded for the model and shown at their own length. The picture is scaled and cropped to a square."
)
LANE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cpu", "show_progress": "minimal"}
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}


@dataclass(frozen=True)
class Explore:
    """What other tabs need of this one."""

    shown: gr.State
    """PSNR by budget of the clip that is shown."""
    video: gr.Video
    status: gr.Markdown
    settings: tuple[gr.components.Component, ...]
    """Inputs for `request_of`: the clip, where it is read, and how it is decoded."""


def request_of(
    video: str | None,
    start_s: float = 0.0,
    fps: float = 0.0,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    model: str = EMBEDDED,
) -> Request:
    """The request of `Explore.settings`; the clip is the first example if none was chosen."""
    path = video or str(VideoService.example_paths()[0])
    return Request(path, None, start_s, fps or None, steps, guidance, seed, model)


def build(service: VideoService, demo: gr.Blocks) -> Explore:
    """Lay out and wire the tab. It opens with shipped results, so it needs no model for them."""
    gr.Markdown(INTRO)
    entry = service.entry(EMBEDDED)
    clips = {name: prebaked(name) for name in prebaked_names()}
    examples = [{"name": name, "title": clip["title"], "thumbnail": thumbnail(clip)} for name, clip in clips.items()]
    view = player(next(iter(clips.values()), None), examples, prebaked, elem_id="player")
    shown = gr.State(qualities(next(iter(clips.values()))))
    status = gr.Markdown("Shown: an example, decoded beforehand. Upload a clip to see your own.", elem_id="status")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            video = gr.Video(label="Your clip", sources=["upload", "webcam"], height=240, elem_id="clip")
            with gr.Row():
                run = gr.Button("Tokenize and decode", variant="primary", elem_id="run")
                stop = gr.Button("Cancel", elem_id="cancel")
        with gr.Column(scale=1, min_width=280):
            with gr.Accordion("Clip and decoder settings", open=False):
                gr.Markdown(RULE)
                start_s = gr.Number(0, minimum=0, label="Start in the video, seconds")
                fps = gr.Number(0, minimum=0, maximum=MAX_FPS, label="Frames per second (0: the model's own)")
                also_k = gr.Number(0, minimum=0, precision=0, label="One more budget k (0: powers of two alone)")
                steps = gr.Slider(1, MAX_STEPS, entry.steps, step=1, label="Sampling steps")
                guidance = gr.Slider(0, MAX_GUIDANCE, entry.guidance, step=0.1, label="Guidance scale (1 = off)")
                seed = gr.Number(0, minimum=0, maximum=MAX_SEED, precision=0, label="Seed (the same for every k)")
            with gr.Accordion("Model", open=False):
                model = model_picker(EMBEDDED, picker_rows(service.known()), elem_id="model")

    def pick(model_id: str) -> tuple[int, float, str]:
        """Set the controls to what suits a model."""
        entry = service.entry(model_id)
        return entry.steps, entry.guidance, f"{entry.id} is picked; press Tokenize and decode."

    def choose_example(event: gr.EventData) -> tuple[str, str, dict[int, float]]:
        """The file of an example, so that it can be decoded anew with other settings."""
        name = str(event._data.get("name"))
        clip = prebaked(name)  # refuses names that are none
        return str(EXAMPLES / f"{name}.mp4"), f"Shown: {clip['title']}, decoded beforehand.", qualities(clip)

    def reconstruct(
        video: str | None,
        also_k: int = 0,
        start_s: float = 0.0,
        fps: float = 0.0,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        model: str = EMBEDDED,
    ) -> Iterator[tuple[Any, ...]]:
        """Tokenize a video and decode it at every budget, coarsest first; yields a status and what has landed."""
        if not service.is_loaded(model):
            size = service.entry(model).memory_gib
            yield f"Working: loading {model}, about {size:.1f} GiB ...", gr.skip(), gr.skip()
        request = Request(video, also_k or None, start_s, fps or None, steps, guidance, seed, model)
        for progress in service.reconstruct(request):
            clip = payload(progress, service.entry(model), note(model))
            yield status_line(progress), clip, qualities(clip)

    def other_seeds(
        event: gr.EventData,
        video: str | None,
        start_s: float,
        fps: float,
        steps: int,
        guidance: float,
        seed: int,
        model: str,
    ) -> tuple[str, dict[str, Any]]:
        """Decode the budget on the slider with several seeds; the clip is the first example if none was chosen."""
        request = request_of(video, start_s, fps, steps, guidance, seed, model)
        clip, results = service.seeds(request, event._data.get("k"))
        return f"Shown: k = {results[0].keep_k} from {len(results)} seeds, in a row of their own.", seeds_payload(
            clip, results
        )

    model.input(pick, model, [steps, guidance, status], **QUIET)
    view.select(choose_example, outputs=[video, status, shown], **QUIET)
    demo.load(
        lambda: show_models(picker_rows(service.look_around())),
        outputs=model,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="look",
    )
    inputs = [video, also_k, start_s, fps, steps, guidance, seed, model]
    outputs = [status, view, shown]
    running = run.click(reconstruct, inputs, outputs, api_name="reconstruct", show_progress_on=status, **LANE)
    uploaded = video.upload(reconstruct, inputs, outputs, api_visibility="private", show_progress_on=status, **LANE)
    settings = [video, start_s, fps, steps, guidance, seed, model]
    view.submit(other_seeds, settings, [status, view], api_visibility="private", show_progress_on=status, **LANE)
    stop.click(lambda: "Cancelled; what was ready stays.", outputs=status, cancels=[running, uploaded], **QUIET)
    return Explore(shown, video, status, tuple(settings))


def qualities(clip: dict[str, Any]) -> dict[int, float]:
    """PSNR by budget of what a player shows."""
    return {result["k"]: result["psnr"] for result in clip["registers"]}


def status_line(progress: Progress) -> str:
    if progress.done:
        return f"Done: {len(progress.sweep)} budgets and the grid in {progress.seconds:.1f} s."
    return f"Working: {progress.stage} ..."


def note(model: str) -> str:
    """What a viewer should know of the numbers on the screen."""
    if model == EMBEDDED:
        return "PSNR against the source at the model's size. The same noise for every k, so only the tokens differ."
    return "PSNR against the source at the model's size. No grid was trained beside this model to compare with."
