"""What the embedded generator makes, and at what price: `python -m flextok.bench generation`.

Judged by the Toybox scorer, whose own accuracy on source clips (`assets/results/scorer.json`) bounds every figure.
Writes assets/results/generation.json and, with `--sheet`, a contact sheet of all classes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image
from torch import Tensor

from flextok.bench import results
from flextok.bench.scorer import clips_of
from flextok.data.pixels import to_uint8
from flextok.data.toybox_caption import caption
from flextok.data.toybox_spec import ACTIONS, HELD_OUT_SEEDS, TEST_SEEDS, sample_spec
from flextok.generators import load_generator
from flextok.metrics.frechet_video import FrechetVideoDistance
from flextok.metrics.scorer import load_scorer
from flextok.metrics.scores import class_score, text_match
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.token_sampling import SamplingSettings, stream_tokens
from flextok.training.sheets import clip_rows

REPEATS = 5


@dataclass(frozen=True)
class Options:
    per_class: int = 8
    """Clips of each of the 12 classes at every budget."""
    texts: int = 96
    """Held-out captions at every budget."""
    long_videos: int = 8
    budgets: tuple[int, ...] = (1, 2, 4, 8, 16)
    timing: bool = True
    """Off where the machine is busy; the timings of the result file are then kept."""
    sheet: Path | None = None


def main(arguments: list[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m flextok.bench generation")
    pipe, scorer = load_generator(), load_scorer()
    actions = [action for action in ACTIONS for _ in range(options.per_class)]
    specs = [sample_spec(seed) for seed in HELD_OUT_SEEDS[: options.texts]]
    source = clips_of(TEST_SEEDS[: len(actions)])
    report: dict[str, Any] = {
        "scorer": scorer.name,
        "parameters": pipe.info.parameters,
        "clips": {"class": len(actions), "text": len(specs), "long": options.long_videos},
        "sources": {"text_match": text_match(scorer, clips_of(HELD_OUT_SEEDS[: options.texts]), specs)},
        "budgets": {},
    }
    for k in options.budgets:
        by_class = _clips(pipe, k, action=actions)
        by_text = _clips(pipe, k, prompt=[caption(spec) for spec in specs])
        distance = FrechetVideoDistance(scorer)
        distance.update(source, real=True)
        distance.update(by_class, real=False)
        report["budgets"][k] = {
            "tokens": k * pipe.transformer.token_order.num_frames,
            "class_score": class_score(scorer, by_class, actions),
            "text_class_score": class_score(scorer, by_text, [spec.actions[0] for spec in specs]),
            "text_match": text_match(scorer, by_text, specs),
            **{name: float(value) for name, value in distance.compute().items()},
        }
        print(k, report["budgets"][k], flush=True)
        if options.sheet is not None and k == max(options.budgets):
            firsts = [to_uint8(by_class[i * options.per_class]) for i in range(len(ACTIONS))]
            Image.fromarray(clip_rows(firsts)).save(options.sheet)
    report["long"] = _long(pipe, options.long_videos)
    report["timing"] = _timing(pipe) if options.timing else _earlier("timing")
    print(f"written to {results.write('generation', report)}")


def _clips(pipe: VideoGeneratorPipeline, k: int, **asked: list[str]) -> Tensor:
    """One clip for each thing asked for, each with a seed of its own."""
    ((name, values),) = asked.items()

    def parts() -> Iterator[Tensor]:
        for start in range(0, len(values), 16):
            chosen = values[start : start + 16]
            generators = [torch.Generator().manual_seed(start + i) for i in range(len(chosen))]
            yield pipe(**{name: chosen}, keep_k=k, generator=generators).frames.clamp(-1, 1)  # type: ignore[arg-type]

    return torch.cat(list(parts()))


def _long(pipe: VideoGeneratorPipeline, count: int) -> dict[str, float]:
    """Frame differences across chunk borders against those inside chunks, over `count` videos of 81 frames."""
    ratios = []
    for number in range(count):
        action = ACTIONS[number % len(ACTIONS)]
        generator = torch.Generator().manual_seed(number)
        frames = pipe(action=action, keep_k=8, num_frames=81, generator=generator).frames[0]
        change = frames.diff(dim=1).abs().mean(dim=(0, 2, 3))  # (80,): change i leads to frame i + 1
        border = [16 * chunk for chunk in range(1, 5)]
        inside = [i for i in range(80) if i not in border]
        ratios.append(float(change[border].median() / change[inside].median().clamp(min=1e-6)))
    return {"border_change_over_inside_median": statistics.median(ratios), "border_change_worst": max(ratios)}


def _timing(pipe: VideoGeneratorPipeline) -> dict[str, Any]:
    """Seconds of a clip at k = 8 and of 81 frames, the share of the AR model, and what its cache is worth."""
    order, model = pipe.transformer.token_order, pipe.transformer
    condition = pipe._conditions(["bounces"], by_class=True)
    plain = SamplingSettings()

    def tokens(count: int) -> None:
        for _ in stream_tokens(model, *condition, count, plain, [torch.Generator().manual_seed(0)]):
            pass

    def uncached() -> None:
        sequence = torch.zeros(1, 0, dtype=torch.int64)
        with torch.no_grad():
            for _ in range(len(order)):
                token = model(sequence[:, : len(order) - 1], condition[0])[:, -1].argmax(-1)
                sequence = torch.cat([sequence, token[:, None]], dim=1)

    clip = _median(lambda: pipe(action="bounces", keep_k=8, guidance_scale=1.0))
    drawing = _median(lambda: tokens(8 * order.num_frames))
    whole, without = _median(lambda: tokens(len(order))), _once(uncached)
    return {
        "clip_k8_s": _median(lambda: pipe(action="bounces", keep_k=8)),
        "clip_k8_unguided_s": clip,
        "share_of_ar_unguided": drawing / clip,
        "tokens_per_s": 8 * order.num_frames / drawing,
        "long_81_frames_k8_s": _once(lambda: pipe(action="bounces", keep_k=8, num_frames=81)),
        "full_length_tokens": len(order),
        "cached_s": whole,
        "uncached_s": without,
        "cache_speedup": without / whole,
    }


def _median(call: Any) -> float:
    call()
    return statistics.median(_once(call) for _ in range(REPEATS))


def _once(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _earlier(part: str) -> Any:
    import json

    path = results.RESULTS / "generation.json"
    return json.loads(path.read_text()).get(part) if path.exists() else None
