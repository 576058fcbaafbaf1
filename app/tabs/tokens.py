"""Tokens as things: the ids of a clip, what each does to it, and a clip that travels as a file or a link of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.components.player import likeness, pair_payload, player
from app.components.token_strip import edits_from_page, strip_value, token_strip
from app.files import fresh_file
from app.page import LANE, QUIET, ShownClip
from app.refusals import as_plain_text, told
from app.request import Request
from app.service import VideoService
from app.share import OPENED, query_of
from app.store import EMBEDDED
from flextok.tokens.clip import ClipTokens
from flextok.tokens.edit import Edit, apply_edits
from flextok.tokens.file import load_tokens, save_tokens
from flextok.tokens.link import pack, unpack

INTRO = (
    "Every square is one token: a row for each latent frame, a column for each register, coloured by its code. "
    "**Choose what a click does, then click** a square, the number of a column or the name of a row, and see what the "
    "decoder makes of it, beside the unedited clip and from the same noise."
)
LINK_HELP = (
    "The link holds the first k tokens themselves, not an address of a file: opened on any machine with the same "
    "weights, it decodes to this video. It names the weights by their fingerprint."
)
DEFAULT_K = 8


@dataclass(frozen=True)
class Held:
    """The tokens of this tab."""

    tokens: ClipTokens
    edits: tuple[Edit, ...] = ()
    origin: tuple[Any, ...] = ()
    """Settings of Explore that they were made with; empty for a file's or a link's."""


OUTPUTS = 8
"""What most handlers give: tokens, status, strip, player, slider, link, its size, and why a link was refused."""


class TokenBench:
    """What happens on this tab; handlers take and give the values of components."""

    def __init__(self, service: VideoService) -> None:
        self.service = service

    def shown(self, now: Held, k: int, turn: int = 0) -> tuple[Any, ...]:
        """Everything that follows the tokens: strip, player, link and words; nothing is refused any more."""
        k = min(int(k), now.tokens.keep_k)
        levels = self.service.levels(now.tokens.model)
        with told():
            edited = now.tokens.with_ids(apply_edits(now.tokens.array(), now.edits, levels, now.tokens.seed))
        before, after = self.service.decode(now.tokens, k), self.service.decode(edited, k)
        kept = edited.prefix(k)
        count = f"{kept.latent_frames * k} tokens, {kept.num_bytes} bytes"
        clips = pair_payload(
            kept,
            ("Unedited", [f"k = {k}", count], before),
            ("Edited", [f"k = {k}", likeness(before, after)], after),
        )
        try:
            text = pack(kept)
            words = f"{len(text)} characters for {count}, {kept.num_frames} frames; weights {kept.fingerprint}."
        except ValueError as error:
            text, words = "", str(error)
        line = f"{now.tokens.latent_frames} x {now.tokens.keep_k} tokens of {now.tokens.num_ids:,} values each."
        slider = gr.Slider(maximum=now.tokens.keep_k, value=k)
        return (
            now,
            f"Shown: {line}",
            strip_value(now.tokens, edited.array(), now.edits, levels, k, turn),
            clips,
            slider,
            text,
            words,
            "",
        )

    def take(self, k: int, *settings: Any) -> tuple[Any, ...]:
        """The tokens of the clip in Explore."""
        tokens, _ = self.service.tokenize(Request.of(*settings))
        return self.shown(Held(tokens, origin=settings), k)

    def opened(self, now: Held | None, k: int, refused: str, *settings: Any) -> tuple[Any, ...]:
        """The tab comes to the front: take the clip of Explore unless it is here, or something else was opened."""
        if (now is None and refused) or (now is not None and now.origin in ((), settings)):
            return (gr.skip(),) * OUTPUTS
        return self.take(k, *settings)

    def edit(self, event: gr.EventData, now: Held | None, k: int) -> tuple[Any, ...]:
        held, turn = needed(now), event._data.get("turn")
        edits = tuple(edits_from_page(event._data.get("edits")))
        return self.shown(Held(held.tokens, edits, held.origin), k, turn if type(turn) is int else 0)

    def other_budget(self, now: Held | None, k: int) -> tuple[Any, ...]:
        return self.shown(needed(now), k)

    def open_file(self, path: str | None, k: int) -> tuple[Any, ...]:
        """Tokens from an uploaded file."""
        if path is None:
            return (gr.skip(),) * OUTPUTS
        with told():
            tokens = load_tokens(path)
        return self.shown(Held(tokens), min(k, tokens.keep_k))

    def from_address(self, text: str) -> Iterator[tuple[Any, ...]]:
        """Tokens from the address the page was opened with; what is wrong with them stays on the page."""
        try:
            with told():
                found = unpack(text)
            yield Held(found), "Working: opening the link ...", *(gr.skip(),) * 5, "", gr.Tabs(selected="tokens")
            yield *self.shown(Held(found), found.keep_k), gr.skip()
        except gr.Error as error:
            words = f"**The link was not opened.** {as_plain_text(error.message)}"
            yield None, gr.skip(), *(gr.skip(),) * 5, words, gr.Tabs(selected="tokens")

    def as_file(self, suffix: str, now: Held | None) -> str:
        """A new token file."""
        held = needed(now)
        ids = apply_edits(held.tokens.array(), held.edits, self.service.levels(held.tokens.model), held.tokens.seed)
        path = fresh_file(f"tokens{suffix}")
        save_tokens(held.tokens.with_ids(ids), path)
        return str(path)


def build(service: VideoService, demo: gr.Blocks, clip: ShownClip, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Lay out and wire the tab. It takes the clip of Explore when it is opened, or what a link or a file holds."""
    entry = service.entry(EMBEDDED)
    held = gr.State(None)
    in_address = gr.Textbox(visible="hidden", elem_id="tokens-in-address")
    gr.Markdown(INTRO)
    status = gr.Markdown("The tokens of the clip in Explore appear here.", elem_id="tokens-status")
    refused = gr.Markdown(elem_id="link-refused")
    strip = token_strip(elem_id="strip")
    keep_k = gr.Slider(1, entry.num_registers, DEFAULT_K, step=1, label="Tokens kept, k per latent frame", elem_id="k")
    view = player(None, elem_id="tokens-player")
    with gr.Row():
        with gr.Column(min_width=300):
            gr.Markdown("### The clip as a link\n" + LINK_HELP)
            packed = gr.Textbox(visible="hidden", elem_id="packed")
            link = gr.Textbox(label="Link", interactive=False, max_lines=3, buttons=["copy"], elem_id="token-link")
            size = gr.Markdown(elem_id="link-size")
        with gr.Column(min_width=300):
            gr.Markdown(
                "### The clip as a file\nAll tokens with their edits; the model and its fingerprint are inside."
            )
            with gr.Row():
                as_safetensors = gr.Button("Download .safetensors", elem_id="tokens-safetensors")
                as_json = gr.Button("Download .json", elem_id="tokens-json")
            file = gr.File(visible="hidden")
            upload = gr.File(
                label="Open a token file", file_types=[".safetensors", ".json"], height=170, elem_id="token-file"
            )
            again = gr.Button("Take the clip in Explore", elem_id="take-clip")
    bench = TokenBench(service)
    outputs = [held, status, strip, view, keep_k, packed, size, refused]
    private: dict[str, Any] = {**LANE, "api_visibility": "private", "show_progress_on": status}
    settings = list(clip.settings)
    follow: dict[str, Any] = {"fn": None, "inputs": packed, "outputs": link, "js": LINK_JS, "show_progress": "hidden"}
    changes = [
        tab.select(bench.opened, [held, keep_k, refused, *settings], outputs, **private),
        again.click(bench.take, [keep_k, *settings], outputs, **private),
        # Every click in its turn: "always_last" sends the data of the click it waited for again, not of the last one.
        strip.input(bench.edit, [held, keep_k], outputs, trigger_mode="multiple", **private),
        keep_k.release(bench.other_budget, [held, keep_k], outputs, trigger_mode="always_last", **private),
        upload.upload(bench.open_file, [upload, keep_k], outputs, **private),
        in_address.change(bench.from_address, in_address, [*outputs, tabs], **private),
    ]
    # Only a page that was opened with tokens takes a place in the queue.
    demo.load(
        lambda search: query_of(search).get("tokens") or gr.skip(), gr.Textbox(visible=False), in_address,
        js=OPENED, **QUIET,
    )  # fmt: skip
    for change in changes:
        change.then(**follow)
    for button, suffix in ((as_safetensors, ".safetensors"), (as_json, ".json")):
        made = button.click(lambda now, suffix=suffix: bench.as_file(suffix, now), held, file, **QUIET)
        made.success(fn=None, inputs=file, js="(file) => window.flextokUrl.save(file)", show_progress="hidden")


LINK_JS = """(text) => {
  const strip = document.querySelector("#strip");
  if (text && strip && strip.offsetParent) window.flextokUrl.set("tokens", text, "");
  return text ? window.flextokUrl.link(`?tokens=${text}`) : "";
}"""


def needed(now: Held | None) -> Held:
    """Raises gr.Error where there are no tokens yet."""
    if now is None:
        raise gr.Error("There are no tokens yet: press Take the clip in Explore.", print_exception=False)
    return now
