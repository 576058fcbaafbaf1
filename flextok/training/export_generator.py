"""Put a trained generator beside the tokenizer it belongs to: `python -m flextok.training.export_generator`.

Weights are stored in float16; the folder shares all other parts with that tokenizer's.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from flextok.api import load_folder
from flextok.loading.checkpoint import load_strict
from flextok.models.ar_transformer import ARTransformer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline


@dataclass(frozen=True)
class ExportConfig:
    transformer: Path = Path("runs/ar-register/weights")
    tokenizer: Literal["embedded", "embedded-grid"] = "embedded"
    """Whose tokens it writes."""
    assets: Path = Path("assets")
    num_inference_steps: int = 4
    guidance_scale: float = 3.0
    guidance_by_budget: dict[str, float] = field(default_factory=dict)
    """Scale from each budget on, where another than `guidance_scale` was measured better."""


def main(config: ExportConfig) -> None:
    """Write the generator's folder without the parts of its tokenizer."""
    out = config.assets / f"{config.tokenizer}-generator"
    tokens = load_folder(config.assets / config.tokenizer, vae_folder=config.assets / "embedded" / "vae")
    pipe = VideoGeneratorPipeline(
        tokens.vae,
        tokens.tokenizer,
        tokens.scheduler,
        load_strict(ARTransformer, config.transformer, torch.float16),
        name=out.name,
        licence="Apache-2.0",
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        guidance_by_budget=config.guidance_by_budget or None,
    )
    pipe.save_pretrained(out)
    for part in ("vae", "tokenizer", "scheduler"):
        shutil.rmtree(out / part)


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
