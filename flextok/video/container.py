"""Files that PyAV reads. They come from strangers: nothing but the opened file is ever read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from flextok.video.limits import MAX_FPS, Clock, VideoError, av_errors, check_pixels
from flextok.video.picture import Facts, Shown, stream_pixel_aspect

if TYPE_CHECKING:
    from av import Packet, VideoFrame
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
    """Open the first video stream; the frame size is checked, nothing is decoded."""
    import av

    # The file object and the two lists keep ffmpeg from opening anything by name: no URL, no second file.
    limits = {"max_pixels": str(max_pixels)}
    options = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "none", **limits}
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="ignore", buffer_size=1 << 18)
        except av_errors():
            raise VideoError(f"{path.name!r} is not a video that can be read, or it is damaged.") from None
        with container:
            streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
            if not streams:
                raise VideoError(f"{path.name!r} holds no video, only sound or other data.")
            stream = streams[0]
            if stream.codec_context is None:
                raise VideoError(f"{path.name!r} uses a video codec that is not known here.")
            check_pixels(path.name, stream.width or 0, stream.height or 0, max_pixels)
            # What the pictures themselves state may differ from the header that was just checked.
            stream.codec_context.options = limits
            yield container, stream


def _packets(container: InputContainer, stream: VideoStream, clock: Clock) -> Iterator[Packet | None]:
    """Packets up to the end or the first damage, then None, for the frames that the decoder still holds."""
    errors = av_errors()
    packets = container.demux(stream)
    while True:
        clock.check()
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


def decode_frames(container: InputContainer, stream: VideoStream, clock: Clock) -> Iterator[VideoFrame]:
    """Frames in order of presentation; damaged packets are left out."""
    errors = av_errors()
    for packet in _packets(container, stream, clock):
        try:
            frames = stream.codec_context.decode(packet)
        except errors:
            continue
        for frame in frames:
            clock.check()
            yield frame


def _average_fps(stream: VideoStream) -> float | None:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and 0 < rate <= 240:  # more is a time base taken for a rate, as in recorded WebM
            return float(rate)
    return None


def _scan(container: InputContainer, stream: VideoStream, clock: Clock) -> tuple[int, float]:
    """Number of packets and their time span in seconds, without decoding."""
    times, num_packets = [], 0
    for packet in _packets(container, stream, clock):
        if packet is None or not packet.size:
            continue
        num_packets += 1
        if packet.pts is not None and packet.time_base:
            times.append(float(packet.pts * packet.time_base))
    if len(times) < 2 or max(times) <= min(times):
        return num_packets, num_packets / 25
    span_s = max(times) - min(times)
    return num_packets, span_s * len(times) / (len(times) - 1)


def av_facts(path: Path, max_pixels: int, clock: Clock) -> Facts:
    with open_av(path, max_pixels) as (container, stream):
        fps, duration_s = _average_fps(stream), 0.0
        if stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration:
            duration_s = container.duration / 1e6
        num_frames = stream.frames or None
        if fps is None or not 0 < duration_s < 1e7:
            num_packets, span_s = _scan(container, stream, clock)
            duration_s = duration_s if 0 < duration_s < 1e7 else span_s
            fps = fps or min(max(num_packets, 1) / max(span_s, 1e-3), MAX_FPS)
        return Facts(fps, duration_s, num_frames)


def av_pictures(path: Path, facts: Facts, start_s: float, max_pixels: int, clock: Clock, seek: bool) -> Iterator[Shown]:
    """Frames with the times they are on screen, from the one on screen at start_s or earlier.

    Raises:
        SeekMissed: with `seek`, no frame was found, or the first one is later than start_s or has no time.
    """
    with open_av(path, max_pixels) as (container, stream):
        zero_s, time_base = None, stream.time_base or Fraction(1, 90_000)
        if stream.start_time is not None:
            zero_s = float(stream.start_time * time_base)
        if seek:
            try:
                container.seek(round(start_s / time_base) + (stream.start_time or 0), stream=stream)
            except av_errors():
                raise SeekMissed from None
        before, before_s, aspect = None, 0.0, stream_pixel_aspect(stream)
        for frame in decode_frames(container, stream, clock):
            check_pixels(path.name, frame.width, frame.height, max_pixels)
            # In seconds; None where the file states no time, NaN with a damaged time base.
            stamp_s: float | None = frame.time
            if stamp_s is not None and not math.isfinite(stamp_s):
                stamp_s = None
            if zero_s is None:
                zero_s = stamp_s or 0.0
            if before is None:
                if seek and (stamp_s is None or stamp_s - zero_s > start_s):
                    raise SeekMissed
                # The picture with the first time stamp is on screen from 0, whatever damage came before it.
                at_s = 0.0 if stamp_s is None or not seek else stamp_s - zero_s
            else:
                at_s = before_s + 1 / facts.fps if stamp_s is None else stamp_s - zero_s
                if at_s <= before_s:
                    continue  # times run backwards in a damaged file
                yield Shown(before, before_s, at_s, aspect)
            before, before_s = frame, at_s
        if before is None and seek:
            raise SeekMissed  # the stated length was wrong; the pass from the beginning finds the true end
        if before is not None:
            yield Shown(before, before_s, before_s + _last_duration(before, facts.fps), aspect)


def _last_duration(frame: VideoFrame, fps: float) -> float:
    duration = getattr(frame, "duration", None)  # PyAV 13 and older do not have it
    if duration and frame.time_base:
        seconds = float(duration * frame.time_base)
        if 0 < seconds <= 10:
            return seconds
    return 1 / fps
