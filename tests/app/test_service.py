"""The service's promises: results coarse to fine, and one sentence for every bad request."""

from __future__ import annotations

import math
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from app.cards import Card, row
from app.picker import picker_rows
from app.service import VideoService, check_request
from app.tabs.reconstruct import budget_line
from flextok.availability import Availability, local_id
from flextok.registry import list_models

GOOD = {
    "path": "clip.mp4",
    "keep_k": 8,
    "start_s": 0.0,
    "steps": 8,
    "guidance": 1.0,
    "seed": 0,
    "num_registers": 64,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"path": ""},
        {"keep_k": 0},
        {"keep_k": 65},
        {"keep_k": 2.5},
        {"keep_k": math.nan},
        {"keep_k": None},
        {"start_s": -1},
        {"start_s": math.inf},
        {"steps": 10_000},
        {"guidance": math.nan},
        {"seed": -1},
        {"seed": "1; drop"},
    ],
)
def test_bad_requests_are_one_sentence(wrong: dict[str, object]) -> None:
    with pytest.raises(gr.Error) as caught:
        check_request(**{**GOOD, **wrong})
    assert "\n" not in caught.value.message
    check_request(**GOOD)


def test_progress_comes_coarse_to_fine() -> None:
    service = VideoService()
    steps = list(service.reconstruct(str(service.example_paths()[0]), 16, 0.0, 2, 1.0, 0))
    seen = [[result.keep_k for result in step.sweep] for step in steps[-1:]]
    assert seen == [[1, 4, 16, 64]]
    last = steps[-1]
    assert last.done
    assert last.chosen is not None
    assert last.coarser_grid is not None
    assert last.chosen.num_tokens == last.coarser_grid.num_tokens == 80
    assert last.fewer_frames is not None
    assert last.fewer_frames.frames.shape[2] == 1


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    for path in (text, tmp_path / "missing.mp4"):
        with pytest.raises(gr.Error):
            list(VideoService().reconstruct(str(path), 8, 0.0, 2, 1.0, 0))


def test_budget_line_counts_tokens_and_bytes() -> None:
    embedded, released = (entry for entry in list_models() if entry.id == "embedded" or entry.pixels == 256)
    assert "**80** tokens" in budget_line(16, embedded)
    assert "**100 bytes**" in budget_line(16, embedded)
    assert "**160 bytes**" in budget_line(16, released)


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
    for refused in ("no such model", local_id(str(tmp_path)), str(tmp_path), None):
        with pytest.raises(gr.Error) as caught:
            list(service.reconstruct(str(service.example_paths()[0]), 8, 0.0, 2, 1.0, 0, refused))
        assert "\n" not in caught.value.message


def test_picker_rows_say_what_is_not_known_yet() -> None:
    entry = list_models()[0]
    assert picker_rows([(entry, Availability("cpu"))])[0]["reason"] == ""
    assert "looking" in picker_rows([(entry, None)])[0]["reason"]


def test_cards_escape_and_say_what_is_not_encoded() -> None:
    html = row([Card("<script>", ('"quoted"',), None)], 17)
    assert "<script>" not in html
    assert "not encoded" in html


def test_api_reconstructs_and_refuses(page: str, tmp_path: Path) -> None:
    client = Client(page, verbose=False)
    names = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(names) == ["/reconstruct"]
    example = VideoService.example_paths()[1]
    status, chosen, ladder = client.predict(handle_file(example), 8, 0, 2, 1, 0, api_name="/reconstruct")
    assert status.startswith("Done")
    assert chosen.count("<figure>") == 4
    assert ladder.count("<img ") == 5
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    with pytest.raises(Exception, match="notes"):
        client.predict(handle_file(text), 8, 0, 2, 1, 0, api_name="/reconstruct")
