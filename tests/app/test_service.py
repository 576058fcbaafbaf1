"""The service's promises: results coarse to fine, and one sentence for every bad request."""

from __future__ import annotations

import math
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from app.cards import Card, row
from app.service import VideoService, check_request
from app.tabs.reconstruct import budget_line

GOOD = {"path": "clip.mp4", "keep_k": 8, "start_s": 0.0, "steps": 8, "guidance": 1.0, "seed": 0}


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
    assert "**80** tokens" in budget_line(16)
    assert "**100 bytes**" in budget_line(16)


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
