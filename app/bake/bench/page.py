"""How fast the page is for a visitor with an empty cache, in headless Chromium."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.bake.bench.server import running_app
from app.shipped import example_paths

BUDGETS: dict[str, float] = {
    "first_canvas_s": 3.0,
    "slider_ms": 100.0,
    "example_ms": 300.0,
    "upload_preview_s": 1.5,
    "first_result_s": 3.0,
    "full_sweep_s": 12.0,
    "first_tab_mb": 1.5,
    "console_errors": 0,
    "foreign_requests": 0,
}
"""What each may be at most, on two idle cores."""
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PLAYER = "document.querySelector('#player .player > div')"
SLIDER_JS = """async () => {
  const slider = document.querySelector('#player .budget'), stage = document.querySelector('#player .stage');
  const times = [];
  for (let i = 0; i <= Number(slider.max); i++) {
    const before = stage.toDataURL(), start = performance.now();
    slider.value = i;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    while (stage.toDataURL() === before && performance.now() - start < 1000) await new Promise(requestAnimationFrame);
    if (i) times.push(performance.now() - start);
  }
  return Math.max(...times);
}"""
EXAMPLE_JS = """async () => {
  const times = [], root = document.querySelector('#player .player > div');
  for (const button of [...document.querySelectorAll('#player .examples button')].slice(1)) {
    await new Promise((resolve) => setTimeout(resolve, 1000));  // a visitor looks before going on
    const clip = root.dataset.clip, start = performance.now();
    button.click();
    while (performance.now() - start < 3000) {
      await new Promise(requestAnimationFrame);
      const canvas = root.querySelector('[data-panel=original] canvas');
      if (root.dataset.clip !== clip && canvas.getContext('2d').getImageData(9, 9, 1, 1).data[3]) break;
    }
    times.push(performance.now() - start);
  }
  return Math.max(...times);
}"""


@dataclass(frozen=True)
class Page:
    """Seconds and bytes of a first visit, and of an upload."""

    upload_mb: float = 5.0
    record: bool = False
    """Write assets/results/app_page.json."""
    screenshot: Path | None = None
    """Write a picture (.jpg) of the first screen there."""
    name = "page"

    def run(self) -> tuple[dict[str, Any], list[str]]:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise SystemExit("this bench needs playwright: pip install -r tests/requirements.txt") from error
        chromium = shutil.which("chromium")
        if chromium is None:
            raise SystemExit("this bench needs Debian's chromium")
        with tempfile.TemporaryDirectory() as folder, running_app() as server, sync_playwright() as playwright:
            clip = Path(folder) / "noise.mp4"
            write_noise(clip, self.upload_mb)
            warm_up(server.address)
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            report = visit(
                browser.new_page(viewport={"width": 1280, "height": 900}), server.address, clip, self.screenshot
            )
            browser.close()
            report = {"upload_mb": clip.stat().st_size / 2**20, "server_start_s": server.started_s, **report}
        missed = [
            f"{name} is {report[name]:.3g}, limit {most:g}" for name, most in BUDGETS.items() if report[name] > most
        ]
        return report, missed


def visit(tab: Any, address: str, clip: Path, screenshot: Path | None = None) -> dict[str, Any]:
    """Everything that is timed, in the order in which a visitor does it."""
    problems: list[str] = []
    foreign: list[str] = []
    received = [0.0]
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    own = (address, address.replace("127.0.0.1", "localhost"), "data:", "blob:")
    tab.on("request", lambda request: None if request.url.startswith(own) else foreign.append(request.url))
    network = tab.context.new_cdp_session(tab)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    begun = time.perf_counter()
    tab.goto(address, wait_until="commit")
    tab.wait_for_function(f"Number({PLAYER}?.dataset.frame) >= 1", timeout=60_000)
    first_canvas_s = time.perf_counter() - begun
    tab.wait_for_timeout(3000)
    first_tab_mb = sum(received) / 2**20
    if screenshot is not None:
        tab.screenshot(path=screenshot, type="jpeg", quality=85)
    slider_ms, example_ms = tab.evaluate(SLIDER_JS), tab.evaluate(EXAMPLE_JS)
    before = tab.evaluate(f"{PLAYER}.dataset.clip")
    tab.get_by_label("Clear").first.click()
    tab.wait_for_function(f"{PLAYER}.dataset.clip !== '{before}'")  # the first example again, not yet the upload
    before = tab.evaluate(f"{PLAYER}.dataset.clip")
    begun = time.perf_counter()
    tab.locator("#clip input[type=file]").set_input_files(clip)
    seconds = {}
    for name, condition in (
        ("upload_preview_s", f"{PLAYER}.dataset.clip !== '{before}'"),
        ("first_result_s", f"{PLAYER}.dataset.clip !== '{before}' && Number({PLAYER}.dataset.ready) >= 1"),
        ("full_sweep_s", "document.querySelector('#status').innerText.startsWith('Done')"),
    ):
        tab.wait_for_function(condition, timeout=120_000, polling=20)
        seconds[name] = time.perf_counter() - begun
    return {
        "first_canvas_s": first_canvas_s,
        "slider_ms": slider_ms,
        "example_ms": example_ms,
        **seconds,
        "first_tab_mb": first_tab_mb,
        "console_errors": len(problems),
        "foreign_requests": len(foreign),
        "problems": [*problems, *foreign][:10],
    }


def warm_up(address: str) -> None:
    """Wait until the models are loaded, which the app does by itself while the first visitor looks at the examples."""
    from gradio_client import Client, handle_file

    job = Client(address, verbose=False).submit(handle_file(str(example_paths()[0])), steps=1, api_name="/reconstruct")
    job.result(timeout=300)


def write_noise(path: Path, megabytes: float) -> None:
    """A video of about that size: moving noise, which does not compress."""
    from flextok.video.write import write_video

    rng = np.random.default_rng(0)
    num_frames = 4
    while True:
        coarse = rng.integers(0, 256, (num_frames, 90, 160, 3), dtype=np.uint8)
        write_video(coarse.repeat(4, axis=1).repeat(4, axis=2), path, 8)
        size = path.stat().st_size / 2**20
        if size >= megabytes or num_frames > 2000:
            return
        num_frames = max(num_frames + 4, int(num_frames * megabytes / size * 1.02))
