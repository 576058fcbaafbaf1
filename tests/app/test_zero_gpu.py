"""The released-model path as on ZeroGPU, with a stand-in `spaces` that forks, pickles and enforces durations."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file

from app import decoding
from app.service import VideoService
from app.shipped import EXAMPLES
from flextok.loading.registry import MODELS
from flextok.reconstruction import Wanted

HERE = Path(__file__).parent
CASE = HERE.parent / "released/cases/case_a"
EXAMPLE = str(sorted(EXAMPLES.glob("*.mp4"))[0])
START_S = 120


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[Client, Path]]:
    """`python app.py` as on a ZeroGPU Space, offering a released-style checkpoint; and the log of GPU runs."""
    log = tmp_path_factory.mktemp("space") / "runs.jsonl"
    log.touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    changed = {
        "SPACES_ZERO_GPU": "true", "STAND_IN_LOG": str(log), "PYTHONPATH": str(HERE / "stand_in"),
        "FLEXTOK_MODELS": str(CASE), "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    output = log.with_name("output.txt")
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=repository, env={**os.environ, **changed},
                                   stdout=file, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        yield _connect(f"http://127.0.0.1:{port}", process, output), log
    finally:
        process.terminate()
        process.wait(timeout=20)


def _connect(address: str, process: subprocess.Popen[bytes], output: Path) -> Client:
    last = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < last:
        try:
            return Client(address, verbose=False)
        except Exception:  # noqa: BLE001  # not up yet, in whatever way httpx says so
            time.sleep(0.5)
    raise AssertionError(output.read_text()[-3000:])


def runs(log: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_embedded_model_uses_no_quota(space: tuple[Client, Path]) -> None:
    client, log = space
    config = urllib.request.urlopen(f"{client.src.rstrip('/')}/config", timeout=20).read().decode()
    assert "no GPU quota" in config  # the page opens with what a click costs
    status, shown = client.submit(handle_file(EXAMPLE), steps=1, api_name="/reconstruct").result(timeout=120)
    assert status.startswith("Done")
    assert len(shown["registers"]) == 7
    assert runs(log) == []


def test_a_released_model_runs_in_a_fork_for_the_declared_seconds(space: tuple[Client, Path]) -> None:
    client, log = space
    options = {"model": f"local/{CASE.name}", "steps": 2, "api_name": "/reconstruct"}
    status, shown = client.submit(handle_file(EXAMPLE), **options).result(timeout=120)
    assert status.startswith("Done")
    budgets = [result["k"] for result in shown["registers"]]
    assert budgets[0] == 1
    assert len(budgets) < 5  # fewer than off ZeroGPU, where seconds are not rationed
    (run,) = runs(log)
    assert run["name"] == "decode_on_gpu"
    assert run["results"] == len(budgets)
    assert run["declared_s"] <= 20
    assert run["pid"] != os.getpid()


def test_errors_inside_the_fork_reach_the_page_as_sentences(space: tuple[Client, Path]) -> None:
    client, _ = space
    with pytest.raises(Exception, match="cannot run here"):
        client.predict(handle_file(EXAMPLE), model="EPFL-VILAB/videoflextok_d18_d28", api_name="/reconstruct")


def job(tflop: float) -> decoding.Job:
    part = decoding.Part("x", (Wanted(1, "k = 1"), Wanted(4, "k = 4")), 30, 20.0, tflop)
    return decoding.Job(np.zeros((1, 3, 17, 8, 8), np.float32), (part,))


def test_durations_follow_the_work_and_are_refused_when_too_long() -> None:
    released = [entry for entry in MODELS if entry.needs_gpu and entry.kind == "register"]
    for entry in released:
        work = decoding.work_tflop(entry, 17, [1], entry.steps, entry.guidance)
        assert work < decoding.work_tflop(entry, 17, [1, 256], entry.steps, entry.guidance)
        assert work < decoding.work_tflop(entry, 81, [1], entry.steps, entry.guidance)
        assert work > decoding.work_tflop(entry, 17, [1], entry.steps // 2, entry.guidance)
        assert work > decoding.work_tflop(entry, 17, [1], entry.steps, 1.0)
        # One guided decoding with all tokens is what the registry states.
        full = decoding.work_tflop(entry, 17, [entry.num_registers], entry.steps, entry.guidance)
        assert entry.tflop_per_clip <= full < 1.2 * entry.tflop_per_clip
        assert decoding.duration(job(work)) <= 15
    assert decoding.duration(job(400)) > decoding.duration(job(40))
    with pytest.raises(gr.Error, match="fewer steps"):
        decoding.duration(job(1e5))


def test_the_cost_is_said_before_the_click(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, released = MODELS[0], next(entry for entry in MODELS if entry.pixels == 256)
    assert decoding.cost_line(released, 400) == ""
    monkeypatch.setattr(decoding, "ZERO_GPU", True)
    assert "no GPU quota" in decoding.cost_line(embedded, 0.1)
    assert "14 s" in decoding.cost_line(released, 400)
    assert "lower the steps" in decoding.cost_line(released, 1e5)
    assert VideoService().cost("embedded", None, 4, 1.0) == decoding.cost_line(embedded, 0.1)
