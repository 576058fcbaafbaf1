"""The static edition behind a plain file server, and Learn in both editions, in headless Chromium."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.bake.static_edition import export
from app.components.player import prebaked
from tests.app import test_browser as app_tests

pytestmark = pytest.mark.browser
PLAYER_TESTS = (
    app_tests.test_first_screen_plays_without_a_model,
    app_tests.test_slider_switches_budgets_without_the_server,
    app_tests.test_wipe_flip_heatmaps_and_chart,
    app_tests.test_pixels_are_smooth_or_squares,
)
NUM_STEPS = 7
ANSWER_MS = 300


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("edition")
    export(out)
    return out


@pytest.fixture(scope="module")
def static_page(edition: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(edition))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def static_tab(browser: Browser, static_page: str) -> Iterator[Page]:
    """One page of the static edition for all player tests; what goes wrong on the way is collected."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.problems = []  # type: ignore[attr-defined]
    tab.on("console", lambda m: tab.problems.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
    tab.on(
        "request",
        lambda r: None if r.url.startswith((static_page, "data:")) else tab.problems.append(r.url),  # type: ignore[attr-defined]
    )
    tab.goto(static_page)
    yield tab
    tab.close()


@pytest.mark.parametrize("journey", PLAYER_TESTS, ids=lambda journey: journey.__name__)
def test_the_apps_player_tests_hold(static_tab: Page, journey: Callable[[Page], None]) -> None:
    journey(static_tab)


def test_examples_switch_without_a_server(static_tab: Page) -> None:
    before = app_tests.picture(static_tab, "[data-panel=original] canvas")
    clip = app_tests.player(static_tab, "clip")
    static_tab.locator(".player .examples button").nth(3).click()
    expect(static_tab.locator(".player > div")).not_to_have_attribute("data-clip", str(clip))
    app_tests.wait_for_another_picture(static_tab, "[data-panel=original] canvas", before)
    expect(static_tab.get_by_role("button", name="Same tokens, other seeds")).to_be_hidden()  # that takes a model


def test_keys_move_between_the_parts(static_tab: Page) -> None:
    static_tab.get_by_role("tab", name="Explore").press("ArrowRight")
    expect(static_tab.get_by_role("tab", name="Learn")).to_be_focused()
    expect(static_tab.locator(".learn-root")).to_have_attribute("data-ready", "1")
    assert "tab=learn" in static_tab.url
    assert static_tab.problems == []  # type: ignore[attr-defined]


def test_the_edition_is_small_and_asks_nobody(edition: Path) -> None:
    assert sum(path.stat().st_size for path in edition.rglob("*") if path.is_file()) < 15 * 2**20
    page = (edition / "index.html").read_text()
    assert "default-src 'self'" in page  # the browser itself refuses anything from elsewhere


@pytest.fixture(params=["app", "static"])
def address(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("page" if request.param == "app" else "static_page")


def open_step(browser: Browser, address: str, step: int, rest: str = "", width: int = 1280) -> Page:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(f"{address.rstrip('/')}/?tab=learn&step={step}{rest}")
    expect(tab.locator(".learn-root")).to_have_attribute("data-ready", "1")
    expect(tab.locator(".learn-main")).to_have_attribute("data-step", str(step))
    return tab


def test_the_whole_path_by_keyboard(browser: Browser, address: str) -> None:
    tab = open_step(browser, address, 1)
    problems: list[str] = []
    sent: list[str] = []
    tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    tab.on("request", lambda r: sent.append(r.url) if not r.url.startswith("data:") else None)
    for step in range(1, NUM_STEPS + 1):
        expect(tab.locator(".learn-main")).to_have_attribute("data-step", str(step))
        expect(tab.locator(".learn-widget")).to_have_count(0)  # predict first
        tab.locator(".learn-option").nth(1).press("Enter")
        expect(tab.locator(".learn-feedback")).to_contain_text("Yes." if _right(tab) else "Not quite.")
        expect(tab.locator(".learn-widget")).to_be_visible()
        assert tab.evaluate(ANSWERS) < ANSWER_MS
        if step < NUM_STEPS:
            tab.locator(".learn-next").press("Enter")
            expect(tab.locator(".learn-main h3")).to_be_focused()
    expect(tab.locator(".learn-summary")).to_contain_text(f"of {NUM_STEPS} right")
    assert f"step={NUM_STEPS}" in tab.url
    assert problems == []
    assert [url for url in sent if "heartbeat" not in url] == []  # after loading no step asks the server
    tab.close()


def _right(tab: Page) -> bool:
    tab.wait_for_selector(".learn-feedback[data-settled]")
    return tab.locator(".learn-feedback").get_attribute("data-settled") == "1"


# The time from an input on the first control of the step to the sentence that it makes for screen readers.
ANSWERS = """
async () => {
  const host = document.querySelector('.learn-widget');
  const any = 'input[type=range], input[type=radio]:not(:checked), input[type=number]';
  const control = host.querySelector('input.budget') || host.querySelector(any);
  const before = host.dataset.said;
  const start = performance.now();
  if (control.type === 'radio') control.click();
  else {
    control.value = String(Number(control.value) === 1 ? 2 : 1);
    control.dispatchEvent(new Event(control.type === 'number' ? 'change' : 'input', { bubbles: true }));
  }
  while (host.dataset.said === before && performance.now() - start < 5000) await new Promise((go) => setTimeout(go, 5));
  return performance.now() - start;
}
"""


def test_a_model_without_nested_dropout_is_shown_beside_ours_if_there_is_one(
    browser: Browser, static_page: str, edition: Path
) -> None:
    path = edition / "learn.json"
    before = json.loads(path.read_text())
    clip = prebaked(before["probes"]["clip"])
    results = [{**result, "curve": result["psnr"]} for result in clip["registers"]]
    models = [{"name": name, "results": results} for name in ("with", "without")]
    comparison = {"clip": before["probes"]["clip"], "clips": 24, "note": "Made up by a test.", "models": models}
    try:
        path.write_text(json.dumps({**before, "noDropout": None}))
        tab = open_step(browser, static_page, 3)
        tab.get_by_role("button", name="Skip the prediction").click()
        expect(tab.locator(".learn-widget")).to_contain_text("is not part of this copy")
        tab.close()
        path.write_text(json.dumps({**before, "noDropout": comparison}))
        tab = open_step(browser, static_page, 3)
        tab.get_by_role("button", name="Skip the prediction").click()
        expect(tab.locator(".learn-widget")).to_contain_text("Made up by a test.")
        expect(tab.locator(".learn-widget canvas")).to_have_count(3)
        tab.get_by_label("Tokens kept of each latent frame").fill("6")
        expect(tab.locator(".learn-widget")).to_contain_text("k = 64")
        tab.close()
    finally:
        path.write_text(json.dumps(before))


def test_teacher_mode_hides_answers_and_the_handout_holds_them_otherwise(browser: Browser, address: str) -> None:
    tab = open_step(browser, address, 3, "&teacher=1")
    tab.locator(".learn-option").nth(1).click()
    expect(tab.locator(".learn-option").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(tab.locator(".learn-feedback")).to_be_empty()
    expect(tab.locator(".learn-teacher")).to_be_visible()
    tab.get_by_role("button", name="Show the answer").click()
    expect(tab.locator(".learn-feedback")).to_contain_text("Yes.")
    tab.get_by_role("button", name="Printable page").click()
    expect(tab.locator(".learn-main")).to_have_attribute("data-step", "all")
    expect(tab.locator(".learn-main article")).to_have_count(NUM_STEPS)
    expect(tab.locator(".learn-answers")).to_have_count(0)
    tab.get_by_label("Teacher mode").uncheck()  # the sheet stays a sheet, now with the answers
    expect(tab.locator(".learn-answers li")).to_have_count(NUM_STEPS)
    assert "teacher" not in tab.url
    tab.get_by_role("button", name="Back to the steps").click()
    expect(tab.locator(".learn-main")).to_have_attribute("data-step", "3")
    tab.get_by_role("button", name="Printable page").click()
    expect(tab.locator(".learn-answers li")).to_have_count(NUM_STEPS)
    tab.emulate_media(media="print")
    expect(tab.get_by_role("tab", name="Learn")).to_be_hidden()
    height = tab.evaluate("document.documentElement.scrollHeight")
    assert height > 5000  # nothing around the handout clips it
    tab.close()


def test_links_phones_and_still_pictures(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    for step in range(1, NUM_STEPS + 1):
        tab = context.new_page()
        tab.goto(f"{address.rstrip('/')}/?tab=learn&step={step}")
        expect(tab.locator(".learn-main")).to_have_attribute("data-step", str(step))
        tab.get_by_role("button", name="Skip the prediction").click()
        expect(tab.locator(".learn-widget")).to_be_visible()
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), step
        assert tab.evaluate(UNNAMED) == [], step
        bar = tab.locator(".learn-bar").first
        if bar.count():
            frame = bar.get_attribute("data-frame")
            tab.wait_for_timeout(400)
            assert bar.get_attribute("data-frame") == frame
        tab.close()
    context.close()


# Canvases and controls of a step that a screen reader could not name.
UNNAMED = """
() => [...document.querySelectorAll('.learn canvas, .learn input, .learn select, .learn button')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.getAttribute('aria-label') || node.textContent.trim() || node.closest('label')))
  .map((node) => node.outerHTML.slice(0, 80))
"""
