"""Reading and writing real files: which frames are picked, how they are cut, what broken files lead to."""

from __future__ import annotations

import bisect
import importlib.util
import os
import struct
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from flextok.video import read as video_read
from flextok.video.limits import DecodeBudget, VideoError
from flextok.video.picture import resize_frames
from flextok.video.read import Video, pad_to_chunks, probe_video, read_image, read_video
from flextok.video.write import write_video

BITS = 8
HEIGHT, WIDTH = 32, 64


def examples(count: int) -> settings:
    """Hypothesis settings for tests that read files: no deadline, files shared by the examples."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbered(num_frames: int) -> np.ndarray:
    """Frames (T, 32, 64, 3) whose index can be read back after lossy coding: eight black or white bars."""
    bits = np.arange(num_frames)[:, None] >> np.arange(BITS) & 1
    row = np.repeat(bits, WIDTH // BITS, axis=1).astype(np.uint8) * 255
    return np.ascontiguousarray(np.broadcast_to(row[:, None, :, None], (num_frames, HEIGHT, WIDTH, 3)))


def numbers(frames: np.ndarray) -> list[int]:
    """The index that each frame of `numbered` shows."""
    bars = frames.astype(float).mean(axis=(1, 3)).reshape(len(frames), BITS, -1)[:, :, 2:-2].mean(axis=2)
    return [int(value) for value in (bars > 127) @ (1 << np.arange(BITS))]


def encode(
    path: Path,
    frames: np.ndarray,
    times_ms: list[int],
    codec: str = "libx264",
    rate: int = 30,
    options: dict[str, str] | None = None,
) -> Path:
    """Mux frames at the given times, with PyAV alone, so that the tests do not rest on `write_video`."""
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12", **(options or {})})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "mpeg4":
            stream.codec_context.time_base = Fraction(1, rate)
        for pixels, time_ms in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(time_ms / 1000 / stream.codec_context.time_base)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady_ms(num_frames: int, rate: float) -> list[int]:
    return [round(1000 * i / rate) for i in range(num_frames)]


def mp4_with_matrix(path: Path, frames: np.ndarray, matrix: tuple[int, int, int, int]) -> Path:
    """An mp4 whose track header (tkhd) holds the display matrix a, b, c, d."""
    data = bytearray(encode(path, frames, steady_ms(len(frames), 10), rate=10).read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def gradio_video(name: str) -> Path:
    """A real clip that Gradio ships (what `gradio.media.get_video` returns, without importing Gradio)."""
    spec = importlib.util.find_spec("gradio")
    if spec is None or spec.origin is None:
        pytest.skip("gradio is not installed")
    path = Path(spec.origin).parent / "media_assets" / "videos" / name
    if not path.exists():
        pytest.skip(f"this gradio has no {name}")
    return path


def assert_refused(call: Callable[[], object], *words: str) -> None:
    """The call raises one sentence that holds the words and no trace of a library underneath."""
    with pytest.raises(VideoError) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert "Errno" not in text
    assert all(word in text for word in words), text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def steady(folder: Path) -> Path:
    """120 numbered frames at 10 fps, a key frame every 12."""
    return encode(folder / "steady.mp4", numbered(120), steady_ms(120, 10), rate=10)


UNEVEN_MS = [0, 40, 60, 300, 310, 330, 900, 1000, 1001, 1500, 1540, 2400]


@pytest.fixture(scope="module")
def uneven(folder: Path) -> Path:
    return encode(folder / "uneven.mp4", numbered(len(UNEVEN_MS)), UNEVEN_MS)


# --- which frames are read --------------------------------------------------------------------------------


def test_no_arguments_return_every_frame_at_its_own_size_and_rate(steady: Path) -> None:
    video = read_video(steady)
    assert isinstance(video, Video)
    assert video.frames.dtype == np.uint8
    assert video.frames.shape == (120, HEIGHT, WIDTH, 3)
    assert video.fps == pytest.approx(10)
    assert numbers(video.frames) == list(range(120))


@examples(40)
@given(
    start_s=st.floats(0, 2.3),
    fps=st.floats(0.5, 60),
    num_frames=st.integers(1, 40),
)
def test_uneven_times_pick_the_frame_on_screen(uneven: Path, start_s: float, fps: float, num_frames: int) -> None:
    times = [start_s + i / fps for i in range(num_frames)]
    # Within a millisecond of a change of picture, either one is right.
    assume(all(abs(1000 * t - edge) > 1.1 for t in times for edge in UNEVEN_MS[1:]))
    want = [bisect.bisect_right(UNEVEN_MS, 1000 * t) - 1 for t in times if t < UNEVEN_MS[-1] / 1000]
    got = numbers(read_video(uneven, start_s=start_s, fps=fps, num_frames=num_frames).frames)
    assert got[: len(want)] == want
    assert set(got[len(want) :]) <= {len(UNEVEN_MS) - 1}


def test_uneven_times_without_fps_keep_each_stored_frame_once(uneven: Path) -> None:
    assert numbers(read_video(uneven).frames) == list(range(len(UNEVEN_MS)))
    assert numbers(read_video(uneven, start_s=0.35, duration_s=0.7).frames) == [5, 6, 7, 8]


@examples(25)
@given(
    start=st.integers(0, 119),
    duration_s=st.one_of(st.none(), st.floats(0.05, 15)),
    num_frames=st.one_of(st.none(), st.integers(1, 130)),
)
def test_trim_equals_a_slice_of_the_whole(
    steady: Path, start: int, duration_s: float | None, num_frames: int | None
) -> None:
    # 0.05 s past the frame's own time, so that rounding plays no part
    video = read_video(steady, start_s=start / 10 + 0.05, duration_s=duration_s, num_frames=num_frames, fps=10)
    lasting = 120 if duration_s is None else int(np.ceil(duration_s * 10 - 1e-6))
    want = list(range(start, 120))[: min(lasting, 120 if num_frames is None else num_frames)]
    got = numbers(video.frames)
    assert got == want
    assert video.fps == 10


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mov", "libx264"), (".mkv", "libx264"), (".ts", "libx264"), (".webm", "libvpx"), (".avi", "mpeg4"),
     (".avi", "mjpeg")],
)  # fmt: skip
def test_formats_agree_on_what_a_seek_finds(tmp_path: Path, suffix: str, codec: str) -> None:
    rate = 25  # its 40 ms are exact in every container's time base
    options = {"strict": "unofficial"} if codec == "mjpeg" else {"bf": "0"} if suffix == ".avi" else {}
    path = encode(tmp_path / f"clip{suffix}", numbered(150), steady_ms(150, rate), codec, rate, options)
    assert numbers(read_video(path, fps=rate).frames) == list(range(150))
    assert numbers(read_video(path).frames) == list(range(150))
    assert numbers(read_video(path, start_s=4.5, num_frames=5, fps=5).frames) == [112, 117, 122, 127, 132]
    info = probe_video(path)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.fps == pytest.approx(rate, rel=0.01)
    assert info.duration_s == pytest.approx(6, abs=0.1)


def test_webm_rounds_its_times_and_still_gives_each_frame_once(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.webm", numbered(60), steady_ms(60, 30), "libvpx")
    assert numbers(read_video(path, fps=30).frames) == list(range(60))


def test_a_recording_without_a_stated_length_is_scanned(tmp_path: Path) -> None:
    """What a browser's MediaRecorder makes: no duration, no frame count."""
    path = encode(tmp_path / "live.webm", numbered(50), steady_ms(50, 20), "libvpx", 20, {"live": "1"})
    info = probe_video(path)
    assert info.duration_s == pytest.approx(2.5, abs=0.1)
    assert info.fps == pytest.approx(20, rel=0.05)
    assert numbers(read_video(path, start_s=2.2, fps=20, num_frames=4).frames) == [44, 45, 46, 47]


@pytest.mark.parametrize("name", ["world.mp4", "b.mp4", "b.avi"])
def test_real_clips(name: str) -> None:
    path = gradio_video(name)
    info = probe_video(path)
    assert (info.width, info.height, info.rotation_deg) == (480, 270, 0)
    video = read_video(path, start_s=1.0, num_frames=17, fps=8, size=64)
    assert video.frames.shape == (17, 64, 64, 3)
    assert video.frames.std() > 20  # a picture, not grey
    assert np.abs(np.diff(video.frames.astype(int), axis=0)).mean() > 0.5  # and it moves


def test_seek_into_a_real_clip_finds_the_same_frames_as_decoding_all_of_it() -> None:
    path = gradio_video("world.mp4")
    whole = read_video(path, duration_s=9, size=(9, 16))
    part = read_video(path, start_s=7.01, num_frames=10, fps=8, size=(9, 16))
    want = [int((7.01 + i / 8) * 30) for i in range(10)]
    np.testing.assert_array_equal(part.frames, whole.frames[want])


# --- how they are cut -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "turn", "degrees"),
    [
        ((1, 0, 0, 1), lambda f: f, 0),
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1, (1, 2)), 90),
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2, (1, 2)), 180),
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2)), 270),
        ((-1, 0, 0, 1), lambda f: f[:, :, ::-1], None),  # mirrored, as some front cameras store it
    ],
)
def test_rotation_metadata_is_applied(
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    turn: Callable[[np.ndarray], np.ndarray],
    degrees: int | None,
) -> None:
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :16, :16] = (220, 30, 30)  # one red and one green corner tell all turns apart
    frames[:, 16:, :16] = (30, 220, 30)
    path = mp4_with_matrix(tmp_path / "turned.mp4", frames, matrix)
    want = turn(frames)
    got = read_video(path).frames
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).mean() < 4
    info = probe_video(path)
    assert (info.height, info.width) == want.shape[1:3]
    if degrees is not None:
        assert info.rotation_deg == degrees
    corner = read_video(path, crop=(0, 0, 0.25, 0.25)).frames  # the crop is of the displayed picture
    height, width = corner.shape[1:3]
    assert np.abs(corner.astype(int) - want[:, :height, :width]).mean() < 6


def test_stored_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "anamorphic.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    assert (probe_video(path).width, probe_video(path).height) == (64, 32)
    assert read_video(path).frames.shape == (1, 32, 64, 3)


@examples(25)
@given(
    left=st.floats(0, 0.9),
    top=st.floats(0, 0.9),
    width=st.floats(0.1, 1),
    height=st.floats(0.1, 1),
    size=st.one_of(st.integers(8, 80), st.tuples(st.integers(8, 80), st.integers(8, 80)), st.none()),
)
def test_crop_and_size_cut_the_middle_of_the_box(
    ramp: Path, left: float, top: float, width: float, height: float, size: int | tuple[int, int] | None
) -> None:
    width, height = min(width, 1 - left), min(height, 1 - top)
    frames = read_video(ramp, crop=(left, top, width, height), size=size, num_frames=1).frames
    if size is not None:
        assert frames.shape == (1, *((size, size) if isinstance(size, int) else size), 3)
    # Red grows to the right and green downwards, so the mean colour is the centre of what was cut.
    red, green, _ = frames.reshape(-1, 3).mean(axis=0) / 255
    assert red == pytest.approx(left + width / 2, abs=0.02)
    assert green == pytest.approx(top + height / 2, abs=0.02)


@pytest.fixture(scope="module")
def ramp(folder: Path) -> Path:
    x, y = np.meshgrid((np.arange(160) + 0.5) / 160, (np.arange(96) + 0.5) / 96)
    picture = np.stack([x, y, np.full_like(x, 0.5)], axis=-1)
    Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(folder / "ramp.png")
    return folder / "ramp.png"


def test_shrinking_a_fine_pattern_gives_grey_not_moire() -> None:
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_frames(np.broadcast_to(checks[None, :, :, None], (2, 256, 256, 3)), 60)
    assert small.shape == (2, 60, 60, 3)
    assert np.abs(small[:, 2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_resize_to_the_same_size_changes_nothing() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_frames(frames, (20, 30)), frames)
    np.testing.assert_array_equal(resize_frames(frames, 20), frames[:, :, 5:25])


def test_a_still_image_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "portrait.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # show it turned 90 degrees clockwise
    Image.new("RGB", (40, 20), (200, 100, 50)).save(path, exif=exif, quality=95)
    video = read_video(path)
    assert video.frames.shape == (1, 40, 20, 3)
    info = probe_video(path)
    assert (info.width, info.height, info.num_frames, info.duration_s) == (20, 40, 1, 0.0)
    assert read_image(path, short_side=10).shape == (20, 10, 3)
    assert read_video(path, num_frames=5, fps=8, size=16).frames.shape == (1, 16, 16, 3)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_video(tmp_path / "clear.png").frames == 255).all()


# --- padding ----------------------------------------------------------------------------------------------


@given(num_frames=st.integers(1, 90), chunk=st.integers(1, 20), data=st.data())
def test_padding_fills_whole_chunks_with_the_last_frame(num_frames: int, chunk: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, chunk - 1))
    frames = np.arange(num_frames, dtype=np.uint8).reshape(-1, 1, 1, 1)
    padded, num_real = pad_to_chunks(frames, chunk, overlap)
    assert num_real == num_frames
    assert len(padded) >= chunk
    assert (len(padded) - chunk) % (chunk - overlap) == 0
    assert len(padded) - num_frames < max(chunk, chunk - overlap)
    np.testing.assert_array_equal(padded[:num_frames], frames)
    assert (padded[num_frames:] == frames[-1]).all()


def test_padding_of_17_plus_16_n() -> None:
    frames = np.zeros((34, 2, 2, 3), np.uint8)
    assert [len(pad_to_chunks(frames[:n])[0]) for n in (1, 17, 18, 33, 34)] == [17, 17, 33, 33, 49]
    assert_refused(lambda: pad_to_chunks(frames[:0]), "no frames")
    assert_refused(lambda: pad_to_chunks(frames, 4, 4), "overlap=4")


# --- writing ----------------------------------------------------------------------------------------------


def natural(num_frames: int, height: int, width: int) -> np.ndarray:
    """A smooth coloured pattern that moves."""
    t, y, x = np.ogrid[:num_frames, :height, :width]
    waves = [np.sin(x / 9 + t / 3 + k) * np.cos(y / 11 - t / 5 + 2 * k) for k in range(3)]
    return np.rint(127.5 + 110 * np.stack(waves, axis=-1)).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize(("suffix", "floor_db"), [(".mp4", 35), (".gif", 34), (".webp", 28)])
@pytest.mark.parametrize("fps", [8, 12.5, 29.97])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str, floor_db: float, fps: float) -> None:
    frames = natural(17, 48, 64)
    path = tmp_path / f"clip{suffix}"
    write_video(frames, path, fps)
    video = read_video(path, fps=fps)
    assert video.frames.shape == frames.shape
    assert psnr(video.frames, frames) > floor_db
    # No colour cast: each channel keeps its mean.
    assert np.abs(video.frames.mean(axis=(0, 1, 2)) - frames.mean(axis=(0, 1, 2))).max() < 1.5
    info = probe_video(path)
    assert info.fps == pytest.approx(fps, rel=0.02)
    assert info.duration_s == pytest.approx(17 / fps, abs=0.06)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_their_pace(tmp_path: Path, suffix: str) -> None:
    """The start of each frame is within half a tick of i / fps: rounding does not add up."""
    path = tmp_path / f"clip{suffix}"
    write_video(numbered(100), path, 30)
    assert numbers(read_video(path, fps=30).frames) == list(range(100))
    assert probe_video(path).duration_s == pytest.approx(100 / 30, abs=0.02)


def test_an_mp4_plays_in_browsers(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(natural(5, 47, 63), path, 8)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts before it is loaded whole
    video = read_video(path)
    assert len(video.frames) == 5
    assert psnr(video.frames[:, :47, :63], natural(5, 47, 63)) > 35
    # The added row is a copy of the edge, not black.
    assert np.abs(video.frames[:, 47].astype(int) - video.frames[:, 46]).mean() < 12


def test_float_tensors_are_written_like_their_uint8_frames(tmp_path: Path) -> None:
    frames = natural(3, 32, 32)
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1  # (3, T, H, W)
    paths = [tmp_path / f"{name}.mp4" for name in "abcd"]
    write_video(frames, paths[0], 8)
    write_video(pixels, paths[1], 8)
    write_video(pixels[None].requires_grad_(), paths[2], 8)
    write_video(pixels.numpy().astype(np.float64), paths[3], 8)
    want = read_video(paths[0]).frames
    for path in paths[1:]:
        np.testing.assert_array_equal(read_video(path).frames, want)
    write_video(pixels * 3, paths[1], 8)  # outside [-1, 1] is clipped, it does not wrap round
    assert read_video(paths[1]).frames[pixels.permute(1, 2, 3, 0).numpy() > 0.4].min() > 150


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 2, 2, 3), (2, 1, 7, 3)])
def test_tiny_clips_can_be_written(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / f"tiny{suffix}"
    write_video(np.full(shape, 90, np.uint8), path, 8)
    assert np.abs(read_video(path).frames.astype(int) - 90).max() <= 4


def test_bad_calls_of_write_video_say_what_is_wrong(tmp_path: Path) -> None:
    frames = natural(2, 16, 16)
    target = tmp_path / "clip.mp4"
    for bad_fps in (0, -1, float("nan"), float("inf"), "fast", None):
        assert_refused(lambda fps=bad_fps: write_video(frames, target, fps), "fps")
    assert_refused(lambda: write_video(frames, tmp_path / "clip.gif", 60), "fps", "50")
    assert_refused(lambda: write_video(frames, tmp_path / "clip.txt", 8), ".mp4", "clip.txt")
    assert_refused(lambda: write_video(frames[:0], target, 8), "empty")
    assert_refused(lambda: write_video(frames.astype(np.int32), target, 8), "uint8", "int32")
    assert_refused(lambda: write_video(frames[..., 0], target, 8), "(T, H, W, 3)")
    assert_refused(lambda: write_video(torch.zeros(2, 3, 4, 8, 8), target, 8), "(3, T, H, W)")
    assert_refused(lambda: write_video(torch.full((3, 1, 8, 8), torch.nan), target, 8), "NaN")
    assert_refused(lambda: write_video(frames, tmp_path / "nowhere" / "clip.mp4", 8), "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    assert_refused(lambda: write_video(np.zeros((1, 2, 40_000, 3), np.uint8), target, 8), "clip.mp4")  # too wide
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


# --- broken and hostile input -----------------------------------------------------------------------------


NAN = float("nan")


@pytest.mark.parametrize(
    "arguments",
    [
        *({"fps": bad} for bad in (0, -8, NAN, 1e9, "x")),
        *({"num_frames": bad} for bad in (0, -3, NAN, 2.5)),
        *({"size": bad} for bad in (0, -64, NAN, (0, 4), (4,), 10**6, "big")),
        *({"start_s": bad} for bad in (-0.1, NAN, float("inf"), "now")),
        *({"duration_s": bad} for bad in (0, NAN)),
        *({"crop": bad} for bad in ((0, 0, 0, 1), (0, 0, 1.1, 1), (-0.1, 0, 1, 1), (0, NAN, 1, 1))),
        *({"crop": bad} for bad in ((0, 0, 1), "all")),
        *({limit: bad} for limit in ("max_seconds", "max_pixels") for bad in (0, NAN)),
    ],
    ids=str,
)
def test_bad_arguments_are_named(steady: Path, arguments: dict[str, object]) -> None:
    assert_refused(lambda: read_video(steady, **arguments), next(iter(arguments)))


@pytest.mark.parametrize("start_s", [12.0, 12.5, 13.5, 1e6, 1e300])
def test_a_start_beyond_the_end(steady: Path, start_s: float) -> None:
    assert_refused(lambda: read_video(steady, start_s=start_s, fps=8), "beyond the end", "12.0")


def test_the_last_frame_is_on_screen_until_the_end(steady: Path) -> None:
    assert numbers(read_video(steady, start_s=11.95, fps=8).frames) == [119]


@pytest.mark.parametrize(
    "name",
    [
        "missing.mp4",
        "http://127.0.0.1:9/clip.mp4",
        "file:/etc/hostname",
        "concat:a.ts|b.ts",
        "pipe:0",
        "",
        "nul\0.mp4",
    ],
)
def test_only_files_on_this_machine_are_opened(name: str) -> None:
    for call in (probe_video, read_video):
        assert_refused(lambda call=call: call(name))


def test_folders_and_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    assert_refused(lambda: read_video(tmp_path), "not a file")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert_refused(lambda: read_video(tmp_path / "pipe.mp4"), "not a file")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"This is no video.\n" * 100, "not a video"),
        ("zeros.mp4", bytes(5000), "not a video"),
        ("empty_picture.gif", b"GIF89a", "not a video"),
        ("page.webm", b"<!DOCTYPE html><html><body>404</body></html>", "not a video"),
        ("head.avi", b"RIFF\xff\xff\xff\x7fAVI LIST", ""),
    ],
)
def test_files_that_are_no_video(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: read_video(path), name, word)
    assert_refused(lambda: probe_video(path), name, word)


@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".ffconcat", ".mpd"])
def test_playlists_cannot_pull_in_other_files(tmp_path: Path, suffix: str, steady: Path) -> None:
    target = encode(tmp_path / "real.ts", numbered(5), steady_ms(5, 10), rate=10)
    texts = {
        ".m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        ".mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        ".ffconcat": f"ffconcat version 1.0\nfile '{steady}'\n",
        ".mpd": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
    }
    playlist = tmp_path / f"list{suffix}"
    playlist.write_text(texts[suffix])
    assert_refused(lambda: read_video(playlist), "not a video")


def test_sound_without_a_picture(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for start in range(0, 8192, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 44100, start
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    for name in ("sound.wav", "sound.mp4"):
        assert_refused(lambda name=name: read_video(tmp_path / name), name, "no video")
        assert_refused(lambda name=name: probe_video(tmp_path / name), name, "no video")


def test_a_truncated_file_gives_the_frames_that_are_there(tmp_path: Path, steady: Path) -> None:
    data = steady.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    got = numbers(read_video(cut).frames)
    assert 30 < len(got) < 110
    assert got == list(range(len(got)))
    assert_refused(lambda: read_video(cut, start_s=11.5, fps=8), "beyond the end")
    cut.write_bytes(data[: data.index(b"mdat") + 6])  # the index, and no picture
    assert_refused(lambda: read_video(cut), "damaged")
    assert_refused(lambda: probe_video(cut), "damaged")
    cut.write_bytes(data[: data.index(b"moov") + 100])  # not even the index
    assert_refused(lambda: read_video(cut))


def test_truncated_animations_and_images(tmp_path: Path) -> None:
    write_video(numbered(20), tmp_path / "whole.gif", 10)
    data = (tmp_path / "whole.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: len(data) // 2])
    got = numbers(read_video(tmp_path / "cut.gif", fps=10).frames)
    assert 5 < len(got) < 20
    assert got[:5] == list(range(5))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    for call in (read_video, probe_video, read_image):
        assert_refused(lambda call=call: call(tmp_path / "cut.png"), "damaged")


def huge_png(path: Path) -> None:
    Image.new("RGB", (4, 4)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def huge_gif(path: Path) -> None:
    write_video(numbered(2), path, 10)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    path.write_bytes(data)


def growing_gif(path: Path) -> None:
    """A small first picture, then one that needs a canvas of 65 535 x 2000 (its image descriptor says so)."""
    write_video(numbered(2), path, 10)
    data = bytearray(path.read_bytes())
    second = data.index(b"\x2c", data.index(b"\x21\xf9", data.index(b"\x2c")))
    assert data[second + 5 : second + 9] == struct.pack("<HH", WIDTH // BITS, HEIGHT)  # the bar that changed
    data[second + 5 : second + 9] = struct.pack("<HH", 65_535, 2000)
    path.write_bytes(data)


def huge_y4m(path: Path) -> None:
    path.write_bytes(b"YUV4MPEG2 W7000 H7000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))


def huge_avi(path: Path) -> None:
    encode(path, numbered(2), [0, 100], "rawvideo", 10)
    data = bytearray(path.read_bytes())
    start = data.index(b"strf") + 8
    data[start + 4 : start + 12] = struct.pack("<ii", 7000, 7000)
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("make", [huge_png, huge_gif, growing_gif, huge_y4m, huge_avi])
def test_absurd_sizes_are_refused_before_decoding(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / f"huge.{make.__name__.split('_')[1]}"
    make(path)
    assert_refused(lambda: read_video(path), "huge", "limit")
    if make is not growing_gif:  # which is looked at no further than its first picture
        assert_refused(lambda: probe_video(path), "huge", "limit")


def test_limits(steady: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(lambda: read_video(steady, max_pixels=HEIGHT * WIDTH - 1), "2,047")
    assert_refused(lambda: probe_video(steady, max_pixels=HEIGHT * WIDTH - 1), "2,047")
    assert_refused(lambda: read_video(steady, max_seconds=5), "at most 5 s")
    assert len(read_video(steady, max_seconds=5, duration_s=5).frames) == 50
    assert len(read_video(steady, max_seconds=5, start_s=8).frames) == 40
    assert len(read_video(steady, max_seconds=None).frames) == 120
    assert_refused(lambda: read_video(steady, budget=DecodeBudget(seconds=1e-5)), "longer than")
    monkeypatch.setattr(video_read, "MAX_OUTPUT_BYTES", 50 * HEIGHT * WIDTH * 3)
    assert_refused(lambda: read_video(steady), "GiB")
    assert len(read_video(steady, num_frames=50).frames) == 50


@examples(40)
@given(data=st.data())
def test_damaged_bytes_give_frames_or_one_sentence(steady: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(steady.read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    refused = False
    try:
        video = read_video(path, num_frames=10, fps=8, size=16, budget=DecodeBudget(seconds=5))
    except VideoError:
        refused = True
    if refused:
        assert_refused(lambda: read_video(path, num_frames=10, fps=8, size=16, budget=DecodeBudget(seconds=5)))
    else:
        assert video.frames.shape[1:] == (16, 16, 3)
        assert len(video.frames) <= 10
