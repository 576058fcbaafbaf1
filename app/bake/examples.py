"""Write the demo's examples, clips that the embedded models decode and generate: `python -m app.bake.examples`.

The clips are Toybox test clips, so ours to ship. Run it again whenever the embedded weights change.
"""

from __future__ import annotations

import json

from app.components.player import payload
from app.generation import GenerateRequest, GeneratorService, generated_payload, with_chunk_bar
from app.limits import MAX_GENERATED_CHUNKS
from app.request import Request
from app.service import VideoService
from app.shipped import EXAMPLE_CLIP, EXAMPLE_VIDEO, PREBAKED
from app.store import EMBEDDED, ModelStore
from app.tabs.explore import note
from app.tabs.long_video import PROMPTS
from flextok.loading.registry import ASSETS
from flextok.toybox.caption import caption
from flextok.toybox.render import render
from flextok.toybox.sampling import TEST_SEEDS, sample_spec
from flextok.toybox.spec import FPS
from flextok.video.write import write_video

EXAMPLES = {
    "1-rolls": ("rolls right", 5),
    "2-bounces": ("bounces", 3),
    "3-spins": ("spins", 11),
    "4-circles": ("circles", 2),
    "5-hit": ("is hit by a ball", 4),
    "6-camera": ("camera pans left", 9),
}
"""File name to (action, offset into the test seeds)."""


def main() -> None:
    folder = ASSETS / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Example clips", "", "Rendered by `python -m app.bake.examples` from Toybox test specs; Apache-2.0.", ""]
    for name, (action, offset) in EXAMPLES.items():
        spec = sample_spec(TEST_SEEDS.start + offset, action=action)
        write_video(render(spec), folder / f"{name}.mp4", FPS)
        lines.append(f"- `{name}.mp4`: {caption(spec)}")
        prebake(name, caption(spec))
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    generate()


def prebake(name: str, title: str) -> None:
    """Decode an example at every budget, as a visitor would, and keep what the page shows."""
    service = VideoService()
    *_, last = service.reconstruct(Request(str(ASSETS / "examples" / f"{name}.mp4")))
    shown = payload(last, service.entry(EMBEDDED), note(last), title)
    PREBAKED.mkdir(parents=True, exist_ok=True)
    (PREBAKED / f"{name}.json").write_text(json.dumps(shown) + "\n", encoding="utf-8")


def generate() -> None:
    """What Generate and Long video show before a visitor asks: their settings as they stand."""
    service, request = GeneratorService(ModelStore()), GenerateRequest("bounces")
    clip = generated_payload(list(service.generate(request)), request.said, service.grid(request))
    EXAMPLE_CLIP.parent.mkdir(parents=True, exist_ok=True)
    EXAMPLE_CLIP.write_text(json.dumps(clip) + "\n", encoding="utf-8")
    *_, video = service.long_video(GenerateRequest("", PROMPTS[0], keep_k=8, chunks=MAX_GENERATED_CHUNKS))
    write_video(with_chunk_bar(video.frames, len(video.frames)), EXAMPLE_VIDEO, FPS)


if __name__ == "__main__":
    main()
