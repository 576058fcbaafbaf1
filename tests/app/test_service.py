"""The service's promises: results coarse to fine, and one sentence for every bad request."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from gradio_client import Client, handle_file

from app.components.picker import picker_rows
from app.components.player import seeds_payload
from app.request import Request
from app.service import VideoService
from app.shipped import example_paths
from app.store import EMBEDDED
from app.uploads import read_clip
from flextok.availability import Availability, local_id
from flextok.loading.registry import list_models
from flextok.video.limits import VideoError
from tests.video.test_strangers_files import heavy_gif

EXAMPLE = str(example_paths()[0])
EMBEDDED_ENTRY = next(entry for entry in list_models() if entry.id == EMBEDDED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"path": ""},
        {"also_k": 0},
        {"also_k": 65},
        {"also_k": 2.5},
        {"also_k": math.nan},
        {"also_k": True},
        {"start_s": -1},
        {"start_s": None},
        {"start_s": math.inf},
        {"fps": 0},
        {"fps": math.nan},
        {"steps": 10_000},
        {"guidance": math.nan},
        {"seed": -1},
        {"seed": "1; drop"},
    ],
)
def test_bad_requests_are_one_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(gr.Error) as caught:
        Request(**{"path": "clip.mp4", **wrong}).check(EMBEDDED_ENTRY)
    assert "\n" not in caught.value.message
    Request("clip.mp4").check(EMBEDDED_ENTRY)


def test_progress_comes_coarse_to_fine() -> None:
    landed = []
    for progress in VideoService().reconstruct(Request(EXAMPLE, also_k=3, steps=1)):
        landed.append((len(progress.sweep), len(progress.coarser_grid), len(progress.shorter_grid), progress.done))
    assert landed == sorted(landed)
    assert landed[0] == (0, 0, 0, False)
    assert landed[-1] == (8, 4, 3, True)
    assert [result.keep_k for result in progress.sweep] == [1, 2, 3, 4, 8, 16, 32, 64]
    equal = {result.keep_k: result.num_tokens for result in progress.coarser_grid}
    assert all(equal.get(result.keep_k, result.num_tokens) == result.num_tokens for result in progress.sweep)
    assert all(short.num_tokens <= 5 * k for k, short in progress.shorter_grid)


def test_other_frame_rates_read_other_frames() -> None:
    slow, fast = (next(VideoService().reconstruct(Request(EXAMPLE, fps=fps))).clip for fps in (4, 8))
    assert slow.num_real == 9
    assert fast.num_real == 17


def test_seeds_share_tokens_and_differ_in_what_is_invented() -> None:
    results = VideoService().seeds(Request(EXAMPLE, steps=2), 4)
    assert [result.label for result in results] == ["seed 0", "seed 1", "seed 2", "seed 3"]
    assert len({result.num_tokens for result in results}) == 1
    assert not torch.equal(results[0].frames, results[1].frames)
    shown = seeds_payload("a-clip", results)
    assert 0 < shown["meanSpread"] < 40
    assert shown["clip"] == "a-clip"
    wrongs: tuple[Any, ...] = (0, 65, None, "4", math.nan)
    for wrong in wrongs:
        with pytest.raises(gr.Error):
            VideoService().seeds(Request(EXAMPLE), wrong)


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    for path in (text, tmp_path / "missing.mp4"):
        with pytest.raises(gr.Error):
            list(VideoService().reconstruct(Request(str(path))))


def test_one_budget_holds_from_the_first_look_to_the_last_frame(tmp_path: Path) -> None:
    """115 KB that used to hold the models' lane for a minute: 5,000 pictures of 9 megapixels."""
    heavy, service = heavy_gif(tmp_path / "heavy.gif", 5000), VideoService()
    about, plan, _ = service.preview(Request(str(heavy)))
    assert "100.0 s" in about
    assert "17 frames" in plan
    pipe, started = service.model(EMBEDDED), time.perf_counter()
    with pytest.raises(VideoError, match=r"more than 4 billion pixels|longer than 20 s"):
        read_clip(Request(str(heavy), start_s=90), pipe)
    assert time.perf_counter() - started < 25  # its own limit is 20


def test_models_that_cannot_run_say_why(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    service = VideoService([str(tmp_path), str(tmp_path / "missing")])
    found = {entry.id: available for entry, available in service.look_around()}
    assert found["embedded"] is not None
    assert found["embedded"].runs
    for source in (tmp_path, tmp_path / "missing"):
        available = found[local_id(str(source))]
        assert available is not None
        assert available.reason
        assert "\n" not in available.reason
    for refused in ("no such model", local_id(str(tmp_path)), str(tmp_path), ""):
        with pytest.raises(gr.Error) as caught:
            list(service.reconstruct(Request(EXAMPLE, model=refused)))
        assert "\n" not in caught.value.message


def test_picker_rows_say_what_is_not_known_yet() -> None:
    entry = list_models()[0]
    assert picker_rows([(entry, Availability("cpu"))])[0]["reason"] == ""
    assert "looking" in picker_rows([(entry, None)])[0]["reason"]


def test_api_reconstructs_and_refuses(page: str, tmp_path: Path) -> None:
    client = Client(page, verbose=False)
    job = client.submit(handle_file(EXAMPLE), steps=1, api_name="/reconstruct")
    status, shown = job.result(timeout=120)
    assert status.startswith("Done")
    assert [result["k"] for result in shown["registers"]] == [1, 2, 4, 8, 16, 32, 64]
    # The first answer may say no more than that the model is loading.
    budgets_seen = [len(shown["registers"]) for _, shown in job.outputs() if "registers" in shown]
    assert budgets_seen == sorted(budgets_seen)
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    with pytest.raises(Exception, match="notes"):
        client.predict(handle_file(text), api_name="/reconstruct")
    with pytest.raises(Exception, match="no model"):
        client.predict(handle_file(EXAMPLE), model="<script>", api_name="/reconstruct")
