"""The page as a function of a service: `build_demo(service)`; nothing loads at import."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.service import EXAMPLES, VideoService
from app.tabs import explore, rate_distortion, swap, tokens
from app.theme import CSS

TITLE = "FlexTok Video"
MAX_UPLOAD = "50mb"


def build_demo(service: VideoService) -> gr.Blocks:
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        gr.Markdown(f"# {TITLE}\nVideo as tokens that go from coarse to fine: stop anywhere, get the whole clip.")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Explore", id="explore"):
                clip = explore.build(service, demo)
            with gr.Tab("Tokens", id="tokens") as tab:
                tokens.build(service, demo, clip, tabs, tab)
            with gr.Tab("Swap and edit", id="swap") as tab:
                swap.build(service, clip, tab)
            with gr.Tab("Rate-distortion", id="rate-distortion"):
                rate_distortion.build(service, demo, clip.shown)
        gr.Markdown(
            "An independent implementation of [VideoFlexTok](https://arxiv.org/abs/2604.12887), running on small "
            "weights that ship with it. Uploads stay on this server for an hour at most and are used for nothing else."
        )
    return demo


def launch_options() -> dict[str, Any]:
    """Settings of `launch()`; examples are served in place, nothing else of the disk is."""
    gr.set_static_paths([EXAMPLES])
    return {
        "theme": gr.themes.Soft(),
        "css": CSS,
        "max_file_size": MAX_UPLOAD,
        "enable_monitoring": False,
        "footer_links": ["api"],
        "show_error": True,
    }
