"""Generators over registers against generators over a grid, at several sizes: `python -m flextok.bench study`.

All saw the same number of the same clips. Every figure has error bars over sampling seeds and is
judged by the Toybox scorer. Writes assets/results/study.json, which tables and plots are made from.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from flextok.api import load_embedded
from flextok.bench import results
from flextok.bench.generation import generated
from flextok.bench.scorer import clips_of
from flextok.loading.checkpoint import load_strict
from flextok.metrics.frechet_video import FrechetVideoDistance
from flextok.metrics.scorer import Scorer, load_scorer
from flextok.metrics.scores import class_score, text_match
from flextok.models.ar_transformer import ARTransformer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.sampling import HELD_OUT_SEEDS, TEST_SEEDS, sample_spec
from flextok.toybox.spec import ToyboxSpec

SIZES = ("small", "medium", "large")
GUIDANCE = 3.0
"""Scale of all models."""


@dataclass(frozen=True)
class Options:
    runs: Path = Path("runs/study")
    """Holds register-SIZE/weights and grid-SIZE/weights of `train_ar`, for small, medium and large."""
    budgets: tuple[int, ...] = (1, 4, 16)
    """Of the register models; a grid's has one."""
    seeds: int = 3
    per_class: int = 6
    texts: int = 48
    timing: Literal["also", "only"] = "also"
    """A busy machine can judge clips but not time them: "only" renews the seconds of the result file."""


@dataclass(frozen=True)
class Asked:
    """What every model is asked for, and the source clips its answers are compared with."""

    actions: list[str]
    specs: list[ToyboxSpec]
    source: Tensor


def main(arguments: list[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m flextok.bench study")
    if options.timing == "only":
        earlier = results.read("study")
        pipes = {(kind, size): pipe for kind, size, pipe in _models(options)}
        rows = [
            {**row, "seconds_per_clip": _seconds(pipes[row["kind"], row["size"]], row["k"])} for row in earlier["rows"]
        ]
        results.write("study", {**earlier, "rows": rows})
        return
    scorer = load_scorer()
    actions = [action for action in ACTIONS for _ in range(options.per_class)]
    specs = [sample_spec(seed) for seed in HELD_OUT_SEEDS[: options.texts]]
    asked = Asked(actions, specs, clips_of(TEST_SEEDS[: len(actions)]))
    rows = []
    for kind, size, pipe in _models(options):
        order = pipe.transformer.token_order
        for k in options.budgets if kind == "register" else (order.tokens_per_frame,):
            about = {"kind": kind, "size": size, "parameters": pipe.info.parameters, "k": k}
            measured = _measured(pipe, k, asked, scorer, options.seeds)
            rows.append(
                {
                    **about,
                    "tokens": k * order.num_frames,
                    **measured,
                    "seconds_per_clip": _seconds(pipe, k),
                    "training_clips": _training_clips(options.runs / f"{kind}-{size}"),
                }
            )
            print(rows[-1], flush=True)
    report = {
        "scorer": scorer.name,
        "clips": {"class": len(actions), "text": len(specs), "seeds": options.seeds},
        "guidance_scale": GUIDANCE,
        "rows": rows,
        "answer": answer(rows),
    }
    print(f"written to {results.write('study', report)}")


def _models(options: Options) -> Iterator[tuple[str, str, VideoGeneratorPipeline]]:
    """Kind, size and pipeline of every model of the study."""
    for kind, tokenizer in (("register", "embedded"), ("grid", "embedded-grid")):
        tokens = load_embedded(tokenizer)
        for size in SIZES:
            network = load_strict(ARTransformer, options.runs / f"{kind}-{size}" / "weights")
            yield kind, size, VideoGeneratorPipeline(tokens.vae, tokens.tokenizer, tokens.scheduler, network)


def answer(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By metric, the smallest grid model that reaches the small register model at its best budget, or None."""
    found: dict[str, Any] = {}
    for metric, sign in (("class_score", 1), ("text_match", 1), ("Toybox FVD", -1)):
        small = max(sign * r[metric] for r in rows if r["kind"] == "register" and r["size"] == SIZES[0])
        reached = [r["size"] for r in rows if r["kind"] == "grid" and sign * r[metric] >= small]
        found[metric] = reached[0] if reached else None
    return found


def _measured(pipe: VideoGeneratorPipeline, k: int, asked: Asked, scorer: Scorer, seeds: int) -> dict[str, Any]:
    """Mean and standard deviation over sampling seeds."""
    rounds: list[dict[str, float]] = []
    for seed in range(seeds):
        by_class = generated(pipe, k, seed, GUIDANCE, action=asked.actions)
        by_text = generated(pipe, k, seed, GUIDANCE, prompt=[caption(spec) for spec in asked.specs])
        distance = FrechetVideoDistance(scorer)
        distance.update(asked.source, real=True)
        distance.update(by_class, real=False)
        rounds.append(
            {
                "class_score": class_score(scorer, by_class, asked.actions),
                "text_match": text_match(scorer, by_text, asked.specs),
                **{name: float(value) for name, value in distance.compute().items()},
            }
        )
    measured: dict[str, Any] = {}
    for name in rounds[0]:
        values = [r[name] for r in rounds]
        measured |= {name: statistics.mean(values), f"{name}_std": statistics.stdev(values) if seeds > 1 else 0.0}
    return measured


def _seconds(pipe: VideoGeneratorPipeline, k: int) -> float:
    """Of one guided clip, median of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        pipe(action="bounces", keep_k=k, guidance_scale=GUIDANCE, generator=torch.Generator().manual_seed(0))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _training_clips(run: Path) -> int:
    """Clips the run saw, from its log."""
    config = json.loads((run / "config.json").read_text())
    steps = max(json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines())
    return steps * config["run"]["batch_size"]


if __name__ == "__main__":
    main()
