"""A newcomer's way through the page in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio
import pytest
from playwright.sync_api import Page, expect, sync_playwright

pytestmark = pytest.mark.browser
MEDIA = Path(gradio.__file__).parent / "media_assets" / "videos"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
RESULT_MS = 60_000


@pytest.fixture(scope="module")
def browser_page(page: str) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Debian's chromium; .ci/run installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.problems = []  # type: ignore[attr-defined]
        tab.on("console", lambda m: tab.problems.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
        tab.on("request", lambda r: tab.problems.append(r.url) if not _ours(r.url, page) else None)  # type: ignore[attr-defined]
        tab.goto(page)
        yield tab
        browser.close()


def _ours(url: str, page: str) -> bool:
    return url.startswith((page, page.replace("127.0.0.1", "localhost"), "data:", "blob:"))


def test_example_is_reconstructed_coarse_to_fine(browser_page: Page) -> None:
    tab = browser_page
    expect(tab.get_by_role("heading", name="FlexTok Video")).to_be_visible()
    # The page shows something by itself: the first example runs when it opens.
    expect(tab.locator("#ladder figure")).to_have_count(5, timeout=RESULT_MS)
    expect(tab.locator("#status")).to_contain_text("Done", timeout=RESULT_MS)
    expect(tab.locator("#chosen figure")).to_have_count(4)
    expect(tab.locator("#chosen")).to_contain_text("not encoded")
    captions = tab.locator("#ladder figcaption").all_inner_texts()
    assert all(re.search(r"PSNR \d", caption) for caption in captions[:4])
    loaded = tab.locator("#ladder img").evaluate_all("images => images.every(i => i.complete && i.naturalWidth === 64)")
    assert loaded


def test_uploaded_video_goes_through(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_label("Clear").first.click()
    tab.locator("#clip input[type=file]").set_input_files(MEDIA / "world.mp4")
    expect(tab.locator("#clip video")).to_be_visible(timeout=RESULT_MS)
    before = tab.locator("#ladder img").first.get_attribute("src") or ""
    tab.locator("#run").click()
    expect(tab.locator("#ladder img").first).not_to_have_attribute("src", before, timeout=RESULT_MS)
    expect(tab.locator("#status")).to_contain_text("Done", timeout=RESULT_MS)


def test_a_released_checkpoint_can_be_picked_where_it_runs(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_role("button", name=re.compile(r"^Model\b")).click()
    picker = tab.locator("#model")
    released = picker.locator("label", has_text="videoflextok_d18_d28")
    expect(released).to_contain_text("needs a GPU", timeout=RESULT_MS)
    expect(released.locator("input")).to_be_disabled()
    picker.locator("label", has_text="case_a").locator("input").check()
    expect(tab.locator("#status")).to_contain_text("is picked")
    tab.locator("#run").click()
    expect(tab.locator("#status")).to_contain_text("Done", timeout=RESULT_MS)
    tab.screenshot(path="/tmp/picker.png", full_page=True)
    expect(tab.locator("#chosen figure")).to_have_count(2)  # no grid was trained beside it
    expect(tab.locator("#chosen")).to_contain_text("32 x 32")
    picker.locator("input[value=embedded]").check()
    expect(tab.locator("#status")).to_contain_text("is picked")


def test_cancel_keeps_what_was_ready(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_role("button", name="Decoder settings").click()
    tab.get_by_label("number input for Sampling steps").fill("50")
    tab.locator("#run").click()
    expect(tab.locator("#status")).to_contain_text("Working", timeout=RESULT_MS)
    tab.locator("#cancel").click()
    expect(tab.locator("#status")).to_contain_text("Cancelled", timeout=RESULT_MS)
    tab.wait_for_timeout(1500)
    expect(tab.locator("#status")).to_contain_text("Cancelled")


def test_nothing_failed_on_the_way(browser_page: Page) -> None:
    assert browser_page.problems == []  # type: ignore[attr-defined]
