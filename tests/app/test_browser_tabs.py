"""Tokens, swaps, links, uploads and looks, as a visitor meets them in headless Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import gradio
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from flextok.tokens.link import pack, unpack
from flextok.video.write import write_video

pytestmark = pytest.mark.browser
MEDIA = Path(gradio.__file__).parent / "media_assets" / "videos"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def tab(page: str, open_page: Open) -> Iterator[Page]:
    opened = open_page()
    opened.goto(page)
    yield opened
    opened.close()


def state(tab: Page, where: str) -> Locator:
    """The node on which the player, strip or crop box of an element states facts about itself."""
    return tab.locator(f"{where} .player > div, {where} .token-strip > div, {where} .cropper > div").first


def picture(tab: Page, selector: str) -> str:
    return tab.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def still(tab: Page, where: str) -> None:
    """Stop a player at its first frame, so that pictures can be compared."""
    scrub = tab.locator(f"{where} .scrub")
    expect(scrub).to_be_visible()
    scrub.fill("3")


def go(tab: Page, name: str) -> None:
    tab.get_by_role("tab", name=name, exact=True).click()


def close(toast: Locator) -> None:
    """Close a message, or find it gone: it leaves by itself after ten seconds, perhaps under a click's pointer."""
    toast.locator(".toast-close").evaluate_all("buttons => buttons.forEach(button => button.click())")
    expect(toast).to_have_count(0)


def link_of(tab: Page) -> str:
    expect(tab.locator("#token-link textarea")).to_have_value(re.compile("tokens="))
    return tab.locator("#token-link textarea").input_value()


def test_a_click_on_a_token_changes_the_clip(tab: Page) -> None:
    go(tab, "Tokens")
    expect(tab.locator("#strip .cell")).to_have_count(5 * 64)
    expect(tab.locator("#tokens-player .panels canvas")).to_have_count(2)
    expect(state(tab, "#strip")).to_have_attribute("data-changed", "0")
    expect(tab.locator("#tokens-player .panels")).to_contain_text("the same pixels")
    first = link_of(tab)
    tab.locator("#strip input[value=resample]").check()
    tab.locator("#strip .column").nth(0).click()  # register 1 of all latent frames
    expect(tab.locator("#tokens-player .panels")).to_contain_text("PSNR")
    expect(state(tab, "#strip")).not_to_have_attribute("data-changed", "0")
    still(tab, "#tokens-player")
    assert picture(tab, "#tokens-player [data-panel=original] canvas") != picture(
        tab, "#tokens-player [data-panel=k8] canvas"
    )
    expect(tab.locator("#token-link textarea")).not_to_have_value(first)
    tab.locator("#strip .reset").click()
    expect(state(tab, "#strip")).to_have_attribute("data-changed", "0")
    expect(tab.locator("#tokens-player .panels")).to_contain_text("the same pixels")


def test_the_strip_works_by_keyboard(tab: Page) -> None:
    cell = tab.locator("#strip .cell[tabindex='0']")
    expect(cell).to_have_count(1)
    cell.focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#strip .hint")).to_contain_text("latent frame 2 (frames 2-5), register 2")
    tab.locator("#strip input[value=mute]").check()
    tab.locator("#strip .cell[tabindex='0']").press("Enter")
    expect(tab.locator("#strip .cell[data-t='1'][data-i='1']")).to_have_class("cell edited")
    expect(state(tab, "#strip")).to_have_attribute("data-edits", "1")
    tab.locator("#strip .undo").click()
    expect(state(tab, "#strip")).to_have_attribute("data-edits", "0")


def test_quick_clicks_all_count_and_shortcuts_are_the_browsers(tab: Page) -> None:
    expect(state(tab, "#strip")).to_have_attribute("data-edits", "0")
    ready = state(tab, "#strip").get_attribute("data-ready") or ""
    tab.locator("#strip .cell[data-t='0'][data-i='0']").click()
    tab.locator("#strip .cell[data-t='1'][data-i='0']").click()
    expect(state(tab, "#strip")).not_to_have_attribute("data-ready", ready)  # an answer has come
    tab.locator("#strip .cell[data-t='2'][data-i='0']").click()
    for t in (3, 4):
        tab.locator(f"#strip .cell[data-t='{t}'][data-i='0']").click()
    expect(state(tab, "#strip")).to_have_attribute("data-edits", "5")
    tab.keyboard.press("Control+c")
    expect(state(tab, "#strip")).to_have_attribute("data-changed", "5")
    expect(state(tab, "#strip")).to_have_attribute("data-edits", "5")
    tab.get_by_role("button", name="Undo all").click()
    expect(state(tab, "#strip")).to_have_attribute("data-changed", "0")


def test_tokens_travel_as_a_file(tab: Page, tmp_path: Path) -> None:
    with tab.expect_download() as download:
        tab.locator("#tokens-json").click()
    path = tmp_path / "tokens.json"
    download.value.save_as(path)
    data = json.loads(path.read_text())
    data["ids"] = [row[:3] for row in data["ids"]]
    path.write_text(json.dumps(data))
    tab.locator("#token-file input[type=file]").set_input_files(path)
    expect(tab.locator("#strip .cell")).to_have_count(15)
    expect(tab.locator("#tokens-status")).to_contain_text("5 x 3 tokens")
    with tab.expect_download() as download:
        tab.locator("#tokens-safetensors").click()
    assert download.value.suggested_filename == "tokens.safetensors"
    tab.locator("#take-clip").click()
    expect(tab.locator("#strip .cell")).to_have_count(320)


def test_a_token_link_carries_the_clip(tab: Page, page: str, open_page: Open) -> None:
    still(tab, "#tokens-player")
    tab.wait_for_timeout(500)
    link, shown = link_of(tab), picture(tab, "#tokens-player [data-panel=k3] canvas")
    assert parse_qs(urlsplit(tab.url).query)["tokens"] == parse_qs(urlsplit(link).query)["tokens"]
    other = open_page()
    other.goto(link)
    expect(other.locator("#strip .cell")).to_have_count(15)
    expect(other.locator("#tokens-status")).to_contain_text("Shown")
    still(other, "#tokens-player")
    assert picture(other, "#tokens-player [data-panel=k3] canvas") == shown
    assert other.problems == []  # type: ignore[attr-defined]
    text = parse_qs(urlsplit(link).query)["tokens"][0]
    tokens = unpack(text)
    foreign = pack(type(tokens)(**{**tokens.__dict__, "fingerprint": "0" * 16}))
    other.close()
    for wrong, says in ((text[:-3], "copy all of it again"), (foreign, "other weights")):
        other = open_page()
        other.goto(f"{page}?tokens={wrong}")
        expect(other.locator("#link-refused")).to_contain_text(says)
        other.locator("#take-clip").click()
        expect(other.locator("#tokens-status")).to_contain_text("Shown")
        expect(other.locator("#link-refused")).not_to_be_visible()
        other.close()


def test_tokens_are_swapped_and_the_first_frame_edited(tab: Page, tmp_path: Path) -> None:
    go(tab, "Swap and edit")
    for where, panels in (("#swap-player", 3), ("#edit-player", 4)):
        expect(tab.locator(f"{where} .panels canvas")).to_have_count(panels)
    still(tab, "#swap-player")
    tab.get_by_label("number input for of them from B: the first m").fill("16")
    tab.locator("#run-swap").click()
    expect(tab.locator("#swap-status")).to_contain_text("first 16 of 16")
    expect(tab.locator("#swap-player .panels")).to_contain_text("B: the same pixels")
    before = state(tab, "#edit-player").get_attribute("data-clip")
    Image.new("RGB", (200, 120), "orange").save(tmp_path / "orange.png")
    tab.locator("#picture input[type=file]").set_input_files(tmp_path / "orange.png")
    expect(tab.locator("#look input[value=upload]")).to_be_checked()
    tab.locator("#run-edit").click()
    expect(state(tab, "#edit-player")).not_to_have_attribute("data-clip", before or "")
    still(tab, "#edit-player")
    red, _, blue = tab.locator("#edit-player [data-panel=extra-0] canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(50, 50, 1, 1).data.slice(0, 3)]"
    )
    assert red > blue + 100
    swapped = state(tab, "#swap-player").get_attribute("data-clip") or ""
    go(tab, "Explore")
    example = tab.locator("#player .player .examples button").nth(4)
    example.click()
    expect(tab.locator("#status")).to_contain_text(example.get_attribute("title") or "")
    go(tab, "Swap and edit")  # clip A is the one in Explore, also when it is another now
    expect(state(tab, "#swap-player")).not_to_have_attribute("data-clip", swapped)


def test_every_state_is_an_address(page: str, open_page: Open) -> None:
    other = open_page()
    other.goto(f"{page}?example=3-spins&k=4&view=difference&steps=1&seed=7&m=2&hue=90&metric=ssim&crop=9&start=-1")
    expect(other.locator("#status")).to_contain_text("Done")  # decoded anew: another seed
    expect(state(other, "#player")).to_have_attribute("data-k", "4")
    expect(state(other, "#player")).to_have_attribute("data-view", "difference")
    other.get_by_role("button", name="Clip and decoder settings").click()
    expect(other.get_by_label("Seed")).to_have_value("7")
    other.get_by_role("button", name="Share, reuse, download").click()
    other.locator("#copy-link").click()
    expect(other.locator("#copied")).to_contain_text("seed=7")
    found = parse_qs(urlsplit(other.url).query)
    assert {"example", "k", "view", "steps", "seed"} <= set(found)
    go(other, "Swap and edit")
    expect(other).to_have_url(re.compile("tab=swap"))
    expect(other.locator("#swap-player .panels")).to_contain_text("tokens 1-2 of B")
    assert other.problems == []  # type: ignore[attr-defined]
    other.close()


@pytest.mark.parametrize(
    ("query", "where", "text"),
    [
        ("tab=swap&m=999&swap-k=0", "#swap-status", "the first 4 of 16"),  # what the sliders do not have is left out
        ("tab=rate-distortion&metric=ssim", "#rate-distortion .ytitle", "SSIM"),
        ("tab=rate-distortion&metric=ssim&good=26", "#tokens-needed", "26.0 dB"),
    ],
)
def test_an_address_opens_a_tab(page: str, open_page: Open, query: str, where: str, text: str) -> None:
    # A page of its own: one that is left for another address says that its open requests were cut off.
    other = open_page()
    other.goto(f"{page}?{query}")
    expect(other.locator(where)).to_contain_text(text)
    assert other.problems == []  # type: ignore[attr-defined]
    other.close()


def test_an_address_fills_in_what_to_generate(page: str, open_page: Open) -> None:
    other = open_page()
    other.goto(f"{page}?tab=generate&action=spins&gk=4")
    expect(other.locator("#generate-k input[type=number]")).to_have_value("4")
    expect(other.locator("#action input[value=spins]")).to_be_checked()
    assert other.problems == []  # type: ignore[attr-defined]
    other.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_back_leads_to_the_tab_before_and_loses_nothing(page: str, open_page: Open, width: int) -> None:
    tab = open_page(viewport={"width": width, "height": 800})
    tab.goto(f"{page}?tab=generate")  # a tab that finds no room on the narrow page
    prompt, slider = tab.locator("#prompt textarea"), tab.locator("#player .budget")
    expect(prompt).to_be_visible()
    go(tab, "Explore")
    expect(prompt).not_to_be_visible()
    slider.fill("0")
    tab.go_back()
    expect(prompt).to_be_visible()
    prompt.fill("a red ball bounces")
    prompt.blur()
    expect(tab).to_have_url(re.compile("prompt="))
    tab.go_forward()
    expect(prompt).not_to_be_visible()
    expect(slider).to_have_value("0")
    expect(tab).to_have_url(re.compile("prompt="))  # what the fields hold, not what the older address said
    assert not tab.problems  # type: ignore[attr-defined]
    tab.close()


def test_settings_become_scripts_and_files(tab: Page) -> None:
    go(tab, "Explore")
    tab.get_by_role("button", name="Share, reuse, download").click()
    tab.locator("#copy-python").click()
    expect(tab.locator("#copied")).to_contain_text("flextok.load_tokenizer")
    tab.locator("#copy-curl").click()
    expect(tab.locator("#copied")).to_contain_text("/call/v2/render")
    for name, ends in (
        ("mp4", ".mp4"),
        ("GIF", ".gif"),
        ("Side by side, mp4", "-side-by-side.mp4"),
        ("Frames, PNG", ".png"),
    ):
        with tab.expect_download() as download:
            tab.locator("#reuse").get_by_role("button", name=name, exact=True).click()
        assert download.value.suggested_filename.endswith(ends)
        assert download.value.path().stat().st_size > 1000


def upload(tab: Page, path: Path) -> None:
    before = state(tab, "#player").get_attribute("data-clip") or ""
    if tab.locator("#clip video").count():
        tab.get_by_label("Clear").first.click()
    tab.locator("#clip input[type=file]").set_input_files(path)
    expect(state(tab, "#player")).not_to_have_attribute("data-clip", before)
    expect(tab.locator("#status")).to_contain_text("Done")


def test_files_that_browsers_cannot_play_go_through(tab: Page, tmp_path: Path) -> None:
    tab.get_by_role("button", name="Clip and decoder settings").click()
    tab.get_by_label("number input for Sampling steps").fill("1")
    shades = [np.full((60, 90, 3), (12 * i, 80, 200), np.uint8) for i in range(20)]
    write_video(np.stack(shades), tmp_path / "shades.gif", 10)
    portrait = np.zeros((24, 160, 90, 3), np.uint8)
    portrait[:, :80] = 220
    write_video(portrait, tmp_path / "portrait.mp4", 12)
    for path in (MEDIA / "b.avi", tmp_path / "shades.gif", tmp_path / "portrait.mp4"):
        upload(tab, path)
    expect(tab.locator("#plan")).to_contain_text("90 x 160")
    assert tab.locator(".toast-body").count() == 0


def test_trim_and_crop_are_said_and_used(tab: Page) -> None:
    box = tab.locator("#crop .box")
    box.scroll_into_view_if_needed()
    for _ in range(12):
        box.press("ArrowUp")
    expect(state(tab, "#crop")).to_have_attribute("data-crop", "0,0,1,0.5625")
    assert "crop=" in tab.url
    tab.locator("#length input").fill("1")
    tab.locator("#length input").blur()
    expect(tab.locator("#plan")).to_contain_text("Read: 8 frames, 0.00 to 1.00 s")
    expect(tab.locator("#plan")).to_contain_text("padded to 17")
    before = state(tab, "#player").get_attribute("data-clip") or ""
    tab.locator("#run").click()
    expect(state(tab, "#player")).not_to_have_attribute("data-clip", before)
    expect(tab.locator("#player [data-panel=original]")).to_contain_text("8 frames")
    expect(tab.locator("#status")).to_contain_text("Done")
    still(tab, "#player")
    top, bottom = tab.locator("#player [data-panel=original] canvas").evaluate(
        "c => [9, c.height - 9].map(y => c.getContext('2d').getImageData(9, y, 1, 1).data[0])"
    )
    assert top > bottom + 100  # the upper, bright half and some of the dark one


def test_a_clip_can_be_pasted(tab: Page, tmp_path: Path) -> None:
    write_video(np.full((9, 48, 48, 3), 99, np.uint8), tmp_path / "grey.gif", 8)
    before = state(tab, "#player").get_attribute("data-clip") or ""
    tab.evaluate(
        """bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], 'pasted.gif', {type: 'image/gif'}));
          document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        list((tmp_path / "grey.gif").read_bytes()),
    )
    expect(state(tab, "#player")).not_to_have_attribute("data-clip", before)
    expect(tab.locator("#status")).to_contain_text("Done")


def test_what_is_no_video_says_so(tab: Page, tmp_path: Path) -> None:
    (tmp_path / "no<b>video.gif").write_text("GIF89a no")
    if tab.locator("#clip video").count():
        tab.get_by_label("Clear").first.click()
    tab.locator("#clip input[type=file]").set_input_files(tmp_path / "no<b>video.gif")
    toast = tab.locator(".toast-body")
    expect(toast).to_be_visible()
    assert toast.locator("b").count() == 0
    close(toast)


def test_generated_clips_are_there_before_one_is_asked_for(tab: Page) -> None:
    go(tab, "Long video")
    expect(tab.locator("#long-video video")).to_be_visible()
    go(tab, "Generate")
    expect(tab.locator("#generate-player .panels canvas")).to_have_count(6)
    before = state(tab, "#player").get_attribute("data-clip") or ""
    tab.locator("#to-explore").click()
    expect(state(tab, "#player")).not_to_have_attribute("data-clip", before)
    expect(tab.locator("#status")).to_contain_text("Done")


def test_a_text_becomes_a_clip_that_opens_in_explore(tab: Page) -> None:
    go(tab, "Generate")
    tab.locator("#prompt textarea").fill("a large red ball bounces on grass at night")
    tab.locator("#generate").click()
    expect(tab.locator("#generate-status")).to_contain_text("The grid's own generator")
    still(tab, "#generate-player")
    pictures = [
        picture(tab, f"#generate-player [data-panel={name}] canvas") for name in ("k1", "original", "generated-grid")
    ]
    assert len(set(pictures)) == 3
    tab.get_by_role("button", name=re.compile("Measured")).click()
    expect(tab.locator("#generation-by-budget .scatterlayer .trace")).to_have_count(1)
    tab.locator("#measured-metric").get_by_text("text match").click()
    expect(tab.locator("#generation-by-budget .ytitle")).to_have_text("text match")
    expect(tab.locator("#generation-by-budget .scatterlayer .trace")).to_have_count(2)  # and the source clips
    tab.locator("#to-explore").click()
    example = state(tab, "#player").get_attribute("data-clip") or ""
    expect(state(tab, "#player")).not_to_have_attribute("data-clip", example)  # what is shown is what Explore holds
    expect(tab.locator("#status")).to_contain_text("Done")
    tab.locator("#clip").get_by_role("button", name="Clear").click()
    expect(tab.locator("#status")).to_contain_text("decoded beforehand")
    first = tab.locator("#player .player .examples button").first.get_attribute("title") or ""
    expect(tab.locator("#status")).to_contain_text(first)
    expect(state(tab, "#player")).to_have_attribute("data-ready", "7")


def test_what_went_wrong_stays_on_the_screen(tab: Page, tmp_path: Path) -> None:
    go(tab, "Explore")
    (tmp_path / "text.mp4").write_text("no video")
    tab.locator("#clip input[type=file]").set_input_files(tmp_path / "text.mp4")
    expect(tab.locator("#status")).to_contain_text("Not done. 'text.mp4' is not a video")
    close(tab.locator(".toast-body"))
    tab.locator("#player .player .examples button").first.click()
    expect(tab.locator("#status")).to_contain_text("decoded beforehand")


def test_unknown_words_are_named(tab: Page) -> None:
    go(tab, "Generate")
    tab.locator("#prompt textarea").fill("un éléphant 🐘")
    tab.locator("#generate").click()
    toast = tab.locator(".toast-body")
    expect(toast).to_contain_text("does not know: un, éléphant")
    close(toast)


def test_long_video_grows_and_can_be_stopped(tab: Page) -> None:
    go(tab, "Long video")
    status = tab.locator("#long-status")
    # Listened to from inside: a fast machine makes a chunk between two looks from here.
    status.evaluate("""(box) => {
      window.said = new Set();
      new MutationObserver(() => window.said.add(box.innerText)).observe(
        box, { childList: true, subtree: true, characterData: true });
    }""")
    tab.locator("#long-generate").click()
    expect(status).to_contain_text("81 frames, 21 latent frames x 8 = 168 tokens")
    said = " ".join(tab.evaluate("[...window.said]"))
    for chunk in range(1, 6):
        assert f"Chunk {chunk} of 5: {1 + 16 * chunk} frames" in said
    expect(tab.locator("#long-video video")).to_be_visible()
    tab.get_by_label("number input for Tokens per latent frame, k").last.fill("64")
    tab.locator("#long-generate").click()
    expect(status).to_contain_text("x 64")
    tab.locator("#long-stop").click()
    expect(status).to_contain_text("Cancelled")
    tab.wait_for_timeout(3000)
    # The words alone: Gradio at times leaves a mark "Error" of the run that was stopped beside them. It was so before,
    # its cause is not found, and an open issue asks for it.
    expect(status.locator("p")).to_have_text("Cancelled; what was ready stays.")


def test_nothing_failed_on_the_way(tab: Page) -> None:
    assert tab.problems == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("explore", "#player .panels canvas"),
        ("tokens", "#tokens-player .panels canvas"),
        ("swap", "#edit-player .panels canvas"),
        ("generate", "#generate-player .panels canvas"),
        ("long-video", "#long-video video"),
        ("rate-distortion", "#rate-distortion .scatterlayer"),
        ("learn", "#learn"),
    ],
)
def test_every_tab_fits_in_both_themes(
    page: str, open_page: Open, name: str, part: str, width: int, tmp_path: Path
) -> None:
    tab = open_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    tab.goto(f"{page}?__theme=light&tab={name}")
    expect(tab.locator(part).first).to_be_visible()
    for theme in ("light", "dark"):
        tab.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), theme
        shot = tmp_path / f"{name}-{width}-{theme}.png"
        tab.screenshot(path=shot, full_page=True)
        with Image.open(shot) as image:
            assert image.width == width
            ground = np.asarray(image.convert("L"))[:40].mean()
        assert (ground > 200) == (theme == "light"), theme
    assert tab.problems == []  # type: ignore[attr-defined]
    tab.close()
