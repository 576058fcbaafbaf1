"""The page's settings as a Python script and as a call of its API."""

from __future__ import annotations

import json
import shlex
from typing import Any

from app.request import Request, parse_crop

UNKNOWN_CLIP = "your-clip.mp4"


def clip_name(example: str) -> str:
    """Where a reader finds the clip: an example of this repository, or a file of their own."""
    return f"assets/examples/{example}.mp4" if example else UNKNOWN_CLIP


def python_snippet(request: Request, clip: str, keep_k: int, steps: int, guidance: float) -> str:
    """A script that decodes one budget with the library, as the page does."""
    reading = f", start_s={request.start_s:g}" if request.start_s else ""
    reading += f", fps={request.fps:g}" if request.fps else ""
    box = parse_crop(request.crop)
    reading += f", crop={box}" if box else ""
    if request.length_s:
        reading += f", num_frames=round({request.length_s:g} * {request.fps or 'tokenizer.info.fps'})"
    else:
        reading += ", max_chunks=1"
    return f"""\
import flextok
import torch
from flextok.data import write_video

tokenizer = flextok.load_tokenizer({json.dumps(request.model)})
clip = tokenizer.read({json.dumps(clip)}{reading})
ids = tokenizer.tokenize(clip)
video = tokenizer.detokenize(
    ids,
    keep_k={keep_k},
    num_inference_steps={steps},
    guidance_scale={guidance:g},
    generator=torch.Generator().manual_seed({int(request.seed)}),
)
write_video(video.frames[0, :, : clip.num_real], "k{keep_k}.mp4", fps=clip.fps)
"""


def curl_snippet(address: str, request: Request, clip: str, keep_k: int, steps: int, guidance: float) -> str:
    """A shell script that uploads the clip, asks `/render` for an mp4 and downloads it."""
    body: dict[str, Any] = {
        "video": {"path": "$FILE", "meta": {"_type": "gradio.FileData"}},
        "form": "mp4",
        "keep_k": keep_k,
        **request.settings(),
        "crop": ",".join(f"{side:g}" for side in parse_crop(request.crop) or ()),
        "steps": steps,
        "guidance": guidance,
    }
    quoted = shlex.quote(json.dumps(body)).replace("$FILE", "'\"$FILE\"'")
    return f"""\
API={address}/gradio_api
FILE=$(curl -s -F "files=@{clip}" $API/upload | cut -d'"' -f2)
ID=$(curl -s $API/call/v2/render -H "Content-Type: application/json" \\
    -d {quoted} | cut -d'"' -f4)
URL=$(curl -sN $API/call/render/$ID | grep -o '"url": *"[^"]*"' | head -n 1 | cut -d'"' -f4)
curl -s -o k{keep_k}.mp4 "$URL"
"""
