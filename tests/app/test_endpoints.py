"""What programs can call: names, parameters and types are a promise, and each endpoint does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
import uvicorn
from gradio_client import Client, handle_file
from PIL import Image

from app.render import FORMS, SUFFIXES
from app.request import Request
from app.service import VideoService
from app.share import crop
from app.shipped import example_paths
from app.snippets import curl_snippet, python_snippet
from app.ui import build_demo, launch_options, queue_options
from flextok.tokens.link import unpack
from flextok.video.read import probe_video

EXAMPLE = str(example_paths()[0])
REST = {
    "start_s": "number", "length_s": "number", "fps": "number", "crop": "string", "steps": "number",
    "guidance": "number", "seed": "integer", "model": "string",
}  # fmt: skip
PROMISED: dict[str, dict[str, str]] = {
    "/reconstruct": {"video": "file", "also_k": "integer", **REST},
    "/render": {"video": "file", "form": "enum", "keep_k": "integer", **REST},
    "/list_models": {},
    "/list_examples": {},
    "/budget": {"num_frames": "integer", "keep_k": "integer", "model": "string"},
    "/edit_tokens": {"tokens": "object", "edits": "array", "seed": "integer"},
    "/swap_tokens": {"tokens": "object", "other": "object", "first": "integer"},
    "/token_link": {"tokens": "object", "keep_k": "integer or null"},
    "/open_link": {"text": "string"},
    "/rate_distortion": {"clips": "string"},
    "/tokenize": {"video": "file", **REST},
    "/decode_tokens": {"tokens": "any", "keep_k": "integer"},
    "/edit_first_frame": {"tokens": "any", "picture": "file", "keep_k": "integer"},
    "/generate": {
        "action": "enum", "prompt": "string", "keep_k": "number", "seed": "integer", "guidance": "number",
        "temperature": "number",
    },
    "/long_video": {"prompt": "string", "chunks": "number", "keep_k": "number", "seed": "integer"},
}  # fmt: skip
REQUIRED = {"tokens", "other", "edits", "first", "text", "num_frames", "picture"} | {("/budget", "keep_k")}
"""Parameters that have no default."""
DELIVERED = {
    "/reconstruct": ["string", "object"],
    "/generate": ["string", "object"],
    "/long_video": ["file", "string"],
    "/render": ["file"],
    "/decode_tokens": ["file"],
    "/edit_first_frame": ["file"],
}


@pytest.fixture(scope="module")
def client(page: str) -> Client:
    return Client(page, verbose=False)


def kind(schema: dict[str, Any]) -> str:
    text = json.dumps(schema)
    if "gradio.FileData" in text or schema.get("title") in ("FileData", "ImageData"):
        return "file"
    if "oneOf" in schema:
        return " or ".join(sorted({part["type"] for part in schema["oneOf"]}, key=lambda t: t == "null"))
    return "enum" if "enum" in schema else schema.get("type") or "any"


def test_endpoints_are_as_promised(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    found = {name: {p["parameter_name"]: kind(p["type"]) for p in about["parameters"]} for name, about in named.items()}
    for name, parameters in PROMISED.items():
        assert found[name] == parameters, name
        assert named[name].get("description"), name
        needed = {p["parameter_name"] for p in named[name]["parameters"] if not p["parameter_has_default"]}
        assert all(p in REQUIRED or (name, p) in REQUIRED for p in needed), (name, needed)
    for name, kinds in DELIVERED.items():
        assert [kind(value["type"]) for value in named[name]["returns"]] == kinds, name


def test_clips_are_generated_from_what_a_call_names_alone(client: Client) -> None:
    said, shown = client.predict(action="spins", keep_k=1, seed=3, api_name="/generate")
    assert "k = 1: 5 tokens" in said
    assert shown["registers"][0]["k"] == 1
    video, said = client.predict(chunks=1, keep_k=1, api_name="/long_video")
    assert "5 tokens" in said
    assert probe_video(video if isinstance(video, str) else video["video"]).num_frames == 17


def test_what_is_there_is_listed(client: Client) -> None:
    models = client.predict(api_name="/list_models")
    assert models[0]["id"] == "embedded"
    assert models[0]["budgets"][-1] == models[0]["num_registers"]
    assert client.predict(api_name="/list_examples")[0]["name"].startswith("1-")
    assert client.predict(17, 16, api_name="/budget") == {"latent_frames": 5, "tokens": 80, "bytes": 100}
    rows = client.predict(api_name="/rate_distortion")
    assert {"register", "grid_coarser", "vae"} <= {row["method"] for row in rows}
    for wrong in ((16, 4), (17, 0), (17, 65)):
        with pytest.raises(Exception, match="must be"):
            client.predict(*wrong, api_name="/budget")


def test_tokens_go_out_and_come_back(client: Client, tmp_path: Path) -> None:
    tokens = client.predict(handle_file(EXAMPLE), steps=1, api_name="/tokenize")
    assert len(tokens["ids"]) == 5
    other = client.predict(handle_file(str(example_paths()[1])), steps=1, api_name="/tokenize")
    mixed = client.predict(tokens, other, 1, api_name="/swap_tokens")
    assert [row[0] for row in mixed["ids"]] == [row[0] for row in other["ids"]]
    assert [row[1:] for row in mixed["ids"]] == [row[1:] for row in tokens["ids"]]
    edits = [{"operation": "mute", "frame": None, "register": 0}]
    edited = client.predict(mixed, edits, api_name="/edit_tokens")
    assert len({row[0] for row in edited["ids"]}) == 1
    link = client.predict(edited, 2, api_name="/token_link")
    assert unpack(link).keep_k == 2
    opened = client.predict(f"http://somewhere/?k=3&tokens={link}", api_name="/open_link")
    assert opened["ids"] == [row[:2] for row in edited["ids"]]
    video = client.predict(opened, api_name="/decode_tokens")
    assert probe_video(video).num_frames == 17
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "picture.png")
    video = client.predict(opened, handle_file(str(tmp_path / "picture.png")), 1, api_name="/edit_first_frame")
    assert probe_video(video).num_frames == 17


@pytest.mark.parametrize(
    ("endpoint", "arguments", "says"),
    [
        ("/decode_tokens", ({"format": "x"},), "no token file"),
        ("/token_link", ({"format": "flextok-tokens", "version": 1},), "lacks"),
        ("/open_link", ("not a link",), "copy all of it"),
        ("/rate_distortion", ("<b>",), "Clip sets"),
        ("/edit_tokens", ({}, []), "no token file"),
    ],
)
def test_wrong_calls_are_one_sentence(client: Client, endpoint: str, arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(Exception, match=says) as caught:
        client.predict(*arguments, api_name=endpoint)
    assert "<b>" not in str(caught.value)


NUMBERS = ("1e400", "NaN", "-1e400", '"x"', "{}", "[1]", "true", "1e30", "0.5")


@pytest.mark.parametrize(
    ("endpoint", "before", "after", "named"),
    [
        ("/budget", "", ', 4, "embedded"', "num_frames"),
        ("/budget", "17, ", ', "embedded"', "keep_k"),
        ("/rate_distortion", "", "", "Clip sets"),
        ("/generate", '"spins", "", ', ", 0, 3, 1", "Tokens per latent frame"),
        ("/generate", '"spins", "", 1, ', ", 3, 1", "Seed"),
        ("/long_video", '"a ball rolls", ', ", 1, 0", "Chunks"),
        ("/tokenize", "null, ", ', 0, 0, "", 1, 1, 0, "embedded"', "Start"),
        ("/tokenize", 'null, 0, 0, 0, "", ', ', 1, 0, "embedded"', "steps"),
    ],
)
def test_values_that_are_no_such_number_are_one_sentence(
    page: str, endpoint: str, before: str, after: str, named: str
) -> None:
    """As raw JSON: clients of other languages send what Python's own cannot."""
    for value in NUMBERS:
        answer = called(page, endpoint, f"[{before}{value}{after}]")
        if answer.startswith("complete"):  # 0.5 s is a start
            assert (endpoint, value, named) == ("/tokenize", "0.5", "Start")
            continue
        sentence = json.loads(answer.partition(" ")[2])["error"]
        assert named.lower() in sentence.lower() or "frames" in sentence, (value, sentence)
        assert not re.search(r"\n|Error|convert|unhashable|object|Expected", sentence), (value, sentence)


def test_the_limits_of_a_field_are_said_in_full(page: str) -> None:
    answer = called(page, "/generate", '["spins", "", 1, 1.5, 3, 1]')
    sentence = json.loads(answer.partition(" ")[2])["error"]
    assert sentence == "Seed must be a whole number between 0 and 2147483647, not 1.5."


def test_a_call_of_too_few_values_is_one_sentence(page: str) -> None:
    answer = called(page, "/budget", "[17, 4]")
    assert json.loads(answer.partition(" ")[2])["error"] == "budget takes 3 values, 2 were given; see Use via API."


def called(page: str, endpoint: str, data: str) -> str:
    """The last event of a call, and what came with it."""
    url = f"{page}gradio_api/call{endpoint}"
    begun = httpx.post(url, content=f'{{"data": {data}}}', headers={"content-type": "application/json"})
    assert begun.status_code == 200, begun.text
    lines = httpx.get(f"{url}/{begun.json()['event_id']}", timeout=120).text.strip().splitlines()
    return f"{lines[-2].removeprefix('event: ')} {lines[-1].removeprefix('data: ')}"


def test_a_path_in_place_of_an_upload_is_one_sentence(page: str) -> None:
    for value in ('"/etc/passwd"', "{}", "7"):
        answer = called(page, "/tokenize", f'[{value}, 0, 0, 0, "", 1, 1, 0, "embedded"]')
        assert json.loads(answer.partition(" ")[2])["error"].startswith("A file must be given as an upload")


def test_bodies_that_no_endpoint_needs_are_refused_before_they_are_parsed(page: str) -> None:
    nested = b'{"data": [' + b"[" * 500_000 + b"]" * 500_000 + b"]}" + b" " * (7 << 20)

    def in_pieces() -> Iterator[bytes]:  # states no length
        for start in range(0, len(nested), 1 << 16):
            yield nested[start : start + (1 << 16)]

    answered = 0
    for path in ("call/budget", "queue/join", "run/budget"):
        for content in (nested, in_pieces()):
            started = time.perf_counter()
            try:
                answer = httpx.post(f"{page}gradio_api/{path}", content=content, timeout=30)
            except httpx.WriteError:  # refused before all of it was sent
                continue
            assert answer.status_code == 413
            assert "1 MiB" in answer.json()["detail"]
            answered += 1
            assert time.perf_counter() - started < 5
    assert answered
    assert called(page, "/budget", '[17, 4, "embedded"]').startswith("complete")


@pytest.mark.parametrize("form", FORMS)
def test_downloads_hold_their_settings(client: Client, form: str) -> None:
    path = Path(client.predict(handle_file(EXAMPLE), form=form, keep_k=2, steps=1, seed=3, api_name="/render"))
    assert path.name == f"flextok-k2-seed3{SUFFIXES[form]}"
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            about = json.loads(container.metadata["comment"])
    else:
        with Image.open(path) as picture:
            comment = picture.info.get("comment") or picture.info["Comment"]
            about = json.loads(comment)
    assert (about["keep_k"], about["seed"], about["model"]) == (2, 3, "embedded")
    assert len(about["weights"]) == 16


REQUEST = Request(EXAMPLE, steps=1, seed=5, start_s=0.25, length_s=1.0, fps=4.0, crop="0.1,0,0.5,0.5")


def test_the_python_snippet_runs(tmp_path: Path, repository: Path) -> None:
    code = python_snippet(REQUEST, EXAMPLE, 2, 1, 1.0)
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert probe_video(tmp_path / "k2.mp4").num_frames == 4


def test_scripts_to_copy_hold_no_text_of_an_address() -> None:
    hostile = "0,0,1,1" + " " * 93 + "$(touch pwned)"
    with pytest.raises(gr.Error):
        crop(hostile)
    assert crop(" 0.25, 0,0.5 ,1 ") == "0.25,0,0.5,1"
    request = replace(REQUEST, crop="0,0,1,1" + " " * 93, model="a'$(touch pwned)\"b")
    code = curl_snippet("http://127.0.0.1:1", request, "clip.mp4", 2, 1, 1.0)
    body = code.split("-d ", 1)[1].split(" | cut")[0]
    said = subprocess.run(["bash", "-c", f"FILE=x; printf %s {body}"], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["model"] == request.model
    assert json.loads(said.stdout)["crop"] == "0,0,1,1"
    assert json.loads(said.stdout)["video"]["path"] == "x"


@pytest.fixture(scope="module")
def below() -> Iterator[str]:
    """Address of the app behind a path, as a proxy or a host of several demos gives it."""
    from fastapi import FastAPI

    demo = build_demo(VideoService([]))
    demo.queue(**queue_options())
    options = {
        name: value for name, value in launch_options().items() if name in ("app_kwargs", "max_file_size", "head")
    }
    served = gr.mount_gradio_app(FastAPI(), demo, path="/demos/video", **options)
    server = uvicorn.Server(uvicorn.Config(served, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/demos/video"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.mark.parametrize("where", ["root", "below"])
def test_the_curl_snippet_runs(where: str, page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    address = page.rstrip("/") if where == "root" else request.getfixturevalue("below")
    code = curl_snippet(address, REQUEST, EXAMPLE, 2, 1, 1.0)
    assert not re.search(r"[`;]", code)
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert probe_video(tmp_path / "k2.mp4").num_frames == 4
