"""The embedded tokenizers say of three clips what they said when their weights were shipped.

`PYTHONPATH=. python tests/pipelines/test_golden.py` writes the file anew: when new weights ship, and at no other time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from flextok.api import load_tokenizer
from flextok.data.datasets import ToyboxDataset
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.toybox.sampling import TEST_SEEDS
from flextok.video.pixels import to_float

FILE = Path(__file__).with_name("golden.safetensors")
NAMES = ("embedded", "embedded-grid")
BUDGETS = {"embedded": (1, 8, 64), "embedded-grid": (1, 16, 64)}


def clips() -> list[Tensor]:
    """Two of one chunk and one of two, (1, 3, T, 64, 64)."""
    kinds = ((0, 1), (1, 1), (2, 2))
    return [to_float(ToyboxDataset(TEST_SEEDS[i : i + 1], num_actions=n)[0]) for i, n in kinds]


def small(frames: Tensor) -> Tensor:
    """Frames (1, 3, T, 64, 64) as means of 8x8 pixels, which is enough to see a change by."""
    return F.avg_pool3d(frames, (1, 8, 8)).half()


def decoded(pipe: VideoTokenizerPipeline, ids: Tensor) -> Tensor:
    return small(pipe.detokenize(ids, generator=torch.Generator().manual_seed(0)).frames)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_and_frames_are_as_they_were(name: str) -> None:
    stored = load_file(FILE)
    pipe = load_tokenizer(name)
    with safe_open(FILE, "pt") as file:
        assert file.metadata()[name] == pipe.fingerprint, "new weights: write the file anew"
    for i, clip in enumerate(clips()):
        for k in BUDGETS[name]:
            ids, frames = stored[f"{name}.{i}.{k}.ids"].long(), stored[f"{name}.{i}.{k}.frames"]
            # Kernels of other machines round otherwise: a code in hundreds falls to the other side, no more.
            assert (pipe.tokenize(clip, k) != ids).float().mean() <= 0.01
            torch.testing.assert_close(decoded(pipe, ids), frames, atol=4e-3, rtol=0)


def main() -> None:
    found, files = {}, {}
    for name in NAMES:
        pipe = load_tokenizer(name)
        files[name] = pipe.fingerprint
        for i, clip in enumerate(clips()):
            for k in BUDGETS[name]:
                ids = pipe.tokenize(clip, k)
                found[f"{name}.{i}.{k}.ids"], found[f"{name}.{i}.{k}.frames"] = ids.short(), decoded(pipe, ids)
    save_file(found, FILE, metadata=files)


if __name__ == "__main__":
    main()
