"""Put a trained generator beside the tokenizer it belongs to: `python -m flextok.training.export_generator`.

Weights are stored in float16; the folder shares all other parts with `assets/embedded`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from flextok.api import load_embedded
from flextok.models.ar_transformer import ARTransformer
from flextok.models.loading import load_strict
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline


@dataclass(frozen=True)
class ExportConfig:
    transformer: Path = Path("runs/ar-register/weights")
    out: Path = Path("assets/embedded-generator")
    num_inference_steps: int = 4
    guidance_scale: float = 3.0


def main(config: ExportConfig) -> None:
    """Write the generator's folder without the parts of its tokenizer."""
    tokens = load_embedded("embedded")
    pipe = VideoGeneratorPipeline(
        tokens.vae,
        tokens.tokenizer,
        tokens.scheduler,
        load_strict(ARTransformer, config.transformer, torch.float16),
        name="embedded-generator",
        licence="Apache-2.0",
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )
    pipe.save_pretrained(config.out)
    for part in ("vae", "tokenizer", "scheduler"):
        shutil.rmtree(config.out / part)


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
