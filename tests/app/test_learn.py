"""What Learn says: complete steps, the paper's numbers labelled as such, ours read from the results."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from app.components import text
from app.components.player import prebaked
from app.learn.content import RESULTS, baked, content
from app.tabs.learn import SCRIPTS, page_content

HERE = Path(__file__).parent


def test_functions_of_the_steps_under_node() -> None:
    node = shutil.which("node")
    assert node, "this test needs node; .ci/run installs it"
    done = subprocess.run(
        [node, "--test", str(HERE / "learn.test.js")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_seven_complete_steps() -> None:
    steps = content()["steps"]
    assert [step["id"] for step in steps] == [
        "price", "registers", "dropout", "meaning", "decoder", "budget", "order",
    ]  # fmt: skip
    widgets = text(*SCRIPTS)
    for step in steps:
        question = step["question"]
        assert question["answer"] == "measured" or 0 <= question["answer"] < len(question["options"])
        assert (question["answer"] == "measured") == (not question["why"])
        assert f"{step['widget']}: {step['widget']}Widget" in widgets
        assert step["remember"]
        assert step["teacher"]
        assert set(step["figures"]) <= set(content()["figures"])
        assert len(" ".join(step["text"])) < 700  # ten minutes for all seven


def test_the_papers_figures_are_called_the_papers_and_ours_are_read() -> None:
    figures = content()["figures"]
    report = json.loads((RESULTS / "reconstruction.json").read_text())
    for key, figure in figures.items():
        assert figure["whose"] == key.split("-")[0]
        assert all(len(row) == len(figure["columns"]) for row in figure["rows"]), key
        assert ("2604.12887" in figure.get("source", "")) == (figure["whose"] == "paper")
    registers = figures["ours-quality"]["rows"][0]
    assert registers[1] == f"{report['toybox_test']['register']['1']['psnr']:.1f}"
    text = json.dumps(content()["steps"])
    assert "dB" not in text  # no number of ours is typed into a text


def test_the_papers_long_video_adds_up() -> None:
    rows = content()["figures"]["paper-long"]["rows"]
    assert [int(row[1]) * int(row[2]) for row in rows] == [int(row[3]) for row in rows] == [672, 5376]


def test_baked_results_fit_the_clips() -> None:
    probes = baked()["probes"]
    clip = prebaked(probes["clip"])
    assert (probes["size"], probes["frames"]) == (clip["size"], clip["numFrames"])
    assert [len(row) for row in probes["ids"]] == [clip["maxK"]] * clip["latentFrames"]
    assert [part["frames"] for part in probes["frameByFrame"]] == [1, 5, 9, 13]
    assert [row["k"] for row in probes["seeds"]] == [1, 4, 16, 64]
    assert {len(row["seeds"]) for row in probes["seeds"]} == {4}
    assert len(json.dumps(baked())) < 2_000_000
    assert len(json.dumps(page_content())) < 40_000  # rides along with the first screen


@pytest.mark.parametrize("part", ["registers", "cells"])
def test_every_replaced_token_has_a_film(part: str) -> None:
    replaced = baked()["probes"][part]["replaced"]
    assert len({one["sprite"] for one in replaced}) == len(replaced)
    assert all(1 <= one["place"] <= 64 for one in replaced)
