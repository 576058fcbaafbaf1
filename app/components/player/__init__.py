"""The canvas player as a Gradio component, and the payloads that it plays (see player.js)."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from app.components import DOM, text
from app.components.payload import Panel, Payload, Result, Seeds
from app.shipped import PREBAKED
from flextok.loading.registry import ModelEntry
from flextok.tokens.clip import ClipTokens

if TYPE_CHECKING:  # the page itself does not load PyTorch
    from torch import Tensor

    from app.request import Request
    from app.service import Progress
    from flextok.reconstruction import Reconstruction

HERE = Path(__file__).parent
SCRIPTS = tuple(HERE / f"{name}.js" for name in ("values", "sprites", "panels", "stage", "controls", "player"))
STYLE = HERE / "player.css"
SHOWN = 4
"""Budgets that have a panel of their own: about this many of those decoded, evenly spread, the first and last too."""
SPRITE_QUALITY = 85
PAYLOAD_TYPE = {"type": "object", "description": "what the page shows: sprites, tokens, bytes, PSNR"}


def player(
    value: dict[str, Any] | None,
    examples: Sequence[dict[str, str]] = (),
    load_example: Callable[[str], dict[str, Any]] | None = None,
    **kwargs: Any,
) -> gr.HTML:
    """The component. Its event `select` carries `name` when an example was chosen; its value is a payload.

    Args:
        examples: `example_buttons`, or none.
        load_example: name -> payload, called by the page outside the queue, so it only reads a file.
    """

    def example(name: str) -> dict[str, Any]:
        assert load_example is not None  # there are no buttons that call it
        return load_example(name)

    view = gr.HTML(
        value,
        html_template='<div class="player"></div>',
        css_template=text(STYLE),
        js_on_load=text(DOM, *SCRIPTS) + "\nmountPlayer(element, props, watch, trigger, server);",
        server_functions=[example] if load_example else None,
        examples=list(examples),
        **kwargs,
    )
    # Programs are told what comes. On the instance: beside a subclass Gradio writes a .pyi file.
    view.api_info = lambda: PAYLOAD_TYPE  # type: ignore[method-assign]
    return view


def payload(progress: Progress, entry: ModelEntry, note: str = "", title: str | None = None) -> dict[str, Any]:
    """What has landed so far of one request."""
    clip = progress.clip
    return Payload(
        fps=clip.fps,
        num_frames=clip.num_real,
        size=clip.video.shape[-1],
        source=sprite(pixels(clip.video[:, :, : clip.num_real])),
        bits_per_token=entry.bits_per_token,
        latent_frames=1 + (clip.video.shape[2] - 1) // 4,
        max_k=entry.num_registers,
        shown=panel_budgets([result.keep_k for result in progress.sweep]),
        registers=[_result(result) for result in progress.sweep],
        grid=[_result(result) for result in progress.coarser_grid],
        short_grid=[_result(result, k) for k, result in progress.shorter_grid],
        note=note,
        id=progress.id,
        title=title,
    ).to_json()


def seeds_payload(clip_id: str, results: Sequence[Reconstruction]) -> dict[str, Any]:
    """One budget from several seeds, and where they differ: shown below the clip `clip_id`, if it is still there."""
    videos = np.stack([pixels(result.frames) for result in results]).astype(np.float32)  # (seeds, T, H, W, 3)
    spread = videos.std(axis=0).mean(axis=-1, keepdims=True)  # (T, H, W, 1), 8-bit levels
    grey = np.repeat(spread.round().clip(0, 255).astype(np.uint8), 3, axis=-1)
    return Seeds(
        seeds=[replace(_result(result), title=result.label) for result in results],
        k=results[0].keep_k,
        clip=clip_id,
        spread=sprite(grey, lossless=True),
        mean_spread=round(float(spread.mean()), 2),
        frames=len(grey),
    ).to_json()


def pair_payload(
    tokens: ClipTokens,
    reference: tuple[str, Sequence[str], np.ndarray],
    other: tuple[str, Sequence[str], np.ndarray],
    extra: Sequence[tuple[str, Sequence[str], np.ndarray]] = (),
) -> dict[str, Any]:
    """Two clips to compare, and others beside them: (title, lines, uint8 frames (T, H, W, 3)) each.

    Args:
        tokens: of the clip; what is played follows its frame rate and length.
    """
    (first, first_lines, first_frames), (second, second_lines, second_frames) = reference, other
    return Payload(
        fps=tokens.fps,
        num_frames=tokens.num_frames,
        size=first_frames.shape[1],
        source=sprite(first_frames),
        source_title=first,
        source_lines=first_lines,
        bits_per_token=tokens.bits_per_token,
        latent_frames=tokens.latent_frames,
        max_k=tokens.keep_k,
        shown=[tokens.keep_k],
        registers=[
            Result(tokens.keep_k, 0, 0, len(second_frames), sprite(second_frames), title=second, lines=second_lines)
        ],
        extra=[
            Panel(f"extra-{i}", title, lines, sprite(frames), len(frames))
            for i, (title, lines, frames) in enumerate(extra)
        ],
        compare={
            "wipe": f"Wipe: {first} | {second}",
            "flip": f"{second} alone (hold Space: {first})",
            "difference": f"Difference: {first} against {second}",
        },
    ).to_json()


def qualities(clip: dict[str, Any], request: Request) -> dict[str, Any]:
    """Of what a player shows: PSNR by budget, the number of latent frames, bits of a token, and what it was made of."""
    psnr = {result["k"]: result["psnr"] for result in clip["registers"]}
    return {
        "psnr": psnr, "latent_frames": clip["latentFrames"], "bits": clip["bitsPerToken"], "reads": request.reads
    }  # fmt: skip


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Of two uint8 videos of one size, over the frames that both have; infinite for equal ones."""
    length = min(len(a), len(b))
    error = float(np.mean((a[:length].astype(np.float32) - b[:length]) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def likeness(a: np.ndarray, b: np.ndarray) -> str:
    """How alike two videos are, in words."""
    value = psnr_db(a, b)
    return "the same pixels" if math.isinf(value) else f"PSNR {value:.1f} dB to it"


def panel_budgets(budgets: Sequence[int]) -> list[int]:
    """The budgets that get panels."""
    if len(budgets) <= SHOWN:
        return list(budgets)
    places = np.linspace(0, len(budgets) - 1, SHOWN).round().astype(int)
    return [budgets[i] for i in places]


def _result(result: Reconstruction, k: int | None = None) -> Result:
    return Result(
        k=result.keep_k if k is None else k,
        tokens=result.num_tokens,
        bytes=result.num_bytes,
        psnr=round(result.psnr_db, 2),
        frames=result.frames.shape[2],
        sprite=sprite(pixels(result.frames)),
    )


def pixels(video: Tensor) -> np.ndarray:
    from flextok.video.pixels import to_uint8

    return to_uint8(video[0])


def sprite(frames: np.ndarray, lossless: bool = False) -> str:
    """All frames, uint8 (T, H, W, 3), side by side in one WebP picture, as a data URL."""
    strip = np.concatenate(list(frames), axis=1)
    return _data_url(strip.tobytes(), strip.shape, lossless)


@lru_cache(maxsize=64)
def _data_url(pixels: bytes, shape: tuple[int, ...], lossless: bool) -> str:
    """Cached, because a request shows its earlier results again with every new one."""
    buffer, picture = io.BytesIO(), Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(shape))
    picture.save(buffer, "WEBP", quality=SPRITE_QUALITY, method=2, lossless=lossless)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def prebaked_names() -> list[str]:
    """Names of the examples whose results are shipped, in the order they are shown."""
    return sorted(path.stem for path in PREBAKED.glob("*.json"))


def prebaked(name: str) -> dict[str, Any]:
    """The payload of an example.

    Raises:
        gr.Error: there is none of that name.
    """
    if name not in prebaked_names():  # the name comes from the page, so it may be anything
        raise gr.Error("There is no such example.", print_exception=False)
    return json.loads((PREBAKED / f"{name}.json").read_text(encoding="utf-8"))


def source_frames(clip: dict[str, Any]) -> np.ndarray:
    """The frames of a payload's source, uint8 (T, H, W, 3), as its sprite keeps them."""
    picture = Image.open(io.BytesIO(base64.b64decode(clip["source"].split(",", 1)[1])))
    return np.stack(np.split(np.asarray(picture), clip["numFrames"], axis=1))


def example_buttons() -> list[dict[str, str]]:
    """The row of examples: `id` is that of the clip that is shown when a button is pressed."""
    clips = {name: prebaked(name) for name in prebaked_names()}
    return [
        {"name": name, "title": clip["title"], "id": clip["id"], "thumbnail": thumbnail(clip)}
        for name, clip in clips.items()
    ]


def thumbnail(clip: dict[str, Any]) -> str:
    """The middle frame of a payload's source, as a data URL."""
    middle = clip["numFrames"] // 2
    return sprite(source_frames(clip)[middle : middle + 1])
