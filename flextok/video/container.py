"""Files that PyAV reads. They come from strangers: nothing but the opened file is ever read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flextok.video.limits import MAX_FPS, DecodeBudget, VideoError, av_errors, check_pixels
from flextok.video.picture import Facts, Shown, stream_look

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Demuxers that read one file and nothing else: no playlists (hls, concat, dash), devices or image sequences.
# The sound formats are there so that the error can say "no video, only sound" instead of "unknown format".
_VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpegts,mpeg,mpegvideo,ogg,m4v,h263,h264,hevc,ivf,obu,"
    "yuv4mpegpipe,mjpeg,nut,mxf,dv,wav,mp3,flac,aac,aiff,amr"
)


class SeekMissed(Exception):
    """A seek landed after the wanted time."""


@contextmanager
def open_av(path: Path, max_pixels: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the default video stream, or the first one; the frame size is checked, nothing is decoded."""
    import av
    from av.stream import Disposition

    # The file object and the two lists keep ffmpeg from opening anything by name: no URL, no second file.
    limits = {"max_pixels": str(max_pixels)}
    options = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "none", **limits}
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="ignore", buffer_size=1 << 18)
        except av_errors():
            raise VideoError(f"{path.name!r} is not a video that can be read, or it is damaged.") from None
        with container:
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                raise VideoError(f"{path.name!r} holds no video, only sound or other data.")
            stream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
            if stream.codec_context is None:
                raise VideoError(f"{path.name!r} uses a video codec that is not known here.")
            check_pixels(path.name, stream.width or 0, stream.height or 0, max_pixels)
            # What the pictures themselves state may differ from the header that was just checked.
            stream.codec_context.options = limits
            yield container, stream


def _packets(container: InputContainer, stream: VideoStream, budget: DecodeBudget) -> Iterator[Packet | None]:
    """Packets up to the end or the first damage, then None, for the frames that the decoder still holds."""
    errors = av_errors()
    packets = container.demux(stream)
    while True:
        budget.check()
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:  # a packet of a stream that appeared after opening (MPEG-TS); PyAV does not know it
            packets = container.demux(stream)
            continue
        except errors:
            yield None
            return
        yield packet


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """The stream's own, but for VP8 and VP9 with alpha: FFmpeg's decoders leave that out, those of libvpx do not."""
    import av

    own = stream.codec_context
    errors: tuple[type[Exception], ...] = (*av_errors(), LookupError)  # the last: a build of FFmpeg without it
    other = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(own.name)
    said = {name.lower(): value for name, value in stream.metadata.items()}  # capitals where a tag says it as well
    if other is None or said.get("alpha_mode") != "1":
        return own
    try:
        decoder = cast("VideoCodecContext", av.CodecContext.create(other, "r"))
    except errors:
        return own
    decoder.options = own.options
    return decoder


def decode_frames(container: InputContainer, stream: VideoStream, budget: DecodeBudget) -> Iterator[VideoFrame]:
    """Frames in order of presentation; damaged packets are left out."""
    errors, decoder = av_errors(), _decoder(stream)
    for packet in _packets(container, stream, budget):
        try:
            frames = decoder.decode(packet)
        except errors:
            continue
        for frame in frames:
            budget.spend(frame.width * frame.height)
            yield frame


def _average_fps(stream: VideoStream) -> float | None:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and 0 < rate <= 240:  # more is a time base taken for a rate, as in recorded WebM
            return float(rate)
    return None


def _scan(container: InputContainer, stream: VideoStream, budget: DecodeBudget) -> tuple[int, float]:
    """Number of packets and their time span in seconds, without decoding."""
    times, num_packets = [], 0
    for packet in _packets(container, stream, budget):
        if packet is None or not packet.size:
            continue
        num_packets += 1
        if packet.pts is not None and packet.time_base:
            times.append(float(packet.pts * packet.time_base))
    if len(times) < 2 or max(times) <= min(times):
        return num_packets, num_packets / 25
    span_s = max(times) - min(times)
    return num_packets, span_s * len(times) / (len(times) - 1)


def av_facts(path: Path, max_pixels: int, budget: DecodeBudget) -> Facts:
    with open_av(path, max_pixels) as (container, stream):
        fps, duration_s = _average_fps(stream), 0.0
        if stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration:
            duration_s = container.duration / 1e6
        num_frames = stream.frames or None
        if fps is None or not 0 < duration_s < 1e7:
            num_packets, span_s = _scan(container, stream, budget)
            duration_s = duration_s if 0 < duration_s < 1e7 else span_s
            fps = fps or min(max(num_packets, 1) / max(span_s, 1e-3), MAX_FPS)
        return Facts(fps, duration_s, num_frames)


def _states_only_decoding_times(container: InputContainer, stream: VideoStream) -> bool:
    """AVI has no time of presentation; what FFmpeg puts in its place is wrong where frames are reordered."""
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def av_pictures(
    path: Path, facts: Facts, start_s: float, max_pixels: int, budget: DecodeBudget, seek: bool
) -> Iterator[Shown]:
    """Frames with the times they are on screen, from the one on screen at start_s or earlier.

    Raises:
        SeekMissed: with `seek`, no frame was found, or the first one is later than start_s or has no time.
    """
    with open_av(path, max_pixels) as (container, stream):
        zero_s, time_base = None, stream.time_base or Fraction(1, 90_000)
        by_decoding = _states_only_decoding_times(container, stream)
        if stream.start_time is not None and not by_decoding:
            zero_s = float(stream.start_time * time_base)
        if seek:
            if by_decoding:
                raise SeekMissed
            try:
                container.seek(round(start_s / time_base) + (stream.start_time or 0), stream=stream)
            except av_errors():
                raise SeekMissed from None
        before, before_s, look = None, 0.0, stream_look(stream)
        for frame in decode_frames(container, stream, budget):
            check_pixels(path.name, frame.width, frame.height, max_pixels)
            stamp_s = _stamp_s(frame, by_decoding)
            if zero_s is None:
                zero_s = stamp_s or 0.0
            if before is None:
                if seek and (stamp_s is None or stamp_s - zero_s > start_s):
                    raise SeekMissed
                # The picture with the first time stamp is on screen from 0, whatever damage came before it.
                at_s = 0.0 if stamp_s is None or not seek else stamp_s - zero_s
            else:
                at_s = before_s if stamp_s is None else stamp_s - zero_s
                if at_s <= before_s:  # no time, or one that runs backwards: decoders give frames in order all the same
                    at_s = before_s + 1 / facts.fps
                yield Shown(before, before_s, at_s, look)
            before, before_s = frame, at_s
        if before is None and seek:
            raise SeekMissed  # the stated length was wrong; the pass from the beginning finds the true end
        if before is not None:
            yield Shown(before, before_s, before_s + _last_duration(before, facts.fps), look)


def _stamp_s(frame: VideoFrame, by_decoding: bool) -> float | None:
    """When a frame is shown, in seconds; None where the file states no time (NaN with a damaged time base)."""
    stamp, base = frame.dts if by_decoding else frame.pts, frame.time_base
    if stamp is None or not base:
        return None
    stamp_s = float(stamp * base)
    return stamp_s if math.isfinite(stamp_s) else None


def _last_duration(frame: VideoFrame, fps: float) -> float:
    duration = getattr(frame, "duration", None)  # PyAV 13 and older do not have it
    if duration and frame.time_base:
        seconds = float(duration * frame.time_base)
        if 0 < seconds <= 10:
            return seconds
    return 1 / fps
