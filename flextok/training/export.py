"""Put trained parts together for shipping: `python -m flextok.training.export` (see README, Train).

Weights are stored in float16 (loaded as float32); the grid tokenizer's folder shares the VAE of the other.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.loading import WEIGHTS_NAME, load_strict
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler


@dataclass(frozen=True)
class ExportConfig:
    vae: Path = Path("runs/vae/weights")
    register: Path = Path("runs/register-full/weights")
    grid: Path = Path("runs/grid-full/weights")
    out: Path = Path("assets")
    solver: str = "euler"
    num_inference_steps: int = 4
    guidance_scale: float = 1.0


def main(config: ExportConfig) -> None:
    """Write `embedded` (whole) and `embedded-grid` (without its VAE) below `config.out`."""
    half = torch.float16
    vae = load_strict(AutoencoderCausalVideo, config.vae, half)
    parts = {
        "embedded": load_strict(RegisterTokenizer, config.register, half),
        "embedded-grid": load_strict(GridTokenizer, config.grid, half),
    }
    for name, tokenizer in parts.items():
        pipe = VideoTokenizerPipeline(
            vae,
            tokenizer,
            RectifiedFlowScheduler(solver=config.solver),
            name=name,
            licence="Apache-2.0",
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
        )
        pipe.save_pretrained(config.out / name)
        store_in_half(config.out / name / "tokenizer" / WEIGHTS_NAME)
    shutil.rmtree(config.out / "embedded-grid" / "vae")


def store_in_half(weights: Path) -> None:
    """Rewrite a file with what a model keeps in float32 rounded too: it is loaded as float32 again."""
    state = {name: t.half() if t.is_floating_point() else t for name, t in load_file(weights).items()}
    save_file(state, weights, metadata={"format": "pt"})


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
