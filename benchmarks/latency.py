"""From a latent slider to the new picture in a real browser, decoding included; and pictures a second while dragging.

    python benchmarks/latency.py [--entries vae-mnist gan-mnist] [--link 80]

Each figure is of 100 single moves, then of drags of 4 seconds at 60 moves a second. Targets: median at most 20 ms, 95th
percentile at most 35 ms, 45 pictures a second; 30 a second over an emulated link of 80 ms. Server and browser share
the machine's cores.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import browser
from playwright.sync_api import Page, sync_playwright
from start import FLAGS, opened

from gen_models import zoo

MOVES = """async ([family, n]) => {
  const range = document.querySelector(`#${family}-latent-view input[data-axis]`);
  const picture = document.querySelector(`#${family}-latent-picture`);
  const times = [];
  for (let i = 0; i < n; i++) {
    const start = performance.now();
    const shown = new Promise((done) => picture.addEventListener('load', done, { once: true }));
    range.value = 0.5 + 2.4 * ((i * 0.618) % 1);
    range.dispatchEvent(new Event('input', { bubbles: true }));
    await shown; await picture.decode();
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 20));
  }
  return times;
}"""
DRAG = """async ([family, seconds]) => {
  const range = document.querySelector(`#${family}-latent-view input[data-axis]`);
  const picture = document.querySelector(`#${family}-latent-picture`);
  let shown = 0, at = 0;
  const count = () => shown++;
  picture.addEventListener('load', count);
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    range.value = 0.2 + 2.7 * Math.abs(Math.sin(++at / 40));
    range.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  picture.removeEventListener('load', count);
  return shown / seconds;
}"""


def measured(page: Page, url: str, name: str, link: int) -> None:
    family = zoo.ZOO[name].family
    page.goto(url)
    page.get_by_role("tab", name=zoo.FAMILIES[family].title, exact=True).click()
    page.locator(f"[data-entry='{name}']").first.click()
    page.get_by_role("tab", name="Latent", exact=True).click()
    page.wait_for_selector(f"#{family}-latent-view input[data-axis]", timeout=60_000)
    time.sleep(1)
    page.evaluate(MOVES, [family, 10])  # the first calls import and load
    times = sorted(page.evaluate(MOVES, [family, 100]))
    fast = [page.evaluate(DRAG, [family, 4]) for _ in range(3)]
    page.context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": link, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    far = [page.evaluate(DRAG, [family, 4]) for _ in range(3)]
    print(
        f"{name}: median {statistics.median(times):.1f} ms, 95th percentile {times[94]:.1f} ms, "
        f"{statistics.median(fast):.0f} pictures/s while dragging, {statistics.median(far):.0f}/s over {link} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", nargs="+", default=["vae-mnist", "gan-mnist"])
    parser.add_argument("--link", type=int, default=80)
    parser.add_argument("--port", type=int, default=7894)
    known = parser.parse_args()
    url = f"http://127.0.0.1:{known.port}"
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(known.port)], cwd=ROOT)
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser.found(), args=list(FLAGS))
            opened(chromium.new_page(), url)
            for name in known.entries:
                measured(chromium.new_page(viewport={"width": 1400, "height": 900}), url, name, known.link)
            chromium.close()
    finally:
        app.terminate()
        app.wait()


if __name__ == "__main__":
    main()
