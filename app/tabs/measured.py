"""What the generators reach, drawn from the committed results: part of the Generate tab."""

from __future__ import annotations

from functools import partial

import gradio as gr

from app.plots import GENERATION_METRICS, generation_by_budget, generation_results, study_by_size

ABOUT = (
    "Judged by our small **Toybox scorer**, not by I3D or ViCLIP: class score is how often it sees the asked action, "
    "text match how often it finds a held-out caption among 16. Drawn is the generator of this page at every budget. "
    "The paper's gFVD (Fig. 7) is flat from 4 to 64 tokens per latent frame and rises at 256: choose Toybox FVD to see "
    "it beside ours. Made by `python -m flextok.bench generation`."
)
STUDY = (
    "Beside it generators of several sizes over registers and over the grid's cells, trained on the same clips; bars "
    "are one deviation over sampling seeds. Made by `python -m flextok.bench study`."
)


def build() -> None:
    """Lay out and wire the section."""
    generation, study = generation_results()
    drawn = {"generation-by-budget": partial(generation_by_budget, generation)}
    if study is not None:
        drawn["study-by-size"] = partial(study_by_size, study)
    with gr.Accordion("Measured at every budget", open=False, elem_id="measured"):
        gr.Markdown(ABOUT if study is None else f"{ABOUT} {STUDY}")
        choices = [(label, name) for name, label in GENERATION_METRICS.items()]
        metric = gr.Radio(choices, value="class_score", label="Metric", elem_id="measured-metric")
        with gr.Row():
            for elem_id, draw in drawn.items():
                plot = gr.Plot(draw("class_score"), show_label=False, elem_id=elem_id)
                metric.change(draw, metric, plot, show_progress="hidden", api_visibility="private", queue=False)
