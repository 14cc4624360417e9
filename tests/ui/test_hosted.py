"""The page where others host it: under a path of a proxy, and in the frame of another site."""

from __future__ import annotations

import pytest
from conftest import opening, serving
from playwright.sync_api import FrameLocator, Page, expect
from proxy import behind, framing
from ui_steps import PATIENCE

PATH = "/spaces/ann/models"


@pytest.fixture(scope="module")
def hosted(page_shelf, tmp_path_factory) -> str:
    """The address under the proxy's path; the server knows the path, as GRADIO_ROOT_PATH tells it."""
    folder = tmp_path_factory.mktemp("hosted")
    with serving(page_shelf, folder, GRADIO_ROOT_PATH=PATH) as url, behind(url, PATH) as address:
        yield address


def works(page: Page | FrameLocator) -> None:
    """A job is sent, its frames stream back, and the pictures are drawn."""
    page.locator("#family-gan-button").click()
    page.locator("#gan-sample-seed").fill("7")
    page.locator("#gan-sample-run").click()
    expect(page.locator("#gan-sample-message")).to_contain_text("seeds 7 to", timeout=PATIENCE)
    expect(page.locator("#gan-sample-view .gm-tile canvas").first).to_be_visible(timeout=PATIENCE)


def test_behind_the_path_of_a_proxy(browser, hosted):
    with opening(browser, hosted) as opened:
        page = opened()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        works(page)
        assert asked
        origin = hosted.removesuffix(PATH + "/")
        strays = [url for url in asked if url.startswith("http") and not url.startswith(origin + PATH)]
        assert not strays, "everything is asked for under the path"


def test_in_the_frame_of_another_site(browser, app_url):
    with framing(app_url) as outside:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(outside)
        frame = page.frame_locator("iframe")
        expect(frame.locator(".gm-strip").first).to_be_visible(timeout=PATIENCE)
        works(frame)
        context.close()
        assert not errors
