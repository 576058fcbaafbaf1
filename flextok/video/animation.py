"""How long each picture of an animated GIF, WebP or PNG is shown, from the headers alone.

Pillow knows these times only of pictures that it has decoded: for a GIF of 115 KB that took a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SHORTEST_S, INSTEAD_S = 0.0199, 0.1
"""Where a shorter time is stored, pictures are shown for this long, as in browsers."""


def shown_s(delay_ms: float) -> float:
    """Seconds on screen of a stored delay."""
    return delay_ms / 1000 if delay_ms / 1000 >= SHORTEST_S else INSTEAD_S


def delays_s(path: Path, image_format: str | None) -> list[float] | None:
    """Seconds of each picture that the file holds whole; None where its format keeps no such headers."""
    parse = {"GIF": _gif_ms, "WEBP": _webp_ms, "PNG": _png_ms}.get(image_format or "")
    if parse is None:
        return None
    with path.open("rb") as file:
        return [shown_s(delay_ms) for delay_ms in parse(file)]


def _gif_ms(file: BinaryIO) -> Iterator[float]:
    """GIF89a, sections 17 to 27."""
    file.seek(10)
    screen = file.read(3)
    _skip_colours(file, screen[:1])
    delay_ms = 0.0
    while (kind := file.read(1)) in (b"\x21", b"\x2c"):
        if kind == b"\x21":
            label, data = file.read(1), _sub_blocks(file)
            if label == b"\xf9" and data is not None and len(data) >= 3:
                delay_ms = 10.0 * int.from_bytes(data[1:3], "little")
            continue
        place = file.read(9)
        _skip_colours(file, place[8:9])
        file.read(1)
        if _sub_blocks(file) is None:
            return
        yield delay_ms
        delay_ms = 0.0


def _skip_colours(file: BinaryIO, packed: bytes) -> None:
    """Leave out a colour table, if these bits say that one follows."""
    bits = packed[0] if packed else 0
    if bits & 0x80:
        file.seek(3 << ((bits & 7) + 1), 1)


def _sub_blocks(file: BinaryIO) -> bytes | None:
    """The first bytes of a row of sub-blocks, which is left behind; None if the file ends in it."""
    first = b""
    while length := file.read(1):
        if length == b"\0":
            return first
        data = file.read(length[0])
        if len(data) < length[0]:
            return None
        first = first or data
    return None


def _webp_ms(file: BinaryIO) -> Iterator[float]:
    """Chunks of the RIFF container: each ANMF holds its picture's time as 24 bits."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        size = int.from_bytes(header[4:], "little")
        padded = size + size % 2
        if header[:4] != b"ANMF":
            file.seek(padded, 1)
            continue
        data = file.read(padded)
        if len(data) < size:
            return
        yield float(int.from_bytes(data[12:15], "little"))


def _png_ms(file: BinaryIO) -> Iterator[float]:
    """PNG, section 11.3.6: an fcTL comes before a picture, but for one that older readers show instead."""
    file.seek(8)
    waiting, announced = True, 0.0
    while len(header := file.read(8)) == 8:
        size, name = int.from_bytes(header[:4], "big"), header[4:]
        data = file.read(size)
        if len(data) < size:
            return
        file.read(4)  # the checksum
        if name == b"fcTL" and size == 26:
            over, under = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")
            waiting, announced = True, 1000 * over / (under or 100)
        elif name in (b"IDAT", b"fdAT") and waiting:
            yield announced
            waiting, announced = False, 0.0
