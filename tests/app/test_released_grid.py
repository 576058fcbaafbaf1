"""The paper's own 3D grid beside a released checkpoint, fetched from the Hub's cache as it would be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from app.components.player import payload
from app.request import Request
from app.service import Progress, VideoService
from app.shipped import example_paths
from app.store import LOADED
from app.tabs.explore import note
from flextok.availability import local_id
from flextok.loading.registry import VIDTOK
from flextok.released.vae import VAESize, VidTok
from flextok.released.vidtok_grid import FILE

CASE = Path(__file__).parents[1] / "released/cases/case_a"
EXAMPLE = str(example_paths()[0])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the Hub's client, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    yield tmp_path
    for name in [name for name in LOADED if name.startswith((VIDTOK, "local/"))]:
        del LOADED[name]


def reconstructed() -> tuple[Progress, VideoService]:
    service = VideoService([str(CASE)])
    service.look_around()
    *_, last = service.reconstruct(Request(EXAMPLE, model=local_id(str(CASE)), steps=1, guidance=1.0))
    return last, service


def test_a_released_model_has_its_grid_beside_it(cache: Path) -> None:
    snapshot = cache / f"models--{VIDTOK.replace('/', '--')}" / "snapshots" / "0123abc"
    (snapshot / FILE).parent.mkdir(parents=True)
    (snapshot / "README.md").write_text("VidTok")
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123abc")
    torch.manual_seed(0)
    torch.save({"state_dict": VidTok(VAESize(32, 1, 6, has_variance=False)).state_dict()}, snapshot / FILE)
    progress, service = reconstructed()
    assert progress.no_grid == ""
    cells = (progress.clip.video.shape[-1] // 8) ** 2
    assert [(grid.keep_k, grid.num_tokens) for grid in progress.coarser_grid] == [(cells, 5 * cells)]
    shorter = {k: grid for k, grid in progress.shorter_grid}
    assert shorter  # k * 5 registers pay for so many whole latent frames of cells
    for k, grid in shorter.items():
        assert grid.num_tokens == 5 * k // cells * cells
        assert grid.frames.shape[2] == 4 * (grid.num_tokens // cells) - 3
    shown = payload(progress, service.entry(local_id(str(CASE))), note(progress))
    assert len(shown["grid"]) == 1
    assert "No 3D grid" not in shown["note"]


def test_without_it_the_clip_is_decoded_all_the_same_and_says_why(cache: Path) -> None:  # noqa: ARG001
    progress, _ = reconstructed()
    assert progress.done
    assert len(progress.sweep) > 3
    assert not progress.coarser_grid
    assert "No 3D grid beside it" in note(progress)
    assert VIDTOK in note(progress)
