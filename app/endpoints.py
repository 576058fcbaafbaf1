"""Endpoints for programs, beside /reconstruct and /render of the page: names, types and texts are a promise.

`tests/app/test_endpoints.py` holds them fast. Files come in through components, whose paths Gradio checks; `gr.api`
would take any path of this machine.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr
import numpy as np

from app.components.player import prebaked, prebaked_names
from app.components.token_strip import edits_from_page
from app.files import fresh_file
from app.page import LANE, ShownClip
from app.plots import SETS, csv_rows, results
from app.refusals import refusal, told
from app.render import enlarged, whole
from app.request import Request, with_settings
from app.service import VideoService
from app.store import EMBEDDED, budgets
from flextok.chunking import num_latent_frames
from flextok.tokens.edit import apply_edits
from flextok.tokens.edit import swap_prefix as swapped
from flextok.tokens.file import from_json, to_json
from flextok.tokens.link import pack, unpack

LIGHT: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "light"}


def build(service: VideoService, clip: ShownClip) -> None:
    """Register the endpoints; nothing of this is seen on the page."""
    _questions(service)
    _clips(service, clip)


def _questions(service: VideoService) -> None:
    """Those that need no file, and no place in the models' lane."""

    def list_models() -> list[dict[str, Any]]:
        """Models, with what they take and whether they run here; an empty reason means that they do."""
        rows = []
        for entry, available in service.known():
            reason = "not looked at yet" if available is None else available.reason
            rows.append({**asdict(entry), "budgets": budgets(entry), "reason": reason})
        return rows

    def list_examples() -> list[dict[str, str]]:
        """Names and captions of the built-in clips; ?example=NAME in the page's address opens one."""
        return [{"name": name, "title": prebaked(name)["title"]} for name in prebaked_names()]

    def budget(num_frames: int, keep_k: int, model: str = EMBEDDED) -> dict[str, int]:
        """What a clip of num_frames (1 + 4 n) costs at keep_k tokens per latent frame: tokens and whole bytes."""
        entry = service.entry(model)
        k, frames = whole(keep_k, "keep_k"), whole(num_frames, "num_frames")
        if not 1 <= k <= entry.num_registers:
            raise refusal(f"keep_k must be in 1..{entry.num_registers}, not {k}.")
        with told():
            latent_frames = num_latent_frames(frames)
        tokens = latent_frames * k
        return {"latent_frames": latent_frames, "tokens": tokens, "bytes": -(-tokens * entry.bits_per_token // 8)}

    def edit_tokens(tokens: dict[str, Any], edits: list[dict[str, Any]], seed: int = 0) -> dict[str, Any]:
        """Tokens after edits [{operation: mute | resample | perturb | restore, frame, register}]; null means all."""
        with told():
            given = from_json(tokens)
            levels = service.levels(given.model)
            edited = apply_edits(given.array(), edits_from_page(edits), levels, whole(seed, "seed"))
            return to_json(given.with_ids(edited))

    def swap_tokens(tokens: dict[str, Any], other: dict[str, Any], first: int) -> dict[str, Any]:
        """The first `first` tokens of every latent frame from `other`, the rest from `tokens`; of the same weights."""
        with told():
            a, b = from_json(tokens), from_json(other)
            if a.fingerprint != b.fingerprint:
                raise ValueError("The two clips were made by different weights, so their tokens do not mix.")
            return to_json(a.with_ids(swapped(a.array(), b.array(), whole(first, "first"))))

    def token_link(tokens: dict[str, Any], keep_k: int | None = None) -> str:
        """The text that carries a clip in an address: ?tokens=TEXT opens it on this page."""
        with told():
            given = from_json(tokens)
            return pack(given if keep_k is None else given.prefix(whole(keep_k, "keep_k")))

    def open_link(text: str) -> dict[str, Any]:
        """The tokens that a link carries; takes the text or the whole address."""
        with told():
            return to_json(unpack(str(text).rsplit("tokens=", 1)[-1].split("&", 1)[0]))

    def rate_distortion(clips: str = "toybox_test") -> list[dict[str, Any]]:
        """Measured quality against bytes of one clip set, one row for each point of each method."""
        if not isinstance(clips, str) or clips not in SETS:
            raise refusal(f"Clip sets are {', '.join(SETS)}, not {clips!s:.40}.")
        names, *rows = csv_rows(results(), service.entry(EMBEDDED).bits_per_token)
        return [dict(zip(names, row, strict=True)) for row in rows if row[0] == clips]

    for light in (list_models, list_examples, budget, edit_tokens, swap_tokens, token_link, open_link, rate_distortion):
        gr.api(light, **LIGHT)


def _clips(service: VideoService, clip: ShownClip) -> None:
    """Those that take or give a file."""

    def tokenize(video: str | None = None, *settings: Any) -> dict[str, Any]:
        """Tokens of a video as a JSON token file: ids, model, fingerprint of its weights, and how to decode them."""
        tokens, _ = service.tokenize(Request.of(video, *settings))
        return to_json(tokens)

    def decode_tokens(tokens: dict[str, Any], keep_k: int | None = None) -> str:
        """An mp4 of the first keep_k tokens per latent frame of a JSON token file; of all without keep_k."""
        with told():
            given = from_json(tokens)
            kept = given if keep_k is None else given.prefix(whole(keep_k, "keep_k"))
        return write_mp4(service.decode(kept), kept.fps, f"flextok-k{kept.keep_k}.mp4")

    def edit_first_frame(tokens: dict[str, Any], picture: str | None, keep_k: int = 2) -> str:
        """An mp4 that begins with a picture and goes on as the first keep_k tokens per latent frame say."""
        with told():
            given = from_json(tokens)
        frame = service.picture(picture, given.model)
        return write_mp4(
            service.decode_from(given, whole(keep_k, "keep_k"), frame), given.fps, "flextok-first-frame.mp4"
        )

    with gr.Group(visible=False):
        tokens, keep_k = gr.JSON(label="Tokens"), gr.Number(label="Tokens kept", precision=0)
        few = gr.Number(2, label="Tokens kept", precision=0)
        picture, file, made = gr.Image(type="filepath"), gr.File(label="Video"), gr.JSON(label="Tokens")
        called = gr.Button()
    called.click(with_settings(tokenize), list(clip.settings), made, api_name="tokenize", **LANE)
    called.click(decode_tokens, [tokens, keep_k], file, api_name="decode_tokens", **LANE)
    called.click(edit_first_frame, [tokens, picture, few], file, api_name="edit_first_frame", **LANE)


def write_mp4(frames: np.ndarray, fps: float, name: str) -> str:
    """A file for download of uint8 (T, H, W, 3)."""
    from flextok.video.write import write_video

    path = fresh_file(name)
    with told():
        write_video(enlarged(frames), path, fps)
    return str(path)
