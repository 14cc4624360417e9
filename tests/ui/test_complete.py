"""The Complete panel: what is above the line stays, what is below is the model's, in many ways."""

from __future__ import annotations

import base64
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from toys import FakePictures
from ui_steps import PATIENCE, as_shown, fill, go, pixels, run

from gen_models import render, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui.panels import complete, raster, reconstruct, sources
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask

FORM, ENTRY, PAD = "autoregressive-complete", "pixelcnn-mnist", "autoregressive-complete-pad"
VIEW = f"#{FORM}-view .gm-complete"
TILES = f"#{FORM}-view .gm-variant canvas"
SPACE = zoo.ZOO[ENTRY].where


def drawn(n: int = 28) -> dict[str, str]:
    """A white bar over the middle column of a 28 x n picture, as the pad sends it."""
    picture = np.zeros((28, n), np.uint8)
    picture[4:24, n // 2] = 255
    return {"kind": "drawn", "pixels": base64.b64encode(picture.tobytes()).decode()}


def asked(shelf: zoo.Shelf, **values) -> Ask:
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], shelf)
    chosen = {"test": None, "rows": 14, "pixels": 0, "n": 3, "seed": 5} | values
    visit = SimpleNamespace(stopped=set(), kept={})
    return Ask(picked, visit, chosen, {"temperature": 1.0}, "")


def finished(ask: Ask, drawing=None) -> torch.Tensor:
    *_, (_, found) = complete._completed(ask, drawing, "cpu")
    return found.x


def stroke(page: Page) -> None:
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator(VIEW)).to_have_attribute("data-name", "your drawing", timeout=PATIENCE)


def opened(page: Page) -> None:
    go(page, "autoregressive", "complete", ENTRY)
    page.wait_for_selector(f"#{FORM}-line", state="attached")
    page.wait_for_selector(".gm-pad-canvas:visible")
    expect(page.locator(f"{VIEW} .gm-wrong")).to_be_visible(timeout=PATIENCE)  # the tests have no data sets


# ---- in the browser -------------------------------------------------------------------------------------------


def test_the_line_decides_what_is_kept_and_the_rest_is_the_models(page, page_shelf):
    opened(page)
    stroke(page)
    page.uncheck(f"#{FORM}-tint")
    fill(page, FORM, n=4, seed=7)
    line = page.locator(f"#{FORM}-line")
    line.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(line).to_have_attribute("aria-valuetext", "12 rows and 3 pixels kept")
    expect(page.locator(f"#{FORM}-view [aria-label='rows kept']")).to_have_value("12")
    run(page, FORM, re.compile(r"4 variants of your drawing in .* seeds 7 to 10"))
    expect(page.locator(VIEW)).to_have_attribute("data-done", "true", timeout=PATIENCE)
    held = page.evaluate(f"() => gm.pads['{PAD}'].value()")
    wanted = finished(asked(page_shelf, rows=12, pixels=3, n=4, seed=7), held)
    model = zoo.load(ENTRY, page_shelf)
    for k in range(4):
        assert (pixels(page, f"{TILES} >> nth={k}") == as_shown(wanted[k], model)).all()
    page.click(".gm-comp-bar :text-is('Reset')")
    expect(page.locator(VIEW)).to_have_attribute("data-shown", "12", timeout=PATIENCE)
    reset = pixels(page, f"{TILES} >> nth=1")
    assert (reset[:12] == as_shown(wanted[1], model)[:12]).all()
    assert len(np.unique(reset[13:].reshape(-1, 3), axis=0)) == 1  # nothing stands there


def test_a_variant_becomes_the_picture_and_undo_takes_it_back(page, page_shelf):
    opened(page)
    stroke(page)
    before = page.evaluate(f"() => gm.pads['{PAD}'].value().pixels")
    fill(page, FORM, n=2)
    run(page, FORM, "2 variants")
    page.click(f"#{FORM}-view .gm-variant >> nth=1")
    expect(page.locator(VIEW)).to_have_attribute("data-name", "variant, seed 1", timeout=PATIENCE)
    now = base64.b64decode(page.evaluate(f"() => gm.pads['{PAD}'].value().pixels"))
    wanted = finished(asked(page_shelf, n=2, seed=0), {"kind": "drawn", "pixels": before})[1]
    assert now == ((wanted + 1) * 127.5).byte().numpy().tobytes()
    page.click(f"#{PAD}-undo")
    expect(page.locator(VIEW)).to_have_attribute("data-name", "your drawing", timeout=PATIENCE)


def test_without_a_picture_the_model_begins_with_nothing_and_with_a_whole_one_there_is_nothing_to_do(page, page_shelf):
    opened(page)
    expect(page.locator(f"{VIEW} .gm-wrong")).to_contain_text(
        "hf download ylecun/mnist --repo-type dataset", timeout=PATIENCE
    )
    expect(page.locator(f"{VIEW} .gm-comp-drag .gm-void")).to_contain_text("the model begins with nothing")
    fill(page, FORM, n=1)
    run(page, FORM, "1 picture from nothing")
    stroke(page)
    page.locator(f"#{FORM}-line").focus()
    page.keyboard.press("End")
    expect(page.locator(f"#{FORM}-run")).to_be_disabled()
    expect(page.locator(f"#{FORM}-form")).to_contain_text("Nothing is left to complete")
    page.keyboard.press("Home")
    expect(page.locator(f"#{FORM}-run")).to_be_enabled()
    box = page.locator(f"{VIEW} .gm-comp-drag").bounding_box()
    page.mouse.click(box["x"] + 4.5 / 28 * box["width"], box["y"] + 9.5 / 28 * box["height"])
    expect(page.locator(VIEW)).to_have_attribute("data-cut", str(9 * 28 + 5), timeout=PATIENCE)


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("entry", "settings", "picture", "says"),
    [
        (ENTRY, {"rows": 28}, drawn(), "Nothing is left to complete"),
        (ENTRY, {"rows": 29}, drawn(), "rows is a whole number from 0 to 28"),
        (ENTRY, {"pixels": 28}, drawn(), "pixels is a whole number from 0 to 27"),
        (ENTRY, {"n": 17}, drawn(), "n is a whole number from 1 to 16"),
        (ENTRY, {"seed": 2**32 - 1}, drawn(), "seed is a whole number"),
        (ENTRY, {"test": -1}, None, "test is a whole number"),
        (ENTRY, {}, drawn(14), "28 x 28 pixels"),
        ("vae-mnist", {"test": None}, None, "does not write pictures pixel by pixel"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, picture, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, picture, api_name="/autoregressive_complete")


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.fixture
def tests_at_hand(monkeypatch) -> torch.Tensor:
    """Twenty test pictures as bytes, in place of the data set."""
    source = FakePictures(SPACE, 20)
    whole = ((source.x + 1) * 127.5).round().byte()
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    return whole


def test_what_is_kept_stays_and_a_variant_is_its_seeds_alone(page_shelf):
    first = raster.given(Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf), drawn(), None).x
    both = finished(asked(page_shelf, pixels=9, n=3), drawn())
    assert torch.equal(both.flatten(1)[:, : 14 * 28 + 9], first.flatten(1)[:, : 14 * 28 + 9].expand(3, -1))
    assert set(both.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(both[0], both[1])
    assert torch.equal(finished(asked(page_shelf, pixels=9, n=1, seed=7), drawn())[0], both[2])


def test_nothing_is_a_sample_and_the_rows_do_not_count(page_shelf):
    *_, last = zoo.sample(zoo.load(ENTRY, page_shelf), 5, 3)
    assert torch.equal(finished(asked(page_shelf, rows=28)), last.x)


def test_a_run_that_is_stopped_keeps_the_rows_that_are_written(page_shelf):
    steps = complete._completed(asked(page_shelf), drawn(), "cpu")
    for _ in range(4):
        frame, found = next(steps)
    assert raster.written(found.x) == 17 * 28
    assert found.sent(frame, 0.1)["written"] == 17 * 28
    assert not found.sent(frame, 0.1)["done"]
    whole = finished(asked(page_shelf), drawn())
    assert torch.equal(found.x[:, :, :17], whole[:, :, :17])


@pytest.mark.parametrize("picture", [None, drawn()])
def test_the_file_holds_what_is_needed_to_make_it_again(page_shelf, tests_at_hand, tmp_path, picture):
    ask = asked(page_shelf, rows=10, pixels=4, test=6)
    ask.visit.file = lambda name: tmp_path / name
    *_, (_, found) = complete._completed(ask, picture, "cpu")
    ask.visit.kept["key"] = found
    recipe = render.recipe_of(complete._png("key", ask.visit))
    assert [recipe[name] for name in ("entry", "seed", "n", "rows", "pixels", "temperature")] == [ENTRY, 5, 3, 10, 4, 1]
    if picture is None:
        assert recipe["test"] == 6
    else:
        bits = np.unpackbits(np.frombuffer(base64.b64decode(recipe["picture"]), np.uint8))[: 28 * 28]
        shown = np.asarray(render.picture(raster.given(ask.picked, picture, 6).x[0], SPACE))
        assert (bits.reshape(28, 28) * 255 == shown).all()
    assert Image.open(complete._png("key", ask.visit)).size[0] > 3 * 28
    with pytest.raises(BadInput, match="Nothing has been completed yet"):
        complete._png("another", ask.visit)


def test_a_test_picture_is_binarised_as_its_likelihood_takes_it(page_shelf, tests_at_hand):
    picked, model = Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf), zoo.load(ENTRY, page_shelf)
    x = raster.given(picked, None, 3).x
    grey = tests_at_hand[3:4].float() / 127.5 - 1
    with torch.no_grad():
        told = model.log_prob(grey, Noise([0]))
        assert model.log_probs(x).sum().item() == pytest.approx(told.item(), rel=1e-5)
    with pytest.raises(BadInput, match="test is a whole number from 0 to 19"):
        raster.given(picked, None, 20)
