"""A newcomer's way through the page in headless Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio
import pytest
from playwright.sync_api import Page, expect

from app.components.player import prebaked, prebaked_names

pytestmark = pytest.mark.browser
MEDIA = Path(gradio.__file__).parent / "media_assets" / "videos"


@pytest.fixture(scope="module")
def browser_page(page: str, open_page: Callable[..., Page]) -> Iterator[Page]:
    tab = open_page()
    tab.goto(page)
    yield tab
    tab.close()  # an open page goes on playing, which takes a processor from the tests after these


def player(tab: Page, name: str) -> str | None:
    """A fact that the player states about itself: data-frame, data-k, data-view, data-ready (budgets landed)."""
    return tab.locator("#player .player > div").get_attribute(f"data-{name}")


def picture(tab: Page, selector: str) -> str:
    """What a canvas shows, as a data URL."""
    return tab.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def wait_for_another_picture(tab: Page, selector: str, before: str) -> None:
    tab.wait_for_function(
        "([selector, before]) => document.querySelector(selector).toDataURL() !== before", arg=[selector, before]
    )


def wait_for(tab: Page, name: str, value: str) -> None:
    expect(tab.locator("#player .player > div")).to_have_attribute(f"data-{name}", value)


def sampling_steps(tab: Page, count: int) -> None:
    field = tab.get_by_label("number input for Sampling steps")
    if not field.is_visible():
        tab.get_by_role("button", name="Clip and decoder settings").click()
    field.fill(str(count))


def test_first_screen_plays_without_a_model(browser_page: Page) -> None:
    tab = browser_page
    expect(tab.get_by_role("heading", name="FlexTok Video")).to_be_visible()
    expect(tab.locator("#player .player .panels canvas")).to_have_count(7)  # original, four budgets, the grid twice
    expect(tab.locator("#player .player .panels")).to_contain_text("1 of 17 frames encoded")
    before = player(tab, "frame") or ""
    expect(tab.locator("#player .player > div")).not_to_have_attribute("data-frame", before)
    tab.get_by_role("button", name="pause").click()
    still = player(tab, "frame")
    tab.get_by_role("button", name="frame ▶").click()
    wait_for(tab, "frame", str((int(still or 0) + 1) % 17))
    assert picture(tab, "[data-panel=k1] canvas") != picture(tab, "[data-panel=original] canvas")


def test_the_button_decodes_what_is_shown_when_no_clip_was_chosen(browser_page: Page) -> None:
    tab = browser_page
    before = player(tab, "clip") or ""
    tab.locator("#run").click()
    expect(tab.locator("#player .player > div")).not_to_have_attribute("data-clip", before)
    expect(tab.locator("#status")).to_contain_text("Done: 7 budgets and the grid")
    assert len(tab.locator("#player [data-panel^=grid]").all()) == 2


def test_slider_switches_budgets_without_the_server(browser_page: Page) -> None:
    tab = browser_page
    sent: list[str] = []
    tab.on("request", lambda request: sent.append(request.url))
    slider = tab.get_by_label("Tokens per latent frame", exact=True)
    shown = set()
    for index, k in enumerate((1, 2, 4, 8, 16, 32, 64)):
        slider.fill(str(index))
        wait_for(tab, "k", str(k))
        shown.add(picture(tab, "#player .player .stage"))
    assert len(shown) == 7
    slider.fill("3")  # there is no grid of 8 cells, and one latent frame of it takes 64
    expect(tab.locator("#player .player .panels")).to_contain_text("the largest grid within 40 tokens")
    expect(tab.locator("#player .player .panels")).to_contain_text("do not fill one latent frame of 64 cells")
    slider.fill("6")
    expect(tab.locator("#player .player .budget-line")).to_have_text("k = 64: 320 tokens = 400 bytes for 17 frames")
    assert not [url for url in sent if "queue/join" in url or "/call/" in url]


def test_wipe_flip_heatmaps_and_chart(browser_page: Page) -> None:
    tab = browser_page
    views = {}
    for name in ("wipe", "flip", "difference", "change"):
        tab.locator(f"#player .player input[value={name}]").check()
        views[name] = picture(tab, "#player .player .stage")
    assert len(set(views.values())) == 4
    expect(tab.locator("#player .player .legend")).to_contain_text("the same scale for every k")
    tab.locator("#player .player input[value=flip]").check()
    tab.locator("#player .player .stage").focus()
    tab.keyboard.down(" ")
    assert picture(tab, "#player .player .stage") != views["flip"]
    tab.keyboard.up(" ")
    assert picture(tab, "#player .player .stage") == views["flip"]
    tab.get_by_role("button", name="Show k = 4").press("Enter")
    wait_for(tab, "k", "4")
    tab.locator("#player .player .stage").press("5")
    wait_for(tab, "k", "16")


def test_pixels_are_smooth_or_squares(browser_page: Page) -> None:
    tab = browser_page
    colours = """canvas => new Set(new Uint32Array(
        canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    canvas = tab.locator("[data-panel=original] canvas")
    smooth = canvas.evaluate(colours)
    tab.locator("#player button.squares").click()
    assert 2 * canvas.evaluate(colours) < smooth  # nothing between the pixels
    tab.locator("#player button.squares").click()
    assert canvas.evaluate(colours) == smooth


def test_examples_switch_by_themselves(browser_page: Page) -> None:
    tab = browser_page
    before = picture(tab, "[data-panel=original] canvas")
    tab.locator("#player .player .examples button").nth(3).click()
    expect(tab.locator("#status")).to_contain_text("decoded beforehand")
    wait_for_another_picture(tab, "[data-panel=original] canvas", before)
    expect(tab.locator("#clip video")).to_be_visible()


def test_same_tokens_from_other_seeds(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_label("Tokens per latent frame", exact=True).fill("0")
    tab.get_by_role("button", name="Same tokens, other seeds").click()
    wait_for(tab, "seeds", "1")
    expect(tab.locator("#player .player .seeds canvas")).to_have_count(5)  # four seeds, and where they differ
    assert len({picture(tab, f"[data-panel=seed-{i}] canvas") for i in range(4)}) == 4
    expect(tab.locator("#status")).to_contain_text("k = 1 from 4 seeds")
    tab.locator("#player .player .examples button").nth(1).click()
    expect(tab.locator("#player .player .seeds canvas")).to_have_count(0)


def test_clear_shows_the_first_example_whatever_came_before(page: str, open_page: Callable[..., Page]) -> None:
    tab = open_page()
    tab.goto(f"{page}?example=3-spins")
    expect(tab.locator("#clip video")).to_be_visible()
    clear, clip = tab.get_by_label("Clear").first, tab.locator("#player .player > div")
    clear.click()
    expect(tab.locator("#clip video")).to_have_count(0)
    first = prebaked(prebaked_names()[0])["id"]
    expect(clip).to_have_attribute("data-clip", first)
    tab.locator("#player .player .examples button").nth(3).click()
    expect(tab.locator("#clip video")).to_be_visible()
    expect(clip).not_to_have_attribute("data-clip", first)
    clear.click()
    expect(clip).to_have_attribute("data-clip", first)
    tab.close()


def test_seeds_are_of_the_clip_on_the_screen(page: str, open_page: Callable[..., Page]) -> None:
    tab = open_page()
    tab.goto(page)
    expect(tab.locator("#player .player .panels canvas").first).to_be_visible()
    tab.get_by_role("button", name="Clip and decoder settings").click()
    tab.get_by_label("Frames per s").fill("4")
    tab.get_by_label("Frames per s").blur()
    tab.get_by_role("button", name="Same tokens, other seeds").click()
    expect(tab.locator(".toast-body")).to_contain_text("press Tokenize and decode first")
    expect(tab.locator("#player .player .seeds canvas")).to_have_count(0)
    tab.locator("#run").dblclick()
    expect(tab.locator("#status")).to_contain_text("Done")
    tab.get_by_role("button", name="Same tokens, other seeds").click()
    expect(tab.locator("#player .player .seeds canvas")).to_have_count(5)
    tab.close()


def test_uploaded_videos_go_through(browser_page: Page) -> None:
    tab = browser_page
    for name in ("world.mp4", "b.mp4"):
        before = player(tab, "clip") or ""
        tab.get_by_label("Clear").first.click()
        expect(tab.locator("#clip video")).to_have_count(0)
        tab.locator("#clip input[type=file]").set_input_files(MEDIA / name)
        expect(tab.locator("#player .player > div")).not_to_have_attribute("data-clip", before)
        wait_for(tab, "ready", "7")
        expect(tab.locator("#status")).to_contain_text("Done")


def test_a_released_checkpoint_can_be_picked_where_it_runs(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_role("button", name=re.compile(r"^Model\b")).click()
    picker = tab.locator("#model")
    released = picker.locator("label", has_text="videoflextok_d18_d28")
    expect(released).to_contain_text("needs a GPU")
    expect(released.locator("input")).to_be_disabled()
    picker.locator("label", has_text="case_a").locator("input").check()
    expect(tab.locator("#status")).to_contain_text("is picked")
    tab.locator("#run").click()
    expect(tab.locator("#status")).to_contain_text("Done")
    wait_for(tab, "ready", "5")
    expect(tab.locator("[data-panel^=grid]")).to_have_count(0)  # no grid was trained beside it
    expect(tab.locator("[data-panel=original]")).to_contain_text("32 px")
    picker.locator("input[value=embedded]").check()
    expect(tab.locator("#status")).to_contain_text("is picked")


def test_cancel_keeps_what_was_ready(browser_page: Page) -> None:
    tab = browser_page
    before = player(tab, "clip") or ""
    sampling_steps(tab, 50)
    tab.locator("#run").click()
    expect(tab.locator("#player .player > div")).not_to_have_attribute("data-clip", before)
    tab.wait_for_function("(n => 0 < n && n < 7)(document.querySelector('#player .player > div').dataset.ready)")
    tab.locator("#cancel").dblclick()  # the second finds nothing to cancel
    expect(tab.locator("#status")).to_contain_text("Cancelled")
    tab.wait_for_timeout(1500)
    expect(tab.locator("#status")).to_contain_text("Cancelled")
    assert int(player(tab, "ready") or 0) >= 1


def test_cancel_has_the_last_word_when_its_request_is_slow(browser_page: Page) -> None:
    """A result that comes between the click and the end of the job does not leave "Working" on the screen."""
    tab = browser_page
    tab.route("**/cancel", lambda route: [time.sleep(0.1), route.continue_()])
    sampling_steps(tab, 4)
    for _ in range(3):  # a result comes every few tenths of a second, so that one try may miss the moment
        before = player(tab, "clip") or ""
        tab.locator("#run").click()
        expect(tab.locator("#player .player > div")).not_to_have_attribute("data-clip", before)
        tab.locator("#cancel").click()
        expect(tab.locator("#status")).to_contain_text("Cancelled")
        tab.wait_for_timeout(1500)
        expect(tab.locator("#status")).to_contain_text("Cancelled")
    tab.unroute("**/cancel")


def test_an_example_is_not_overtaken_by_what_still_runs(browser_page: Page) -> None:
    tab = browser_page
    sampling_steps(tab, 50)
    before = player(tab, "clip") or ""
    tab.locator("#run").click()
    expect(tab.locator("#player .player > div")).not_to_have_attribute("data-clip", before)
    tab.locator("#player .player .examples button").nth(0).click()
    expect(tab.locator("#status")).to_contain_text("decoded beforehand")
    example = player(tab, "clip")
    tab.wait_for_timeout(4000)
    assert player(tab, "clip") == example
    expect(tab.locator("#status")).to_contain_text("decoded beforehand")
    sampling_steps(tab, 4)


def test_a_clip_that_does_not_loop_ends_and_begins_again(browser_page: Page) -> None:
    tab = browser_page
    play = tab.locator("#player button.play")
    tab.get_by_role("button", name="loop on").click()
    if "play" in play.inner_text():
        play.click()
    expect(play).to_have_text("▶ play")
    assert player(tab, "frame") == "16"
    play.click()
    expect(play).to_contain_text("pause")
    tab.get_by_role("button", name="loop off").click()


def test_rate_distortion_is_drawn_and_answers(browser_page: Page) -> None:
    tab = browser_page
    tab.get_by_role("tab", name="Rate-distortion").click()
    plot = tab.locator("#rate-distortion")
    expect(plot.locator(".scatterlayer .trace")).to_have_count(6)
    expect(tab.locator("#tokens-needed")).to_contain_text("The clip in Explore")
    expect(plot.locator(".ytitle")).to_have_text("PSNR, dB")
    tab.get_by_label("SSIM").check()
    expect(plot.locator(".ytitle")).to_have_text("SSIM")
    with tab.expect_download() as download:
        tab.locator("#csv").click()
    assert download.value.path().read_text().startswith("clips,method,setting,bytes")
    tab.get_by_role("tab", name="Explore").click()


def test_nothing_failed_on_the_way(browser_page: Page) -> None:
    assert browser_page.problems == []  # type: ignore[attr-defined]


def test_reduced_motion_does_not_play_by_itself(page: str, open_page: Callable[..., Page]) -> None:
    tab = open_page(reduced_motion="reduce", viewport={"width": 390, "height": 844})
    tab.goto(page)
    expect(tab.locator("#player .player .panels canvas")).to_have_count(7)
    before = player(tab, "frame")
    tab.wait_for_timeout(600)
    assert player(tab, "frame") == before
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.close()
