"""Training stages at tiny size: they learn, resume to the exact step, and train alike in one or two processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flextok.data.datasets import ClipBank, ToyboxDataset, fill_bank
from flextok.data.latent_cache import CacheConfig, LatentCache, fill_cache
from flextok.data.token_cache import TokenCacheConfig, fill_token_cache
from flextok.loading.checkpoint import load_strict
from flextok.metrics import load_scorer
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.toybox.labels import ATTRIBUTES, labels, labels_of_seeds
from flextok.toybox.sampling import sample_spec
from flextok.training.configs import RunConfig
from flextok.training.export import export_scorer
from flextok.training.losses import metric_error, motion_weights, pixel_metric
from flextok.training.train_ar import PRESETS as AR_PRESETS
from flextok.training.train_ar import ARStage
from flextok.training.train_scorer import PRESETS as SCORER_PRESETS
from flextok.training.train_scorer import ScorerStage
from flextok.training.train_tokenizer import PRESETS as TOKENIZER_PRESETS
from flextok.training.train_tokenizer import TokenizerConfig, TokenizerStage
from flextok.training.trainer import train
from flextok.video.pixels import to_float

NUM_CLIPS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of Toybox clips, an untrained tiny VAE and the latents it gives."""
    folder = tmp_path_factory.mktemp("world")
    fill_bank(ToyboxDataset(range(NUM_CLIPS)), folder / "bank", NUM_CLIPS, {"folder": "None", "first_seed": "0"})
    torch.manual_seed(0)
    AutoencoderCausalVideo(16, (8, 8), (8, 8), (1, 1), (1, 1)).save_pretrained(folder / "vae")
    fill_cache(CacheConfig(folder / "vae", folder / "bank", folder / "cache", batch_size=4))
    return folder


def launch(stage: str, preset: str, out: Path, *options: str, processes: int = 1) -> list[dict[str, float]]:
    """Run a stage as a user does; the rows of its metrics.jsonl."""
    launcher = ["accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    if processes > 1:  # what accelerate's own launcher starts on CPUs only with MPI
        launcher = ["torch.distributed.run", "--nproc_per_node", str(processes)]
    command = [sys.executable, "-m", *launcher]
    command += ["-m", f"flextok.training.{stage}", preset, "--run.out", str(out), "--run.log-every", "1", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"training on {processes} process(es)" in done.stderr
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(rows: list[dict[str, float]]) -> dict[int, float]:
    return {int(row["step"]): row["loss"] for row in rows if "loss" in row}


def tokenizer_options(world: Path) -> tuple[str, ...]:
    return ("--vae", str(world / "vae"), "--caches", str(world / "cache"))


@pytest.mark.slow
def test_vae_stage_writes_what_later_stages_need(world: Path, tmp_path: Path) -> None:
    rows = launch("train_vae", "tiny", tmp_path / "run", "--banks", str(world / "bank"))
    assert set(losses(rows)) == {1, 2, 3, 4}
    assert any("val_psnr" in row for row in rows)
    assert list((tmp_path / "run").glob("samples-*.png"))
    vae = load_strict(AutoencoderCausalVideo, tmp_path / "run/weights")
    assert len(vae.config.latents_std) == 16


@pytest.mark.slow
def test_two_processes_give_the_same_curve(world: Path, tmp_path: Path) -> None:
    """The global batch, its noise and its budget are the same clips and numbers however many processes share them."""
    options = *tokenizer_options(world), "--run.mixed-precision", "auto"  # asks for the device before all else
    one = losses(launch("train_tokenizer", "grid-tiny", tmp_path / "one", *options))
    two = losses(launch("train_tokenizer", "grid-tiny", tmp_path / "two", *options, processes=2))
    assert one.keys() == two.keys()
    # Not equal: each process normalises codes over its own half of the batch.
    for step, loss in one.items():
        assert two[step] == pytest.approx(loss, rel=0.05)


def run_here(preset: str, out: Path, world: Path, begin: Path | None = None, tokens: Path | None = None) -> list[dict]:
    """A tiny tokenizer stage in this process; the rows of its metrics.jsonl."""
    config = TOKENIZER_PRESETS[f"{preset}-tiny"][1]
    run = dataclasses.replace(config.run, out=out, log_every=1, init_from=begin)
    caches = {"vae": world / "vae", "caches": (world / "cache",), "tokens": () if tokens is None else (tokens,)}
    config = dataclasses.replace(config, run=run, **caches)
    assert train(TokenizerStage(config), run, config)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "cls"), [("register", RegisterTokenizer), ("grid", GridTokenizer)])
def test_the_decoder_goes_on_alone_from_frozen_tokens(kind: str, cls: type, world: Path, tmp_path: Path) -> None:
    """From ids that are cached as from ids that are computed: the very same losses."""
    rows = run_here(kind, tmp_path / "one", world)
    # The labels of the cached clips are read, by guessing so far; a grid has no order and no such task.
    assert kind == "grid" or 0.5 < rows[0]["meaning"] < 1.5
    first = tmp_path / "one/weights"
    fill_token_cache(TokenCacheConfig(world / "cache", tmp_path / "tokens", first, grid=kind == "grid"))
    computed = losses(run_here(f"{kind}-decoder", tmp_path / "two", world, first))
    assert losses(run_here(f"{kind}-decoder", tmp_path / "three", world, first, tmp_path / "tokens")) == computed
    before, after = load_strict(cls, first), load_strict(cls, tmp_path / "two/weights")
    assert before.config.decoder_attention == after.config.decoder_attention == "full"
    latents = LatentCache(world / "cache")[0][None]
    assert torch.equal(before.encode(latents).token_ids, after.encode(latents).token_ids)
    assert torch.equal(before.code_norm.mean, after.code_norm.mean)
    assert not torch.equal(before.decoder.blocks[0].attn.wq.weight, after.decoder.blocks[0].attn.wq.weight)


def test_the_encoder_learns_to_read_before_it_quantises(world: Path, tmp_path: Path) -> None:
    config = TOKENIZER_PRESETS["register-read-tiny"][1]
    run = dataclasses.replace(config.run, out=tmp_path / "read", steps=120, lr=5e-3, evaluate_every=120, save_every=120)
    config = dataclasses.replace(
        config, run=run, vae=world / "vae", caches=(world / "cache",), meaning_attributes=("action", "color")
    )
    stage = TokenizerStage(config)
    train(stage, run, config)
    rows = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    learnt = [row["loss"] for row in rows if "loss" in row]
    assert learnt[-1] < 0.5 < 0.8 < learnt[0]  # six clips by heart, also once codes are rounded
    assert len(stage.model.free_codes(stage.latents, rounded=False).unique()) > 8
    codes = stage.model.free_codes(stage.latents)
    quantizer = stage.model.quantizer
    assert torch.allclose(codes, quantizer.ids_to_codes(quantizer.codes_to_ids(codes)))


def test_a_cache_that_is_filled_again_forgets_the_old_labels(world: Path, tmp_path: Path) -> None:
    fill_cache(CacheConfig(world / "vae", world / "bank", tmp_path / "cache", limit=2))
    assert (LatentCache(tmp_path / "cache").labels >= 0).all()
    fill_bank(ToyboxDataset(range(3)), tmp_path / "other", 3, {"folder": "videos", "first_seed": "0"})
    fill_cache(CacheConfig(world / "vae", tmp_path / "other", tmp_path / "cache"))
    cache = LatentCache(tmp_path / "cache")
    assert cache.labels.shape == (3, len(ATTRIBUTES))
    assert (cache.labels == -1).all()


def test_what_a_clip_is_told_does_not_depend_on_the_processes(world: Path, tmp_path: Path) -> None:
    RegisterTokenizer(num_registers=4, dim=32, encoder_depth=1, decoder_depth=1, head_dim=16).save_pretrained(
        tmp_path / "tokenizer"
    )
    fill_token_cache(TokenCacheConfig(world / "cache", tmp_path / "tokens", tmp_path / "tokenizer"))
    config = AR_PRESETS["register-tiny"][1]
    stage = ARStage(dataclasses.replace(config, caches=(tmp_path / "tokens",)))
    whole, halves = stage.batch(3, slice(0, 2)), [stage.batch(3, slice(i, i + 1)) for i in range(2)]
    for name in ("sequence", "classes"):
        assert torch.equal(whole[name], torch.cat([half[name] for half in halves]))


def test_a_run_is_measured_on_a_bank_of_ones_own(world: Path, tmp_path: Path) -> None:
    config = TokenizerConfig(
        RunConfig(tmp_path), vae=world / "vae", caches=(world / "cache",), validation_bank=world / "bank",
        num_registers=4, dim=32, encoder_depth=1, decoder_depth=1, head_dim=16, num_validation=4,
    )  # fmt: skip
    stage = TokenizerStage(config)
    bank = ClipBank(world / "bank")
    assert torch.equal(stage.video, to_float(np.stack([bank[i] for i in range(4)])))
    with pytest.raises(ValueError, match="must be at least 4"):
        TokenizerStage(dataclasses.replace(config, num_validation=3))
    fill_bank(ToyboxDataset(range(4), 32), tmp_path / "small", 4, {})
    with pytest.raises(ValueError, match="validation-bank of the same size"):
        TokenizerStage(dataclasses.replace(config, validation_bank=tmp_path / "small"))


@pytest.mark.slow
def test_scorer_stage_writes_what_is_exported_and_loaded(tmp_path: Path) -> None:
    fill_bank(ToyboxDataset(range(100, 106)), tmp_path / "bank", NUM_CLIPS, {"folder": "None", "first_seed": "100"})
    rows = launch("train_scorer", "tiny", tmp_path / "run", "--banks", str(tmp_path / "bank"))
    assert set(losses(rows)) == {1, 2, 3, 4}
    assert any({"val_mean", "val_strict_text_match", "val_action"} <= set(row) for row in rows)
    export_scorer(tmp_path / "run/weights", tmp_path / "exported")
    assert load_scorer(tmp_path / "exported").unknown_words("a red elephant") == ["elephant"]


def test_scorer_batches_keep_pixels_labels_and_words_together(tmp_path: Path) -> None:
    fill_bank(ToyboxDataset(range(100, 106)), tmp_path / "bank", NUM_CLIPS, {"folder": "None", "first_seed": "100"})
    config = dataclasses.replace(SCORER_PRESETS["tiny"][1], banks=(tmp_path / "bank",), num_validation=1)
    stage = ScorerStage(config)
    clips, truth = ClipBank(tmp_path / "bank"), labels_of_seeds(range(100, 106))
    sources = to_float(np.stack([clips[i] for i in range(6)]))
    seen = set()
    for step in range(12):
        batch = stage.batch(step, slice(0, 4))
        half = stage.batch(step, slice(2, 4))
        assert torch.equal(half["video"], batch["video"][2:])
        assert torch.equal(half["labels"], batch["labels"][2:])
        for video, label in zip(batch["video"], batch["labels"].numpy(), strict=True):
            # The source whose pixels are nearest is the one that the labels are of.
            place = int((video - sources).square().mean(dim=(1, 2, 3, 4)).argmin())
            assert np.array_equal(label, truth[place])
            seen.add(place)
    assert len(seen) == 6
    fill_bank(ToyboxDataset(range(1)), tmp_path / "photos", 1, {"folder": "photos"})
    with pytest.raises(ValueError, match="labels"):
        ScorerStage(dataclasses.replace(config, banks=(tmp_path / "photos",)))


def test_latent_cache_holds_each_clip_with_its_labels(world: Path) -> None:
    cache = LatentCache(world / "cache")
    assert len(cache) == NUM_CLIPS
    assert cache[0].shape == (16, 5, 8, 8)
    assert cache.labels.shape == (NUM_CLIPS, len(ATTRIBUTES))
    assert torch.equal(torch.from_numpy(cache.labels[1]), torch.tensor([*labels(sample_spec(1)).values()]))
    with pytest.raises(ValueError, match="latent cache"):
        LatentCache(world / "bank")


def test_what_moves_counts_more() -> None:
    latents = torch.zeros(1, 4, 3, 4, 4)
    latents[0, :, 1:, 2, 2] = 1.0
    weights = motion_weights(latents, torch.eye(4), 1.0)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0, 1, 2, 2] == weights.max() > 3 * weights.min()
    assert motion_weights(latents[:, :, :1], torch.eye(4), 1.0).unique().tolist() == [1.0]


@torch.no_grad()
def test_pixel_metric_predicts_the_pixel_error() -> None:
    """The same for errors in a channel that matters much, in one that matters little, and in all of them."""
    torch.manual_seed(0)
    vae = AutoencoderCausalVideo(4, (8, 8), (8, 8), (1, 1), (1, 1)).eval()
    vae.decoder_in.weight.data[:, 0] *= 5
    latents = torch.randn(4, 4, 3, 4, 4)
    metric = pixel_metric(vae, latents)
    base, ratios, plain = vae.decode(latents), [], []
    for channels in ([0], [1], [0, 1, 2, 3]):
        error = torch.zeros_like(latents)
        error[:, channels] = 0.05 * torch.randn(4, len(channels), 3, 4, 4)
        pixels = (vae.decode(latents + error) - base).square().mean()
        ratios.append(float(pixels / metric_error(error, metric).mean()))
        plain.append(float(pixels / error.square().mean()))
    assert max(ratios) / min(ratios) < 1.6, ratios
    assert max(plain) / min(plain) > 5, plain
