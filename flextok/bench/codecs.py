"""What ordinary video codecs make of the same few bytes: H.264 and AV1 at their coarsest settings.

Counted are the bytes of the coded pictures and of the codec's own headers, without a container. Both codecs were made
for pictures hundreds of times larger, so this is no verdict on them; it shows what a few hundred bytes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

QUALITIES: Mapping[str, tuple[int, ...]] = {"h264": (51, 46, 41, 36, 30), "av1": (63, 58, 50, 42, 34)}
"""Quantiser scales, coarsest first: nothing below the first one can be asked for."""
ENCODERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "h264": ("libx264", {"preset": "veryslow", "x264-params": "keyint=infinite:scenecut=0"}),
    "av1": ("libsvtav1", {"preset": "4", "svtav1-params": "keyint=-1"}),
}


@dataclass(frozen=True)
class Coded:
    """One clip, coded and decoded again."""

    num_bytes: int
    frames: np.ndarray
    """uint8 (T, H, W, 3)."""


def available() -> list[str]:
    """Codecs whose encoder this build of PyAV has."""
    return [name for name, (encoder, _) in ENCODERS.items() if encoder in av.codecs_available]


def code(frames: np.ndarray, codec: str, quality: int, fps: float = 8.0) -> Coded:
    """Code uint8 (T, H, W, 3) with one of `QUALITIES` and decode it again.

    Raises:
        ValueError: the codec or quality is none of those.
    """
    if quality not in QUALITIES.get(codec, ()):
        raise ValueError(f"codec={codec!r} and quality={quality} must be of {dict(QUALITIES)}")
    encoder_name, options = ENCODERS[codec]
    encoder = av.CodecContext.create(encoder_name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, round(fps))
    encoder.framerate = Fraction(round(fps))
    encoder.options = {**options, "crf": str(quality)}
    packets = []
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264" if codec == "h264" else "libdav1d", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    decoded.sort(key=lambda frame: frame.pts or 0)
    pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    return Coded(sum(_useful_bytes(bytes(packet), codec) for packet in packets), pictures)


def _useful_bytes(packet: bytes, codec: str) -> int:
    """Bytes of a packet; of H.264 without supplemental units (type 6), in which x264 writes 700 bytes about itself."""
    if codec != "h264":
        return len(packet)
    units = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return sum(3 + len(unit) for unit in units if unit[0] & 31 != 6)
