"""The Predict panel: the bars are the model's, another choice changes what follows, the same choice changes nothing."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, as_shown, go, pixels

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui.panels import predict, raster
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask

FORM, ENTRY = "autoregressive-predict", "pixelcnn-mnist"
VIEW = f"#{FORM}-view .gm-predict"
CANVAS = f"#{FORM}-picture canvas"
PIXELS = 28 * 28


def asked(shelf: zoo.Shelf, seed: int = 0, temperature: float = 1.0, **values) -> Ask:
    chosen = {"source": "sample", "test": 0, "seed": seed} | values
    return Ask(Picked(ENTRY, zoo.ZOO[ENTRY], shelf), None, chosen, {"temperature": temperature}, "")


def calls(shelf: zoo.Shelf):
    """The live calls look, go and sight of the shelf's entry."""
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], shelf)

    def checked(visit, entry, settings):
        return asked(shelf, **(settings or {}))

    form, tab = (
        SimpleNamespace(asked=checked),
        SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked)),
    )
    return predict._look(form), predict._go(form), predict._sight(tab)


def sampled(shelf: zoo.Shelf, seed: int = 0) -> torch.Tensor:
    *_, last = zoo.sample(zoo.load(ENTRY, shelf), seed, 1)
    return last.x


def idle(page: Page, **attributes: object) -> None:
    """Waits until nothing is being written and the panel stands so; what is drawn first may be of the click before."""
    for name, value in [*reversed(attributes.items()), ("busy", "false"), *attributes.items()]:
        expect(page.locator(VIEW)).to_have_attribute(f"data-{name}", str(value), timeout=PATIENCE)


def opened(page: Page) -> None:
    go(page, "autoregressive", "predict", ENTRY)
    page.wait_for_selector(VIEW)
    idle(page, written=PIXELS)


def look_at(page: Page, pixel: int) -> None:
    page.fill(f"#{FORM}-pixel", str(pixel + 1))
    page.press(f"#{FORM}-pixel", "Enter")
    idle(page, at=pixel)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_another_value_changes_what_follows_and_the_first_one_brings_it_back(page, page_shelf):
    model, first = zoo.load(ENTRY, page_shelf), sampled(page_shelf)
    opened(page)
    page.uncheck(f"#{FORM}-sight")
    assert (pixels(page, CANVAS) == as_shown(first[0], model)).all()
    look_at(page, 300)
    with torch.no_grad():
        p = model.next_distribution((first.flatten(1)[:, :300] > 0).long())[0].exp()
    assert float(page.get_attribute(VIEW, "data-white")) == pytest.approx(p[1].item(), abs=2e-5)
    expect(page.locator(f"#{FORM}-white b")).to_have_text(f"{p[1]:.3f}")
    here = int(first.flatten()[300] > 0)
    names = ("black", "white")
    expect(page.locator(f"#{FORM}-{names[here]}")).to_have_attribute("aria-pressed", "true")
    page.click(f"#{FORM}-{names[1 - here]}")
    idle(page, written=PIXELS, undo=1)
    other = first.clone()
    other.view(-1)[300] *= -1
    *_, last = raster.frames(model, other, 301, Noise([0]), None, {"temperature": 1.0})
    other = last.x
    changed = pixels(page, CANVAS)
    assert (changed == as_shown(other[0], model)).all()
    assert not (changed == as_shown(first[0], model)).all()
    page.click(f"#{FORM}-{names[here]}")  # the same draws for every other pixel
    idle(page, written=PIXELS, undo=2)
    assert (pixels(page, CANVAS) == as_shown(first[0], model)).all()
    page.click(f"#{FORM}-undo")
    idle(page, written=PIXELS, undo=1)
    assert (pixels(page, CANVAS) == changed).all()


def test_pixel_by_pixel_and_row_by_row_it_is_the_same_picture(page, page_shelf):
    model, first = zoo.load(ENTRY, page_shelf), sampled(page_shelf)
    opened(page)
    page.uncheck(f"#{FORM}-sight")
    look_at(page, 200)
    page.click(f"#{FORM}-rub")
    idle(page, written=200, at=200)
    for button, stands in (
        ("step-pixel", 201),
        ("step-pixel", 202),
        ("back", 201),
        ("step-row", 224),
        ("step-row", 252),
    ):
        page.click(f"#{FORM}-{button}")
        idle(page, written=stands, at=stands)
    page.click(f"#{FORM}-continue")
    idle(page, written=PIXELS)
    assert (pixels(page, CANVAS) == as_shown(first[0], model)).all()
    with torch.no_grad():
        total = -model.log_probs(first).sum().item()
    assert float(page.get_attribute(VIEW, "data-sum")) == pytest.approx(total, rel=1e-4)
    page.focus(f"#{FORM}-picture")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    idle(page, at=29)
    page.fill(f"#{FORM}-pixel", "785")
    expect(page.locator(f"{VIEW} .gm-wrong")).to_have_text("Pixels are numbered 1 to 784.", timeout=PATIENCE)


def test_what_a_pixel_cannot_see_is_dimmed(page, page_shelf):
    model, first = zoo.load(ENTRY, page_shelf), sampled(page_shelf)
    opened(page)
    look_at(page, 400)
    seen = model.receptive_field(400)
    expect(page.locator(f"{VIEW} .gm-pred-under")).to_contain_text(
        f"{int(seen.sum())} of the 400 pixels before it", timeout=PATIENCE
    )
    shown, plain = pixels(page, CANVAS), as_shown(first[0], model)
    seen.view(-1)[400] = True
    assert ((shown == plain).all(-1) == seen.numpy()).all()
    page.check(f"#{FORM}-heat")
    expect(page.locator(f"{VIEW} .gm-pred-scale")).to_be_visible()


def test_a_narrow_page_has_no_sideways_scroll_and_missing_data_is_told(open_page):
    page = open_page(390, 844)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.select_option(f"#{FORM}-source", label="a test picture")
    expect(page.locator(f"{VIEW} .gm-wrong")).to_contain_text(
        "hf download ylecun/mnist --repo-type dataset", timeout=PATIENCE
    )


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("until", "stands"), [(PIXELS, 11 * 28), (304, 304), (300, 300)])
def test_a_call_ends_its_row_and_never_goes_too_far(page_shelf, until, stands):
    first = sampled(page_shelf)
    x, count = predict.onward(zoo.load(ENTRY, page_shelf), asked(page_shelf), first, 300, until, budget=0)
    assert count == stands
    assert torch.equal(x.flatten()[:count], first.flatten()[:count])
    assert not x.flatten()[count:].any()


def test_in_many_calls_it_is_the_sample(page_shelf, monkeypatch):
    monkeypatch.setattr(predict.onward, "__defaults__", (0.0,))
    look, onward, _ = calls(page_shelf)
    found = look(None, {"settings": {"seed": 3}})
    assert found["written"] == 0
    for row in range(28):
        assert found["written"] == 28 * row
        so_far = {name: found[name] for name in ("pixels", "written")}
        found = onward(None, {"settings": {"seed": 3}, "until": PIXELS, **so_far})
    bytes_ = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    assert (bytes_ == (sampled(page_shelf, 3).flatten().numpy() > 0) * 255).all()


def test_the_nats_are_those_of_the_next_pixel_for_every_prefix(page_shelf):
    model, first = zoo.load(ENTRY, page_shelf), sampled(page_shelf)
    _, onward, _ = calls(page_shelf)
    for count in (0, 1, 399, PIXELS - 1):
        found = onward(None, {"pixels": raster.coded(first), "written": count, "until": count})
        nats = np.frombuffer(base64.b64decode(found["nats"]), "<f4")
        with torch.no_grad():
            p = model.next_distribution((first.flatten(1)[:, :count] > 0).long())[0]
        assert nats[count] == pytest.approx(-p[0].item(), rel=1e-4, abs=1e-6)  # black, where none stands yet


def test_a_row_sees_what_the_model_says(page_shelf):
    model = zoo.load(ENTRY, page_shelf)
    found = calls(page_shelf)[2](None, {"entry": ENTRY, "row": 9})
    for column in (0, 13, 27):
        bits = np.unpackbits(np.frombuffer(base64.b64decode(found["seen"][column]), np.uint8))[:PIXELS]
        assert (bits.reshape(28, 28) == model.receptive_field(9 * 28 + column).numpy()).all()


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"written": 785}, "written is a whole number from 0 to 784"),
        ({"written": 400, "until": 399}, "until is a whole number from 400 to 784"),
        ({"pixels": "AAAA", "written": 0, "until": 0}, "28 x 28 pixels"),
        ({"pixels": "?", "written": 0, "until": 0}, "28 x 28 pixels"),
        ({"pixels": base64.b64encode(bytes([7] * PIXELS)).decode(), "written": 1, "until": 1}, "black .0. or white"),
    ],
)
def test_what_does_not_fit_is_refused(page_shelf, sent, says):
    look, onward, sight = calls(page_shelf)
    with pytest.raises(BadInput, match=says):
        onward(None, {"until": PIXELS, **sent})
    with pytest.raises(BadInput, match="row is a whole number from 0 to 27"):
        sight(None, {"entry": ENTRY, "row": 28})
    with pytest.raises(BadInput, match="Draw something first"):
        look(None, {"settings": {"source": "drawing"}, "drawn": "seven"})
