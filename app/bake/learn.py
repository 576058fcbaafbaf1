"""Bake what the Learn steps show of the embedded models: `python -m app.bake.learn` (after `app.bake.examples`).

Writes `assets/learn/probes.json`: tokens replaced one at a time, a grid with cells missing, several seeds, an edited
first frame, and tokens in frame-by-frame order. Run it again whenever the embedded weights change.

A model trained without nested dropout, for the third step, is baked by a call of its own, since its weights do not ship
(one whose every step keeps all registers, and all of them the transformers', for the linear codec has an order of its
own):

    python -m app.bake.learn --without runs/no-dropout/weights --note "..."

It writes `assets/learn/no-dropout.json`; the step has other things to show where that file is missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from app.components.player import pixels, seeds_payload, sprite
from app.learn.content import LEARN
from app.shipped import EXAMPLES
from app.store import EMBEDDED, EMBEDDED_GRID
from flextok.api import load_embedded
from flextok.data.datasets import ToyboxDataset
from flextok.loading.checkpoint import load_strict
from flextok.metrics.reconstruction import psnr
from flextok.models.flow_denoiser import FlowDenoiser
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.pipelines.sampling import sample_latents
from flextok.reconstruction import reconstruct, seeds_of
from flextok.toybox.sampling import TEST_SEEDS
from flextok.video.clip import Clip
from flextok.video.pixels import to_float

CLIP, OTHER_CLIP = "2-bounces", "6-camera"
REGISTERS = (1, 2, 4, 8, 16, 64)
"""Registers that are replaced, counted from 1."""
CELLS = (19, 22, 43, 46)
"""Grid cells that are replaced, counted from 1: row 3 and 6, column 3 and 6 of 8x8."""
HOLE = (2, 6)
"""Rows and columns of the grid whose cells are deleted."""
SEED_BUDGETS, SEEDS = (1, 4, 16, 64), (0, 1, 2, 3)
PROBE_BUDGETS = (1, 2, 4)
CURVE_CLIPS = 24


@dataclass(frozen=True)
class Options:
    without: Path | None = None
    """Weights of a register tokenizer trained without nested dropout; then only its comparison is baked."""
    beside: Path | None = None
    """Weights of one trained alike but with it; None takes the embedded one."""
    note: str = ""
    """How the two were trained, in a few words that the page shows."""


def main(options: Options | None = None) -> None:
    options = tyro.cli(Options, prog="python -m app.bake.learn") if options is None else options
    if options.without is None:
        write("probes", probes())
    else:
        write("no-dropout", comparison(options.without, options.beside, options.note))


def write(name: str, value: dict[str, Any]) -> None:
    LEARN.mkdir(parents=True, exist_ok=True)
    (LEARN / f"{name}.json").write_text(json.dumps(value) + "\n", encoding="utf-8")


def probes() -> dict[str, Any]:
    register, grid = load_embedded(EMBEDDED), load_embedded(EMBEDDED_GRID)
    clip = register.read(EXAMPLES / f"{CLIP}.mp4")
    ids = register.tokenize(clip.video)
    return {
        "clip": CLIP,
        "size": clip.video.shape[-1],
        "frames": clip.num_real,
        "ids": ids[0].tolist(),
        "numIds": register.info.num_ids,
        "registers": replaced(register, clip, REGISTERS),
        "cells": replaced(grid, clip, CELLS),
        "hole": {"cells": (HOLE[1] - HOLE[0]) ** 2, **film(with_hole(grid, clip))},
        "seeds": [seeds_payload("", list(reconstruct(register, clip, seeds_of(k, SEEDS)))) for k in SEED_BUDGETS],
        "edit": edited(register, clip, ids),
        "frameByFrame": [
            {"latentFrames": t, **film(decode(register, ids[:, :t]))} for t in range(1, ids.shape[1])
        ],
    }  # fmt: skip


def film(video: Tensor) -> dict[str, Any]:
    return {"frames": video.shape[2], "sprite": sprite(pixels(video))}


def decode(pipe: VideoTokenizerPipeline, ids: Tensor, k: int | None = None, **options: Any) -> Tensor:
    """From the same noise as everything else that the page shows."""
    return pipe.detokenize(ids, k, generator=torch.Generator().manual_seed(0), **options).frames


def replaced(pipe: VideoTokenizerPipeline, clip: Clip, places: tuple[int, ...]) -> dict[str, Any]:
    """The clip with all its tokens, and with the token at one place taken from another clip, in every latent frame."""
    ids = pipe.tokenize(clip.video)
    foreign = pipe.tokenize(pipe.read(EXAMPLES / f"{OTHER_CLIP}.mp4"))
    results = []
    for place in places:
        other = ids.clone()
        other[:, :, place - 1] = foreign[:, :, place - 1]
        results.append({"place": place, **film(decode(pipe, other))})
    return {"all": film(decode(pipe, ids)), "replaced": results}


def with_hole(grid: VideoTokenizerPipeline, clip: Clip) -> Tensor:
    """The grid with the codes of its middle cells set to zero: what is left when tokens are deleted."""
    model = grid.tokenizer
    codes = model.quantizer.ids_to_codes(grid.tokenize(clip.video)).clone()
    side = int(codes.shape[2] ** 0.5)
    cells = codes.unflatten(2, (side, side))
    cells[:, :, HOLE[0] : HOLE[1], HOLE[0] : HOLE[1]] = 0
    return decode_codes(grid, model.condition_on_codes(cells.flatten(2, 3)), codes.shape[1])


@torch.no_grad()
def decode_codes(pipe: VideoTokenizerPipeline, condition: Any, t: int) -> Tensor:
    pipe.scheduler.set_timesteps(pipe.config.num_inference_steps)
    ids = torch.zeros(1, t, 1, dtype=torch.int64)
    noise = pipe.prepare_latents(ids, torch.Generator().manual_seed(0))
    denoiser = FlowDenoiser(pipe.tokenizer, [(1, condition)], pipe.scheduler.timesteps)
    return pipe.vae.decode(sample_latents(denoiser, pipe.scheduler, noise))


def edited(pipe: VideoTokenizerPipeline, clip: Clip, ids: Tensor) -> dict[str, Any]:
    """The paper's probe: few tokens of a clip, and its first frame with other colours to begin with."""
    first = clip.video[:, [2, 0, 1], :1]  # red, green and blue change places
    return {
        "first": film(first),
        "results": [{"k": k, **film(decode(pipe, ids, k, conditioning_frames=first))} for k in PROBE_BUDGETS],
    }


def comparison(without: Path, beside: Path | None, note: str) -> dict[str, Any]:
    """The same clip and the same curve from two tokenizers that share the embedded VAE."""
    pipe = load_embedded(EMBEDDED)
    own = pipe.tokenizer if beside is None else load_strict(RegisterTokenizer, beside)
    clip = pipe.read(EXAMPLES / f"{CLIP}.mp4")
    toybox = ToyboxDataset(TEST_SEEDS)
    clips = to_float(np.stack([toybox[i] for i in range(CURVE_CLIPS)]))
    models = []
    for name, tokenizer in (("with", own), ("without", load_strict(RegisterTokenizer, without))):
        pipe.register_modules(tokenizer=tokenizer.eval())
        ids, many = pipe.tokenize(clip.video), pipe.tokenize(clips)
        results = [
            {
                "k": k,
                "curve": round(float(psnr(decode(pipe, many, k), clips).mean()), 2),
                **film(decode(pipe, ids, k)),
            }
            for k in pipe.info.token_budgets
        ]
        models.append({"name": name, "results": results})
    return {"clip": CLIP, "clips": CURVE_CLIPS, "note": note, "models": models}


if __name__ == "__main__":
    main()
