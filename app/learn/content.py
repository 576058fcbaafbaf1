"""What the Learn steps say and show, as one JSON value: the page and the static edition draw the same."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from flextok.loading.registry import ASSETS, MODELS, ModelEntry

LEARN = ASSETS / "learn"
RESULTS = ASSETS / "results"
HERE = Path(__file__).parent
STEPS = HERE / "steps.json"


@lru_cache(maxsize=1)
def content() -> dict[str, Any]:
    """Steps, figures, tokenizers of the calculator, and what was baked; small enough to ride along with a page."""
    paper, report = _read(RESULTS / "paper.json"), _read(RESULTS / "reconstruction.json")
    return {
        "steps": _read(STEPS),
        "figures": {**paper_figures(paper), **our_figures(report)},
        "curve": {k: row["psnr"] for k, row in report["toybox_test"]["register"].items()},
        "tokenizers": [_tokenizer(entry) for entry in MODELS if entry.kind == "register"],
    }


@lru_cache(maxsize=1)
def baked() -> dict[str, Any]:
    """Model output of the steps; `noDropout` is null where nobody has trained that model."""
    path = LEARN / "no-dropout.json"
    return {"probes": _read(LEARN / "probes.json"), "noDropout": _read(path) if path.exists() else None}


def paper_figures(paper: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tables of the paper's numbers, each with the place that it is from."""
    return {
        f"paper-{name}": {"whose": "paper", "source": paper["source"], **table}
        for name, table in paper["tables"].items()
    }


def our_figures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tables of the committed results."""
    part = report["toybox_test"]
    clips = f"{part['clips']} Toybox test clips, PSNR in dB; assets/results/reconstruction.json"
    budgets = list(part["register"])
    quality = [
        [name, *(f"{part[key][k]['psnr']:.1f}" if k in part[key] else "" for k in budgets)]
        for name, key in (("registers", "register"), ("grid, coarser cells", "grid_coarser"))
    ]
    steps = report["steps_toybox_test"]
    step_budgets = list(next(iter(steps.values())))
    return {
        "ours-quality": _ours("Our small models, by tokens per latent frame", clips, ["k", *budgets], quality),
        "ours-steps": _ours(
            "Our small model, by sampling steps",
            clips,
            ["steps", *(f"k = {k}" for k in step_budgets)],
            [[n, *(f"{row[k]:.1f}" for k in step_budgets)] for n, row in steps.items()],
        ),
    }


def _ours(title: str, where: str, columns: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return {"whose": "ours", "title": title, "where": where, "columns": columns, "rows": rows}


def _tokenizer(entry: ModelEntry) -> dict[str, Any]:
    return {"id": entry.id, "k": entry.num_registers, "bits": entry.bits_per_token, "pixels": entry.pixels}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
