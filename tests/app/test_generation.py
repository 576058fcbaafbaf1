"""Generate and Long video behind the page, on the generator that ships."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

from app.generation import GenerateRequest, GeneratorService, generated_payload, with_chunk_bar
from app.store import ModelStore


@pytest.fixture(scope="module")
def service() -> GeneratorService:
    return GeneratorService(ModelStore())


def test_one_sequence_at_every_budget(service: GeneratorService) -> None:
    results = list(service.generate(GenerateRequest("bounces", keep_k=6)))
    assert [r.keep_k for r in results] == [1, 2, 4, 6]
    assert [r.tokens for r in results] == [5, 10, 20, 30]
    again = list(service.generate(GenerateRequest("bounces", keep_k=2)))
    assert np.array_equal(again[-1].frames, results[1].frames)  # the same seed, stopped earlier
    payload = generated_payload(results, "bounces")
    assert payload["shown"] == [1, 2, 4]  # the finest stands where an original would
    assert payload["registers"][-1]["psnr"] is None
    assert all(row["psnr"] > 5 for row in payload["registers"][:-1])


def test_the_grid_writes_all_its_tokens(service: GeneratorService) -> None:
    request = GenerateRequest("bounces", keep_k=2)
    grid = service.grid(request)
    assert (grid.keep_k, grid.tokens, grid.frames.shape) == (64, 320, (17, 64, 64, 3))
    assert np.array_equal(grid.frames, service.grid(request).frames)
    extra = generated_payload(list(service.generate(request)), "bounces", grid)["extra"]
    assert [row["frames"] for row in extra] == [17]


def test_long_video_grows_chunk_by_chunk(service: GeneratorService) -> None:
    request = GenerateRequest("", "a red ball rolls left, then bounces", keep_k=2, chunks=3)
    results = list(service.long_video(request))
    assert [len(r.frames) for r in results] == [17, 33, 49]
    assert [r.tokens for r in results] == [10, 18, 26]
    assert np.array_equal(results[0].frames, results[-1].frames[:17])
    barred = with_chunk_bar(results[-1].frames, 49)
    assert np.abs(barred[:, 2:256:4, 2:256:4].astype(int) - results[-1].frames).mean() < 4  # enlarged four times
    assert len(np.unique(barred[-1, -1], axis=0)) == 2  # two colours, changing at the chunks
    assert len(np.unique(barred[0, -1], axis=0)) <= 2


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (GenerateRequest("flies"), "neither"),
        (GenerateRequest("", "x" * 500), "characters"),
        (GenerateRequest("", "elephant"), "does not know: elephant"),
        (GenerateRequest("drops", keep_k=65), "Tokens per latent frame"),
        (GenerateRequest("drops", seed=-1), "Seed"),
        (GenerateRequest("drops", temperature=float("nan")), "Temperature"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    service: GeneratorService, request_: GenerateRequest, sentence: str
) -> None:
    with pytest.raises(gr.Error, match=sentence):
        list(service.generate(request_))
