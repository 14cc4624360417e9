"""The Reconstruct panel and the drawing pad in a real browser: drawn, uploaded and test pictures."""

from __future__ import annotations

import io
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect
from toys import FakePictures
from ui_steps import go, pixels

from gen_models import data, render, zoo
from gen_models.interface import BadInput, Space
from gen_models.ui import pad
from gen_models.ui.panels import reconstruct, sources
from gen_models.ui.visits import Picked

VIEW, PAD = "#vae-reconstruct-view", "vae-reconstruct-pad"


@pytest.fixture
def panel(page) -> Page:
    go(page, "vae", "reconstruct", "vae-mnist")
    page.wait_for_selector(".gm-pad-canvas:visible")
    return page


def draw(page: Page, *strokes: list[tuple[float, float]]) -> None:
    """Strokes over the pad; 0 .. 1 from left to right and from top to bottom."""
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=4)
        page.mouse.up()
    page.wait_for_timeout(150)


def given(page: Page) -> np.ndarray | None:
    """What the pad gives, as bytes (H, W) or (H, W, 3)."""
    value = page.evaluate(f"() => gm.pads['{PAD}'].value()")
    return None if value is None else np.frombuffer(pad._bytes(value["pixels"]), np.uint8).reshape(28, 28, -1)


def upload(page: Page, name: str, content: bytes) -> None:
    page.set_input_files(f"#{PAD}-file", {"name": name, "mimeType": "image/png", "buffer": content})


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


CIRCLE = [(0.25 + 0.1 * math.cos(k / 4), 0.3 + 0.18 * math.sin(k / 4)) for k in range(27)]


def test_a_drawing_is_centred_and_scaled_like_the_digits(panel):
    draw(panel, CIRCLE)  # small and in a corner
    x = given(panel)[..., 0].astype(float)
    rows, _ = np.nonzero(x > 40)
    assert 18 <= rows.max() - rows.min() + 1 <= 21  # the longer side fills 20 of 28 pixels
    y_mean, x_mean = (x.sum(axis) @ (np.arange(28) + 0.5) / x.sum() for axis in (1, 0))
    assert abs(y_mean - 14) < 0.5
    assert abs(x_mean - 14) < 0.5
    assert x.max() == 255


def test_the_drawing_is_reconstructed_while_it_is_drawn(panel, page_shelf):
    draw(panel, CIRCLE)
    expect(panel.locator(f"{VIEW} .gm-reconstruct")).to_have_attribute("data-shown", "your drawing")
    panel.wait_for_timeout(400)
    model = zoo.load("vae-mnist", page_shelf)
    x = data.picture(given(panel), model.space)[None]
    y = model.reconstruct(x)
    shown = {name: pixels(panel, f"{VIEW}-{name}") for name in ("picture", "reconstruction", "difference")}
    np.testing.assert_array_equal(shown["picture"][..., 0], given(panel)[..., 0])
    wanted = np.asarray(render.picture(y[0], model.space).convert("RGB"))
    assert abs(shown["reconstruction"].astype(int) - wanted).max() <= 1
    wanted = np.asarray(render.difference(x[0], y[0], model.space).convert("RGB"))
    assert abs(shown["difference"].astype(int) - wanted).max() <= 2
    numbers = panel.locator(f"{VIEW}-numbers").inner_text()
    error = float(re.search(r"pixels 0 to 1\s+([\d.e-]+)", numbers).group(1))
    assert error == pytest.approx(float(((x - y) / 2).square().mean()), rel=0.01)
    assert all(name in numbers for name in ("negative ELBO", "reconstruction", "KL", "nats"))


def test_undo_clear_and_leaving_the_tab(panel):
    draw(panel, CIRCLE)
    one = given(panel)
    draw(panel, [(0.2, 0.8), (0.8, 0.8)])
    assert (given(panel) != one).any()
    panel.click(f"#{PAD}-undo")
    panel.wait_for_timeout(100)
    np.testing.assert_array_equal(given(panel), one)
    panel.click(f"#{PAD}-clear")
    panel.wait_for_timeout(100)
    assert given(panel) is None
    panel.click(f"#{PAD}-undo")
    panel.click("#vae-sample-button")
    panel.click("#vae-reconstruct-button")
    panel.wait_for_selector(".gm-pad-canvas:visible")
    np.testing.assert_array_equal(given(panel), one)


def test_the_pad_takes_a_finger(browser, app_url):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(app_url)
    go(page, "vae", "reconstruct", "vae-mnist")
    canvas = page.locator(".gm-pad-canvas:visible")
    assert canvas.evaluate("node => getComputedStyle(node).touchAction") == "none"
    box = canvas.bounding_box()
    finger = context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.3), ("touchMove", 0.5), ("touchMove", 0.7)):
        at = [{"x": box["x"] + share * box["width"], "y": box["y"] + share * box["height"]}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)
    assert given(page)[..., 0].max() == 255
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_an_uploaded_picture_is_fitted_and_a_bad_one_leaves_it_in_place(panel):
    upload(panel, "half.png", png((60, 40), (200, 200, 200)))
    expect(panel.locator(f"{VIEW} .gm-reconstruct")).to_have_attribute("data-shown", "half.png")
    assert given(panel).shape == (28, 28, 3)
    assert abs(given(panel).astype(int) - 200).max() <= 1
    message = panel.locator(f"#{PAD}-message")
    cut = png((90, 90), (9, 9, 9))[:60]
    bad = {"text.png": (b"words", "text.png: not a picture"), "cut.png": (cut, "cut.png"), "none.png": (b"", "empty")}
    for name, (content, says) in bad.items():
        upload(panel, name, content)
        expect(message).to_contain_text(says)
        assert abs(given(panel).astype(int) - 200).max() <= 1
    panel.click(f"#{PAD}-invert")
    panel.wait_for_timeout(100)
    assert abs(given(panel).astype(int) - 55).max() <= 1
    expect(message).to_be_hidden()


def test_a_pasted_and_a_dropped_picture_arrive(panel):
    for event, holder, colour in (("paste", "clipboardData", 60), ("drop", "dataTransfer", 180)):
        panel.evaluate(
            """async ([kind, holder, bytes]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], kind + ".png", {type: "image/png"}));
              const target = [...document.querySelectorAll(".gm-pad")].find((node) => node.offsetParent);
              const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
              target.dispatchEvent(new Kind(kind, {[holder]: transfer, bubbles: true, cancelable: true}));
            }""",
            [event, holder, list(png((30, 30), (colour,) * 3))],
        )
        expect(panel.locator(f"{VIEW} .gm-reconstruct")).to_have_attribute("data-shown", f"{event}.png")
        assert abs(given(panel).astype(int) - colour).max() <= 1


def test_without_the_data_set_it_says_how_to_get_it_and_drawing_works(panel):
    expect(panel.locator(f"{VIEW}-tests-message")).to_contain_text("hf download ylecun/mnist --repo-type dataset")
    expect(panel.locator(f"{VIEW}-tests-message")).to_contain_text("Drawing and uploading work all the same")
    draw(panel, CIRCLE)
    expect(panel.locator(f"{VIEW} .gm-reconstruct")).to_have_attribute("data-shown", "your drawing")


# ---- test pictures, without a data set on this machine ---------------------------------------------------------------


def test_the_row_goes_round_by_index_class_and_chance():
    labels = torch.arange(30) % 3
    names = ("a", "b", "c")
    assert reconstruct._chosen({"index": 26}, 30, labels, names).tolist() == [26, 27, 28, 29, 0, 1, 2, 3]
    assert reconstruct._chosen({"index": 5, "label": "b"}, 30, labels, names).tolist() == [
        7,
        10,
        13,
        16,
        19,
        22,
        25,
        28,
    ]
    some = reconstruct._chosen({"random": True, "label": "c"}, 30, labels, names)
    assert len(set(some.tolist())) == reconstruct.ROW
    assert (labels[some] == 2).all()
    with pytest.raises(BadInput, match="index is a whole number from 0 to 29"):
        reconstruct._chosen({"index": 30}, 30, labels, names)
    with pytest.raises(BadInput, match="no class 'd'"):
        reconstruct._chosen({"label": "d"}, 30, labels, names)


def test_test_pictures_come_with_their_reconstructions_and_errors(page_shelf, monkeypatch):
    picked = Picked("vae-mnist", zoo.ZOO["vae-mnist"], page_shelf)
    source = FakePictures(picked.space, 30)
    whole = ((source.x + 1) * 127.5).round().to(torch.uint8)
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    tab = SimpleNamespace(device="cpu", visits=SimpleNamespace(picked=lambda name, visit: picked))
    answer = reconstruct._tests(tab)(None, {"entry": "vae-mnist", "index": 3})
    assert [item["index"] for item in answer["items"]] == list(range(3, 11))
    assert [item["label"] for item in answer["items"]] == [str(k % 10) for k in range(3, 11)]
    assert answer["total"] == 30
    x = whole[5:6].float() / 127.5 - 1
    y = picked.model().reconstruct(x)
    assert answer["items"][2]["error"] == pytest.approx(float(((x - y) / 2).square().mean()), rel=1e-4)
    large = reconstruct._look(tab)(None, {"entry": "vae-mnist", "test": 5})
    assert large["error"] == pytest.approx(answer["items"][2]["error"], rel=1e-4)
    assert large["terms"]["negative ELBO"] == pytest.approx(
        large["terms"]["reconstruction"] + large["terms"]["KL"], rel=1e-4
    )
    assert large["picture"] == answer["items"][2]["picture"]
    with pytest.raises(BadInput, match="from 0 to 29"):
        reconstruct._look(tab)(None, {"entry": "vae-mnist", "test": 30})


@pytest.mark.parametrize(
    "value", [None, {}, {"pixels": "####"}, {"pixels": "AAAA"}, {"pixels": 5}, {"pixels": "A" * (pad.LONGEST + 1)}]
)
def test_what_is_no_drawing_is_refused(value):
    with pytest.raises(BadInput):
        pad.received(value, Space("image", (1, 28, 28)))
