"""The Attention panel: the maps are the model's, and pointing at a symbol shows what it looked at."""

from __future__ import annotations

import base64
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from ui_steps import fill, go, run

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.ui.panels import attention
from gen_models.ui.panels.writing import data
from gen_models.ui.visits import Picked

FORM, PLAYS, NAMES = "autoregressive-attention", "transformer-shakespeare", "transformer-names"
VIEW, TEXT = f"#{FORM}-view .gm-attention", f"#{FORM}-shown"


def picked(shelf: zoo.Shelf, name: str = PLAYS) -> Picked:
    return Picked(name, zoo.ZOO[name], shelf)


def look(shelf: zoo.Shelf, text: str, name: str = PLAYS) -> dict:
    tab = SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked(shelf, name)))
    return attention._look(tab)(None, {"entry": name, "text": text})


def true_weights(shelf: zoo.Shelf, text: str, name: str = PLAYS) -> torch.Tensor:
    """(layers, heads, T, T)"""
    x = data.encoded(text, picked(shelf, name).space)
    with torch.no_grad():
        return picked(shelf, name).model().attention(x[None])[0]


def shown(page: Page) -> list[float]:
    """How much the place on screen looks at the start and at each symbol before it."""
    found = page.locator(f"{TEXT} > span").evaluate_all("nodes => nodes.map((node) => node.dataset.weight)")
    return [float(weight) for weight in found if weight]


# ---- in the browser -------------------------------------------------------------------------------------------


def test_pointing_at_a_symbol_shows_what_it_looked_at(page, page_shelf):
    go(page, "autoregressive", "attention", PLAYS)
    fill(page, FORM, text="To be, or not")
    expect(page.locator(f"{TEXT} > span")).to_have_count(15)
    weights = true_weights(page_shelf, "To be, or not")
    page.locator(f"{TEXT} > span").nth(8).hover()
    expect(page.locator(VIEW)).to_have_attribute("data-at", "7")
    assert shown(page) == pytest.approx(weights[0, 0, 7, :8].tolist(), abs=5e-3)
    head = weights.shape[1]
    page.locator(f"{VIEW} .gm-att-thumb").nth(head).click()
    expect(page.locator(VIEW)).to_have_attribute("data-map", "1 mean")
    page.focus(TEXT)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(VIEW)).to_have_attribute("data-at", "2")
    assert shown(page) == pytest.approx(weights[0].mean(0)[2, :3].tolist(), abs=5e-3)
    expect(page.locator(f"#{FORM}-said")).to_contain_text("To write space, it looks most at")


def test_the_text_comes_from_write(page):
    go(page, "autoregressive", "attention", NAMES)
    expect(page.locator(f"#{FORM}-take")).to_be_disabled()
    page.click("#autoregressive-write-button")
    fill(page, "autoregressive-write", prompt="ann", n=2)
    run(page, "autoregressive-write", "2 lines in")
    name = page.locator("#autoregressive-write-view .gm-write-line").first.text_content()
    page.click("#autoregressive-attention-button")
    page.click(f"#{FORM}-take")
    expect(page.locator(TEXT)).to_contain_text(f"start{name}")
    assert page.input_value(f"#{FORM}-text") == name


# ---- without a page -------------------------------------------------------------------------------------------


def test_what_travels_is_the_models_attention(page_shelf):
    answer, weights = look(page_shelf, "ROMEO:\nI"), true_weights(page_shelf, "ROMEO:\nI")
    layers, heads, t, _ = weights.shape
    assert (answer["layers"], answer["heads"], answer["text"]) == (layers, heads, "ROMEO:\nI")
    sent = np.frombuffer(base64.b64decode(answer["weights"]), np.uint8).reshape(layers, heads, -1)
    rows, columns = np.tril_indices(t)
    assert np.abs((sent / 255.0) ** 2 - weights.numpy()[..., rows, columns]).max() < 1 / 250


def test_of_a_long_text_the_end_is_read(page_shelf):
    text = "To be or not. " * 20
    answer = look(page_shelf, text)
    assert answer["text"] == text[-attention.MOST :]
    assert answer["whole"] == len(text)


@pytest.mark.parametrize("name", [PLAYS, NAMES])
def test_with_no_text_the_model_writes_one(page_shelf, name):
    answer = look(page_shelf, "", name)
    n = len(answer["text"]) + 1
    assert answer["whole"] == 0
    assert len(base64.b64decode(answer["weights"])) == answer["layers"] * answer["heads"] * math.comb(n + 1, 2)
    assert look(page_shelf, "", name) == answer


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (NAMES, "a" * 17, "The text has 17 characters; 16 are the most here"),
        (NAMES, "Anna", "Change the text. This model does not know 'A'"),
        (PLAYS, 12, "The text is a text"),
        ("vae-mnist", "a", "needs a model that attends"),
    ],
)
def test_bad_input_is_told_with_what_to_do(page_shelf, name, text, says):
    with pytest.raises(BadInput, match=says):
        look(page_shelf, text, name)
