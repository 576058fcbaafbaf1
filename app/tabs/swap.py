"""Swap and edit: the first tokens of another clip, and another first frame under the tokens of this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from app.components.player import likeness, pair_payload, player, prebaked, prebaked_names
from app.page import LANE, ShownClip
from app.recolour import turn_hue
from app.refusals import refusal, told
from app.request import CROP, START, Request
from app.service import VideoService
from app.share import Shared, choice, number
from app.shipped import EXAMPLES
from app.store import EMBEDDED
from flextok.tokens.clip import ClipTokens
from flextok.tokens.edit import swap_prefix

SWAP_INTRO = (
    "### Swap tokens\nTake the **first m tokens** of every latent frame from clip B and the rest from clip A. What the "
    "first tokens say (where things are, how they move, mostly their colour) comes from B, the rest from A."
)
EDIT_INTRO = (
    "### Another first frame\nKeep only one or two tokens of clip A per latent frame, and give the decoder another "
    "**first frame**: the tokens say how the scene moves, the frame says how it looks. A probe, as in the paper: no "
    "model was trained for it, and small ones follow it only so far."
)
RECOLOURED, OF_B, UPLOADED = "recolour", "other", "upload"
LOOKS = [
    ("First frame of A, recoloured", RECOLOURED),
    ("First frame of B", OF_B),
    ("A picture of yours", UPLOADED),
]


class Mixing:
    """What happens on this tab; handlers take and give the values of components."""

    def __init__(self, service: VideoService) -> None:
        self.service = service

    def path_of_b(self, name: str, path: str | None) -> str:
        if path:
            return path
        if name not in prebaked_names():  # comes from the page, so it may be anything
            raise refusal("There is no such example.")
        return str(EXAMPLES / f"{name}.mp4")

    def both(self, name: str, path: str | None, settings: tuple[Any, ...]) -> tuple[ClipTokens, ClipTokens]:
        of_a = Request.of(*settings)
        a, _ = self.service.tokenize(of_a)
        of_b = replace(of_a, path=self.path_of_b(name, path), start_s=START.unset, crop=CROP.unset)
        b, _ = self.service.tokenize(of_b)
        return a, b

    def swap(self, name: str, path: str | None, k: int, m: int, *settings: Any) -> tuple[str, dict[str, Any]]:
        a, b = self.both(name, path, settings)
        k = min(int(k), a.keep_k)
        asked, m = m, min(int(m), k)
        with told():
            a, b = a.prefix(k), b.prefix(k)
            mixed = a.with_ids(swap_prefix(a.array(), b.array(), m))
        of_a, of_b, swapped = self.service.decode(a), self.service.decode(b), self.service.decode(mixed)
        clips = pair_payload(
            a,
            ("Clip A", [f"k = {k}"], of_a),
            ("Swapped", [f"tokens 1-{m} of B, {m + 1}-{k} of A" if 0 < m < k else f"all {k} of {'B' if m else 'A'}",
                         f"A: {likeness(of_a, swapped)}", f"B: {likeness(of_b, swapped)}"], swapped),
            [("Clip B", [f"k = {k}"], of_b)],
        )  # fmt: skip
        fewer = f" There are no {asked}: k is {k}." if asked > k else ""
        return f"Shown: the first {m} of {k} tokens from B.{fewer}", clips

    def edit(
        self, name: str, path: str | None, look: str, degrees: float, picture: str | None, k: int, *settings: Any
    ) -> tuple[str, dict[str, Any]]:
        request = Request.of(*settings)
        tokens, source = self.service.tokenize(request)
        k = min(int(k), tokens.keep_k)
        frame = first_frame(self.service, look, source[0], degrees, self.path_of_b(name, path), picture, request.model)
        plain, edited = self.service.decode(tokens, k), self.service.decode_from(tokens, k, frame)
        count = f"k = {k}: {k * tokens.latent_frames} tokens"
        clips = pair_payload(
            tokens.prefix(k),
            ("Clip A", ["the source"], source),
            ("From the new frame", [count, "begins with the frame"], edited),
            [("The frame", ["given, held"], np.repeat(frame[None], len(source), axis=0)),
             ("Tokens alone", [count, "without the frame"], plain)],
        )  # fmt: skip
        return f"Shown: {k} tokens of A per latent frame, and another first frame.", clips

    def open_tab(self, begun: tuple[Any, ...] | None, name: str, path: str | None, *rest: Any) -> tuple[Any, ...]:
        """Both views are filled when the tab comes to the front, unless they show the clip of Explore already."""
        (k, m, look, degrees, picture, edit_k), settings = rest[:6], rest[6:]
        if begun == settings:
            return (gr.skip(),) * 5
        return (
            settings,
            *self.swap(name, path, k, m, *settings),
            *self.edit(name, path, look, degrees, picture, edit_k, *settings),
        )


def build(service: VideoService, clip: ShownClip, tab: gr.Tab, shared: Shared) -> None:
    """Lay out and wire the tab. Clip A is the one in Explore."""
    entry = service.entry(EMBEDDED)
    examples = [(prebaked(name)["title"], name) for name in prebaked_names()]
    begun = gr.State(None)
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("**Clip A** is the one in Explore, with its settings. **Clip B:**")
            other = gr.Dropdown(examples, value=examples[1][1], label="Clip B, an example", elem_id="clip-b")
        with gr.Column(min_width=280):
            video_b = gr.Video(
                label="or a clip B of yours", sources=["upload", "webcam"], height=260, elem_id="video-b"
            )
    gr.Markdown(SWAP_INTRO)
    with gr.Row():
        swap_k = gr.Slider(1, entry.num_registers, 16, step=1, label="Tokens kept, k", min_width=240, elem_id="swap-k")
        first = gr.Slider(
            0, entry.num_registers, 4, step=1, label="of them from B: the first m", min_width=240, elem_id="m"
        )
        run_swap = gr.Button("Swap", variant="primary", min_width=120, elem_id="run-swap")
    swap_status = gr.Markdown("Open with any two clips.", elem_id="swap-status")
    swap_view = player(None, elem_id="swap-player")
    gr.Markdown(EDIT_INTRO)
    with gr.Row():
        with gr.Column(min_width=280):
            look = gr.Radio(LOOKS, value=RECOLOURED, label="First frame", elem_id="look")
            degrees = gr.Slider(0, 360, 140, step=5, label="Hues turned by, degrees", elem_id="degrees")
            edit_k = gr.Slider(1, entry.num_registers, 2, step=1, label="Tokens of A kept, k", elem_id="edit-k")
            run_edit = gr.Button("Decode from this frame", variant="primary", elem_id="run-edit")
        with gr.Column(min_width=280):
            picture = gr.Image(
                label="A picture of yours", type="filepath", sources=["upload", "clipboard", "webcam"], height=260,
                elem_id="picture",
            )  # fmt: skip
    edit_status = gr.Markdown("", elem_id="edit-status")
    edit_view = player(None, elem_id="edit-player")
    mixing = Mixing(service)
    b, settings = [other, video_b], list(clip.settings)
    swap_inputs = [*b, swap_k, first, *settings]
    edit_inputs = [*b, look, degrees, picture, edit_k, *settings]
    swap_options: dict[str, Any] = {**LANE, "api_visibility": "private", "show_progress_on": swap_status}
    edit_options: dict[str, Any] = {**LANE, "api_visibility": "private", "show_progress_on": edit_status}
    swap_outputs, edit_outputs = [swap_status, swap_view], [edit_status, edit_view]
    gr.on(
        [run_swap.click, swap_k.release, first.release, video_b.upload, video_b.stop_recording, video_b.clear],
        mixing.swap, swap_inputs, swap_outputs, trigger_mode="always_last", **swap_options,
    )  # fmt: skip
    # A clip of one's own goes before the examples, so choosing an example puts it away.
    chosen = other.input(lambda: None, outputs=video_b, show_progress="hidden", api_visibility="private", queue=False)
    chosen.then(mixing.swap, swap_inputs, swap_outputs, trigger_mode="always_last", **swap_options)
    gr.on(
        [run_edit.click, degrees.release, edit_k.release],
        mixing.edit, edit_inputs, edit_outputs, trigger_mode="always_last", **edit_options,
    )  # fmt: skip
    everything = [begun, *b, swap_k, first, look, degrees, picture, edit_k, *settings]
    tab.select(mixing.open_tab, everything, [begun, *swap_outputs, *edit_outputs], **swap_options)
    for name, component, parse in (
        ("b", other, choice(*prebaked_names())),
        ("swap-k", swap_k, number(1, entry.num_registers, whole=True)),
        ("m", first, number(0, entry.num_registers, whole=True)),
        ("look", look, choice(*(value for _, value in LOOKS))),
        ("hue", degrees, number(0, 360)),
        ("edit-k", edit_k, number(1, entry.num_registers, whole=True)),
    ):
        shared.add(name, component, parse)
    picture.upload(lambda: UPLOADED, outputs=look, show_progress="hidden", api_visibility="private", queue=False)


def first_frame(
    service: VideoService, look: str, own: np.ndarray, degrees: float, path_b: str, picture: str | None, model: str
) -> np.ndarray:
    """The frame to begin with, uint8 (H, W, 3).

    Raises:
        gr.Error: there is no picture, or it cannot be read.
    """
    if look == RECOLOURED:
        if isinstance(degrees, bool) or not isinstance(degrees, int | float) or not 0 <= degrees <= 360:
            raise refusal("Hues can be turned by 0 to 360 degrees.")
        return turn_hue(own, degrees)
    if look == OF_B:
        return service.picture(path_b, model)
    return service.picture(picture, model)
