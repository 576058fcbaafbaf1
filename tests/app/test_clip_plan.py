"""Trim and crop: what is read is what is said, and limits are sentences."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from app import uploads
from app.clip_plan import describe_file, describe_plan, snap
from app.request import Request, parse_crop
from app.service import VideoService
from app.shipped import example_paths
from flextok.video.read import VideoInfo

EXAMPLE = str(example_paths()[0])


@pytest.mark.parametrize(("frames", "snapped"), [(1, 17), (17, 17), (18, 33), (33, 33), (34, 49), (49, 49)])
def test_frames_snap_to_17_plus_16_n(frames: int, snapped: int) -> None:
    assert snap(frames, 17) == snapped


def test_the_plan_says_what_is_read_and_what_is_padded() -> None:
    assert "which are 17: nothing to pad; 5 latent frames" in describe_plan(17, 8, 0, 17, 30.0)
    assert "padded to 33 = 17 + 16 x 1 for the model: 9 latent frames" in describe_plan(24, 8, 1.0, 17, 30.0)
    assert "8 frames, 0.00 to 1.00 s" in describe_plan(17, 8, 0, 17, 1.0)
    assert "the video has no 17" in describe_plan(17, 8, 0, 17, 1.0)
    assert "Read: 17 frames" in describe_plan(17, 8, 0, 17, 2.067)  # the last one is on screen at 2.0 s
    assert "before the start" in describe_plan(17, 8, 5.0, 17, 2.0)


def test_a_file_is_described_by_what_is_in_it() -> None:
    assert describe_file(VideoInfo(480, 270, 25.0, 10, 4.0, 0, "h2<b>64")) == (
        "480 x 270, 4.0 s at 25 frames a second, h2b64."
    )
    assert describe_file(VideoInfo(48, 27, 0.0, 1, 0.0, 0, "png")) == "A picture of 48 x 27."


def test_what_is_read_is_what_is_planned() -> None:
    service = VideoService()
    for length_s, frames in ((None, 17), (1.0, 8), (2.0, 16)):
        tokens, source = service.tokenize(Request(EXAMPLE, length_s=length_s, steps=1))
        assert len(source) == tokens.num_frames == frames
        assert tokens.latent_frames == 5
    longer, source = service.tokenize(Request(EXAMPLE, length_s=2.0, fps=16.0, steps=1))
    assert (len(source), longer.latent_frames) == (32, 9)
    with pytest.raises(gr.Error, match="more than 49"):
        service.tokenize(Request(EXAMPLE, length_s=20.0))


def test_a_crop_reads_a_part_of_the_picture(tmp_path: Path) -> None:
    picture = Image.new("RGB", (120, 60), "red")
    picture.paste("blue", (60, 0, 120, 60))
    picture.save(tmp_path / "halves.png")
    service = VideoService()
    for crop, colour in (("0,0,0.5,1", 0), ("0.5,0,0.5,1", 2)):
        _, frames = service.tokenize(Request(str(tmp_path / "halves.png"), crop=crop))
        assert frames.reshape(-1, 3).mean(axis=0).argmax() == colour
        assert frames.reshape(-1, 3).mean(axis=0)[1] < 5
    about, _, frame = service.preview(Request(str(tmp_path / "halves.png")))
    assert frame.shape == (60, 120, 3)
    assert about.startswith("A picture")


@pytest.mark.parametrize(
    "text", ["1", "a,b,c,d", "0,0,0,0", "0,0,2,1", "-1,0,1,1", "nan,0,1,1", "0,0,1,1,1", "<b>,0,1,1"]
)
def test_crops_from_strangers_are_checked(text: str) -> None:
    with pytest.raises(gr.Error) as caught:
        parse_crop(text)
    assert "<b>" not in caught.value.message
    assert parse_crop("") is None
    assert parse_crop("0.25,0,0.5,1") == (0.25, 0, 0.5, 1)


def test_uploads_over_a_limit_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = VideoService()
    cases = (("MAX_UPLOAD_MB", 0, "MB"), ("MAX_PIXELS", 100, "pixel"), ("MAX_UPLOAD_S", 1.0, "minutes"))
    for name, value, says in cases:
        with monkeypatch.context() as patch:
            patch.setattr(uploads, name, value)
            for ask in (service.tokenize, service.preview):
                with pytest.raises(gr.Error, match=says):
                    ask(Request(EXAMPLE))
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    hostile.write_text("no video")
    with pytest.raises(gr.Error) as caught:
        service.preview(Request(str(hostile)))
    assert "<img" not in caught.value.message
