"""The first tab: a clip, every budget of its tokens, and a 3D grid at equal tokens, on canvases with one clock."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app import uploads
from app.clip_plan import RULE
from app.components.cropper import cropper, show_poster
from app.components.picker import model_picker, picker_rows, show_models
from app.components.player import (
    example_buttons,
    payload,
    player,
    prebaked,
    prebaked_names,
    qualities,
    seeds_payload,
    sprite,
)
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
from app.page import AFTER_CANCEL, FORGET_EXAMPLE, LANE, QUIET, WHOLE, ShownClip, stopping
from app.refusals import as_plain_text, reason_in_status, refusal
from app.request import (
    ALSO_K,
    CROP,
    FPS,
    GUIDANCE,
    LENGTH,
    MODEL,
    SEED,
    SETTINGS,
    START,
    STEPS,
    UNSET,
    WHERE,
    Request,
    Setting,
    with_settings,
)  # fmt: skip
from app.runtime import ZERO_GPU
from app.service import Progress, VideoService
from app.share import Shared, choice
from app.share import crop as crop_text
from app.shipped import EXAMPLES
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


@dataclass(frozen=True)
class _Parts:
    """What the layout leaves for the wiring."""

    view: gr.HTML
    shown: gr.State
    status: gr.Markdown
    video: gr.Video
    converted: gr.UploadButton
    run: gr.Button
    stop: gr.Button
    cost: gr.Markdown
    plan: gr.Markdown
    also_k: gr.Number
    settings: dict[Setting, Any]


class Explore:
    """What happens on this tab; handlers take and give the values of components."""

    def __init__(self, service: VideoService) -> None:
        self.service = service

    def pick(self, model_id: str) -> tuple[int, float, str]:
        """Set the controls to what suits a model."""
        entry = self.service.entry(model_id)
        return entry.steps, entry.guidance, f"{entry.id} is picked; press Tokenize and decode."

    def reconstruct(self, video: str | None = None, also_k: int = 0, *settings: Any) -> Iterator[tuple[Any, ...]]:
        """Tokenize a video and decode it at every budget, coarsest first; yields a status and what has landed."""
        request = Request.of(video, *settings, also_k=also_k)
        if not self.service.is_loaded(request.model):
            size = self.service.entry(request.model).memory_gib
            yield f"Working: loading {request.model}, about {size:.1f} GiB ...", gr.skip(), gr.skip()
        for progress in self.service.reconstruct(request):
            clip = payload(progress, self.service.entry(request.model), note(progress))
            yield status_line(progress), clip, qualities(clip, request)

    def from_the_start(self, video: str | None, also_k: int, *settings: Any) -> Iterator[tuple[Any, ...]]:
        """`reconstruct` for a clip that has just come: whole, whatever part was read of the one before."""
        values = dict(zip((setting.name for setting in SETTINGS), settings, strict=True))
        values |= {setting.name: setting.unset for setting in WHERE}
        yield from self.reconstruct(video, also_k, *values.values())

    def convert(self, path: str) -> str:
        """An mp4 that browsers play, of a file that they do not."""
        from flextok.video.write import write_video

        target = fresh_file("clip.mp4")
        write_video(uploads.playable(path), target, CONVERTED_FPS)
        return str(target)

    def preview(self, *settings: Any) -> tuple[Any, Any]:
        """What will be read of the clip, and its picture under the crop box."""
        if not settings[0]:
            return RULE, show_poster("")
        try:
            about, plan, frame = self.service.preview(Request.of(*settings))
        except gr.Error as error:  # a message of its own comes from decoding what cannot be read
            return as_plain_text(str(error.message)), show_poster("")
        return f"{about} {plan} {RULE}", show_poster(sprite(frame[None]))

    def other_seeds(self, event: gr.EventData, shown: dict[str, Any], *settings: Any) -> tuple[str, dict[str, Any]]:
        """Decode the budget on the slider of the clip on the screen with several seeds."""
        request = Request.of(*settings)
        if request.reads != shown["reads"]:  # a job that was cancelled before it showed anything, or other settings
            raise refusal("What is shown is not yet of this clip and these settings; press Tokenize and decode first.")
        results = self.service.seeds(request, event._data.get("k"))
        words = f"Shown: k = {results[0].keep_k} from {len(results)} seeds, in a row of their own."
        return words, seeds_payload(str(event._data.get("clip"))[:64], results)


def build(service: VideoService, demo: gr.Blocks, shared: Shared) -> ShownClip:
    """Lay out and wire the tab. It opens with shipped results, so it needs no model for them."""
    parts, explore = _layout(service), Explore(service)
    model, steps, guidance = (parts.settings[setting] for setting in (MODEL, STEPS, GUIDANCE))
    model.input(explore.pick, model, [steps, guidance, parts.status], **QUIET)
    if ZERO_GPU:  # what a click costs stands beside the button before it is pressed
        settled = [model.input, steps.change, guidance.change, parts.also_k.change]
        gr.on(settled, service.cost, [model, parts.also_k, steps, guidance], parts.cost, **QUIET)
    demo.load(
        lambda: show_models(picker_rows(service.look_around())),
        outputs=model,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="look",
    )
    clip = _wire(explore, parts)
    parsers = {MODEL: lambda text: choice(*(entry.id for entry, _ in service.known()))(text), CROP: crop_text}
    for setting, component in {**parts.settings, ALSO_K: parts.also_k}.items():
        shared.add(setting.address, component, parsers.get(setting, setting.parse), rerun=True)
    return clip


def _wire(explore: Explore, parts: _Parts) -> ShownClip:
    """What a new clip, its trim, the button and the player set off."""
    video, converted, status, view, shown = parts.video, parts.converted, parts.status, parts.view, parts.shown
    chosen = [parts.settings[setting] for setting in SETTINGS]
    settings, inputs, outputs = [video, *chosen], [video, parts.also_k, *chosen], [status, view, shown]
    where = tuple(parts.settings[setting] for setting in WHERE)
    reconstruct = reason_in_status(with_settings(explore.reconstruct))
    from_the_start = reason_in_status(explore.from_the_start)
    private: dict[str, Any] = {**LANE, "api_visibility": "private", "show_progress_on": status}
    running = parts.run.click(reconstruct, inputs, outputs, api_name="reconstruct", show_progress_on=status, **LANE)
    comes = [video.upload, video.stop_recording]
    uploaded = gr.on(comes, from_the_start, inputs, outputs, **private)
    found = converted.upload(explore.convert, converted, video, **private)
    decoded = found.success(from_the_start, inputs, outputs, **private)
    # Another clip is read whole and from its start; a link that opens with a trim sets all of it at once.
    gr.on([*comes, converted.upload], lambda: WHOLE, outputs=list(where), **QUIET)
    trims = [parts.settings[setting].change for setting in (START, LENGTH, FPS)]
    gr.on(
        [video.change, *trims], explore.preview, settings, [parts.plan, parts.settings[CROP]],
        show_progress="hidden", api_visibility="private", trigger_mode="always_last",
        concurrency_limit=2, concurrency_id="preview",
    )  # fmt: skip
    seeds = view.submit(explore.other_seeds, [shown, *settings], [status, view], **private)
    gr.on([*comes, converted.upload, video.clear], **FORGET_EXAMPLE)
    jobs = [running, uploaded, found, decoded, seeds]
    return ShownClip(shown, video, status, tuple(settings), where, view, parts.stop, jobs, reconstruct, tuple(inputs))


def _layout(service: VideoService) -> _Parts:
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
    settings = {START: start_s, LENGTH: length_s, FPS: fps, CROP: crop, STEPS: steps, GUIDANCE: guidance, SEED: seed,
                MODEL: model}  # fmt: skip
    return _Parts(view, shown, status, video, converted, run, stop, cost, plan, also_k, settings)


def wire_ends(clip: ShownClip) -> None:
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
    return path, words, qualities(clip, Request.of(path, *UNSET)), *WHOLE


def first_example() -> tuple[Any, ...]:
    """What is shown where no clip was chosen."""
    # A value equal to the one before does not reach the player, and examples are chosen in it without the server.
    clip = {**prebaked(prebaked_names()[0]), "turn": uuid.uuid4().hex}
    return clip, f"Shown: {clip['title']}, decoded beforehand.", qualities(clip, Request.of(None, *UNSET)), *WHOLE


def status_line(progress: Progress) -> str:
    if progress.done:
        grid = " and the grid" if progress.coarser_grid else ""
        return f"Done: {len(progress.sweep)} budgets{grid} in {progress.seconds:.1f} s."
    return f"Working: {progress.stage} ..."


def note(progress: Progress) -> str:
    """What a viewer should know of the numbers on the screen."""
    words = "PSNR against the source at the model's size. The same noise for every k, so only the tokens differ."
    return f"{words} No 3D grid beside it: {progress.no_grid}." if progress.no_grid else words
