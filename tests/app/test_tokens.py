"""Tokens through the service: what leaves comes back as the same video, and other weights are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from app.components.player import likeness, pair_payload, psnr_db
from app.components.token_strip import edits_from_page, strip_value
from app.recolour import turn_hue
from app.request import Request
from app.service import VideoService
from app.shipped import example_paths
from flextok.tokens.clip import ClipTokens
from flextok.tokens.edit import Edit, apply_edits
from flextok.tokens.link import pack, unpack

EXAMPLE = str(example_paths()[0])


@pytest.fixture(scope="module")
def service() -> VideoService:
    return VideoService()


@pytest.fixture(scope="module")
def tokens(service: VideoService) -> ClipTokens:
    return service.tokenize(Request(EXAMPLE, steps=1))[0]


def test_a_link_decodes_to_the_same_video(service: VideoService, tokens: ClipTokens) -> None:
    few = tokens.prefix(2)
    video = service.decode(tokens, 2)
    assert video.shape == (17, 64, 64, 3)
    assert (VideoService().decode(unpack(pack(few))) == video).all()
    assert service.decode(few) is video  # decoded once


def test_an_edit_changes_the_video_and_restoring_it_does_not(service: VideoService, tokens: ClipTokens) -> None:
    levels = service.levels(tokens.model)
    edited = tokens.with_ids(apply_edits(tokens.array(), [Edit("resample")], levels))
    assert likeness(service.decode(tokens, 2), service.decode(edited, 2)).startswith("PSNR")
    restored = tokens.with_ids(apply_edits(tokens.array(), [Edit("mute"), Edit("restore")], levels))
    assert restored == tokens
    payload = pair_payload(tokens, ("A", [], service.decode(tokens, 2)), ("B", [], service.decode(edited, 2)))
    assert payload["source"] != payload["registers"][0]["sprite"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fingerprint": "0" * 16}, "other weights"),
        ({"model": "no such"}, "no model"),
        ({"model": "<b>x</b>"}, "no model"),
        ({"num_ids": 2000}, "values each"),
        ({"steps": 1000}, "at most"),
    ],
)
def test_tokens_that_do_not_fit_are_one_sentence(
    service: VideoService, tokens: ClipTokens, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(gr.Error, match=says) as caught:
        service.decode(replace(tokens, **change))
    assert "\n" not in caught.value.message
    assert "<b>" not in caught.value.message


def test_too_many_tokens_are_refused(service: VideoService, tokens: ClipTokens) -> None:
    for shape in ((5, 65), (22, 1), (6, 1)):
        with pytest.raises(gr.Error):
            service.decode(tokens.with_ids(np.zeros(shape, np.int64)))


def test_the_strip_shows_what_was_asked_for(tokens: ClipTokens) -> None:
    edits = edits_from_page([{"operation": "mute", "frame": 1, "register": None}])
    assert edits == [Edit("mute", 1, None)]
    value = strip_value(tokens, tokens.array(), edits, (8, 5, 5, 5), 4)
    assert value["edits"] == [{"operation": "mute", "frame": 1, "register": None}]


@pytest.mark.parametrize(
    "data", [None, "mute", {}, [1], [{"operation": "eval"}], [{"operation": "mute", "frame": "0"}],
             [{"operation": "mute", "frame": True}], [{"operation": "mute", "x": 1}], [{"operation": "mute"}] * 201]
)  # fmt: skip
def test_edits_from_strangers_are_checked(data: object) -> None:
    with pytest.raises(gr.Error):
        edits_from_page(data)


def test_another_first_frame_leads_the_clip(service: VideoService, tokens: ClipTokens) -> None:
    own = service.picture(EXAMPLE, tokens.model)
    other = service.picture(str(example_paths()[3]), tokens.model)
    assert own.shape == (64, 64, 3)
    video = service.decode_from(tokens, 1, other)
    assert psnr_db(video[:1], other[None]) > psnr_db(video[:1], own[None]) + 3
    assert psnr_db(video[-1:], service.decode(tokens, 1)[-1:]) < 40
    for path in (None, "", __file__):
        with pytest.raises(gr.Error):
            service.picture(path, tokens.model)


def test_hues_turn_and_grey_stays() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[0] = (200, 10, 10)
    frame[1] = 90
    turned = turn_hue(frame, 120)
    assert turned[0, 0].argmax() == 1
    assert (turned[1] == 90).all()
    assert (turn_hue(frame, 0) == frame).all()
    assert (turn_hue(frame, 360) == frame).all()
