"""A real server and a real browser: one of each for the session, a fresh page for every test."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import found
from emojis import put_into_cache
from evaluations import ROWS, evaluation, written
from playwright.sync_api import Browser, Page, sync_playwright
from toys import put_on_shelf, small, source_for
from ui_steps import ENTRIES, PATIENCE

from gen_models import render, zoo
from gen_models.interface import Samples

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def page_shelf(tmp_path_factory) -> zoo.Shelf:
    """Small untrained checkpoints with previews, two or three for each family."""
    put_into_cache()
    shelf = zoo.Shelf(tmp_path_factory.mktemp("page"))
    for name in ENTRIES:
        put_on_shelf(shelf.root / name, small(zoo.ZOO[name]))
        model = zoo.load(name, shelf)
        if isinstance(model, Samples):
            picture = zoo.preview(model)
        else:
            rows = zoo.both_ways(model, *zoo.held_pairs(source_for(zoo.ZOO[name])))
            picture = render.grid(rows, model.space, columns=4)
        (shelf.root / name / zoo.PREVIEW).write_bytes(render.png(picture, {"entry": name, "seed": 0}))
    return shelf


@pytest.fixture
def judged(page_shelf) -> Iterator[zoo.Shelf]:
    """The page's shelf with evaluations of all MNIST entries but vae-mnist-plane."""
    for name, (rows, likelihood) in ROWS.items():
        written(page_shelf, name).write_text(json.dumps(evaluation(page_shelf, name, rows, likelihood)))
    yield page_shelf
    for name in page_shelf.names():
        written(page_shelf, name).unlink(missing_ok=True)


@contextlib.contextmanager
def serving(shelf: zoo.Shelf, folder: Path, **env: str) -> Iterator[str]:
    """The address of `python app.py` over the shelf, as a person would start it; its log, in `folder`, stays clean."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server"
    command = [sys.executable, "app.py", "--port", str(port), "--device", "cpu", "--checkpoints", str(shelf.root)]
    env = os.environ | {"PYTHONUNBUFFERED": "1"} | env  # its log is read while it runs
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=env)
    try:
        deadline = time.monotonic() + 90
        while "Running on" not in log.read_text():
            assert server.poll() is None, f"the server ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"the server did not start:\n{log.read_text()}"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def app_url(page_shelf, tmp_path_factory) -> Iterator[str]:
    with serving(page_shelf, tmp_path_factory.mktemp("log")) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium that `tests/browser.py` found; without one these tests fail and say so."""
    path = found()
    if path is None:
        pytest.fail("No browser for the tests: run `python tests/browser.py`, or install Chromium.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield running
        running.close()


@contextlib.contextmanager
def opening(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """`opened(width, height, dark=False)`: the page, ready; an error in its scripts fails the test."""
    contexts, errors = [], []

    def opened(width: int = 1400, height: int = 900, *, dark: bool = False, address: str = "") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(url + address + ("?__theme=dark" if dark else ""))
        page.wait_for_selector(".gm-strip")
        page.wait_for_function("() => Promise.race([gm.visit, new Promise((r) => setTimeout(r, 50, ''))])")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def open_page(browser, app_url) -> Iterator[Callable[..., Page]]:
    with opening(browser, app_url) as opened:
        yield opened


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser test may try once more: on a busy machine an event can overtake the page that it is meant for."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))
