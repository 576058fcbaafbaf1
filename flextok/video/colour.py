"""What a video's colours mean: which matrix its YUV was made with, and HDR or wide colours brought to BT.709.

Numbers are those of ITU-T H.273, which FFmpeg and PyAV use. Every picture ends as SDR with the primaries of BT.709,
shown by the display of BT.1886 (gamma 2.4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame

UNSPECIFIED = 2
_NO_MATRIX = (0, UNSPECIFIED, 3)
BT709, BT601 = 1, 5
PQ, HLG = 16, 18
_BT2020, _P3 = 9, 12
_TO_BT709 = {
    _BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    _P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32),
}
"""Linear light to linear light (ITU-R BT.2087; P3 with the white of D65)."""
_WHITE_NITS, _PEAK_NITS = 203.0, 1000.0
"""Of diffuse white (ITU-R BT.2408) and of the brightest light that is told from it."""
_KNEE = 0.6
"""Linear light up to here stays as it is; what is brighter, up to the peak, shares the rest."""
_GAMMA = 2.4
_CODES = 1 << 18
"""Values of light that are told apart: the first above black is shown as 1 of 255."""


def yuv_matrix(frame: VideoFrame) -> int:
    """What turns its YUV into RGB. Where nothing is said: BT.709 for HD and BT.601 below, as players do."""
    said = int(frame.colorspace)
    if said not in _NO_MATRIX:
        return said
    return BT709 if frame.width >= 1280 or frame.height > 576 else BT601


def is_sdr(transfer: int, primaries: int) -> bool:
    """Whether RGB as stored is what an SDR display of BT.709 shows."""
    return transfer not in (PQ, HLG) and primaries not in _TO_BT709


def to_sdr(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """RGB as stored, uint16 (H, W, 3), to RGB of BT.709, uint8. With 8 bits of PQ a dark red was 14 of 255 off."""
    hdr = transfer in (PQ, HLG)
    if hdr and primaries == UNSPECIFIED:
        primaries = _BT2020
    light = _light_of_codes(transfer)[pixels]
    if primaries in _TO_BT709:
        light = light @ _TO_BT709[primaries].T
    light = light.clip(0)
    if hdr:
        light = _tone_mapped(light)
    return _codes_of_light()[(light.clip(0, 1) * (_CODES - 1)).astype(np.int32)]


@lru_cache(maxsize=8)
def _light_of_codes(transfer: int) -> np.ndarray:
    return _light(np.linspace(0.0, 1.0, 1 << 16), transfer).astype(np.float32)


@lru_cache(maxsize=1)
def _codes_of_light() -> np.ndarray:
    return np.round(255 * np.linspace(0.0, 1.0, _CODES) ** (1 / _GAMMA)).astype(np.uint8)


def _light(signal: np.ndarray, transfer: int) -> np.ndarray:
    """Light of the display, 1 for diffuse white, of a signal in [0, 1] (ITU-R BT.2100, BT.1886)."""
    if transfer == PQ:
        root = signal ** (1 / 78.84375)
        return (
            10_000 / _WHITE_NITS * ((root - 0.8359375).clip(0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        )
    if transfer == HLG:
        bright = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(signal <= 0.5, signal**2 / 3, bright)
        # The system gamma on each channel, not on luminance alone: what most tools write, and colours keep their depth.
        return _PEAK_NITS / _WHITE_NITS * scene**1.2
    return signal**_GAMMA


def _tone_mapped(light: np.ndarray) -> np.ndarray:
    """Highlights below 1: the brightest channel by a curve that is straight up to the knee, the others with it."""
    brightest = light.max(axis=-1, keepdims=True)
    room = 1 - _KNEE
    above = ((brightest - _KNEE) / room).clip(0)
    most = (_PEAK_NITS / _WHITE_NITS - _KNEE) / room
    bent = _KNEE + room * above * (1 + above / most**2) / (1 + above)  # Reinhard et al. 2002, eq. 4
    return np.where(brightest > _KNEE, light * (bent / brightest.clip(1e-6)), light)
