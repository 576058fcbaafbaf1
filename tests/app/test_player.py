"""The player's own functions under node, and the payloads it is given."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app.components import text
from app.components.payload import Panel, Payload, Result, Shown, camel_case
from app.components.player import SCRIPTS, panel_budgets, prebaked, prebaked_names, sprite, thumbnail
from app.shipped import EXAMPLES

HERE = Path(__file__).parent


@pytest.mark.parametrize("script", sorted(path.name for path in HERE.glob("*.test.js")))
def test_functions_of_the_page_under_node(script: str) -> None:
    node = shutil.which("node")
    assert node, "this test needs node; .ci/run installs it"
    done = subprocess.run([node, "--test", str(HERE / script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def read_by_script(variable: str) -> set[str]:
    """Names that the player's scripts read of what is called `variable` in it."""
    return set(re.findall(rf"\b{variable}\.([a-zA-Z]\w*)", text(*SCRIPTS)))


@pytest.mark.parametrize(("variable", "kind"), [("payload", Payload), ("result", Result), ("more", Panel)])
def test_script_and_python_agree_on_names(variable: str, kind: type[Shown]) -> None:
    said = {camel_case(field.name) for field in dataclasses.fields(kind)}
    assert read_by_script(variable) <= said, "the script reads what nobody says"
    unread = {"title"} if kind is Payload else set()  # of the tabs around the player
    assert said - unread <= read_by_script(variable), "nobody reads what is said"


def test_shipped_clips_hold_what_the_player_reads() -> None:
    said = {camel_case(field.name) for field in dataclasses.fields(Payload)}
    needed = {camel_case(f.name) for f in dataclasses.fields(Payload) if f.default is dataclasses.MISSING}
    for name in prebaked_names():
        assert set(prebaked(name)) <= said
        assert needed <= set(prebaked(name))


def test_sprites_hold_all_frames_side_by_side() -> None:
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    frames[3] = 200
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite(frames).split(",", 1)[1]))))
    assert picture.shape == (8, 40, 3)
    assert picture[:, 26:30].mean() > 180
    assert picture[:, :22].mean() < 20


@pytest.mark.parametrize(
    ("budgets", "shown"), [([1], [1]), ([1, 2, 4, 8, 16, 32, 64], [1, 4, 16, 64]), ([1, 3, 9], [1, 3, 9])]
)
def test_panels_show_the_first_the_last_and_some_between(budgets: list[int], shown: list[int]) -> None:
    assert panel_budgets(budgets) == shown


def test_every_example_is_prebaked_with_all_budgets() -> None:
    assert prebaked_names() == sorted(path.stem for path in EXAMPLES.glob("*.mp4"))
    for name in prebaked_names():
        clip = prebaked(name)
        assert [result["k"] for result in clip["registers"]] == [1, 2, 4, 8, 16, 32, 64]
        assert [result["k"] for result in clip["grid"]] == [1, 4, 16, 64]
        assert [(result["k"], result["frames"]) for result in clip["shortGrid"]] == [(16, 1), (32, 5), (64, 17)]
        assert all(result["tokens"] == 5 * result["k"] for result in clip["registers"])
        assert thumbnail(clip).startswith("data:image/webp;base64,")
        assert len(json.dumps(clip)) < 300_000  # the first screen carries one of these


@pytest.mark.parametrize("name", ["../results/speed", "", "no-such", "/etc/passwd"])
def test_only_examples_are_read(name: str) -> None:
    with pytest.raises(gr.Error):
        prebaked(name)
