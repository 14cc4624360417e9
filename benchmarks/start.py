"""From `python app.py` to a usable page, and the memory it holds before a model is used.

    python benchmarks/start.py [--runs 5]

Usable: a real browser shows the run button of the first panel. Targets: at most 5 s (median of five, warm file cache)
on two cores, under 800 MiB resident.
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
from playwright.sync_api import Error, Page, sync_playwright

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")


def opened(page: Page, url: str) -> None:
    """Waits for the server, then for the first run button."""
    while True:
        try:
            page.goto(url)
            break
        except Error:
            time.sleep(0.05)
    page.wait_for_selector("[id$='-sample-run']", state="visible", timeout=60_000)


def resident(pid: int) -> float:
    """MiB of the process and its children, from /proc."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int, default=7893)
    known = parser.parse_args()
    seconds, memory = [], []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.found(), args=list(FLAGS))
        for _ in range(known.runs + 1):
            page = chromium.new_page()
            start = time.perf_counter()
            app = subprocess.Popen([sys.executable, "app.py", "--port", str(known.port)], cwd=ROOT)
            try:
                opened(page, f"http://127.0.0.1:{known.port}")
                seconds.append(time.perf_counter() - start)
                memory.append(resident(app.pid))
            finally:
                app.terminate()
                app.wait()
                page.close()
        chromium.close()
    seconds, memory = seconds[1:], memory[1:]  # the first run warms the file cache
    print(
        f"usable after {statistics.median(seconds):.2f} s, median of {len(seconds)}: {[round(s, 2) for s in seconds]}"
    )
    print(f"resident {statistics.median(memory):.0f} MiB before a model is used")


if __name__ == "__main__":
    main()
