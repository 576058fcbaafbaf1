"""The real app on a free port, shared by the API and the browser tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.service import VideoService
from app.ui import build_demo, launch_options, queue_options

CASE = Path(__file__).parents[1] / "released/cases/case_a"
"""A checkpoint in the form of the released ones, small enough for a CPU."""


@pytest.fixture(scope="session")
def page() -> Iterator[str]:
    """Address of the running app, which offers a released-style checkpoint beside the known models."""
    demo = build_demo(VideoService([str(CASE)]))
    demo.queue(**queue_options())
    _, address, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    demo.close()
