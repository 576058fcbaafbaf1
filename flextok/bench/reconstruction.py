"""How well the embedded models reconstruct: `python -m flextok.bench reconstruction` (see README, Measured).

Toybox test clips (seeds never trained on) and real videos given by path (none of them trained on), against the source
pixels: the VAE alone (the ceiling), registers at every budget, the grid at equal tokens; steps of the sampler.
Of Toybox clips, whose truth is known, also how real they look and what the Toybox scorer still reads in them
(`flextok.bench.realism`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from flextok.api import load_embedded
from flextok.bench import codecs, results
from flextok.bench.realism import realism
from flextok.data.datasets import ToyboxDataset
from flextok.metrics.reconstruction import psnr, ssim
from flextok.metrics.scorer import load_scorer
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.toybox.labels import labels_of_seeds
from flextok.toybox.sampling import HELD_OUT_SEEDS, TEST_SEEDS
from flextok.training.sheets import clip_rows
from flextok.video.pixels import to_float, to_uint8
from flextok.video.read import probe_video, read_video

BATCH = 16
Item = TypeVar("Item")
STEPS = (1, 2, 4, 8, 16)
CODED = 64
"""Clips that ordinary codecs are measured on: their curves are smooth."""


@dataclass(frozen=True)
class Options:
    clips: int = 192
    """Toybox test clips (a third as many with held-out combinations, and as many others to compare with). From 1,000
    on the Frechet distance is measured too."""
    videos: tuple[Path, ...] = ()
    """Real videos; several windows of 17 frames are taken from each."""
    windows: int = 6
    """Windows of each video."""
    sheet: Path | None = None
    """Write a picture of the first clips at every budget here."""


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m flextok.bench reconstruction")
    register, grid = load_embedded("embedded"), load_embedded("embedded-grid")
    seeds = {
        "toybox_test": TEST_SEEDS[: options.clips],
        "toybox_held_out_combinations": HELD_OUT_SEEDS[: max(options.clips // 3, 1)],
    }
    sets = {name: _toybox(part) for name, part in seeds.items()}
    real = list(_windows(options, register.info.fps, register.info.height))
    if real:
        sets["real"] = torch.cat(real)
    report: dict[str, object] = {"defaults": {"num_inference_steps": register.config.num_inference_steps,
                                              "guidance_scale": register.config.guidance_scale}}  # fmt: skip
    for name, video in sets.items():
        report[name], decoded = _measure(register, grid, video)
        if name == "toybox_test":
            others = _toybox(TEST_SEEDS[options.clips : 2 * options.clips])
            vae = decoded.pop("vae")[0]
            labels = labels_of_seeds(seeds[name])
            report["realism"] = realism(load_scorer(), decoded, video, vae, others, labels)
    report["steps_toybox_test"] = _by_steps(register, sets["toybox_test"][:32])
    if options.sheet:
        _write_sheet(register, sets["toybox_test"], options.sheet)
    path = results.write("reconstruction", report)
    print(f"written to {path}")


def _toybox(seeds: range) -> Tensor:
    dataset = ToyboxDataset(seeds)
    return to_float(np.stack([dataset[i] for i in range(len(seeds))]))


def _windows(options: Options, fps: float, size: int) -> Iterator[Tensor]:
    for path in options.videos:
        duration_s = probe_video(path).duration_s
        for window in range(options.windows):
            if 2.0 * window >= duration_s:
                break
            read = read_video(path, start_s=2.0 * window, num_frames=17, fps=fps, size=size)
            if len(read.frames) == 17:
                yield to_float(read.frames)


def _measure(
    register: VideoTokenizerPipeline, grid: VideoTokenizerPipeline, video: Tensor
) -> tuple[dict[str, object], dict[str, dict[int, Tensor]]]:
    """The report on a set of clips, and what was decoded: of "vae" (as budget 0), "register" and "grid_coarser"."""
    batches = video.split(BATCH)
    ceiling = torch.cat([register.vae.decode(register.vae.encode(v).mean) for v in _quiet(batches, "vae")])
    report: dict[str, object] = {"clips": len(video), "vae": _scores(ceiling, video)}
    ids = torch.cat([register.tokenize(v) for v in batches])
    report["ids_in_use"] = {"used": len(ids.unique()), "of": register.info.num_ids}
    decoded = {
        "register": {k: _decode(register, ids, k) for k in register.info.token_budgets},
        "grid_coarser": {
            k: _decode(grid, torch.cat([grid.tokenize(v, k) for v in batches]), None) for k in grid.info.token_budgets
        },
    }
    for model, clips in decoded.items():
        report[model] = {k: _scores(clip, video) for k, clip in clips.items()}
    report["codecs"] = _codecs(video[:CODED], register.info.fps)
    return report, {"vae": {0: ceiling}, **decoded}


def _codecs(video: Tensor, fps: float) -> dict[str, list[dict[str, float]]]:
    """Mean bytes and quality of ordinary codecs by setting, coarsest first."""
    curves: dict[str, list[dict[str, float]]] = {}
    for codec in codecs.available():
        curves[codec] = []
        for quality in codecs.QUALITIES[codec]:
            coded = [codecs.code(to_uint8(clip), codec, quality, fps) for clip in video]
            scores = _scores(to_float(np.stack([clip.frames for clip in coded])), video)
            num_bytes = sum(clip.num_bytes for clip in coded) / len(coded)
            curves[codec].append({"quality": quality, "bytes": num_bytes, **scores})
    return curves


def _decode(pipe: VideoTokenizerPipeline, ids: Tensor, k: int | None, **options: object) -> Tensor:
    """Decode in batches from fixed noise: clip i gets the same noise at every budget."""
    generator = torch.Generator().manual_seed(0)
    noise = pipe.prepare_latents(ids, generator)
    parts = range(0, len(ids), BATCH)
    return torch.cat(
        [
            pipe.detokenize(ids[i : i + BATCH], k, latents=noise[i : i + BATCH], **options).frames
            for i in _quiet(parts, f"k={k}")
        ]
    )


def _scores(video: Tensor, reference: Tensor) -> dict[str, float]:
    values = psnr(video, reference)
    similar = ssim(video, reference)
    return {
        "psnr": float(values.mean()),
        "psnr_std": float(values.std()),
        "ssim": float(similar.mean()),
        "ssim_std": float(similar.std()),
    }


def _by_steps(pipe: VideoTokenizerPipeline, video: Tensor) -> dict[int, dict[int, float]]:
    """PSNR by steps (network calls a clip) and budget: what the default is chosen from."""
    ids = pipe.tokenize(video)
    return {
        steps: {
            k: float(psnr(_decode(pipe, ids, k, num_inference_steps=steps), video).mean())
            for k in (1, 8, pipe.info.num_registers)
        }
        for steps in STEPS
    }


def _write_sheet(pipe: VideoTokenizerPipeline, video: Tensor, path: Path) -> None:
    """Two columns of clips; of each the source, then every other budget from coarse to fine."""
    chosen = video[:6]
    ids = pipe.tokenize(chosen)
    decoded = {k: _decode(pipe, ids, k) for k in pipe.info.token_budgets[::2]}
    blocks = [
        clip_rows([to_uint8(c) for c in (chosen[i], *(d[i] for d in decoded.values()))]) for i in range(len(chosen))
    ]
    half = len(blocks) // 2
    columns = [np.concatenate(blocks[:half]), np.concatenate(blocks[half:])]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=90)


def _quiet(items: Sequence[Item], name: str) -> Iterable[Item]:
    return tqdm(items, desc=name, leave=False, mininterval=2)


if __name__ == "__main__":
    main()
