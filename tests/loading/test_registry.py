"""What the registry says of models, against the models themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flextok.api import load_tokenizer
from flextok.bench.footprint import footprint
from flextok.bench.released import count_flops
from flextok.loading.registry import VIDTOK, ModelEntry, list_models
from flextok.released.memory import GIB, peak_bytes
from flextok.released.vae import VAESize
from flextok.released.vidtok_grid import VidTokGrid

CONFIGS = Path(__file__).parent.parent / "released/cases/plausible"
ENTRIES = {entry.id: entry for entry in list_models()}


@pytest.mark.parametrize("name", ["d18_d18_k600", "d18_d28"])
def test_what_released_models_take_is_what_their_shape_takes(name: str) -> None:
    """On the meta device: nothing is loaded or computed."""
    entry = ENTRIES[f"EPFL-VILAB/videoflextok_{name}"]
    found = footprint(CONFIGS / f"{name}.config.json", torch.device("cuda"), torch.bfloat16, entry.steps)
    assert entry.parameters_m == pytest.approx(found.parameters / 1e6, rel=0.01)
    assert entry.memory_gib == pytest.approx(found.memory_gib, rel=0.05)
    assert entry.tflop_per_clip == pytest.approx(found.tflop_per_clip, rel=0.05)
    assert entry.pixels == found.pixels


@pytest.mark.parametrize("entry", [e for e in list_models() if e.source == "embedded"], ids=lambda entry: entry.id)
def test_embedded_models_are_what_the_registry_says(entry: ModelEntry) -> None:
    pipe = load_tokenizer(entry.id)
    info = pipe.info
    assert (info.kind, info.height, info.num_registers, info.num_ids) == (
        entry.kind, entry.pixels, entry.num_registers, entry.num_ids,
    )  # fmt: skip
    assert entry.parameters_m == pytest.approx(info.parameters / 1e6, rel=0.01)
    assert (entry.steps, entry.guidance) == (pipe.config.num_inference_steps, pipe.config.guidance_scale)
    clip = torch.zeros(1, 3, info.chunk_frames, info.height, info.width)
    work = count_flops(lambda: pipe.detokenize(pipe.tokenize(clip))) / 1e12
    assert entry.tflop_per_clip == pytest.approx(work, rel=0.05)


@pytest.mark.parametrize("pixels", [128, 256])
def test_the_released_grid_takes_what_its_shape_takes(pixels: int) -> None:
    entry = ENTRIES[f"{VIDTOK}@{pixels}"]
    with torch.device("meta"):
        grid = VidTokGrid(VAESize(latent_channels=6, has_variance=False), pixels)
    assert (entry.num_registers, entry.num_ids) == (grid.token_budgets[-1], grid.quantizer.num_ids)
    assert entry.parameters_m == pytest.approx(sum(p.numel() for p in grid.parameters()) / 1e6, rel=0.01)
    _, h, w = grid.latent_size
    video, latents = torch.empty(1, 3, 17, pixels, pixels, device="meta"), torch.empty(1, 6, 5, h, w, device="meta")
    encode, decode = (lambda: grid.vidtok.encode(video)), (lambda: grid.vidtok.decode(latents))
    assert entry.tflop_per_clip == pytest.approx((count_flops(encode) + count_flops(decode)) / 1e12, rel=0.05)
    weights = list(grid.parameters())
    peak = max(peak_bytes(encode, weights), peak_bytes(decode, weights)) + sum(4 * p.numel() for p in weights)
    assert entry.memory_gib == pytest.approx(peak / 2 / GIB, rel=0.05)  # in bfloat16
