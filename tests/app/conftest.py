"""The real app on a free port, shared by the API and the browser tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.service import VideoService
from app.ui import build_demo, launch_options, queue_options

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 90_000
"""How long the browser waits for anything: the two cores of a test machine may be busy."""
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Debian's chromium; .ci/run installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(page: str, browser: Browser) -> Callable[..., Page]:
    """Opens an empty page with options of `Browser.new_page`; what goes wrong in it is listed in its `problems`."""
    ours = (page, page.replace("127.0.0.1", "localhost"), "data:", "blob:")

    def new(**options: Any) -> Page:
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, "accept_downloads": True, **options})
        tab.set_default_timeout(PATIENCE_MS)
        problems: list[str] = []
        tab.problems = problems  # type: ignore[attr-defined]
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: None if request.url.startswith(ours) else problems.append(request.url))
        return tab

    return new
