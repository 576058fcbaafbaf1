"""What the embedded generator makes, and at what price: `python -m flextok.bench generation`.

Judged by the Toybox scorer, whose own accuracy on source clips (`assets/results/scorer.json`) bounds every figure.
Writes assets/results/generation.json and, with `--sheet`, a moving contact sheet of all classes at k = 16.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from flextok.bench import results
from flextok.bench.scorer import clips_of
from flextok.data.datasets import ToyboxDataset
from flextok.generators import load_generator
from flextok.metrics.consistency import LOOK, windows
from flextok.metrics.frechet_video import FrechetVideoDistance
from flextok.metrics.scorer import Scorer, load_scorer
from flextok.metrics.scores import class_score, strict_text_match, text_match
from flextok.models.ar_transformer import ARCondition
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.pipelines.token_sampling import SamplingSettings, stream_tokens
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.sampling import HELD_OUT_SEEDS, TEST_SEEDS, sample_spec
from flextok.toybox.spec import FPS, ToyboxSpec
from flextok.video.pixels import to_float, to_uint8
from flextok.video.strip import side_by_side

REPEATS = 5
SHEET_BUDGET, SHEET_CLIPS = 16, 2


@dataclass(frozen=True)
class Options:
    per_class: int = 6
    """Clips of each of the 12 classes at every budget."""
    texts: int = 48
    """Held-out captions at every budget."""
    budgets: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    long_videos: int = 32
    long_budgets: tuple[int, ...] = (1, 4, 8, 16)
    guidance_scales: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0)
    """Compared at `long_budgets`, for the defaults of the pipeline."""
    timing: Literal["also", "no", "only"] = "also"
    """A busy machine can judge clips but not time them: "no" keeps the earlier timings, "only" renews them alone."""
    sheet: Path | None = None


def main(arguments: list[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m flextok.bench generation")
    pipe = load_generator()
    if options.timing == "only":
        results.write("generation", {**results.read("generation"), "timing": _timing(pipe)})
        return
    scorer = load_scorer()
    actions = [action for action in ACTIONS for _ in range(options.per_class)]
    specs = [sample_spec(seed) for seed in HELD_OUT_SEEDS[: options.texts]]
    texts = [caption(spec) for spec in specs]
    source, held_out = clips_of(TEST_SEEDS[: len(actions)]), clips_of(HELD_OUT_SEEDS[: options.texts])
    report: dict[str, Any] = {
        "scorer": scorer.name,
        "parameters": pipe.info.parameters,
        "clips": {"class": len(actions), "text": len(specs), "long": options.long_videos},
        "sources": {
            "text_match": text_match(scorer, held_out, specs),
            "strict_text_match": strict_text_match(scorer, held_out, specs),
        },
        "budgets": {},
    }
    for k in options.budgets:
        by_class = generated(pipe, k, action=actions)
        by_text = generated(pipe, k, prompt=texts)
        distance = FrechetVideoDistance(scorer)
        distance.update(source, real=True)
        distance.update(by_class, real=False)
        report["budgets"][k] = {
            "tokens": k * pipe.transformer.token_order.num_frames,
            "class_score": class_score(scorer, by_class, actions),
            "text_class_score": class_score(scorer, by_text, [spec.actions[0] for spec in specs]),
            "text_match": text_match(scorer, by_text, specs),
            "strict_text_match": strict_text_match(scorer, by_text, specs),
            **{name: float(value) for name, value in distance.compute().items()},
        }
        print(k, report["budgets"][k], flush=True)
        if options.sheet is not None and k == SHEET_BUDGET:
            write_contact_sheet(by_class.unflatten(0, (len(ACTIONS), -1))[:, :SHEET_CLIPS], options.sheet)
    report["guidance"] = _guidance(pipe, scorer, options, specs)
    report["long"] = _long(pipe, scorer, options.long_videos, options.long_budgets)
    report["timing"] = results.read("generation")["timing"] if options.timing == "no" else _timing(pipe)
    print(f"written to {results.write('generation', report)}")


def write_contact_sheet(clips: Tensor, path: Path, columns: int = 4) -> None:
    """An animated picture of clips (classes, n, 3, T, H, W): the n clips of each class side by side under its name."""
    cells = [
        (name, np.concatenate([to_uint8(clip) for clip in own], axis=2))
        for name, own in zip(ACTIONS, clips, strict=True)
    ]
    rows = [side_by_side(cells[i : i + columns], scale=2) for i in range(0, len(cells), columns)]
    first, *others = (Image.fromarray(frame) for frame in np.concatenate(rows, axis=1))
    first.save(path, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=80, method=6)


def generated(
    pipe: VideoGeneratorPipeline, k: int, seed: int = 0, guidance_scale: float | None = None, **asked: list[str]
) -> Tensor:
    """Clips (n, 3, 17, 64, 64), one for each action or prompt asked for, each with a seed of its own."""
    ((name, values),) = asked.items()
    parts = []
    for start in range(0, len(values), 16):
        chosen = values[start : start + 16]
        generators = [torch.Generator().manual_seed(10_000 * seed + start + i) for i in range(len(chosen))]
        output = pipe(**{name: chosen}, keep_k=k, guidance_scale=guidance_scale, generator=generators)  # type: ignore[arg-type]
        parts.append(output.frames.clamp(-1, 1))
    return torch.cat(parts)


def _guidance(
    pipe: VideoGeneratorPipeline, scorer: Scorer, options: Options, specs: list[ToyboxSpec]
) -> dict[str, dict[str, dict[str, float]]]:
    """Text match and the class score of texts by budget and guidance scale of the tokens."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for k in options.long_budgets:
        for scale in options.guidance_scales:
            clips = generated(pipe, k, prompt=[caption(spec) for spec in specs], guidance_scale=scale)
            table.setdefault(str(k), {})[str(scale)] = {
                "text_match": text_match(scorer, clips, specs),
                "strict_text_match": strict_text_match(scorer, clips, specs),
                "text_class_score": class_score(scorer, clips, [spec.actions[0] for spec in specs]),
            }
    return table


def _long(pipe: VideoGeneratorPipeline, scorer: Scorer, count: int, budgets: tuple[int, ...]) -> dict[str, Any]:
    """Seams and drift of `count` videos of 81 frames at each budget, and of as many source videos.

    Seam: the change from frame to frame across a chunk border, over the median of all others of its video; the median
    over videos. Drift: the share of videos whose subject the scorer reads alike in the first and the last chunk.
    """
    dataset = ToyboxDataset(TEST_SEEDS[:count], num_actions=5)
    videos = {"source": to_float(np.stack([dataset[i] for i in range(count)]))}
    for k in budgets:
        parts = []
        for start in range(0, count, 8):
            numbers = range(start, min(start + 8, count))
            actions = [ACTIONS[number % len(ACTIONS)] for number in numbers]
            generators = [torch.Generator().manual_seed(number) for number in numbers]
            parts.append(pipe(action=actions, keep_k=k, num_frames=81, generator=generators).frames.clamp(-1, 1))
        videos[str(k)] = torch.cat(parts)
    report: dict[str, Any] = {}
    for name, video in videos.items():
        change = video.diff(dim=2).abs().mean(dim=(1, 3, 4))  # (n, 80): change i leads to frame i + 1
        border = torch.arange(16, 80, 16)
        inside = torch.tensor([i for i in range(80) if i not in border])
        ratio = change[:, border].median(dim=1).values / change[:, inside].median(dim=1).values.clamp(min=1e-6)
        first, *_, last = windows(video)
        read = [scorer.score(part).logits for part in (first, last)]
        report[name] = {
            "border_change_over_inside_median": float(ratio.median()),
            "border_change_worst": float(ratio.max()),
            **{
                f"{look}_kept": float((read[0][look].argmax(1) == read[1][look].argmax(1)).float().mean())
                for look in LOOK
            },
        }
    return report


def _timing(pipe: VideoGeneratorPipeline) -> dict[str, Any]:
    """Seconds of a clip at k = 8 and of 81 frames, the share of the AR model, and what its cache is worth."""
    order, model = pipe.transformer.token_order, pipe.transformer
    condition = pipe._conditions(["bounces"], by_class=True)

    def tokens(count: int, guidance_scale: float = 1.0) -> None:
        settings = SamplingSettings(guidance_scale)
        for _ in stream_tokens(model, *condition, count, settings, [torch.Generator().manual_seed(0)]):
            pass

    def uncached(guidance_scale: float = 1.0) -> None:
        both = condition[0] if guidance_scale == 1.0 else ARCondition.join(*condition)
        sequence = torch.zeros(len(both.start), 0, dtype=torch.int64)
        with torch.inference_mode():
            prepared = model.prepare(both)
            for _ in range(len(order)):
                logits = model(sequence[:, : len(order) - 1], both, prepared=prepared)[:, -1]
                token = (logits[-1] + guidance_scale * (logits[0] - logits[-1])).argmax().expand(len(logits), 1)
                sequence = torch.cat([sequence, token], dim=1)

    clip = _median(lambda: pipe(action="bounces", keep_k=8, guidance_scale=1.0))
    drawing = _median(lambda: tokens(8 * order.num_frames))

    def with_and_without_cache(guidance_scale: float) -> dict[str, float]:
        whole = _median(lambda: tokens(len(order), guidance_scale))
        without = statistics.median(_once(lambda: uncached(guidance_scale)) for _ in range(3))
        return {"cached_s": whole, "uncached_s": without, "cache_speedup": without / whole}

    def cache() -> dict[str, dict[str, float]]:
        """Guided as in the app, which runs two sequences, and one sequence alone."""
        return {"guided": with_and_without_cache(pipe.config.guidance_scale), "unguided": with_and_without_cache(1.0)}

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # single tokens have no work for a second core, whole sequences do
    on_one_thread = cache()
    torch.set_num_threads(threads)
    return {
        "clip_k8_s": _median(lambda: pipe(action="bounces", keep_k=8)),
        "clip_k8_unguided_s": clip,
        "share_of_ar_unguided": drawing / clip,
        "tokens_per_s": 8 * order.num_frames / drawing,
        "long_81_frames_k8_s": _once(lambda: pipe(action="bounces", keep_k=8, num_frames=81)),
        "full_length_tokens": len(order),
        "cache": {"all_threads": cache(), "one_thread": on_one_thread},
    }


def _median(call: Any) -> float:
    call()
    return statistics.median(_once(call) for _ in range(REPEATS))


def _once(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
