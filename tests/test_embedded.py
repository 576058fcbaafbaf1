"""The weights that ship: what the README and the app promise of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import flextok
from flextok.data import ToyboxDataset, probe_video, read_video, to_float
from flextok.loading.registry import ASSETS
from flextok.metrics.reconstruction import psnr
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.reconstruction import budgets_of, coarser_grid, reconstruct, shorter_grid
from flextok.toybox.sampling import TEST_SEEDS
from flextok.video.clip import Clip


@pytest.fixture(scope="module")
def register() -> VideoTokenizerPipeline:
    return flextok.load_tokenizer("embedded")


@pytest.fixture(scope="module")
def grid() -> VideoTokenizerPipeline:
    return flextok.load_tokenizer("embedded-grid")


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    toybox = ToyboxDataset(TEST_SEEDS)
    return to_float(np.stack([toybox[i] for i in range(8)]))


def test_info(register: VideoTokenizerPipeline, grid: VideoTokenizerPipeline) -> None:
    info = register.info
    assert (info.num_registers, info.chunk_frames, info.height, info.width) == (64, 17, 64, 64)
    assert (info.temporal_ratio, info.fps, info.licence, info.kind) == (4, 8.0, "Apache-2.0", "register")
    assert grid.info.token_budgets == (1, 4, 16, 64)
    for entry in flextok.list_models()[:2]:
        loaded = register if entry.id == "embedded" else grid
        assert loaded.info.parameters == pytest.approx(entry.parameters_m * 1e6, rel=0.01)


def test_more_tokens_give_a_nearer_video(register: VideoTokenizerPipeline, video: torch.Tensor) -> None:
    """Fails if tokens are ignored, if a longer prefix does harm, or if another clip's tokens would do as well.

    Margins belong to the weights that ship, which gain 5.9 dB from k = 1 to 64 on 192 clips.
    """
    ids = register.tokenize(video)
    noise = register.prepare_latents(ids, torch.Generator().manual_seed(0))
    values = [float(psnr(register.detokenize(ids, k, latents=noise).frames, video).mean()) for k in (1, 4, 16, 64)]
    assert all(after > before + 0.5 for before, after in itertools.pairwise(values)), values
    assert values[-1] > values[0] + 5, values
    shuffled = float(psnr(register.detokenize(ids.roll(1, 0), latents=noise).frames, video).mean())
    assert values[-1] > shuffled + 4


def test_later_frames_never_change_earlier_tokens(register: VideoTokenizerPipeline, video: torch.Tensor) -> None:
    ids = register.tokenize(video[:2])
    for latent in (1, 3):
        other = video[:2].clone()
        other[:, :, 1 + 4 * (latent - 1) :] *= -1
        changed = register.tokenize(other)
        assert torch.equal(ids[:, :latent], changed[:, :latent])
        assert not torch.equal(ids[:, latent:], changed[:, latent:])


def test_grid_at_equal_tokens(grid: VideoTokenizerPipeline, video: torch.Tensor) -> None:
    clip = Clip(video[:1], 17, 8.0)
    coarse, few = coarser_grid(grid.info, 20), shorter_grid(grid.info, 32, 5)
    assert coarse is not None
    assert few is not None
    coarse_result, few_result = reconstruct(grid, clip, [coarse, few], 2)
    assert (coarse_result.label, coarse_result.num_tokens, coarse_result.frames.shape[2]) == ("grid 4x4", 80, 17)
    assert (few_result.num_tokens, few_result.frames.shape[2]) == (128, 5)
    assert shorter_grid(grid.info, 8, 5) is None
    assert shorter_grid(grid.info, 64, 9) == shorter_grid(grid.info, 64, 12)  # whole chunks of 4 after the first


def test_bytes_are_counted_in_bits_of_an_id(register: VideoTokenizerPipeline, video: torch.Tensor) -> None:
    results = list(reconstruct(register, Clip(video[:1], 17, 8.0), budgets_of((8, 1)), 1))
    assert [(r.keep_k, r.num_tokens, r.num_bytes) for r in results] == [(1, 5, 7), (8, 40, 50)]


@pytest.fixture(scope="module")
def world_mp4() -> Path:
    import gradio

    path = Path(gradio.__file__).parent / "media_assets" / "videos" / "world.mp4"
    assert path.exists()
    return path


def test_command_line_reconstructs_a_real_video(world_mp4: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flextok", "reconstruct", str(world_mp4), "--k", "1", "64", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert [row["keep_k"] for row in report["budgets"]] == [1, 64]
    assert [row["num_tokens"] for row in report["budgets"]] == [5, 320]
    # A grey picture has 7.1 dB. That more tokens help is tested on Toybox.
    assert min(row["psnr_db"] for row in report["budgets"]) > 16
    assert len(read_video(tmp_path / "k064.mp4").frames) == 17
    assert probe_video(tmp_path / "side_by_side.mp4").width > 3 * 190


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconstruct", "nothing.mp4"],
        ["reconstruct", __file__],
        ["reconstruct", "x.mp4", "--model", "nobody/nothing"],
        ["reconstruct", "x.mp4", "--k", "1", "1000"],
        ["generate", "--class", "bounces", "-o", "no_such_folder/x.mp4"],
        ["generate", "--prompt", b"\xff ball"],
    ],
)
def test_command_line_says_one_sentence_when_something_is_wrong(arguments: list[str | bytes]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flextok", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("load", [flextok.load_tokenizer, flextok.load_generator])
@pytest.mark.parametrize(
    "options",
    [{"device": "gpu"}, {"device": "cuda:99"}, {"device": 1.5}, {"dtype": "float16"}, {"dtype": torch.int8}],
)
def test_a_wrong_place_or_format_is_one_sentence(load: Callable[..., object], options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name) as error:
        load(**options)
    assert len(str(error.value)) < 120
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("source", "says"), [("embeded", "built in are"), (ASSETS / "embedded/tokenizer", "its VAE")])
def test_what_is_no_model_is_one_sentence(source: str | Path, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        flextok.load_tokenizer(source)


def test_half_precision_gives_nearly_the_same(video: torch.Tensor) -> None:
    video, dtype = video[:1, :, :5], torch.bfloat16  # a short clip: many CPUs emulate bfloat16
    for name in ("embedded", "embedded-grid"):
        exact, half = flextok.load_tokenizer(name), flextok.load_tokenizer(name, dtype=dtype)
        ids, rounded = exact.tokenize(video), half.tokenize(video)
        assert (ids == rounded).float().mean() > 0.6, name
        noise = exact.prepare_latents(ids, torch.Generator().manual_seed(0))
        pair = [pipe.detokenize(ids, latents=noise, num_inference_steps=1).frames for pipe in (exact, half)]
        assert float(psnr(*pair)) > 30, name
    assert exact.to(dtype).tokenizer.code_norm.mean.dtype == torch.float32


def test_short_and_long_files_lose_nothing(register: VideoTokenizerPipeline, world_mp4: Path) -> None:
    long = register.read(world_mp4, max_chunks=3)
    assert (long.video.shape[2], long.num_real) == (49, 49)
    tail = register.read(world_mp4, start_s=29.5, max_chunks=1)
    assert tail.video.shape[2] == 17
    assert tail.num_real < 17
    assert torch.equal(tail.video[:, :, tail.num_real - 1], tail.video[:, :, -1])
