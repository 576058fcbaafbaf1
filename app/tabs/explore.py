"""The first tab: a clip, every budget of its tokens, and a 3D grid at equal tokens, on canvases with one clock."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app import uploads
from app.clip_plan import RULE
from app.cropper import cropper, show_poster
from app.files import fresh_file
from app.limits import (
    CONVERTED_FPS,
    CONVERTED_S,
    MAX_FPS,
    MAX_GUIDANCE,
    MAX_LENGTH_S,
    MAX_SEED,
    MAX_STEPS,
    MAX_UPLOAD_MB,
    MAX_UPLOAD_S,
)
from app.picker import model_picker, picker_rows, show_models
from app.player import example_buttons, payload, player, prebaked, prebaked_names, qualities, seeds_payload, sprite
from app.refusals import as_plain_text, reason_in_status, refusal
from app.request import Request
from app.runtime import ZERO_GPU
from app.service import Progress, VideoService
from app.share import Shared, choice, number
from app.share import crop as crop_text
from app.shipped import EXAMPLES
from app.stopping import AFTER_CANCEL, stopping
from app.store import EMBEDDED

INTRO = (
    "A clip becomes 5 latent frames of **K tokens each, ordered from coarse to fine**: keep the first k of each and "
    "you have the whole clip, in less detail. Drag the slider. Beside it: a classic **3D grid** given as many tokens."
)
LIMITS = (
    f"Drop, paste or record a clip: any video or GIF up to {MAX_UPLOAD_MB} MB and {MAX_UPLOAD_S / 60:.0f} minutes. "
    "2.1 seconds of it are used unless you ask for more. Of a format that browsers do not play, "
    f"the first {CONVERTED_S:.0f} seconds can be chosen from."
)
SETTINGS = ("video", "start_s", "length_s", "fps", "crop", "steps", "guidance", "seed", "model")
"""Names of `Explore.settings`, in their order."""
LANE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cpu", "show_progress": "minimal"}
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
WHOLE = (0, 0, "")
"""Start, length and crop of a clip that has just come: those of the one before are none of its own."""
FORGET_EXAMPLE: dict[str, Any] = {
    "fn": None, "js": "() => window.flextokUrl.set('example', '', '')", "show_progress": "hidden"
}  # fmt: skip
"""Options of an event after which the clip is no example."""


@dataclass(frozen=True)
class Explore:
    """What other tabs need of this one."""

    shown: gr.State
    """`qualities` of the clip that is shown."""
    video: gr.Video
    status: gr.Markdown
    settings: tuple[gr.components.Component, ...]
    """Inputs for `request_of`: the clip, where it is read, and how it is decoded."""
    where: tuple[gr.components.Component, ...]
    """Start, length and crop; a handler that puts in a new clip sets them to `WHOLE`."""
    view: gr.HTML
    stop: gr.Button
    jobs: list[Any]
    """Events that change what is shown; a tab that puts a clip in adds its own, and `wire_ends` ends them all."""
    reconstruct: Callable[..., Iterator[tuple[Any, ...]]]
    """(*inputs) -> status, what the player shows, `shown`, again and again."""
    inputs: tuple[gr.components.Component, ...]


def request_of(
    video: str | None,
    start_s: float = 0.0,
    length_s: float = 0.0,
    fps: float = 0.0,
    crop: str = "",
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    model: str = EMBEDDED,
) -> Request:
    """The request of `Explore.settings`; the clip is the first example, which is on the screen, if none was chosen."""
    path = video or str(VideoService.example_paths()[0])
    return Request(path, None, start_s, length_s or None, fps or None, crop or "", steps, guidance, seed, model)


def build(service: VideoService, demo: gr.Blocks, shared: Shared) -> Explore:
    """Lay out and wire the tab. It opens with shipped results, so it needs no model for them."""
    gr.Markdown(INTRO)
    entry = service.entry(EMBEDDED)
    opened, _, opened_of, *_ = first_example()
    view = player(opened, example_buttons(), prebaked, elem_id="player", share=True)
    shown = gr.State(opened_of)
    status = gr.Markdown("Shown: an example, decoded beforehand. Upload a clip to see your own.", elem_id="status")
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            video = gr.Video(label="Your clip", sources=["upload", "webcam"], height=280, elem_id="clip")
            gr.Markdown(LIMITS, elem_id="limits")
            with gr.Row(elem_id="clip-other"):
                converted = gr.UploadButton("GIF, AVI or another format", file_types=None, size="sm")
            with gr.Row():
                run = gr.Button("Tokenize and decode", variant="primary", elem_id="run", elem_classes="press-once")
                stop = gr.Button("Cancel", elem_id="cancel", elem_classes="press-once")
            cost = gr.Markdown(service.cost(EMBEDDED, None, entry.steps, entry.guidance), elem_id="cost")
        with gr.Column(scale=1, min_width=280):
            with gr.Accordion("Clip and decoder settings", open=False):
                with gr.Row():
                    start_s = gr.Number(0, minimum=0, label="Start, s", min_width=90, elem_id="start")
                    length_s = gr.Number(
                        0, minimum=0, maximum=MAX_LENGTH_S, label="Length, s", min_width=90,
                        elem_id="length",
                    )  # fmt: skip
                    fps = gr.Number(0, minimum=0, maximum=MAX_FPS, label="Frames per s", min_width=90, elem_id="fps")
                plan = gr.Markdown(RULE, elem_id="plan")
                crop = cropper(elem_id="crop")
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

    def reconstruct(
        video: str | None,
        also_k: int = 0,
        start_s: float = 0.0,
        length_s: float = 0.0,
        fps: float = 0.0,
        crop: str = "",
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        model: str = EMBEDDED,
    ) -> Iterator[tuple[Any, ...]]:
        """Tokenize a video and decode it at every budget, coarsest first; yields a status and what has landed."""
        if not service.is_loaded(model):
            size = service.entry(model).memory_gib
            yield f"Working: loading {model}, about {size:.1f} GiB ...", gr.skip(), gr.skip()
        settings = request_of(video, start_s, length_s, fps, crop, steps, guidance, seed, model)
        request = replace(settings, also_k=also_k or None)
        for progress in service.reconstruct(request):
            clip = payload(progress, service.entry(model), note(progress))
            yield status_line(progress), clip, qualities(clip, settings)

    reconstruct = reason_in_status(reconstruct)

    def from_the_start(video: str | None, also_k: int, fps: float, *rest: Any) -> Iterator[tuple[Any, ...]]:
        """`reconstruct` for a clip that has just come."""
        yield from reconstruct(video, also_k, 0.0, 0.0, fps, "", *rest)

    def convert(path: str) -> str:
        """An mp4 that browsers play, of a file that they do not."""
        from flextok.video.write import write_video

        target = fresh_file("clip.mp4")
        write_video(uploads.playable(path), target, CONVERTED_FPS)
        return str(target)

    def preview(*settings: Any) -> tuple[Any, Any]:
        """What will be read of the clip, and its picture under the crop box."""
        if not settings[0]:
            return RULE, show_poster("")
        try:
            about, plan, frame = service.preview(request_of(*settings))
        except gr.Error as error:  # a message of its own comes from decoding what cannot be read
            return as_plain_text(str(error.message)), show_poster("")
        return f"{about} {plan} {RULE}", show_poster(sprite(frame[None]))

    def other_seeds(event: gr.EventData, shown: dict[str, Any], *settings: Any) -> tuple[str, dict[str, Any]]:
        """Decode the budget on the slider of the clip on the screen with several seeds."""
        request = request_of(*settings)
        if request.reads != shown["reads"]:  # a job that was cancelled before it showed anything, or other settings
            raise refusal("What is shown is not yet of this clip and these settings; press Tokenize and decode first.")
        results = service.seeds(request, event._data.get("k"))
        words = f"Shown: k = {results[0].keep_k} from {len(results)} seeds, in a row of their own."
        return words, seeds_payload(str(event._data.get("clip"))[:64], results)

    model.input(pick, model, [steps, guidance, status], **QUIET)
    if ZERO_GPU:  # what a click costs stands beside the button before it is pressed
        settled = [model.input, steps.change, guidance.change, also_k.change]
        gr.on(settled, service.cost, [model, also_k, steps, guidance], cost, **QUIET)
    demo.load(
        lambda: show_models(picker_rows(service.look_around())),
        outputs=model,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="look",
    )
    inputs = [video, also_k, start_s, length_s, fps, crop, steps, guidance, seed, model]
    outputs = [status, view, shown]
    settings = [video, start_s, length_s, fps, crop, steps, guidance, seed, model]
    where = (start_s, length_s, crop)
    private: dict[str, Any] = {**LANE, "api_visibility": "private", "show_progress_on": status}
    running = run.click(reconstruct, inputs, outputs, api_name="reconstruct", show_progress_on=status, **LANE)
    brief = [video, also_k, fps, steps, guidance, seed, model]
    uploaded = gr.on([video.upload, video.stop_recording], from_the_start, brief, outputs, **private)
    found = converted.upload(convert, converted, video, **private)
    decoded = found.success(from_the_start, brief, outputs, **private)
    # Another clip is read whole and from its start; a link that opens with a trim sets all of it at once.
    gr.on(
        [video.upload, video.stop_recording, converted.upload],
        lambda: WHOLE,
        outputs=list(where),
        **QUIET,
    )
    gr.on(
        [video.change, start_s.change, length_s.change, fps.change], preview, settings, [plan, crop],
        show_progress="hidden", api_visibility="private", trigger_mode="always_last",
        concurrency_limit=2, concurrency_id="preview",
    )  # fmt: skip
    seeds = view.submit(other_seeds, [shown, *settings], [status, view], **private)
    jobs = [running, uploaded, found, decoded, seeds]
    for name, component, parse in (
        ("model", model, lambda text: choice(*(entry.id for entry, _ in service.known()))(text)),
        ("start", start_s, number(0, 86_400)),
        ("length", length_s, number(0, MAX_LENGTH_S)),
        ("fps", fps, number(0, MAX_FPS)),
        ("crop", crop, crop_text),
        ("also", also_k, number(0, 100_000, whole=True)),
        ("steps", steps, number(1, MAX_STEPS, whole=True)),
        ("guidance", guidance, number(0, MAX_GUIDANCE)),
        ("seed", seed, number(0, MAX_SEED, whole=True)),
    ):
        shared.add(name, component, parse, rerun=True)
    gr.on([video.upload, video.stop_recording, converted.upload, video.clear], **FORGET_EXAMPLE)
    return Explore(shown, video, status, tuple(settings), where, view, stop, jobs, reconstruct, tuple(inputs))


def wire_ends(clip: Explore) -> None:
    """Wire what ends the jobs of this tab: Cancel, an example, Clear. To be called when all tabs have added theirs."""
    stopping(clip.stop, clip.status, clip.jobs)
    # What still runs is of the clip before, and would be shown over the example.
    clip.view.select(None, cancels=clip.jobs, **QUIET)
    clip.view.select(choose_example, outputs=[clip.video, clip.status, clip.shown, *clip.where], **AFTER_CANCEL)
    # Without a clip the first example is shown again, because all tabs take that one then.
    clip.video.clear(None, cancels=clip.jobs, **QUIET)
    clip.video.clear(first_example, outputs=[clip.view, clip.status, clip.shown, *clip.where], **AFTER_CANCEL)


def choose_example(event: gr.EventData) -> tuple[Any, ...]:
    """The file of an example, so that it can be decoded anew with other settings; read whole."""
    name = str(event._data.get("name"))
    clip = prebaked(name)  # refuses names that are none
    words = f"Shown: {clip['title']}, decoded beforehand."
    path = str(EXAMPLES / f"{name}.mp4")
    return path, words, qualities(clip, request_of(path)), *WHOLE


def first_example() -> tuple[Any, ...]:
    """What is shown where no clip was chosen."""
    # A value equal to the one before does not reach the player, and examples are chosen in it without the server.
    clip = {**prebaked(prebaked_names()[0]), "turn": uuid.uuid4().hex}
    return clip, f"Shown: {clip['title']}, decoded beforehand.", qualities(clip, request_of(None)), *WHOLE


def status_line(progress: Progress) -> str:
    if progress.done:
        grid = " and the grid" if progress.coarser_grid else ""
        return f"Done: {len(progress.sweep)} budgets{grid} in {progress.seconds:.1f} s."
    return f"Working: {progress.stage} ..."


def note(progress: Progress) -> str:
    """What a viewer should know of the numbers on the screen."""
    words = "PSNR against the source at the model's size. The same noise for every k, so only the tokens differ."
    return f"{words} No 3D grid beside it: {progress.no_grid}." if progress.no_grid else words
