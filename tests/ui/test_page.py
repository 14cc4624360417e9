"""The page's start and its visits: a port in use, a wrong folder, what a visit costs and that it is freed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from toys import put_on_shelf, small

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.ui import visits as module
from gen_models.ui.visits import Visits

ROOT = Path(__file__).resolve().parents[2]


def started(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_port_in_use_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = started("--port", str(port))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"Cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in done.stderr


def test_a_missing_folder_of_checkpoints_is_said(tmp_path):
    done = started("--checkpoints", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "There is no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_starts_without_diffusers():
    code = "import sys, app; assert app.demo; print({'diffusers', 'transformers', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr


def request(session: str) -> SimpleNamespace:
    return SimpleNamespace(session_hash=session)


def test_a_visit_is_one_per_session_unguessable_and_freed(page_shelf):
    visits = Visits(page_shelf)
    mine, other = visits.of(request("a")), visits.of(request("b"))
    assert visits.of(request("a")) is mine
    assert mine.key != other.key
    assert len(mine.key) >= 32
    assert visits.by_key(mine.key) is mine
    put_on_shelf(mine.shelf.root / "yours-1", small(zoo.ZOO["vae-8gaussians"]))
    picked = visits.picked("yours-1", mine)
    assert picked.model().latent_shape == (2,)
    with pytest.raises(BadInput, match="There is no entry"):
        visits.picked("yours-1", other)
    visits.close(request("a"))
    assert not mine.folder.exists()
    assert "*" in mine.stopped  # what still runs for it ends
    with pytest.raises(BadInput, match="reload the page"):
        visits.by_key(mine.key)
    with pytest.raises(BadInput, match="There is no entry"):
        visits.picked("yours-1", visits.of(request("a")))


def test_visits_are_bounded(page_shelf, monkeypatch):
    monkeypatch.setattr(module, "CAPACITY", 3)
    visits = Visits(page_shelf)
    first = visits.of(request("0"))
    for k in range(1, 4):
        visits.of(request(str(k)))
    assert not first.folder.exists()
    assert visits.of(request("3")).folder.exists()


@pytest.mark.parametrize("name", ["../vae-mnist", "", None, 7, ["vae-mnist"], "/etc", "vae-mnist/../gan-mnist"])
def test_an_entry_is_a_name_and_no_path(page_shelf, name):
    with pytest.raises(BadInput, match="There is no entry"):
        Visits(page_shelf).picked(name)


def slow_run_prepared(page):
    """Diffusion with 64 samples in 200 steps; a form that is still being mounted would forget what is typed."""
    page.click("#family-diffusion-button")
    page.wait_for_selector("#diffusion-sample-run")
    page.wait_for_timeout(800)
    page.fill("#diffusion-sample-steps", "200")
    page.fill("#diffusion-sample-n", "64")
    expect(page.locator("#diffusion-sample-steps")).to_have_value("200")


def test_a_closed_tab_ends_its_run(open_page):
    for _ in range(2):  # as many as run at a time: did they go on, the next would have to wait
        page = open_page()
        slow_run_prepared(page)
        page.click("#diffusion-sample-run")
        expect(page.locator("#diffusion-sample-message")).to_contain_text("of 200")
        page.context.close()
    page = open_page()
    page.get_by_role("tab", name="VAE", exact=True).click()
    page.click("#vae-sample-run")
    expect(page.locator("#vae-sample-message")).to_contain_text("16 samples", timeout=4000)


def test_a_place_in_the_queue_is_shown_and_can_be_left(open_page):
    pages = [open_page() for _ in range(3)]
    for page in pages:
        slow_run_prepared(page)
        page.click("#diffusion-sample-run")
        says = "queue: 1/1" if page is pages[2] else "of 200"
        expect(page.locator("#diffusion-sample-message")).to_contain_text(says)
    pages[2].click("#diffusion-sample-stop")
    expect(pages[2].locator("#diffusion-sample-message")).to_contain_text("left the queue")
    expect(pages[2].locator("#diffusion-sample-run")).to_be_visible()
    for page in pages[:2]:
        page.click("#diffusion-sample-stop")
        expect(page.locator("#diffusion-sample-message")).to_contain_text("stopped at step")
