"""The Critic panel: pictures stand in the order of the discriminator's scores, one's own among them."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from toys import FakePictures
from ui_steps import fill, go, run

from gen_models import data, zoo
from gen_models.interface import BadInput
from gen_models.ui import pad
from gen_models.ui.panels import critic, reconstruct, sources
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask

FORM, ENTRY = "gan-critic", "gan-mnist"
VIEW = f"#{FORM}-view .gm-critic"


def picked(shelf: zoo.Shelf, name: str = ENTRY) -> Picked:
    return Picked(name, zoo.ZOO[name], shelf)


def opened(page: Page, entry: str = ENTRY) -> None:
    go(page, "gan", "critic", entry)
    expect(page.locator(VIEW)).to_have_attribute("data-shown", entry)
    expect(page.locator(VIEW)).to_have_attribute("data-done", "true")


def shown(page: Page, origin: str = "") -> list[float]:
    """The scores of the tiles in the order in which they stand."""
    which = f"[data-origin={origin}]" if origin else ""
    tiles = page.locator(f"#{FORM}-row .gm-critic-tile{which}")
    return [float(score) for score in tiles.evaluate_all("nodes => nodes.map((node) => node.dataset.score)")]


def generated(shelf: zoo.Shelf, seed: int, count: int, label: int, entry: str = ENTRY) -> list[float]:
    model = zoo.load(entry, shelf)
    *_, last = zoo.sample(model, seed, count, label=label)
    rows = torch.full((count,), label)
    with torch.no_grad():
        return model.criticise(last.x, label=rows).tolist()


def png(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((28, 28), grey, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def score_of(shelf: zoo.Shelf, grey: int, label: int) -> float:
    x = torch.full((1, 1, 28, 28), grey / 127.5 - 1)
    with torch.no_grad():
        return zoo.load(ENTRY, shelf).criticise(x, label=torch.tensor([label])).item()


# ---- in the browser -------------------------------------------------------------------------------------------


def test_generated_pictures_stand_in_the_order_of_their_scores(page, page_shelf):
    opened(page)
    assert shown(page) == pytest.approx(sorted(generated(page_shelf, 0, 24, 0)), abs=1e-4)
    fill(page, FORM, n=8, seed=5, label="3")
    run(page, FORM, "8 generated pictures are judged as 3, seed 5")
    wanted = sorted(generated(page_shelf, 5, 8, 3))
    assert shown(page) == pytest.approx(wanted, abs=1e-4)
    assert sum(map(int, page.locator(f"#{FORM}-strip rect").evaluate_all("n => n.map((r) => r.dataset.count)"))) == 8
    page.locator(f"#{FORM}-row .gm-critic-tile").first.focus()
    expect(page.locator(f"#{FORM}-place")).to_have_text("1st of 8 from the least real")
    page.keyboard.press("End")
    expect(page.locator(f"#{FORM}-place")).to_have_text("8th of 8 from the least real")
    told = page.locator(f"#{FORM}-score").inner_text().removeprefix("score ").replace("−", "-")
    assert float(told) == pytest.approx(wanted[-1], abs=0.006)


def test_without_the_data_set_it_says_so_and_judges_the_generated_ones(page):
    opened(page)
    expect(page.locator(f"#{FORM}-words")).to_contain_text("Generated pictures alone")
    expect(page.locator(f"#{FORM}-words")).to_contain_text("hf download ylecun/mnist --repo-type dataset")
    expect(page.locator(f"#{FORM}-share")).to_have_text("—")


def test_ones_own_files_and_drawings_find_their_place(page, page_shelf):
    opened(page)
    page.get_by_text("Your own pictures: draw, or add files").click()
    files = [{"name": f"grey {grey}.png", "mimeType": "image/png", "buffer": png(grey)} for grey in (0, 200)]
    words = {"name": "words.png", "mimeType": "image/png", "buffer": b"these are words"}
    page.locator(f"#{FORM}-files").set_input_files([*files, words])
    expect(page.locator(f"#{FORM}-row [data-origin=yours]")).to_have_count(2)
    expect(page.locator(f"#{FORM}-own-message")).to_contain_text("words.png")
    assert shown(page, "yours") == pytest.approx(sorted(score_of(page_shelf, g, 0) for g in (0, 200)), abs=1e-4)
    assert shown(page) == sorted(shown(page))
    canvas = page.locator(".gm-pad-canvas:visible")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator(f"{VIEW} .gm-critic-name")).to_contain_text("your drawing")
    page.click(f"#{FORM}-keep")
    expect(page.locator(".gm-own-chip")).to_have_count(3)
    expect(page.locator(f"#{FORM}-row [data-origin=yours]")).to_have_count(3)
    page.get_by_role("button", name="remove grey 0.png").click()
    expect(page.locator(f"#{FORM}-row [data-origin=yours]")).to_have_count(2)
    fill(page, FORM, n=8, label="7")
    run(page, FORM, "8 generated pictures are judged as 7")
    light = f"#{FORM}-row [aria-label*='grey 200.png']"
    page.wait_for_function(
        f's => Math.abs(document.querySelector("{light}").dataset.score - s) < 1e-4', arg=score_of(page_shelf, 200, 7)
    )


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_entry_of_points_cannot_have_it_and_one_of_colours_can(page, page_shelf):
    opened(page, "sagan-cifar10")
    assert shown(page) == pytest.approx(sorted(generated(page_shelf, 0, 24, 0, "sagan-cifar10")), abs=1e-3)
    go(page, "gan", "sample", "gan-8gaussians")
    tab = page.locator(f"#{FORM}-button")
    expect(tab).to_have_attribute("aria-disabled", "true")
    assert "is for pictures" in tab.get_attribute("title")


@pytest.mark.parametrize(
    ("entry", "settings", "own", "says"),
    [
        ("gan-8gaussians", {}, None, "Critic is for pictures"),
        (ENTRY, {"n": 7}, None, "n is a whole number from 8 to 64"),
        (ENTRY, {"label": "any"}, None, "label is one of 0, 1, 2"),
        (ENTRY, {"tests": 65}, None, "tests is a whole number from 0 to 64"),
        (ENTRY, {}, [{"pixels": "AAAA"}], "28 x 28 pixels"),
        (ENTRY, {}, [{}] * 17, "a list of at most 16"),
        (ENTRY, {}, "seven", "a list of at most 16"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, own, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, own, api_name="/gan_critic")


def test_the_api_judges_pictures_that_are_sent(app_url, page_shelf):
    own = [{"pixels": base64.b64encode(bytes([grey] * 784)).decode()} for grey in (0, 200)]
    found, _ = Client(app_url, verbose=False).predict(ENTRY, {"n": 8, "label": "2"}, own, api_name="/gan_critic")
    assert found["yours"] == pytest.approx([score_of(page_shelf, grey, 2) for grey in (0, 200)], abs=1e-4)
    assert [group["origin"] for group in found["groups"]] == ["generated"]


# ---- without a page -------------------------------------------------------------------------------------------


def test_the_share_is_the_area_under_the_curve():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = torch.Generator().manual_seed(0)
    real, drawn = torch.randint(0, 9, (30,), generator=rng) + 1, torch.randint(0, 9, (20,), generator=rng)  # with ties
    area = sklearn.roc_auc_score([1] * 30 + [0] * 20, torch.cat([real, drawn]).tolist())
    assert critic.share(real.tolist(), drawn.tolist()) == pytest.approx(area)
    assert critic.share([1.0, 2.0], [0.0]) == 1
    assert critic.share([1.0], [1.0]) == 0.5


def test_test_pictures_are_those_of_the_class_and_the_seed(page_shelf, monkeypatch):
    source = FakePictures(picked(page_shelf).space, 60)
    whole = data.in_bytes(source.x)
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    model = zoo.load(ENTRY, page_shelf)

    def asked(seed: int, tests: int = 4) -> Ask:
        return Ask(picked(page_shelf), None, {"seed": seed, "label": "3", "tests": tests, "n": 8}, {}, "")

    group, found = critic._tested(asked(0), model)
    rows = [int(name.removeprefix("no. ")) for name in group["names"]]
    assert (source.label[rows] == 3).all()
    with torch.no_grad():
        wanted = model.criticise(data.in_range(whole[rows]), label=torch.full((4,), 3))
    assert found == pytest.approx(wanted.tolist(), abs=1e-5)
    assert critic._tested(asked(0), model)[1] == found
    assert critic._tested(asked(1), model)[0]["names"] != group["names"]
    assert len(critic._tested(asked(0, 64), model)[1]) == 6, "all there are"


def test_scores_that_are_no_numbers_are_told():
    broken = SimpleNamespace(labels=(), device="cpu", criticise=lambda x, label: x.flatten(1).sum(1) / 0)
    with pytest.raises(BadInput, match="diverged"):
        critic.scores(broken, torch.zeros(2, 1, 4, 4), None)


def test_a_live_call_is_checked(page_shelf):
    score = critic._score(SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked(page_shelf, name))))
    own = [{"pixels": base64.b64encode(bytes(784)).decode()}]
    assert score(None, {"entry": ENTRY, "label": "4", "own": own}) == pytest.approx([score_of(page_shelf, 0, 4)])
    assert score(None, {"entry": ENTRY, "label": "4", "own": []}) == []
    for asked, says in (
        ({"label": "any", "own": own}, "label is one of"),
        ({"label": ["4"], "own": own}, "label is one of"),
        ({"label": "4", "own": own * 17}, "at most 16"),
        ({"label": "4", "own": [{"pixels": "?"}]}, "did not arrive whole"),
        ({"entry": "vae-mnist", "own": own}, "criticises"),
    ):
        with pytest.raises(BadInput, match=says):
            score(None, {"entry": ENTRY} | asked)


def test_a_grey_drawing_fits_a_model_of_colours(page_shelf):
    space = picked(page_shelf, "sagan-cifar10").space
    x = critic.brought([{"pixels": base64.b64encode(bytes([9] * 1024)).decode()}], picked(page_shelf, "sagan-cifar10"))
    assert x.shape == (1, *space.shape)
    assert torch.equal(x[0], pad.received({"pixels": base64.b64encode(bytes([9] * 3072)).decode()}, space))
