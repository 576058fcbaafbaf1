"""Files as phones, cameras, editors and the web make them: colours, transparency, streams, times, effort."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from flextok.video import container as container_of_videos
from flextok.video.limits import DecodeBudget
from flextok.video.read import probe_video, read_video
from tests.video.test_video_files import assert_refused, numbered, numbers

PATCHES = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128]])
LIGHT = (PATCHES / 255) ** 2.4  # of a display of BT.1886, white being 1
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
BT2020, BT709 = (0.2627, 0.0593), (0.2126, 0.0722)  # weights of red and blue in luma


def to_hlg(light: np.ndarray) -> np.ndarray:
    scene = (light * 0.203) ** (1 / 1.2)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


def to_pq(light: np.ndarray) -> np.ndarray:
    share = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * share) / (1 + 18.6875 * share)) ** 78.84375


def encode_yuv(
    path: Path, rgb: np.ndarray, weights: tuple[float, float], size: tuple[int, int], bits: int, **tags: int
) -> Path:
    """Patches side by side, lossless YUV of limited range; their RGB, (4, 3) in [0, 1], is put into YUV by hand."""
    height, width = size
    red, blue = weights
    y = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = (rgb[:, 2] - y) / (2 - 2 * blue), (rgb[:, 0] - y) / (2 - 2 * red)
    scale = 2 ** (bits - 8)
    planes = [219 * y + 16, *(224 * c + 128 for c in chroma)]
    row = [np.repeat(np.round(plane * scale), width // 4) for plane in planes]
    kind = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, kind
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index in range(2):
            frame = av.VideoFrame(width, height, kind)
            for plane, values in zip(frame.planes, row, strict=True):
                dtype = np.uint8 if bits == 8 else np.uint16
                pixels = np.zeros((height, plane.line_size // dtype().itemsize), dtype)
                pixels[:, :width] = values
                plane.update(pixels.tobytes())
            frame.colorspace = tags.get("colorspace", 2)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_patches(path: Path) -> np.ndarray:
    frame = read_video(path).frames[0]
    height, width = frame.shape[:2]
    return frame[height // 2, [int((i + 0.5) * width / 4) for i in range(4)]].astype(int)


@pytest.mark.parametrize(("transfer", "signal"), [(18, to_hlg), (16, to_pq)], ids=["hlg", "pq"])
def test_hdr_looks_as_it_would_in_sdr(
    tmp_path: Path, transfer: int, signal: Callable[[np.ndarray], np.ndarray]
) -> None:
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    stored = signal(LIGHT @ TO_BT2020.T)
    path = encode_yuv(tmp_path / "hdr.mkv", stored, BT2020, (64, 256), 10, **tags)
    assert np.abs(read_patches(path) - PATCHES).max() <= 4
    # What is brighter than white still differs from it, and nothing turns back to dark.
    ramp = np.array([0.6, 1.0, 2.0, 4.0])[:, None].repeat(3, axis=1)
    grey = read_patches(encode_yuv(tmp_path / "ramp.mkv", signal(ramp), BT2020, (64, 256), 10, **tags))[:, 0]
    assert (np.diff(grey) >= 3).all()
    assert 220 < grey[1] < 245


def test_hdr_that_states_the_primaries_of_hd_keeps_its_hues(tmp_path: Path) -> None:
    tags = {"colorspace": 1, "color_primaries": 1, "color_trc": 18, "color_range": 1}
    path = encode_yuv(tmp_path / "hdr.mkv", to_hlg(LIGHT), BT709, (64, 256), 10, **tags)
    assert np.abs(read_patches(path) - PATCHES).max() <= 4


def test_wide_colours_keep_their_depth(tmp_path: Path) -> None:
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1}
    stored = (LIGHT @ TO_BT2020.T) ** (1 / 2.4)
    path = encode_yuv(tmp_path / "wide.mkv", stored, BT2020, (64, 256), 10, **tags)
    assert np.abs(read_patches(path) - PATCHES).max() <= 4


@pytest.mark.parametrize(
    ("size", "tags", "weights"),
    [
        ((720, 1280), {}, BT709),
        ((1280, 720), {}, BT709),
        ((480, 640), {}, (0.299, 0.114)),
        ((480, 640), {"colorspace": 1}, BT709),
        ((720, 1280), {"colorspace": 6}, (0.299, 0.114)),
    ],
    ids=["hd", "hd upright", "sd", "sd tagged", "hd tagged"],
)
def test_the_matrix_is_the_stated_one_or_that_of_the_size(
    tmp_path: Path, size: tuple[int, int], tags: dict[str, int], weights: tuple[float, float]
) -> None:
    path = encode_yuv(tmp_path / "clip.mkv", PATCHES / 255, weights, size, 8, color_range=1, **tags)
    assert np.abs(read_patches(path) - PATCHES).max() <= 3


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("clip.webm", "libvpx-vp9", "yuva420p"),
        ("clip.webm", "libvpx", "yuva420p"),
        ("clip.mov", "prores_ks", "yuva444p10le"),
        ("clip.mov", "qtrle", "argb"),
        ("clip.mov", "png", "rgba"),
        ("clip.mkv", "ffv1", "yuva420p"),
    ],
)
def test_what_is_transparent_becomes_white_in_every_codec(tmp_path: Path, name: str, codec: str, kind: str) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0], pixels[:, 32:, 3] = 255, 255  # red everywhere, hidden on the left
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, kind
        if codec.startswith("libvpx"):
            stream.options = {"auto-alt-ref": "0"}
            stream.metadata["alpha_mode"] = "1"
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format=kind)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read_video(tmp_path / name).frames.astype(int)
    assert len(frames) == 3
    assert np.abs(frames[:, 8:-8, 4:24] - 255).max() <= 3
    assert np.abs(frames[:, 8:-8, 40:60] - [255, 0, 0]).max() <= 12


def song_with_cover(tmp_path: Path) -> Path:
    """An mp3 whose ID3 tag holds a picture, as players show it beside a song."""
    cover, song, path = tmp_path / "cover.png", tmp_path / "song.mp3", tmp_path / "tagged.mp3"
    Image.new("RGB", (32, 32), "red").save(cover)
    with av.open(str(song), "w") as container:
        stream = container.add_stream("mp3", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.int16), format="s16", layout="mono")
        frame.rate = 44_100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    body = b"\0image/png\0\x03\0" + cover.read_bytes()
    frame_bytes = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame_bytes) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame_bytes + song.read_bytes())
    return path


def test_an_attached_picture_is_no_video(tmp_path: Path) -> None:
    path = song_with_cover(tmp_path)
    assert_refused(lambda: read_video(path), "no video")
    assert_refused(lambda: probe_video(path), "no video")


def test_the_default_stream_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        for disposition in (Disposition(0), Disposition.default):
            stream = container.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            stream.disposition = disposition.value
        for shade, stream in zip((0, 255), container.streams.video, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 0, Fraction(1, 10)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert read_video(path).frames.mean() > 250


@pytest.mark.parametrize("name", ["clip.avi", "clip.h264"])
def test_reordered_frames_without_times_come_complete_and_in_order(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "3", "b-adapt": "0", "g": "30", "crf": "10"})
        stream.height, stream.width = numbered(1).shape[1:3]
        stream.pix_fmt = "yuv420p"
        for index, pixels in enumerate(numbered(90)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert numbers(read_video(path).frames) == list(range(90))
    # At the file's own rate each picture is taken once, and a later start finds its own.
    rate = probe_video(path).fps
    assert numbers(read_video(path, fps=rate, num_frames=80).frames) == list(range(80))
    assert numbers(read_video(path, start_s=2.5, fps=rate, num_frames=4).frames) == [
        int(2.5 * rate) + i for i in range(4)
    ]


def heavy_gif(path: Path, num_pictures: int, side: int = 3000) -> Path:
    """Pictures of one new pixel each on a canvas of 9 megapixels: a few bytes that take long to decode."""
    picture = b"\x21\xf9\x04\x04\x02\0\0\0" + b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    header = b"GIF89a" + struct.pack("<2H3B", side, side, 0x80, 0, 0) + bytes(6)
    path.write_bytes(header + picture * num_pictures + b"\x3b")
    return path


def test_a_heavy_animation_is_measured_at_once_and_read_within_its_budget(tmp_path: Path) -> None:
    path = heavy_gif(tmp_path / "heavy.gif", 5000)
    started = time.perf_counter()
    info = probe_video(path)
    assert (info.num_frames, info.duration_s) == (5000, pytest.approx(100))
    assert time.perf_counter() - started < 3
    assert_refused(lambda: read_video(path, fps=8, num_frames=17, size=64, budget=DecodeBudget(pixels=1e8)), "billion")
    # Two steps that share a budget share its end.
    budget = DecodeBudget(pixels=10 * 9e6)
    read_video(path, num_frames=6, size=64, budget=budget)
    assert_refused(lambda: read_video(path, num_frames=6, size=64, budget=budget), "billion")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_times_from_headers_are_those_of_the_pictures(tmp_path: Path, suffix: str) -> None:
    path, delays_ms = tmp_path / f"clip{suffix}", [20, 250, 40, 10, 330]
    pictures = [Image.new("RGB", (16, 16), (40 * i, 0, 0)) for i in range(5)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=delays_ms, loop=0)
    assert probe_video(path).num_frames == 5
    shown_s = [0.02, 0.25, 0.04, 0.1, 0.33]  # 10 ms is too short for browsers
    assert probe_video(path).duration_s == pytest.approx(sum(shown_s))
    starts = np.cumsum([0, *shown_s[:-1]])
    found = [read_video(path, start_s=start + 0.005, num_frames=1, fps=100).frames[0, 0, 0, 0] for start in starts]
    assert np.abs(np.array(found, int) - [0, 40, 80, 120, 160]).max() <= 3


def test_a_programming_error_is_not_told_as_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode_yuv(tmp_path / "clip.mkv", PATCHES / 255, BT709, (64, 256), 8)

    def broken(_: object) -> None:
        raise AttributeError("no such name in this PyAV")

    monkeypatch.setattr(container_of_videos, "stream_look", broken)
    with pytest.raises(AttributeError):
        read_video(path)
