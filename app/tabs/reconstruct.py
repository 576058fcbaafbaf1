"""The reconstruction tab: a clip, a token budget, and what registers and a 3D grid make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from app.cards import Card, row
from app.picker import model_picker, picker_rows, show_models
from app.service import EMBEDDED, MAX_GUIDANCE, MAX_SEED, MAX_STEPS, Progress, VideoService
from flextok.registry import ModelEntry

if TYPE_CHECKING:  # the page itself does not load PyTorch
    from torch import Tensor

    from flextok.reconstruction import Reconstruction

INTRO = (
    "Choose an example or drop in a video. It becomes **5 latent frames of up to K tokens**, ordered from coarse to "
    "fine; any number of them per latent frame decodes to a whole video. Beside it: a classic **3D grid** of tokens "
    "given the same number of tokens. The first two seconds of a video are used."
)
LATENT_FRAMES = 5


def budget_line(keep_k: int, entry: ModelEntry) -> str:
    """What a budget means for one 17-frame clip."""
    tokens = LATENT_FRAMES * int(keep_k)
    num_bytes = -(-tokens * entry.bits_per_token // 8)
    return f"**{int(keep_k)}** tokens per latent frame: **{tokens}** tokens, **{num_bytes} bytes** for 17 frames"


def build(service: VideoService, demo: gr.Blocks) -> None:
    """Lay out and wire the tab; the first example is reconstructed as soon as the page opens."""
    gr.Markdown(INTRO)
    entry = service.entry(EMBEDDED)
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            examples = [str(path) for path in service.example_paths()]
            video = gr.Video(
                value=examples[0] if examples else None,
                label="Clip",
                sources=["upload", "webcam"],
                height=240,
                elem_id="clip",
            )
            if examples:
                gr.Examples(examples, video, label="Examples (Toybox clips no model was trained on)")
            keep_k = gr.Slider(1, entry.num_registers, 8, step=1, label="Tokens per latent frame, k", elem_id="keep-k")
            budget = gr.Markdown(budget_line(8, entry), elem_id="budget")
            with gr.Row():
                run = gr.Button("Reconstruct", variant="primary", elem_id="run")
                stop = gr.Button("Cancel", elem_id="cancel")
            with gr.Accordion("Decoder settings", open=False):
                start_s = gr.Number(0, minimum=0, label="Start in the video, seconds")
                steps = gr.Slider(1, MAX_STEPS, entry.steps, step=1, label="Sampling steps")
                guidance = gr.Slider(0, MAX_GUIDANCE, entry.guidance, step=0.1, label="Guidance scale (1 = off)")
                seed = gr.Number(0, minimum=0, maximum=MAX_SEED, precision=0, label="Seed (the same for every k)")
            with gr.Accordion("Model", open=False):
                model = model_picker(EMBEDDED, picker_rows(service.known()), elem_id="model")
        with gr.Column(scale=3):
            status = gr.Markdown("Loading the model ...", elem_id="status")
            gr.Markdown("#### At your budget, with equal tokens")
            chosen = gr.HTML(elem_id="chosen")
            gr.Markdown("#### One token sequence, more and more of it")
            ladder = gr.HTML(elem_id="ladder")

    def pick(model_id: str, keep_k: int) -> tuple[gr.Slider, str, int, float, str]:
        """Set the controls to what suits a model."""
        entry = service.entry(model_id)
        k = min(int(keep_k), entry.num_registers)
        picked = f"{entry.id} is picked; press Reconstruct."
        slider = gr.Slider(maximum=entry.num_registers, value=k)
        return slider, budget_line(k, entry), entry.steps, entry.guidance, picked

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    keep_k.input(lambda k, name: budget_line(k, service.entry(name)), [keep_k, model], budget, **quiet)
    model.input(pick, [model, keep_k], [keep_k, budget, steps, guidance, status], **quiet)
    demo.load(
        lambda: show_models(picker_rows(service.look_around())),
        outputs=model,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="look",
    )

    def reconstruct(
        path: str | None, keep_k: int, start_s: float, steps: int, guidance: float, seed: int, model: str = EMBEDDED
    ) -> Iterator[tuple[str, str, str]]:
        """Reconstruct a video from k tokens per latent frame; yields status, comparison and ladder as HTML."""
        for progress in service.reconstruct(path, keep_k, start_s, steps, guidance, seed, model):
            yield status_line(progress), comparison(progress), coarse_to_fine(progress)

    inputs, outputs = [video, keep_k, start_s, steps, guidance, seed, model], [status, chosen, ladder]
    lane: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cpu", "show_progress": "minimal"}
    running = run.click(reconstruct, inputs, outputs, api_name="reconstruct", show_progress_on=status, **lane)
    again = keep_k.release(
        reconstruct,
        inputs,
        outputs,
        api_visibility="private",
        trigger_mode="always_last",
        show_progress_on=status,
        **lane,
    )
    opening = demo.load(reconstruct, inputs, outputs, api_visibility="private", show_progress_on=status, **lane)
    stop.click(
        lambda: "Cancelled; what was ready stays.",
        outputs=status,
        cancels=[running, again, opening],
        queue=False,
        api_visibility="private",
    )


def status_line(progress: Progress) -> str:
    if progress.done:
        total = sum(result.seconds for result in progress.sweep)
        return f"Done: {len(progress.sweep)} budgets in {total:.1f} s."
    return f"Working: {progress.stage} ..."


def comparison(progress: Progress) -> str:
    total = progress.clip.num_real
    cards = [_original(progress)]
    if progress.chosen is not None:
        cards.append(_result_card(progress.chosen, progress, f"Registers, k = {progress.keep_k}"))
    if progress.coarser_grid is not None:
        cards.append(_result_card(progress.coarser_grid, progress, "3D grid, coarser cells"))
    if progress.fewer_frames is not None:
        cards.append(_result_card(progress.fewer_frames, progress, "3D grid, fewer frames"))
    elif progress.done and progress.has_grid:
        line = f"{LATENT_FRAMES * progress.keep_k} tokens do not fill one latent frame of 64 cells"
        cards.append(Card("3D grid, fewer frames", (line,), None))
    return row(cards, total)


def coarse_to_fine(progress: Progress) -> str:
    cards = [_result_card(result, progress, f"k = {result.keep_k}") for result in progress.sweep]
    return row([*cards, _original(progress)], progress.clip.num_real)


def _original(progress: Progress) -> Card:
    frames = _pixels(progress.clip.video[:, :, : progress.clip.num_real])
    height, width = frames.shape[1:3]
    return Card("Original", (f"{len(frames)} frames, {width} x {height}",), frames, progress.clip.fps)


def _result_card(result: Reconstruction, progress: Progress, title: str) -> Card:
    frames = _pixels(result.frames)
    lines = [f"{result.num_tokens} tokens, {result.num_bytes} bytes", f"PSNR {result.psnr_db:.1f} dB"]
    if len(frames) < progress.clip.num_real:
        lines.append(f"{len(frames)} of {progress.clip.num_real} frames encoded")
    return Card(title, tuple(lines), frames, progress.clip.fps)


def _pixels(video: Tensor) -> np.ndarray:
    from flextok.data.pixels import to_uint8

    return to_uint8(video[0])
