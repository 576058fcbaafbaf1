"""A clip as text for an address: tokens packed bit-tight, in base64url.

Bytes: version | fingerprint (8) | varints: num_ids, t, k, num_frames, fps x 1000, steps, guidance x 1000, seed, length
of the model's name | that name, UTF-8 | ids, time first, ceil(log2 num_ids) bits each | CRC-32 of all before (4).
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

import numpy as np

from flextok.loading.fingerprint import FINGERPRINT_BYTES
from flextok.tokens.clip import MAX_LATENT_FRAMES, MAX_TOKENS, ClipTokens, TokenError, rows_of

VERSION = 1
MAX_LINK_CHARACTERS = 8000
"""What browsers and servers pass on without trouble."""
SCALE = 1000
_BROKEN = "The link is cut off or altered: copy all of it again."
_NUMBERS = 9


def pack(tokens: ClipTokens) -> str:
    """The text of `tokens`; fps and guidance keep three decimals.

    Raises:
        TokenError: it would be too long for an address; a smaller budget fits.
    """
    name = tokens.model.encode()
    numbers = (
        tokens.num_ids, tokens.latent_frames, tokens.keep_k, tokens.num_frames, round(tokens.fps * SCALE),
        tokens.steps, round(tokens.guidance * SCALE), tokens.seed, len(name),
    )  # fmt: skip
    head = bytes([VERSION]) + bytes.fromhex(tokens.fingerprint) + b"".join(map(_varint, numbers)) + name
    data = head + pack_ids(_to_time_first(tokens.array()), tokens.bits_per_token)
    text = base64.urlsafe_b64encode(data + zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")
    if len(text) > MAX_LINK_CHARACTERS:
        raise TokenError(
            f"A link of {len(text):,} characters is too long (limit {MAX_LINK_CHARACTERS:,}): keep fewer tokens."
        )
    return text


def unpack(text: str) -> ClipTokens:
    """Inverse of `pack`; text that `pack` did not write is refused.

    Raises:
        TokenError: one sentence.
    """
    if len(text) > MAX_LINK_CHARACTERS:
        raise TokenError(f"A link has at most {MAX_LINK_CHARACTERS:,} characters.")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise TokenError(_BROKEN)
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise TokenError(_BROKEN) from None
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text or len(data) < 5:
        raise TokenError(_BROKEN)
    body, check = data[:-4], data[-4:]
    if zlib.crc32(body).to_bytes(4, "big") != check:
        raise TokenError(_BROKEN)
    if body[0] != VERSION:
        raise TokenError(f"The link is of version {body[0]}; this app reads version {VERSION}.")
    place = 1 + FINGERPRINT_BYTES
    numbers = []
    for _ in range(_NUMBERS):
        value, place = _read_varint(body, place)
        numbers.append(value)
    num_ids, t, k, num_frames, fps, steps, guidance, seed, name_length = numbers
    if not 0 < t <= MAX_LATENT_FRAMES or not k > 0 or t * k > MAX_TOKENS or num_ids < 2:
        raise TokenError(_BROKEN)
    name, packed = body[place : place + name_length], body[place + name_length :]
    try:
        model = name.decode()
    except UnicodeDecodeError:
        raise TokenError(_BROKEN) from None
    ids = unpack_ids(packed, t * k, (num_ids - 1).bit_length())
    return ClipTokens(
        ids=rows_of(_from_time_first(ids, t, k)),
        num_ids=num_ids,
        model=model,
        fingerprint=body[1 : 1 + FINGERPRINT_BYTES].hex(),
        num_frames=num_frames,
        fps=fps / SCALE,
        steps=steps,
        guidance=guidance / SCALE,
        seed=seed,
    )


def _to_time_first(ids: np.ndarray) -> np.ndarray:
    """(t, k) to (t k,). PyTorch comes in here, so that a page can start without it."""
    import torch

    from flextok.token_order import TokenOrder

    return TokenOrder("time_first", *ids.shape).flatten(torch.from_numpy(ids)[None])[0].numpy()


def _from_time_first(sequence: np.ndarray, latent_frames: int, keep_k: int) -> np.ndarray:
    """(t k,) to (t, k)."""
    import torch

    from flextok.token_order import TokenOrder

    order = TokenOrder("time_first", latent_frames, keep_k)
    return order.unflatten(torch.from_numpy(sequence)[None])[0].numpy()


def pack_ids(ids: np.ndarray, bits: int) -> bytes:
    """Non-negative ids (n,) below 2**bits, `bits` bits each, highest bit first; the last byte is filled with zeros."""
    places = np.arange(bits - 1, -1, -1)
    return np.packbits(((ids[:, None] >> places) & 1).astype(np.uint8).reshape(-1)).tobytes()


def unpack_ids(data: bytes, count: int, bits: int) -> np.ndarray:
    """Inverse of `pack_ids`: int64 (count,).

    Raises:
        TokenError: another number of bytes, or filling that is not zero.
    """
    if len(data) != -(-count * bits // 8):
        raise TokenError(_BROKEN)
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8))
    if unpacked[count * bits :].any():
        raise TokenError(_BROKEN)
    places = np.arange(bits - 1, -1, -1, dtype=np.int64)
    return (unpacked[: count * bits].reshape(count, bits).astype(np.int64) << places).sum(axis=1)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for i in range(5):
        if place + i >= len(data):
            raise TokenError(_BROKEN)
        value |= (data[place + i] & 0x7F) << 7 * i
        if data[place + i] < 0x80:
            if i and not data[place + i]:
                raise TokenError(_BROKEN)  # a longer spelling than needed
            return value, place + i + 1
    raise TokenError(_BROKEN)
