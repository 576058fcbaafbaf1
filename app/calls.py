"""Calls that no handler should see: values that no field takes, and bodies larger than any endpoint needs."""

from __future__ import annotations

import json
import math
from typing import Any

import gradio as gr
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.refusals import refusal

MAX_BODY_BYTES = 1 << 20
"""The page sends less than 1 KB; two token files of 21 latent frames with 600 tokens each are under 200 KB. Files come
another way."""


class Page(gr.Blocks):
    """Says in one sentence, and by the name of the field, what of a call cannot be read."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False) -> Any:
        if len(inputs) < len(block_fn.inputs):
            raise refusal(
                f"{block_fn.api_name} takes {len(block_fn.inputs)} values, {len(inputs)} were given; see Use via API."
            )
        for index, (block, value) in enumerate(zip(block_fn.inputs, inputs, strict=False)):
            if index in block_fn.component_prop_inputs:  # all properties, of which this class looks at none
                continue
            now = state[block._id] if state is not None and block._id in state else block
            if isinstance(now, gr.Number | gr.Slider):
                check_number(now, value)
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error:
            raise
        except ValidationError:
            raise refusal(
                "A file must be given as an upload of this page: handle_file(...) of gradio_client makes it one."
            ) from None


def check_number(field: gr.Number | gr.Slider, value: object) -> None:
    """Raise gr.Error unless a field takes this value; a Number may be left empty."""
    if value is None and isinstance(field, gr.Number):
        return
    low, high = field.minimum, field.maximum
    whole = isinstance(field, gr.Number) and field.precision == 0  # Gradio would round
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        inside = (low is None or value >= low) and (high is None or value <= high)
        if inside and (not whole or value == int(value)):
            return
    if low is None or high is None:
        limits = "" if low is None else f" of {low:.10g} or more"
    else:
        limits = f" between {low:.10g} and {high:.10g}"
    given = "nothing" if value is None else f"{value!s:.40}"
    raise refusal(f"{field.label or 'A number'} must be a {'whole ' if whole else ''}number{limits}, not {given}.")


class SmallBodies:
    """Middleware: refuses a request's body before it is parsed, once it is larger than any endpoint needs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].rstrip("/").endswith("/upload"):
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            await _refuse(send)
            return
        body, more = bytearray(), True
        while more:  # also of those that state no length, or a wrong one
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                await _refuse(send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


async def _refuse(send: Send) -> None:
    sentence = f"This call has more than {MAX_BODY_BYTES >> 20} MiB; files are uploaded, not sent in a call."
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
