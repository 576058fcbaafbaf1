"""What a released-style config takes to run, found on the meta device: the figures of `flextok.loading.registry`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from flextok.bench.released import count_flops
from flextok.released.config import parse_config
from flextok.released.denoiser import ChunkTokens
from flextok.released.memory import GIB, estimate_memory
from flextok.released.model import OneChunkModel
from flextok.released.placement import set_dtypes
from flextok.released.vae import LATENT_CHANNELS, SPATIAL_RATIO, TEMPORAL_RATIO, VAESize


@dataclass(frozen=True)
class Footprint:
    parameters: int
    memory_gib: float
    tflop_per_clip: float
    """Encode one chunk, decode it with guided steps at the full budget."""
    pixels: int


def footprint(config_path: Path, device: torch.device, dtype: torch.dtype, steps: int) -> Footprint:
    """Of the model that a config.json describes, with the full-size VAE.

    Args:
        device: where it is to run; only its name counts.
    """
    config = parse_config(json.loads(config_path.read_text(encoding="utf-8")))
    assert config.vae_video_sizes is not None
    t, h, w = config.vae_video_sizes
    model = OneChunkModel(config, VAESize())
    model.drop_unused()
    set_dtypes(model, dtype)
    memory = estimate_memory(model, (t, h, w), device)
    frames = 1 + (t - 1) * TEMPORAL_RATIO
    video = torch.empty(1, 3, frames, h * SPATIAL_RATIO, w * SPATIAL_RATIO, device="meta")
    latents = torch.empty(1, LATENT_CHANNELS, t, h, w, device="meta")
    with torch.no_grad():
        codes = model.unquantized(latents)
        denoise = model.denoise(ChunkTokens(codes), torch.ones(1, device="meta"), guided=True)
    encode = count_flops(lambda: model.unquantized(model.vidtok.encode(video).mean))
    step = count_flops(lambda: denoise(latents, 0))
    decode = count_flops(lambda: model.vidtok.decode(latents))
    return Footprint(
        sum(p.numel() for p in model.parameters()),
        memory.total / GIB,
        (encode + steps * step + decode) / 1e12,
        h * SPATIAL_RATIO,
    )
