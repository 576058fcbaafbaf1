"""The tables of README and model cards, from the committed results: `python -m flextok.bench tables` rewrites them.

A table stands between `<!-- table NAME -->` and `<!-- end -->`; a test checks that documents and results agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from flextok.bench.results import RESULTS
from flextok.loading.registry import MODELS

ROOT = RESULTS.parent.parent
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "assets/embedded/README.md",
    ROOT / "assets/embedded-grid/README.md",
    ROOT / "assets/embedded-generator/README.md",
    ROOT / "assets/embedded-grid-generator/README.md",
    ROOT / "assets/scorer/README.md",
    ROOT / "flextok/released/README.md",
    ROOT / "space_config/hardware.md",
)
LATENT_FRAMES = 5  # of a clip of 17 frames
SETS = {
    "toybox_test": "Toybox test",
    "toybox_held_out_combinations": "Toybox, held-out combinations",
    "real": "real videos",
}
READ = {
    "action": "action",
    "color": "colour",
    "action_and_color": "action and colour",
    "shape": "shape",
    "floor": "floor",
    "sky": "sky",
}


MODELS_COMPARED = {"register": "registers", "grid_coarser": "3D grid"}


def main(arguments: list[str] | None = None) -> None:
    if arguments:
        raise SystemExit("python -m flextok.bench tables takes no arguments")
    for path in DOCUMENTS:
        path.write_text(with_tables(path.read_text()))


def with_tables(text: str) -> str:
    """A document's text with every table made anew from the result files."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"<!-- table {name} -->\n.*?<!-- end -->", re.DOTALL)
        if (old := pattern.search(text)) is not None:
            text = text.replace(old[0], f"<!-- table {name} -->\n{make()}\n<!-- end -->")
    return text


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def reconstruction_table() -> str:
    """PSNR by budget; the grid at the same number of tokens, by coarser cells."""
    report = _read("reconstruction")
    rows = ["| clips | model | " + " | ".join(f"k = {k}" for k in _budgets(report)) + " | VAE alone |"]
    rows.append("|---|---|" + "---|" * (len(_budgets(report)) + 1))
    for key, label in SETS.items():
        if key not in report:
            continue
        part = report[key]
        vae = f"{part['vae']['psnr']:.1f}"
        for model, name in MODELS_COMPARED.items():
            cells = [f"{part[model][k]['psnr']:.1f}" if k in part[model] else "" for k in _budgets(report)]
            rows.append(f"| {label} ({part['clips']}) | {name} | " + " | ".join(cells) + f" | {vae} |")
    return "\n".join(rows)


def read_table() -> str:
    """What the Toybox scorer still reads in clips of so many tokens, registers and grid, beside the source clips."""
    report = _read("reconstruction")
    rows = ["| read rightly | model | " + " | ".join(f"k = {k}" for k in _budgets(report)) + " | source clips |"]
    rows.append("|---|---|" + "---|" * (len(_budgets(report)) + 1))
    read = report["realism"]
    for key, label in READ.items():
        for model, name in MODELS_COMPARED.items():
            cells = [f"{read[model][k][f'read_{key}']:.0%}" if k in read[model] else "" for k in _budgets(report)]
            rows.append(f"| {label} | {name} | " + " | ".join(cells) + f" | {read['source'][f'read_{key}']:.0%} |")
    return "\n".join(rows)


def realism_table() -> str:
    """How real clips look, beside yardsticks: distance to other source clips, edges, told from the VAE's, flicker."""
    report = _read("reconstruction")["realism"]
    rows = [
        "| clips | kernel distance | edges, of the source's | told from the VAE's | flicker, levels of 255 |",
        "|---|---|---|---|---|",
    ]
    sets = {name: report[name] for name in report if name not in MODELS_COMPARED}
    for model, name in MODELS_COMPARED.items():
        sets |= {f"{name}, k = {k}": row for k, row in report[model].items()}
    for name, row in sets.items():
        label = name.replace("blurred_", "source at 1/") if name.startswith("blurred") else name
        told = "" if row["told_from_vae"] is None else f"{row['told_from_vae']:.0%}"
        distance = f"{row['kernel_distance']:.3f} ± {row['kernel_distance_error']:.3f}"
        rows.append(f"| {label} | {distance} | {row['edges']:.2f} | {told} | {row['flicker']:.2f} |")
    return "\n".join(rows)


def register_card() -> str:
    """Every metric of the register tokenizer, by clips and budget."""
    return _card("register")


def grid_card() -> str:
    """Every metric of the grid tokenizer, by clips and cells."""
    return _card("grid_coarser")


def _card(model: str) -> str:
    report = _read("reconstruction")
    rows = ["| clips | k | tokens | bytes | PSNR, dB | SSIM |", "|---|---|---|---|---|---|"]
    bits = MODELS[0].bits_per_token
    for key, label in SETS.items():
        for k, row in report.get(key, {}).get(model, {}).items():
            tokens = LATENT_FRAMES * int(k)
            scores = " | ".join(f"{row[m]:.{n}f} ± {row[f'{m}_std']:.{n}f}" for m, n in (("psnr", 1), ("ssim", 2)))
            rows.append(f"| {label} ({report[key]['clips']}) | {k} | {tokens} | {-(-tokens * bits // 8)} | {scores} |")
    return "\n".join(rows)


def steps_table() -> str:
    """PSNR of the register tokenizer by number of network calls."""
    table = _read("reconstruction")["steps_toybox_test"]
    budgets = list(next(iter(table.values())))
    rows = ["| steps | " + " | ".join(f"k = {k}" for k in budgets) + " |", "|---|" + "---|" * len(budgets)]
    rows += [f"| {n} | " + " | ".join(f"{row[k]:.2f}" for k in budgets) + " |" for n, row in table.items()]
    return "\n".join(rows)


def released_table() -> str:
    """Times of the released code beside a plain path of the same numbers."""
    report = _read("released_mid")
    peak, encode, half = report["peaks_gflops"]["float32"], report["tokenize"], report["bfloat16"]
    rows = ["| what | here | plain path | share | of the matmul peak |", "|---|---|---|---|---|"]

    def row(name: str, seconds: float, plain: float, gflop: float | None) -> None:
        rate = "" if gflop is None else f"{gflop / seconds / peak:.0%}"
        rows.append(f"| {name} | {seconds:.2f} s | {plain:.2f} s | {seconds / plain:.0%} | {rate} |")

    row("tokenize one clip, first call", encode["first_seconds"], encode["plain_first_seconds"], None)
    work = encode["vae"]["gflop"] + encode["transformer"]["gflop"]
    row("tokenize one clip, afterwards", encode["seconds"], encode["plain_seconds"], work)
    for k, step in report["guided_step"].items():
        row(f"guided step, k = {k}", step["seconds"], step["plain_seconds"], step["gflop"])
    full, close = half["float32_decode_seconds"], half["decode_seconds"]
    name = f"bfloat16, {half['steps']} steps and VAE decode, beside float32"
    rows.append(f"| {name} | {close:.2f} s | {full:.2f} s | {close / full:.0%} | PSNR {half['psnr_db']:.1f} dB |")
    return "\n".join(rows)


def scorer_table() -> str:
    """Accuracy of the Toybox scorer by attribute, text match and consistency, on clips it never saw."""
    report = _read("scorer")
    columns = {
        "test": "test",
        "held_out_combinations": "held-out combinations",
        "test_blurred_0.5": "half resolution",
        "test_blurred_0.25": "a quarter",
        "test_blurred_0.125": "an eighth",
    }
    header = [f"{label} ({report[key]['clips']})" for key, label in columns.items()]
    rows = ["| | classes | most frequent class | " + " | ".join(header) + " |", "|---|---|---|" + "---|" * len(columns)]
    for name, number in report["classes"].items():
        cells = [f"{report[key]['accuracy'][name]:.1%}" for key in columns]
        rows.append(f"| {name} | {number} | {report['most_frequent'][name]:.1%} | " + " | ".join(cells) + " |")
    for name, label in (("text_match", "text match"), ("strict_text_match", "strict text match")):
        cells = [f"{report[key][name]:.1%}" for key in columns]
        rows.append(f"| {label} | 16 | {report['chance']['text_match']:.1%} | " + " | ".join(cells) + " |")
    for name in report["test"]["temporal_consistency"]:
        cells = [f"{report[key]['temporal_consistency'][name]:.1%}" for key in columns]
        rows.append(f"| {name} kept between halves | | | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _budgets(report: dict[str, Any]) -> list[str]:
    return list(report["toybox_test"]["register"])


def generation_table() -> str:
    """What the shipped generator reaches at every budget."""
    report = _read("generation")
    rows = [
        "| k | tokens a clip | class score | text match | strict text match | Toybox FVD |",
        "|---|---|---|---|---|---|",
    ]
    for k, row in report["budgets"].items():
        rows.append(
            f"| {k} | {row['tokens']} | {row['class_score']:.2f} | {row['text_match']:.2f} | "
            f"{row['strict_text_match']:.2f} | {row['Toybox FVD']:.1f} |"
        )
    source = report["sources"]
    rows.append(f"| source clips | | | {source['text_match']:.2f} | {source['strict_text_match']:.2f} | |")
    return "\n".join(rows)


def long_table() -> str:
    """Seams and drift of long videos."""
    report = _read("generation")["long"]
    rows = ["| | tokens for 81 frames | seam | colour kept | shape kept |", "|---|---|---|---|---|"]
    for name, row in report.items():
        label, tokens = (f"k = {name}", str(21 * int(name))) if name.isdigit() else ("source videos", "")
        seam = row["border_change_over_inside_median"]
        rows.append(f"| {label} | {tokens} | {seam:.2f} | {row['color_kept']:.0%} | {row['shape_kept']:.0%} |")
    return "\n".join(rows)


def generation_speed_table() -> str:
    """How long generating takes on a CPU, and where the time goes."""
    timing = _read("generation")["timing"]
    cache = {
        f"{how}, {threads.replace('_', ' ')}": row
        for threads, rows in timing["cache"].items()
        for how, row in rows.items()
    }
    return "\n".join(
        [
            "| what | measured |",
            "|---|---|",
            f"| a guided clip of 17 frames, k = 8 | {timing['clip_k8_s']:.2f} s |",
            f"| 81 frames, k = 8 | {timing['long_81_frames_k8_s']:.1f} s |",
            f"| tokens a second, one clip, unguided | {timing['tokens_per_s']:.0f} |",
            f"| AR model's share of an unguided clip, then the decoder | {timing['share_of_ar_unguided']:.0%} |",
            *(
                f"| {timing['full_length_tokens']} tokens with KV cache, without, {name} | {row['cached_s']:.2f} s, "
                f"{row['uncached_s']:.2f} s ({row['cache_speedup']:.1f} times) |"
                for name, row in cache.items()
            ),
        ]
    )


def study_table() -> str:
    """Generators over registers and over a grid, by size and budget."""
    rows = [
        "| tokens | parameters | k | tokens a clip | class score | text match | Toybox FVD | seconds a clip |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in _read("study")["rows"]:
        name = "registers" if row["kind"] == "register" else "3D grid"
        scores = [f"{row[m]:.{n}f} ± {row[f'{m}_std']:.{n}f}" for m, n in (("class_score", 2), ("text_match", 2))]
        scores.append(f"{row['Toybox FVD']:.0f} ± {row['Toybox FVD_std']:.0f}")
        rows.append(
            f"| {name} | {row['parameters'] / 1e6:.1f} M | {row['k']} | {row['tokens']} | "
            f"{' | '.join(scores)} | {row['seconds_per_clip']:.2f} |"
        )
    return "\n".join(rows)


def app_table() -> str:
    """The page and its server, on two idle cores."""
    page, load, memory = (_read(f"app_{name}") for name in ("page", "load", "memory"))
    rows = ["| what | measured | limit |", "|---|---|---|"]
    for name, label, unit, limit in (
        ("first_canvas_s", "first canvas playing, empty cache", "s", 3),
        ("slider_ms", "token slider to pixels, slowest", "ms", 100),
        ("example_ms", "other example shown, slowest, a second after the last", "ms", 300),
        ("upload_preview_s", "5 MB upload previewed", "s", 1.5),
        ("first_result_s", "its result at k = 1", "s", 3),
        ("full_sweep_s", "all budgets and the grid", "s", 12),
        ("first_tab_mb", "transferred by then", "MB", 1.5),
    ):
        rows.append(f"| {label} | {page[name]:.3g} {unit} | {limit} {unit} |")
    grown = load["memory_after_mb"] - load["memory_before_mb"]
    rows.append(f"| errors of {load['users']} users in {load['seconds']:g} s | {load['errors']} | 0 |")
    rows.append(f"| memory grown afterwards | {grown:.0f} MB | 200 MB |")
    grown = memory["memory_last_mb"] - memory["memory_settled_mb"]
    rows.append(f"| memory grown over {memory['runs']} runs, once settled | {grown:.0f} MB | |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "reconstruction": reconstruction_table,
    "read": read_table,
    "realism": realism_table,
    "card-register": register_card,
    "card-grid": grid_card,
    "steps": steps_table,
    "released": released_table,
    "generation": generation_table,
    "generation-speed": generation_speed_table,
    "long": long_table,
    "study": study_table,
    "app": app_table,
    "scorer": scorer_table,
}


if __name__ == "__main__":
    main()
