"""Put a trained tokenizer and its VAE together as what `load_tokenizer` reads:
`python -m flextok.training.export_tokenizer --tokenizer runs/register-decoder/weights --out my-tokenizer`.

Weights are stored in float16 (loaded as float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from flextok.api import TOKENIZERS
from flextok.loading.checkpoint import WEIGHTS_NAME, load_strict
from flextok.loading.errors import CheckpointError
from flextok.loading.json_file import read_json
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler


@dataclass(frozen=True)
class ExportConfig:
    tokenizer: Path
    """Folder of a run's weights: a register tokenizer's or a grid's."""
    out: Path
    vae: Path = Path("assets/embedded/vae")
    """The VAE whose latents it was trained on."""
    name: str = ""
    """How the model calls itself; the folder's name if empty."""
    licence: str = ""
    """Of the weights, for the model card; say what your clips allow."""
    num_inference_steps: int = 4
    guidance_scale: float = 1.0


def main(config: ExportConfig) -> None:
    """Write the folder.

    Raises:
        CheckpointError: a part is missing, damaged, or no tokenizer of this library.
    """
    kind = read_json(config.tokenizer / "config.json").get("_class_name")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise CheckpointError(f"{config.tokenizer} holds a {kind}, not one of {', '.join(TOKENIZERS)}")
    pipe = VideoTokenizerPipeline(
        load_strict(AutoencoderCausalVideo, config.vae, torch.float16),
        load_strict(TOKENIZERS[kind], config.tokenizer, torch.float16),
        RectifiedFlowScheduler(),
        name=config.name or config.out.name,
        licence=config.licence,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )
    pipe.save_pretrained(config.out)
    store_in_half(config.out / "tokenizer" / WEIGHTS_NAME)


def store_in_half(weights: Path) -> None:
    """Rewrite a file with what a model keeps in float32 rounded too: it is loaded as float32 again."""
    state = {name: t.half() if t.is_floating_point() else t for name, t in load_file(weights).items()}
    save_file(state, weights, metadata={"format": "pt"})


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
