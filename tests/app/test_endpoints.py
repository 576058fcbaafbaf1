"""What programs can call: names, parameters and types are a promise, and each endpoint does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from app.render import FORMS, SUFFIXES
from app.request import Request
from app.share import crop
from app.shipped import example_paths
from app.snippets import curl_snippet, python_snippet
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


def test_the_curl_snippet_runs(page: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    code = curl_snippet(page.rstrip("/"), REQUEST, EXAMPLE, 2, 1, 1.0)
    assert not re.search(r"[`;]", code)
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert probe_video(tmp_path / "k2.mp4").num_frames == 4
