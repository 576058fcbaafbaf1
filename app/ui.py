"""The page as a function of a service: `build_demo(service)`; nothing loads at import."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from app import endpoints
from app.calls import Page, SmallBodies
from app.generation import GeneratorService
from app.limits import MAX_UPLOAD_MB
from app.service import VideoService
from app.share import Shared, head
from app.shipped import EXAMPLES
from app.tabs import explore, generate, learn, long_video, rate_distortion, reuse, swap, tokens
from app.theme import CSS

TITLE = "FlexTok Video"


def build_demo(service: VideoService) -> gr.Blocks:
    with Page(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        gr.Markdown(f"# {TITLE}\nVideo as tokens that go from coarse to fine: stop anywhere, get the whole clip.")
        generators = GeneratorService(service)
        shared, names = Shared(), dict[str, gr.Tab]()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Explore", id="explore") as names["explore"]:
                clip = explore.build(service, demo, shared)
                reuse.build(service, clip)
            with gr.Tab("Tokens", id="tokens") as names["tokens"]:
                tokens.build(service, demo, clip, tabs, names["tokens"])
            with gr.Tab("Swap and edit", id="swap") as names["swap"]:
                swap.build(service, clip, names["swap"], shared)
            with gr.Tab("Generate", id="generate") as names["generate"]:
                generate.build(generators, clip, tabs, names["generate"], shared)
            with gr.Tab("Long video", id="long-video") as names["long-video"]:
                long_video.build(generators, shared)
            with gr.Tab("Rate-distortion", id="rate-distortion") as names["rate-distortion"]:
                rate_distortion.build(service, demo, names["rate-distortion"], clip.shown, shared)
            with gr.Tab("Learn", id="learn") as names["learn"]:
                learn.build()
        endpoints.build(service, clip)
        shared.wire(demo, tabs, names, clip)
        explore.wire_ends(clip)
        gr.Markdown(
            "An independent implementation of [VideoFlexTok](https://arxiv.org/abs/2604.12887), running on small "
            "weights that ship with it. Uploads stay on this server for an hour at most and are used for nothing else."
        )
    return demo


def queue_options() -> dict[str, Any]:
    """Settings of `queue()`: 32 wait, the next one is told that the queue is full.

    Lanes, each a `concurrency_id` shared by its events: "cpu" runs models, one at a time; "preview" reads a frame of an
    upload; "light" answers questions that need no model; whatever names none has a lane of its own, one at a time.
    """
    return {"max_size": 32, "default_concurrency_limit": 1}


def launch_options() -> dict[str, Any]:
    """Settings of `launch()`; examples are served in place, nothing else of the disk is."""
    gr.set_static_paths([EXAMPLES])
    return {
        "theme": gr.themes.Soft(),
        "css": CSS,
        "head": head(),
        "max_file_size": f"{MAX_UPLOAD_MB}mb",
        "enable_monitoring": False,
        "app_kwargs": {"middleware": [Middleware(SmallBodies)]},
        "footer_links": ["api"],
        "show_error": True,
    }
