"""Every tokenizer sees the pixels it was trained on, whichever way a file reaches it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import flextok
from app.request import Request
from app.uploads import read_clip
from flextok.metrics import psnr
from flextok.video.pixels import to_float
from flextok.video.read import read_video

RELEASED = Path(__file__).parent.parent / "released/cases/case_a"


@pytest.fixture(scope="module")
def upload(repository: Path) -> Path:
    return repository / "assets/examples/1-rolls.mp4"


def test_app_and_library_give_a_released_checkpoint_the_same_tokens(upload: Path) -> None:
    pipe = flextok.load_tokenizer(RELEASED)
    tokens = pipe.tokenize(pipe.read(upload, max_chunks=1))
    assert torch.equal(pipe.tokenize(read_clip(Request(str(upload), model="x"), pipe)), tokens)
    # Pillow's pixels, rounded to bytes, as this went before, are other tokens.
    frames = read_video(upload, fps=pipe.info.fps, num_frames=17, size=pipe.info.height).frames
    assert not torch.equal(pipe.tokenize(to_float(frames)), tokens)


@pytest.mark.slow
def test_the_command_line_reads_for_the_model_that_it_is_given(upload: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flextok", "reconstruct", str(upload), "--model", str(RELEASED), "--k", "8"]
    command += ["--steps", "2", "--guidance", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    pipe = flextok.load_tokenizer(RELEASED)
    clip = pipe.read(upload, max_chunks=1)
    decoded = pipe.detokenize(
        pipe.tokenize(clip), 8, num_inference_steps=2, guidance_scale=1.0, generator=torch.Generator().manual_seed(0)
    )
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["budgets"]
    assert row["psnr_db"] == pytest.approx(float(psnr(decoded.frames, clip.video)[0]), abs=1e-3)


def test_own_tokenizers_read_too(upload: Path) -> None:
    pipe = flextok.load_tokenizer("embedded")
    clip = pipe.read(upload)
    assert (clip.video.shape, clip.num_real, clip.fps) == ((1, 3, 17, 64, 64), 17, 8.0)
    assert torch.equal(pipe.tokenize(clip), pipe.tokenize(clip.video))
    frames = read_video(upload, fps=8, num_frames=17, size=64).frames
    assert torch.equal(clip.video, to_float(frames))
