"""What can be downloaded of a clip: mp4, GIF, labelled side-by-side mp4, PNG strip; settings are kept in each file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, PngImagePlugin

from app.components.player import panel_budgets
from app.files import fresh_file
from app.refusals import refusal, told
from app.request import Request
from app.service import VideoService
from app.store import budgets
from flextok import __version__
from flextok.tokens.clip import ClipTokens

Form = Literal["mp4", "gif", "side by side", "strip"]
FORMS = get_args(Form)
SUFFIXES = {"mp4": ".mp4", "gif": ".gif", "side by side": "-side-by-side.mp4", "strip": "-strip.png"}
SCALE = 4
"""A 64-pixel clip is enlarged this much, by repeating pixels, in an mp4 and a GIF."""


def render(service: VideoService, request: Request, form: str, keep_k: int | None) -> Path:
    """Decode a clip at a budget and write a file of one form.

    Raises:
        gr.Error: with one sentence for whatever is wrong with the request.
    """
    if form not in FORMS:
        raise refusal(f"A download must be one of {', '.join(FORMS)}, not {form!s:.40}.")
    tokens, source = service.tokenize(request)
    with told():
        kept = tokens.prefix(whole(tokens.keep_k if keep_k is None else keep_k))
    path = fresh_file(f"flextok-k{kept.keep_k}-seed{kept.seed}{SUFFIXES[form]}")
    about = json.dumps(settings(request, kept))
    with told():
        from flextok.video.strip import side_by_side
        from flextok.video.write import write_video

        if form == "strip":
            write_strip([source, service.decode(kept)], path, about)
        elif form == "side by side":
            ks = sorted({*panel_budgets(budgets(service.entry(request.model))), kept.keep_k})
            clips = [("original", source), *((f"k = {k}", service.decode(tokens, k)) for k in ks)]
            write_video(side_by_side(clips), path, kept.fps, about)
        else:
            write_video(enlarged(service.decode(kept)), path, kept.fps, about)
    return path


def settings(request: Request, tokens: ClipTokens) -> dict[str, Any]:
    """What is needed to make the file again, the clip itself aside."""
    return {
        "software": f"flextok {__version__}",
        "model": tokens.model,
        "weights": tokens.fingerprint,
        "keep_k": tokens.keep_k,
        "num_frames": tokens.num_frames,
        "fps": tokens.fps,
        "start_s": request.start_s,
        "crop": request.crop,
        "num_inference_steps": tokens.steps,
        "guidance_scale": tokens.guidance,
        "seed": tokens.seed,
    }


def enlarged(frames: np.ndarray) -> np.ndarray:
    """Small clips, uint8 (T, H, W, 3), at a size that other programs show well."""
    scale = max(min(SCALE, 256 // frames.shape[1]), 1)
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)


def write_strip(clips: list[np.ndarray], path: Path, about: str) -> None:
    """One row of frames for each clip, as a PNG with the settings in its text."""
    rows = [np.concatenate(list(frames), axis=1) for frames in clips]
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", about)
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, pnginfo=info)


def whole(value: object, name: str = "Tokens per latent frame") -> int:
    """A whole number from a page or a caller, who may send 4.0; infinities and NaN are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise refusal(f"{name} must be a whole number, not {value!s:.40}.")
    return int(value)
