"""Plotly figures made from the committed results; they fit light and dark pages alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from flextok.loading.registry import ASSETS

RESULTS = ASSETS / "results" / "reconstruction.json"
SETS = {
    "toybox_test": "Toybox test clips",
    "toybox_held_out_combinations": "Toybox, combinations never trained on",
    "real": "Real videos",
}
METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM"}
CODECS = {"h264": "H.264", "av1": "AV1"}
GREY = "rgba(128, 128, 128, {})"
COLOURS = {"registers": "#6366f1", "grid": "#d97706", "vae": "#64748b", "h264": "#059669", "av1": "#db2777"}
LATENT_FRAMES = 5


def results() -> dict[str, Any]:
    return _json(RESULTS)


def curve(part: Mapping[str, Any], model: str, metric: str) -> tuple[list[int], list[float], list[float]]:
    """Budgets, means and standard deviations over clips of one model."""
    rows = part[model]
    return (
        [int(k) for k in rows],
        [row[metric] for row in rows.values()],
        [row[f"{metric}_std"] for row in rows.values()],
    )


def num_bytes(budgets: Sequence[int], bits_per_token: int) -> list[int]:
    """Bytes of one clip at each budget."""
    return [-(-k * LATENT_FRAMES * bits_per_token // 8) for k in budgets]


def rate_distortion(
    report: Mapping[str, Any],
    clip_set: str,
    metric: str,
    bits_per_token: int,
    own: tuple[Mapping[int, float], int] | None = None,
) -> go.Figure:
    """Quality against bytes of one 17-frame clip, with what a clip of the visitor's own reaches on top.

    Args:
        own: of the clip in the Explore tab: budget -> value, and bits of its tokens.
    """
    part = report[clip_set]
    figure = go.Figure()
    for model, name, key in (
        ("register", "registers", "registers"),
        ("grid_coarser", "3D grid, coarser cells", "grid"),
    ):
        budgets, means, deviations = curve(part, model, metric)
        sizes = num_bytes(budgets, bits_per_token)
        if key == "registers":
            low = [m - d for m, d in zip(means, deviations, strict=True)]
            high = [m + d for m, d in zip(means, deviations, strict=True)]
            figure.add_scatter(
                x=[*sizes, *reversed(sizes)], y=[*high, *reversed(low)], fill="toself",
                mode="lines", line={"width": 0},
                fillcolor="rgba(99, 102, 241, 0.15)", name="registers, one deviation over clips", hoverinfo="skip",
            )  # fmt: skip
        text = [f"k = {k}: {k * LATENT_FRAMES} tokens" for k in budgets]
        figure.add_scatter(
            x=sizes, y=means, text=text, name=name, mode="lines+markers", line={"color": COLOURS[key]},
            hovertemplate="%{text}, %{x} bytes: %{y:.2f}",
        )  # fmt: skip
    for codec, label in CODECS.items():
        rows = part.get("codecs", {}).get(codec, [])
        if rows:
            figure.add_scatter(
                x=[row["bytes"] for row in rows], y=[row[metric] for row in rows], name=label,
                text=[f"quantiser {row['quality']}" for row in rows], mode="lines+markers",
                line={"color": COLOURS[codec], "dash": "dot"}, hovertemplate="%{text}, %{x:.0f} bytes: %{y:.2f}",
            )  # fmt: skip
    if own:
        values, bits = own
        figure.add_scatter(
            x=num_bytes(list(values), bits), y=list(values.values()), name="the clip in Explore, registers",
            mode="lines+markers", line={"color": "#dc2626", "width": 1}, hovertemplate="%{x} bytes: %{y:.2f}",
        )  # fmt: skip
    ceiling = part["vae"][metric]
    figure.add_shape(
        type="line", x0=0, x1=1, xref="paper", y0=ceiling, y1=ceiling, line={"color": COLOURS["vae"], "dash": "dash"}
    )
    figure.add_annotation(
        x=0, xref="paper", y=ceiling, text="VAE alone: the ceiling", showarrow=False, xanchor="left", yshift=9
    )
    return styled(figure, "bytes for 17 frames", METRICS[metric])


READ = {"action": ("action", "#6366f1"), "color": ("object's colour", "#db2777"), "sky": ("sky", "#0891b2")}


def read_by_budget(report: Mapping[str, Any]) -> go.Figure:
    """What the Toybox scorer still reads in decoded test clips, in % of them, against the tokens that are kept."""
    read = report["realism"]
    figure = go.Figure()
    for attribute, (label, colour) in READ.items():
        for model, name, dash in (("register", "registers", "solid"), ("grid_coarser", "3D grid", "dash")):
            figure.add_scatter(
                x=[int(k) for k in read[model]], y=[100 * row[f"read_{attribute}"] for row in read[model].values()],
                name=f"{label}, {name}", mode="lines+markers", line={"color": colour, "dash": dash},
                hovertemplate="k = %{x}: %{y:.0f} %",
            )  # fmt: skip
        source = 100 * read["source"][f"read_{attribute}"]
        figure.add_shape(
            type="line",
            x0=0,
            x1=1,
            xref="paper",
            y0=source,
            y1=source,
            line={"color": colour, "dash": "dot", "width": 1},
        )
    styled(figure, "tokens per latent frame, k", "clips in which it is read rightly, %", range(9))
    return figure.update_yaxes(range=[0, 104])


YARDSTICKS = {"blurred_4": "source at a quarter", "vae": "VAE alone", "source": "source clips (noise)"}


def realism_by_budget(report: Mapping[str, Any]) -> go.Figure:
    """Kernel distance of decoded test clips to other source clips, with its standard error, beside yardsticks."""
    realism = report["realism"]
    figure = go.Figure()
    for model, name, key in (("register", "registers", "registers"), ("grid_coarser", "3D grid", "grid")):
        rows = realism[model]
        figure.add_scatter(
            x=[int(k) for k in rows], y=[row["kernel_distance"] for row in rows.values()], name=name,
            error_y={"type": "data", "array": [row["kernel_distance_error"] for row in rows.values()]},
            mode="lines+markers", line={"color": COLOURS[key]}, hovertemplate="k = %{x}: %{y:.3f}",
        )  # fmt: skip
    ends = [1, max(int(k) for k in realism["register"])]
    for (key, name), dash in zip(YARDSTICKS.items(), ("dot", "dash", "longdash"), strict=True):
        figure.add_scatter(
            x=ends, y=[realism[key]["kernel_distance"]] * 2, mode="lines", name=name,
            line={"color": COLOURS["vae"], "dash": dash, "width": 1}, hovertemplate=f"{name}: %{{y:.3f}}",
        )  # fmt: skip
    return styled(figure, "tokens per latent frame, k", "kernel distance to other source clips", range(9))


GENERATION_METRICS = {
    "class_score": "class score",
    "text_match": "text match",
    "Toybox FVD": "Toybox FVD (lower is better)",
}


def generation_results() -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The generator's results, and those of the study of sizes, if one was made of the tokens that ship."""
    generation, study = (RESULTS.parent / f"{name}.json" for name in ("generation", "study"))
    return _json(generation), _json(study) if study.exists() else None


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def paper_curve() -> dict[int, float]:
    """The paper's gFVD of class-to-video by tokens per latent frame, read off its Fig. 7."""
    paper = _json(RESULTS.parent / "paper.json")
    return {int(k): value for k, value in paper["tables"]["budgets"]["curve"].items()}


def generation_by_budget(report: Mapping[str, Any], metric: str) -> go.Figure:
    """A metric of the generator of this page against its budget."""
    rows = report["budgets"]
    figure = go.Figure()
    figure.add_scatter(
        x=[int(k) for k in rows], y=[row[metric] for row in rows.values()], name="registers, this page's generator",
        text=[f"{row['tokens']} tokens" for row in rows.values()], mode="lines+markers",
        line={"color": COLOURS["registers"]}, hovertemplate="k = %{x}, %{text}: %{y:.2f}",
    )  # fmt: skip
    if metric in report["sources"]:
        figure.add_scatter(
            x=[1, max(int(k) for k in rows)], y=[report["sources"][metric]] * 2, mode="lines", name="source clips",
            line={"color": COLOURS["vae"], "dash": "dash"}, hovertemplate="source clips: %{y:.2f}",
        )  # fmt: skip
    if metric == "Toybox FVD":
        curve = paper_curve()
        figure.add_scatter(
            x=list(curve), y=list(curve.values()), yaxis="y2", name="the paper's gFVD, its own scale (right)",
            mode="lines+markers", line={"color": COLOURS["vae"], "dash": "dot"},
            hovertemplate="paper, Fig. 7, read off: k = %{x}: about %{y}",
        )  # fmt: skip
        figure.update_layout(yaxis2={"overlaying": "y", "side": "right", "showgrid": False})
    styled(figure, "tokens per latent frame, k", GENERATION_METRICS[metric], range(9))
    return figure.update_layout(margin_r=45) if metric == "Toybox FVD" else figure  # for the labels of the second axis


def study_by_size(report: Mapping[str, Any], metric: str) -> go.Figure:
    """A metric against the number of parameters: registers at each budget, and the grid."""
    figure = go.Figure()
    shades = ["#a5b4fc", "#6366f1", "#3730a3"]
    kinds = sorted({(row["kind"] == "grid", row["k"]) for row in report["rows"]})
    for (is_grid, k), colour in zip(kinds, [*shades, COLOURS["grid"]], strict=False):
        rows = [row for row in report["rows"] if (row["kind"] == "grid") == is_grid and row["k"] == k]
        name = f"3D grid, {rows[0]['tokens']} tokens" if is_grid else f"registers, k = {k}: {rows[0]['tokens']} tokens"
        figure.add_scatter(
            x=[row["parameters"] / 1e6 for row in rows], y=[row[metric] for row in rows], name=name,
            error_y={"type": "data", "array": [row[f"{metric}_std"] for row in rows]}, mode="lines+markers",
            line={"color": colour}, hovertemplate="%{x:.1f} M parameters: %{y:.2f}",
        )  # fmt: skip
    return styled(figure, "million parameters", GENERATION_METRICS[metric], range(-2, 4))


def styled(figure: go.Figure, x_title: str, y_title: str, powers: Iterable[int] = range(2, 14)) -> go.Figure:
    """Transparent, with ink that reads on both themes, and a log2 axis across with ticks at these powers of 2."""
    axis = {"gridcolor": GREY.format(0.25), "zerolinecolor": GREY.format(0.25)}
    ticks = [2**power for power in powers]
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": GREY.format(1)},
        margin={"l": 60, "r": 10, "t": 36, "b": 50}, height=440, uirevision="keep",
        legend={"orientation": "h", "y": -0.2},
        xaxis={"title": x_title, "type": "log", "tickvals": ticks, "ticktext": [str(t) for t in ticks], **axis},
        yaxis={"title": y_title, **axis},
    )  # fmt: skip
    return figure


def tokens_needed(values: Mapping[int, float], threshold: float) -> int | None:
    """The smallest budget that reaches a quality; None if none does."""
    return next((k for k in sorted(values) if values[k] >= threshold), None)


def csv_rows(report: dict[str, Any], bits: int) -> list[list[Any]]:
    """Every point of every curve, and a first row of names."""
    rows: list[list[Any]] = [["clips", "method", "setting", "bytes", "psnr_db", "ssim"]]
    for clip_set in (name for name in SETS if name in report):
        part = report[clip_set]
        for model in ("register", "grid_coarser"):
            for k, values in part[model].items():
                size = num_bytes([int(k)], bits)[0]
                rows.append([clip_set, model, f"k={k}", size, values["psnr"], values["ssim"]])
        for codec, settings in part.get("codecs", {}).items():
            rows += [[clip_set, codec, f"crf={s['quality']}", s["bytes"], s["psnr"], s["ssim"]] for s in settings]
        rows.append([clip_set, "vae", "", "", part["vae"]["psnr"], part["vae"]["ssim"]])
    return rows
