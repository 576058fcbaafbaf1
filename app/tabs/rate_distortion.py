"""Rate-distortion: quality against bytes, from the committed results, with the clip of the Explore tab on top."""

from __future__ import annotations

import csv
import tempfile
from typing import Any

import gradio as gr

from app.plots import (
    LATENT_FRAMES,
    METRICS,
    SETS,
    csv_rows,
    curve,
    rate_distortion,
    read_by_budget,
    realism_by_budget,
    results,
    tokens_needed,
)
from app.service import VideoService
from app.share import Shared, choice, number
from app.store import EMBEDDED

PROTOCOL = (
    "Each point is the mean over a set of clips that no model was trained on, decoded with the default sampler and "
    "measured against the source pixels at 64 px. Made by `python -m flextok.bench reconstruction`; the codecs run at "
    "their coarsest settings, with their headers and without a container. PSNR and SSIM reward blur: a decoder that "
    "invents plausible detail scores lower than one that leaves it out."
)
REALISM_PROTOCOL = (
    "### Does it look real?\n"
    "How far decoded test clips are from *other* source clips, as distributions (kernel video distance on the Toybox "
    "scorer's features, lower is better, bars are standard errors): what is shown does not count, only how real it "
    "looks. Source clips show the noise of the measure, the source at a quarter of its resolution what blur costs."
)
READ_PROTOCOL = (
    "### What do the first tokens say?\n"
    "A small network that was trained on Toybox's ground truth, the Toybox scorer, looks at the decoded clips: in how "
    "many of the {clips} test clips does it still read what was in the source? Dotted: the source clips themselves, in "
    "which it errs too. The grid at the same number of tokens has coarser cells. In training, the first register was "
    "also asked to say these three things; the grid was not."
)


def build(service: VideoService, demo: gr.Blocks, tab: gr.Tab, shown: gr.State, shared: Shared) -> None:
    """Lay out and wire the tab.

    Args:
        shown: `qualities` of the clip in the Explore tab, which is drawn over the averages.
    """
    report = results()
    sets = [(label, name) for name, label in SETS.items() if name in report]
    gr.Markdown(
        "How good is a clip for how many bytes? Nothing runs here: these are measurements that ship with the app."
    )
    with gr.Row():
        clip_set = gr.Dropdown(sets, value=sets[0][1], label="Clips", min_width=240)
        metric = gr.Radio(
            [(label, name) for name, label in METRICS.items()], value="psnr", label="Metric", min_width=240
        )
        threshold = gr.Slider(10, 35, 20, step=0.5, label="Good enough at, dB PSNR", min_width=240)
    bits = service.entry(EMBEDDED).bits_per_token
    plot = gr.Plot(rate_distortion(report, sets[0][1], "psnr", bits), show_label=False, elem_id="rate-distortion")
    needed = gr.Markdown(elem_id="tokens-needed")
    gr.DownloadButton("Download all curves as CSV", csv_file(report, bits), elem_id="csv")
    gr.Markdown(PROTOCOL)
    gr.Markdown(REALISM_PROTOCOL)
    gr.Plot(realism_by_budget(report), show_label=False, elem_id="realism-by-budget")
    gr.Markdown(READ_PROTOCOL.format(clips=report["toybox_test"]["clips"]))
    gr.Plot(read_by_budget(report), show_label=False, elem_id="read-by-budget")

    def draw(clip_set: str, metric: str, threshold: float, shown: dict[str, Any]) -> tuple[Any, str]:
        """The plot, and how many tokens are needed."""
        there = bool(shown["psnr"])  # nothing has landed yet of a clip that is being decoded
        own = (shown["psnr"], shown["bits"]) if there and metric == "psnr" else None
        figure = rate_distortion(report, clip_set, metric, bits, own)
        budgets, means, _ = curve(report[clip_set], "register", "psnr")
        averages = dict(zip(budgets, means, strict=True))
        lines = [needed_line("These clips, on average", averages, threshold, LATENT_FRAMES)]
        if there:
            lines.append(needed_line("The clip in Explore", shown["psnr"], threshold, shown["latent_frames"]))
        return figure, "\n\n".join(lines)

    inputs, outputs = [clip_set, metric, threshold, shown], [plot, needed]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    # A state that an unqueued event sets, as choosing an example does, has no `change`: so also when the tab opens.
    redraws = [tab.select, clip_set.change, metric.change, shown.change]
    gr.on(redraws, draw, inputs, outputs, **quiet)
    # `change`, not `release`: an address sets it too, after the first drawing.
    threshold.change(draw, inputs, outputs, trigger_mode="always_last", **quiet)
    demo.load(draw, inputs, outputs, **quiet)
    shared.add("clips", clip_set, choice(*(name for _, name in sets)))
    shared.add("metric", metric, choice(*METRICS))
    shared.add("good", threshold, number(10, 35))


def needed_line(who: str, values: dict[int, float], threshold: float, latent_frames: int) -> str:
    k = tokens_needed(values, threshold)
    if k is None:
        return f"{who}: {threshold:.1f} dB is not reached; the best is {max(values.values()):.1f} dB."
    return f"{who}: {threshold:.1f} dB takes **k = {k}** tokens per latent frame ({latent_frames * k} tokens)."


def csv_file(report: dict[str, Any], bits: int) -> str:
    """The path of a file with `csv_rows`, written once when the page is built."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv", prefix="rate-distortion-", delete=False, newline="") as file:
        csv.writer(file).writerows(csv_rows(report, bits))
    return file.name
