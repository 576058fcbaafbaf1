"""Clips as HTML cards: animated pictures side by side, each with its caption. All text is ours, and escaped anyway."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Card:
    title: str
    lines: tuple[str, ...]
    frames: np.ndarray | None
    """uint8 (T, H, W, 3), or None for a card that says why there is no picture."""
    fps: float = 8.0


def row(cards: Sequence[Card], total_frames: int) -> str:
    """HTML of cards side by side. They are replaced together, so that all clips start, and loop, at the same moment."""
    return f'<div class="cards">{"".join(_card(card, total_frames) for card in cards)}</div>'


def _card(card: Card, total_frames: int) -> str:
    title = html.escape(card.title)
    lines = "".join(f"<span>{html.escape(line)}</span>" for line in card.lines)
    if card.frames is None:
        picture = '<div class="empty">not encoded</div>'
    else:
        alt = html.escape(f"{card.title}: {', '.join(card.lines)}")
        picture = f'<img alt="{alt}" src="{_data_uri(card.frames, card.fps, total_frames)}">'
    return f"<figure>{picture}<figcaption><b>{title}</b>{lines}</figcaption></figure>"


def _data_uri(frames: np.ndarray, fps: float, total_frames: int) -> str:
    """An animated WebP. A clip that covers fewer frames turns grey where it ends, so all loops have one length."""
    if len(frames) < total_frames:
        grey = np.full((total_frames - len(frames), *frames.shape[1:]), 128, np.uint8)
        frames = np.concatenate([frames, grey])
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=92,
        method=2,
    )
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
