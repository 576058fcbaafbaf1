"""Long video: chunk after chunk, each beginning with the last frame of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.files import fresh_file
from app.generation import GRID_TOKENS, GenerateRequest, GeneratorService, with_chunk_bar
from app.limits import MAX_GENERATED_CHUNKS, MAX_SEED
from app.page import LANE, stopping
from app.refusals import reason_in_status
from app.share import Shared, number
from app.shipped import EXAMPLE_VIDEO

INTRO = (
    "Chunks of 17 frames share one frame: each later chunk is written and decoded **given the last decoded frame** of "
    "the one before. Chain actions in the text and they follow one another, a chunk each. With few tokens a frame, "
    "length becomes affordable: the paper's 81 frames take 672 tokens against 5,376 of a 16x16 grid."
)
SHOWN_FIRST = (
    "The first text, made beforehand: 81 frames from 21 latent frames x 8 = **168 tokens**; a grid of 8x8 cells: "
    f"{21 * GRID_TOKENS:,}. The bar under the picture changes colour at each chunk."
)
PROMPTS = [
    "a large red ball rolls left, then bounces, then rolls right on grass in daylight",
    "a small blue cube rises, then drops, then spins on sand at sunset",
    "a large green cylinder comes closer, then moves away, then circles on a stone floor under a blue sky",
]


def build(generators: GeneratorService, shared: Shared) -> None:
    """Lay out and wire the tab."""
    gr.Markdown(INTRO)
    with gr.Row():
        with gr.Column(min_width=280):
            prompt = gr.Textbox(
                PROMPTS[0], label="Text; actions joined by “then” follow one another", max_length=400,
                elem_id="long-prompt",
            )  # fmt: skip
            gr.Examples([[text] for text in PROMPTS], prompt, label="Texts to try", api_name=False)  # type: ignore[arg-type]
            chunks = gr.Slider(
                1,
                MAX_GENERATED_CHUNKS,
                MAX_GENERATED_CHUNKS,
                step=1,
                label="Chunks of 16 more frames",
                elem_id="chunks",
            )
            keep_k = gr.Slider(1, 64, 8, step=1, label="Tokens per latent frame, k", elem_id="long-k")
            seed = gr.Number(0, minimum=0, maximum=MAX_SEED, precision=0, label="Seed", elem_id="long-seed")
            with gr.Row():
                run = gr.Button("Generate", variant="primary", elem_id="long-generate", elem_classes="press-once")
                stop = gr.Button("Stop", elem_id="long-stop", elem_classes="press-once")
        with gr.Column(min_width=280):
            video = gr.Video(
                str(EXAMPLE_VIDEO), label="The video so far", autoplay=True, loop=True, elem_id="long-video", height=340
            )
            status = gr.Markdown(SHOWN_FIRST, elem_id="long-status")

    def long_video(prompt: str, chunks: int, keep_k: int, seed: int) -> Iterator[tuple[str, str]]:
        """Generate 1 + 16 n frames: yields the video so far and the status after every chunk."""
        request = GenerateRequest("", prompt or "", keep_k, seed, chunks=chunks)
        if not request.prompt.strip():
            request = GenerateRequest("bounces", "", keep_k, seed, chunks=chunks)
        request.check()
        from flextok.video.write import write_video

        unknown = generators.unknown(request.prompt)
        note = f" This small model does not know: {', '.join(unknown)[:200]}." if unknown else ""
        total = 1 + 16 * int(chunks)
        for done, result in enumerate(generators.long_video(request), 1):
            latent_frames = result.tokens // result.keep_k
            path = fresh_file("long-video.mp4")
            write_video(with_chunk_bar(result.frames, total), path, 8)
            yield (
                str(path),
                (
                    f"Chunk {done} of {chunks:g}: {len(result.frames)} frames, {latent_frames} latent frames x "
                    f"{result.keep_k} = **{result.tokens} tokens**; a grid of 8x8 cells: {GRID_TOKENS * latent_frames}."
                    f"{note}"
                ),
            )

    long_video = reason_in_status(long_video, place=1, outputs=2)

    for name, component, parse in (
        ("story", prompt, str),
        ("chunks", chunks, number(1, MAX_GENERATED_CHUNKS, whole=True)),
        ("lk", keep_k, number(1, 64, whole=True)),
        ("lseed", seed, number(0, MAX_SEED, whole=True)),
    ):
        shared.add(name, component, parse)
    options: dict[str, Any] = {**LANE, "show_progress_on": status}
    running = run.click(long_video, [prompt, chunks, keep_k, seed], [video, status], api_name="long_video", **options)
    stopping(stop, status, [running])
