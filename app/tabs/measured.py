"""What the generators reach, drawn from the committed results: part of the Generate tab."""

from __future__ import annotations

import gradio as gr

from app.plots import GENERATION_METRICS, generation_by_budget, generation_results, study_by_size

ABOUT = (
    "Judged by our small **Toybox scorer**, not by I3D or ViCLIP: class score is how often it sees the asked action, "
    "text match how often it finds a held-out caption among 16. Left, the generator of this page at every budget. "
    "Right, generators of three sizes over registers and over the grid's cells, trained on the same clips; bars are "
    "one deviation over sampling seeds. (These were trained and decoded with an earlier register "
    "tokenizer.) The paper's gFVD (Fig. 7) is flat from 4 to 64 tokens per latent frame and "
    "rises at 256: choose Toybox FVD to see it beside ours. Made by `python -m flextok.bench generation` and "
    "`python -m flextok.bench study`."
)


def build() -> None:
    """Lay out and wire the section."""
    generation, study = generation_results()
    with gr.Accordion("Measured: budgets, sizes, and the grid", open=False, elem_id="measured"):
        gr.Markdown(ABOUT)
        choices = [(label, name) for name, label in GENERATION_METRICS.items()]
        metric = gr.Radio(choices, value="class_score", label="Metric", elem_id="measured-metric")
        with gr.Row():
            by_budget = gr.Plot(
                generation_by_budget(generation, "class_score"), show_label=False, elem_id="generation-by-budget"
            )
            by_size = gr.Plot(study_by_size(study, "class_score"), show_label=False, elem_id="study-by-size")

    def draw(name: str) -> tuple[object, object]:
        return generation_by_budget(generation, name), study_by_size(study, name)

    metric.change(draw, metric, [by_budget, by_size], show_progress="hidden", api_visibility="private", queue=False)
