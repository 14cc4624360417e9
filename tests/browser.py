"""Brings the browser for the tests: one on the machine, else Playwright's, else Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def found() -> str | None:
    """The path of a Chromium: $CHROMIUM, one on the path, or the one that Playwright downloaded."""
    if given := os.environ.get("CHROMIUM"):
        return given if Path(given).exists() else None
    on_path = next(filter(None, map(shutil.which, NAMES)), None)
    return on_path or _playwrights()


def _playwrights() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and Path(path).exists() else None


def _try(*command: str) -> None:
    print("$", *command, flush=True)
    try:
        subprocess.run(command, check=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"  did not work: {error}", flush=True)


def main() -> int:
    """0 when a browser is there, after fetching one where needed; 1 with a word on what to do."""
    if not found():
        _try(sys.executable, "-m", "playwright", "install", "chromium")
    if not found() and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        _try("apt-get", "update")
        _try("apt-get", "install", "-y", "--no-install-recommends", "chromium")
    path = found()
    if path is None:
        print("The tests drive a real browser and none is here. Install Chromium, or set CHROMIUM to its path.")
        return 1
    print(f"browser: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
