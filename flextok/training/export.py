"""Put what was trained where the library loads it: `python -m flextok.training.export tokenizer|generator|scorer`.

Weights are stored in 8 bits, the VAE's, which cap all quality, in 16; folders that share parts keep them once.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import torch
import tyro
from safetensors.torch import load_file, save_file

from flextok.api import TOKENIZERS, load_folder
from flextok.loading.checkpoint import WEIGHTS_NAME, load_strict
from flextok.loading.eight_bit import to_eight_bits
from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import read_json
from flextok.models.ar_transformer import ARTransformer
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.scorer import ToyboxScorer
from flextok.models.word_tokenizer import WordTokenizer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

LICENCE = "Apache-2.0"
"""Of the weights that ship."""
GENERATORS: dict[Literal["embedded", "embedded-grid"], str] = {
    "embedded": "generator",
    "embedded-grid": "grid-generator",
}
"""Tokenizers, and the runs of their generators."""
NUM_STEPS, SHIFT = 8, 2.0
"""Of the sampler. Measured at k = 1 on 64 test clips and a decoder half trained: kernel distance 0.084 with 4 uniform
steps, 0.049 with 8, 0.040 with 8 of shift 2, 0.038 with 16 uniform ones (errors of 0.05, of the same clips)."""


def export_tokenizer(
    tokenizer: Path,
    out: Path,
    vae: Path = Path("assets/embedded/vae"),
    name: str = "",
    licence: str = "",
    num_inference_steps: int = NUM_STEPS,
    shift: float = SHIFT,
    guidance_scale: float = 1.0,
) -> None:
    """A pipeline folder of a trained tokenizer and its VAE; `flextok.load_tokenizer` reads it.

    Args:
        tokenizer: folder of a run's weights: a register tokenizer's or a grid's.
        vae: the VAE whose latents it was trained on.
        name: how the model calls itself; the folder's name if empty.
        licence: of the weights, for the model card; say what your clips allow.
        shift: of the sampler's noise levels (`RectifiedFlowScheduler`).

    Raises:
        CheckpointError: a part is missing, damaged, or no tokenizer of this library.
    """
    kind = read_json(tokenizer / "config.json").get("_class_name")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise CheckpointError(f"{tokenizer} holds a {kind}, not one of {', '.join(TOKENIZERS)}")
    pipe = VideoTokenizerPipeline(
        load_strict(AutoencoderCausalVideo, vae, torch.float16),
        load_strict(TOKENIZERS[kind], tokenizer),
        RectifiedFlowScheduler(shift),
        name=name or out.name,
        licence=licence,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    )
    pipe.save_pretrained(out)
    _store_in_eight_bits(out / "tokenizer")


def export_generator(
    transformer: Path,
    tokenizer: Literal["embedded", "embedded-grid"] = "embedded",
    assets: Path = Path("assets"),
    num_inference_steps: int = NUM_STEPS,
    guidance_scale: float = 3.0,
    guidance_by_budget: Mapping[str, float] | None = None,
) -> None:
    """A generator beside the tokenizer whose tokens it writes, without the parts of that.

    Args:
        guidance_by_budget: scale from each budget on, where another than `guidance_scale` was measured better.
    """
    out = assets / f"{tokenizer}-generator"
    tokens = load_folder(assets / tokenizer, vae_folder=assets / "embedded" / "vae")
    pipe = VideoGeneratorPipeline(
        tokens.vae,
        tokens.tokenizer,
        tokens.scheduler,
        load_strict(ARTransformer, transformer),
        name=out.name,
        licence=LICENCE,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        guidance_by_budget=dict(guidance_by_budget) if guidance_by_budget else None,
    )
    pipe.save_pretrained(out)
    _store_in_eight_bits(out / "transformer")
    for part in ("vae", "tokenizer", "scheduler"):
        shutil.rmtree(out / part)


def _store_in_eight_bits(folder: Path) -> None:
    weights = folder / WEIGHTS_NAME
    save_file(to_eight_bits(load_file(weights)), weights, metadata={"format": "pt"})


def export_scorer(scorer: Path, out: Path = Path("assets/scorer")) -> None:
    """A scorer's weights and words."""
    load_strict(ToyboxScorer, scorer).save_pretrained(out)
    _store_in_eight_bits(out)
    WordTokenizer.load(scorer).save(out)


def export_all(runs: Path, assets: Path, unfinished: Collection[str] = ()) -> None:
    """Everything that ships, from the folders of the recipe's runs; the grid shares the VAE of the other.

    Args:
        unfinished: stages that stand before their end. A generator that was begun with stays what it was, for its
            tokens did not change.

    Raises:
        ValueError: another stage is unfinished: weights before their cool-down do not ship.
    """
    kept = {name for name in GENERATORS.values() if (runs / f"{name}-begun").exists()}
    if waiting := sorted(set(unfinished) - kept):
        raise ValueError(f"{', '.join(waiting)} must be trained to the end before anything is exported")
    for name, run in (("embedded", "register-decoder"), ("embedded-grid", "grid-decoder")):
        export_tokenizer(runs / run / "weights", assets / name, runs / "vae/weights", licence=LICENCE)
    for tokenizer, run in GENERATORS.items():
        begun = run in unfinished
        export_generator(runs / (f"{run}-begun" if begun else run) / "weights", tokenizer, assets)
    shutil.rmtree(assets / "embedded-grid" / "vae")
    export_scorer(runs / "scorer/weights", assets / "scorer")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"tokenizer": export_tokenizer, "generator": export_generator, "scorer": export_scorer}
    )
