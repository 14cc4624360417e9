"""The Hub tab in a real browser, against a Hub on loopback: look, fetch, cancel, use, push, and what is refused."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import opening, serving
from gradio_client import Client
from gradio_client.exceptions import AppError
from hub_server import READS, WRITES, Hub
from PIL import Image
from playwright.sync_api import Page, expect
from toys import autoencoder, class_pipeline, pixel_pipeline, put_on_shelf, small, text_pipeline
from ui_steps import PATIENCE, as_shown, fill, pixels, run

from gen_models import hub, zoo
from gen_models.interface import BadInput
from gen_models.ui import hub as tab
from gen_models.ui.visits import Visits

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OFFERED = {
    "pixels": "Sample, Steps",
    "classes": "Sample, Steps",
    "text": "Sample, Steps",
    "codes": "Interpolate, Reconstruct",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A tiny model of each kind, a checkpoint of ours, and one in pickles."""
    root = tmp_path_factory.mktemp("models")
    for name, write in {"pixels": pixel_pipeline, "classes": class_pipeline, "text": text_pipeline}.items():
        write(root / name)
    autoencoder().save_pretrained(root / "codes", safe_serialization=True)
    put_on_shelf(root / "own", small(zoo.ZOO["vae-mnist"]))
    shutil.copytree(root / "pixels", root / "pickled")
    (root / "pickled" / WEIGHTS).rename(root / "pickled" / "unet" / "diffusion_pytorch_model.bin")
    return {path.name: path for path in root.iterdir() if path.name != "text-words"}


@pytest.fixture(scope="module")
def server(models, tmp_path_factory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        for name, folder in models.items():
            running.add(f"ann/{name}", folder, license="mit")
        for name in ("slow", "gated", "google/ddpm-cifar10-32"):
            running.add(name if "/" in name else f"ann/{name}", models["pixels"], license="apache-2.0")
        running.gate("ann/gated", READS)
        yield running


@pytest.fixture(scope="module")
def url(server, tmp_path_factory) -> Iterator[str]:
    """The page over two shipped entries, with a cache of its own and the Hub on loopback."""
    shelf = zoo.Shelf(tmp_path_factory.mktemp("shelf"))
    for name in ("vae-mnist", "diffusion-8gaussians"):
        put_on_shelf(shelf.root / name, small(zoo.ZOO[name]))
    home = tmp_path_factory.mktemp("home")
    settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    settings["HF_HUB_CACHE"] = str(home / "hub")
    settings |= dict.fromkeys(("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "")
    with serving(shelf, tmp_path_factory.mktemp("log"), **settings) as address:
        yield address


@pytest.fixture
def open_hub(browser, url):
    """`open_hub(width, height)`: the page with the Hub tab open."""
    with opening(browser, url) as opened:

        def there(*size: int) -> Page:
            page = opened(*size)
            page.click("#family-hub-button")
            page.wait_for_selector("#hub-address")
            return page

        yield there


def look(page: Page, address: str) -> None:
    page.fill("#hub-address", address)
    page.press("#hub-address", "Enter")


def fetch(page: Page, name: str) -> None:
    """Looks, fetches, and waits until it is in the picker."""
    look(page, f"ann/{name}")
    expect(page.locator("#hub-found")).to_have_attribute("aria-label", f"ann/{name}")
    page.click("#hub-fetch")
    expect(page.locator("#hub-done")).to_contain_text(f"ann/{name} is here as {name}", timeout=PATIENCE)
    expect(page.locator(f"#hub-entries [data-entry='{name}']")).to_have_attribute("aria-checked", "true")


# ---- look, fetch, use -------------------------------------------------------------------------------------------


def test_before_anything_is_fetched_there_is_a_sentence_and_no_panel(open_hub):
    page = open_hub()
    expect(page.locator(".gm-hub-empty")).to_contain_text("Nothing is fetched yet")
    expect(page.locator("#hub-panels")).to_be_hidden()
    expect(page.locator("#hub-body-known .gm-hub-row")).to_have_count(len(hub.KNOWN))
    page.click(".gm-hub-row[data-id='google/ddpm-cifar10-32']")
    expect(page.locator("#hub-found")).to_contain_text("google/ddpm-cifar10-32")
    assert page.input_value("#hub-address") == "google/ddpm-cifar10-32"


def test_what_was_found_is_said_before_its_weights_are_asked_for(open_hub, server):
    page, before = open_hub(), server.asked("GET", f"ann/slow/resolve/{commit(server)}/{WEIGHTS}")
    look(page, "ann/slow@main")
    found = page.locator("#hub-found")
    for words in ("DDPMPipeline", "pictures, 8 × 8", "apache-2.0", f"main · {commit(server)[:7]}", "Sample, Steps"):
        expect(found).to_contain_text(words)
    expect(page.locator("#hub-fetch")).to_have_text(re.compile(r"Fetch \d+ KB"))
    assert server.asked("GET", f"ann/slow/resolve/{commit(server)}/{WEIGHTS}") == before


def commit(server: Hub) -> str:
    return server.repos["ann/slow"].revisions["main"]


def test_a_pipeline_is_fetched_sampled_and_walked_step_by_step(open_hub, models):
    page = open_hub()
    fetch(page, "pixels")
    expect(page.locator("#hub-sample-view .gm-nothing")).to_contain_text("Press Generate")
    fill(page, "hub-sample", n=4, seed=7, steps=3)
    run(page, "hub-sample", "seeds 7 to 10")
    model = zoo.build(_entry(models["pixels"]), files=models["pixels"]).eval()
    *_, frame = zoo.sample(model, 7, 4, steps=3)
    for k in range(4):
        shown = pixels(page, f"#hub-sample-view .gm-tile >> nth={k} >> canvas")
        assert abs(shown.astype(int) - as_shown(frame.x[k], model)).max() <= 1
    page.click("#hub-steps-button")
    fill(page, "hub-steps", steps=3)
    run(page, "hub-steps", "3 steps")
    expect(page.locator("#hub-steps-film .gm-count")).to_contain_text("3")


def _entry(folder: Path) -> zoo.Entry:
    offer = zoo.offer(hub.look(hub.address(str(folder))))
    return zoo.Entry("hub", offer.model, None, zoo.ZOO["vae-mnist"].recipe, offer.config, offer.space)


@pytest.mark.parametrize("name", ["classes", "text"])
def test_other_pipelines_draw_too(open_hub, name):
    page = open_hub()
    fetch(page, name)
    fill(page, "hub-sample", n=2, steps=2)
    if name == "text":
        page.fill("#hub-sample-prompt", "a red bird")
        page.press("#hub-sample-prompt", "Control+Enter")
    else:
        page.select_option("#hub-sample-label", index=1)
        page.click("#hub-sample-run")
    expect(page.locator("#hub-sample-message")).to_contain_text("seeds 0 to 1", timeout=PATIENCE)
    assert pixels(page, "#hub-sample-view .gm-tile >> nth=1 >> canvas").shape == (16, 16, 3)
    page.click("#hub-steps-button")
    fill(page, "hub-steps", steps=2)
    run(page, "hub-steps", "2 steps")
    expect(page.locator("#hub-steps-film .gm-count")).to_contain_text("2")
    page.click("#hub-between-noises-button")
    fill(page, "hub-between-noises", frames=3)
    run(page, "hub-between-noises", "3 frames from seed 0 to seed 1")
    expect(page.locator("#hub-between-noises-film .gm-film")).to_have_attribute("data-frames", "3")


def test_an_autoencoder_redraws_and_walks_between_two_uploads(open_hub, tmp_path):
    page = open_hub()
    fetch(page, "codes")
    paths = []
    for k in range(2):
        picture = Image.fromarray(np.random.default_rng(k).integers(0, 255, (20, 20, 3), dtype=np.uint8))
        paths.append(tmp_path / f"{k}.png")
        picture.save(paths[-1])
    page.click("#hub-reconstruct-button")
    page.set_input_files("#hub-reconstruct input[type=file]", paths[0])
    expect(page.locator("#hub-reconstruct-view-numbers")).to_contain_text("mean squared error")
    expect(page.locator("#hub-reconstruct .gm-tests-card")).to_be_hidden()
    page.click("#hub-interpolate-button")
    for path in paths:
        page.click("#hub-keys-draw")
        page.set_input_files("#hub-interpolate input[type=file]", path)
        expect(page.locator("#hub-keys-use")).to_be_enabled()
        page.wait_for_function("() => gm.pads['hub-keys-pad'].value()")
        page.click("#hub-keys-use")
    expect(page.locator(".gm-keypoint")).to_have_count(2)
    assert page.input_value("#hub-interpolate-how") == "1"  # straight: its codes are not around the origin
    fill(page, "hub-interpolate", frames=4)
    run(page, "hub-interpolate", "4 frames past 2 key points, by lerp")


def test_a_checkpoint_of_ours_goes_to_its_own_family(open_hub):
    page = open_hub()
    look(page, "ann/own")
    expect(page.locator("#hub-found")).to_contain_text("Reconstruct")
    page.click("#hub-fetch")
    expect(page.locator("#hub-done")).to_contain_text("it is in the VAE tab as own")
    expect(page.locator(".gm-hub-empty")).to_be_visible()
    page.click("#hub-go")
    expect(page.locator("#vae-entries [data-entry='own']")).to_have_attribute("aria-checked", "true")
    expect(page.locator("#vae-entries [data-entry='vae-mnist']")).to_be_visible()
    fill(page, "vae-sample", n=2)
    run(page, "vae-sample", "seeds 0 to 1")


# ---- slow, refused, missing -----------------------------------------------------------------------------------


def test_a_slow_download_is_cancelled_and_gone_on_with(open_hub, server):
    page = open_hub()
    server.slow("ann/slow", WEIGHTS, rate=10_000)
    look(page, "ann/slow")
    page.click("#hub-fetch")
    progress = page.locator("#hub-progress")
    expect(progress).to_contain_text(re.compile(r"KB of \d+ KB, \d+ KB/s"))
    expect(progress).to_contain_text(WEIGHTS)
    page.click("#hub-fetch")
    expect(progress).to_contain_text("What has come is kept", timeout=2000)
    share = int(page.locator("#hub-progress [role=progressbar]").get_attribute("aria-valuenow"))
    assert share > 0
    server.fast()
    expect(page.locator("#hub-fetch")).to_contain_text("Fetch")
    before = len(server.requests)
    page.click("#hub-fetch")
    expect(page.locator("#hub-done")).to_contain_text("ann/slow is here as slow")
    asked = [path for method, path, _ in server.requests[before:] if method == "GET" and path.endswith(WEIGHTS)]
    assert len(asked) == 1


REFUSED = {
    "ann/nothing": "There is no public model ann/nothing on the Hub",
    "ann/pixels@elsewhere": "has no revision 'elsewhere'",
    "ann/pickled": "Its weights are pickles",
    "https://example.org/a/b": "does not lie on https://huggingface.co/",
    "": "Type an owner/name first",
}


def test_what_cannot_be_opened_says_why(open_hub):
    page = open_hub()
    for address, says in REFUSED.items():
        look(page, address)
        expect(page.locator(".gm-hub-said .gm-wrong")).to_contain_text(says)
        expect(page.locator("#hub-fetch")).to_have_count(0)


def test_a_gated_model_opens_with_a_token_that_is_never_shown(open_hub, server):
    page = open_hub()
    look(page, "ann/gated")
    expect(page.locator("#hub-wrong")).to_contain_text("ann/gated is gated: accept its terms")
    page.click("#hub-fold-token")
    page.fill("#hub-token", READS)
    look(page, "ann/gated")
    expect(page.locator("#hub-found")).to_contain_text("you are let in")
    page.click("#hub-fetch")
    expect(page.locator("#hub-done")).to_be_visible()
    assert page.get_attribute("#hub-token", "type") == "password"
    assert READS not in page.content()
    assert READS not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])")


def test_an_entry_is_pushed_and_found_again(open_hub, server):
    page = open_hub()
    page.click("#hub-fold-push")
    page.select_option("#hub-push-entry", "vae-mnist")
    page.fill("#hub-push-repo", "ann/pushed")
    page.click("#hub-push-go")
    expect(page.locator("#hub-push-said .gm-wrong")).to_contain_text("The Hub must know who you are")
    page.fill("#hub-push-token", WRITES)
    page.check("#hub-push-private")
    page.click("#hub-push-go")
    expect(page.locator("#hub-push-said a")).to_have_attribute("href", f"{server.url}/ann/pushed")
    assert server.repos["ann/pushed"].private
    server.repos["ann/pushed"].readers.add(WRITES)
    fetch_as = page.locator("#hub-done")
    look(page, "ann/pushed")
    page.click("#hub-fetch")
    expect(fetch_as).to_contain_text("it is in the VAE tab as pushed")


def test_a_narrow_page_has_no_sideways_scroll(open_hub):
    page = open_hub(390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    look(page, "ann/text")
    page.wait_for_selector("#hub-fetch")
    page.click("#hub-fold-push")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- without a browser ------------------------------------------------------------------------------------------


def test_the_api_fetches_and_then_samples(url):
    client = Client(url, verbose=False)
    report = client.predict({"address": "ann/classes"}, api_name="/hub_fetch")
    assert (report["phase"], report["name"]) == ("done", "classes")
    with pytest.raises(AppError, match="There is no public model ann/nothing"):
        client.predict({"address": "ann/nothing"}, api_name="/hub_fetch")
    with pytest.raises(AppError, match="a text of at most"):
        client.predict({"address": 3}, api_name="/hub_fetch")


@pytest.mark.parametrize("mine", [True, False])
def test_only_its_own_person_may_name_a_folder_and_use_the_machines_token(models, tmp_path, mine):
    visits = Visits(zoo.Shelf(tmp_path), mine)
    desk, visit = tab._Desk(visits), visits.of(SimpleNamespace(session_hash="a"))
    assert desk._token("") is (None if mine else False)
    assert desk._token("hf_x") == "hf_x"
    if mine:
        told = desk._looked(visit, str(models["codes"]), None)
        assert told["can"] == ["Interpolate", "Reconstruct"]
        assert told["here"]
    else:
        with pytest.raises(BadInput, match="is no repository"):
            desk._looked(visit, str(models["codes"]), False)


def test_one_look_at_a_time_and_its_answer_comes_once(tmp_path):
    visits = Visits(zoo.Shelf(tmp_path))
    visit, begun = visits.of(SimpleNamespace(session_hash="a")), []
    going = threading.Event()

    def work(number: int) -> str:
        begun.append(number)
        going.wait(10)
        return f"found {number}"

    first = [tab._beside(visit, "look", {"look": 1}, lambda: work(1)) for _ in range(2)]
    second = tab._beside(visit, "look", {"look": 2}, lambda: work(2))
    assert (*first, second) == ({"waiting": True},) * 3
    assert begun == [1]
    going.set()
    while (found := tab._beside(visit, "look", {"look": 2}, lambda: work(2))) == {"waiting": True}:
        pass
    assert (found, begun) == ("found 2", [1, 2])
    assert "hub look" not in visit.kept


def test_the_speed_is_that_of_the_last_seconds():
    now = iter([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    speed = tab.Speed(lambda: next(now))
    for done in (0, 10, 20, 30, 40, 1_000_040, 2_000_040):
        speed.add(done)
    assert speed.rate == pytest.approx(2_000_020 / 4)
    assert speed.words(hub.Fetched(2_000_040, 4_000_040)) == "2 MB of 4 MB, 500 KB/s, 4 s left"
