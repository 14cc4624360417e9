"""The Layers panel: every station on screen is the model's, both ways, and what went to the noise comes back."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image, ImageColor
from playwright.sync_api import Page, expect
from torch.testing import assert_close
from toys import FakePictures
from ui_steps import as_shown, fill, go, pixels, run

from gen_models import data, metrics, zoo
from gen_models.interface import BadInput, Transforms
from gen_models.models.vae import VAE
from gen_models.noise import Noise
from gen_models.ui.panels import layers, reconstruct, sources
from gen_models.ui.visits import Picked

FORM, POINTS, PICTURES = "flow-layers", "flow-8gaussians", "glow-mnist"
VIEW = f"#{FORM}-view .gm-player"


def followed(page: Page, entry: str, **values) -> None:
    go(page, "flow", "layers", entry)
    fill(page, FORM, **values)
    run(page, FORM, " layers in ")


def at_layer(page: Page, k: float) -> None:
    slider = page.locator(f"#{FORM}-view .gm-range")
    slider.evaluate("(node, k) => { node.value = k; node.dispatchEvent(new Event('input')); }", k)
    expect(page.locator(VIEW)).to_have_attribute("data-at", str(k))


def asked(shelf: zoo.Shelf, name: str, **values) -> SimpleNamespace:
    picked = Picked(name, zoo.ZOO[name], shelf)
    return SimpleNamespace(picked=picked, visit=SimpleNamespace(kept={}), seed=3, label=None, options={}, values=values)


def through(ask: SimpleNamespace) -> layers.Through:
    made = layers._begun(ask)
    assert list(layers._followed(made, ask, "cpu"))
    return made


# ---- in the browser -------------------------------------------------------------------------------------------


def test_points_stand_where_the_layers_put_them_in_the_colour_of_their_angle(page, page_shelf):
    followed(page, POINTS, n=100, seed=3)
    model = zoo.load(POINTS, page_shelf)
    page.click(f"{VIEW} .gm-toggle")  # without the mesh
    stations = list(model.path(Noise(range(3, 103)).normal(2)))
    angle = torch.atan2(stations[0][:, 1], stations[0][:, 0])
    for k in (0, len(stations) - 1):
        at_layer(page, k)
        shown = pixels(page, f"{VIEW} canvas >> nth=0").astype(int)
        places = ((stations[k].detach() * torch.tensor([1.0, -1.0]) / 4.5 + 1) * len(shown) / 2).round().int()
        alone = (torch.cdist(stations[k], stations[k]) + 9 * torch.eye(100)).amin(1) > 0.25
        inside = ((places > 4) & (places < len(shown) - 4)).all(1) & alone
        assert inside.sum() > 3
        for (x, y), turn in zip(places[inside].tolist(), angle[inside].tolist(), strict=True):
            sector = round(turn / (2 * np.pi) * len(layers.WHEEL)) % len(layers.WHEEL)
            assert abs(shown[y, x] - np.array(ImageColor.getrgb(layers.WHEEL[sector]))).max() < 40


def test_pictures_are_a_film_of_the_stations(page, page_shelf):
    followed(page, PICTURES, n=4, seed=3)
    model = zoo.load(PICTURES, page_shelf)
    *_, last = zoo.sample(model, 3, 4)
    player = page.locator(f"#{FORM}-view .gm-player")
    page.locator("body").press("End")
    expect(player).to_have_attribute("data-step", str(last.total))
    box = page.locator(f"#{FORM}-view .gm-track >> nth=0 >> .gm-cell >> nth=2")
    x, y, w, h = box.evaluate("b => [b.offsetLeft, b.offsetTop, b.offsetWidth, b.offsetHeight]")
    shown = pixels(page, f"#{FORM}-view .gm-track >> nth=0 >> canvas")[..., 0]
    rows, columns = (at + ((np.arange(28) + 0.5) * size / 28).astype(int) for at, size in ((y, h), (x, w)))
    assert abs(shown[rows][:, columns].astype(int) - as_shown(last.x[2], model)[..., 0]).max() <= 1
    expect(page.locator(f"#{FORM}-view .gm-track >> nth=1 >> .gm-void")).to_contain_text("No held-out data")


def test_play_step_reset_and_the_file(page):
    followed(page, POINTS, n=100)
    button = lambda name: page.locator(f"#{FORM}-view .gm-to-{name}")  # noqa: E731
    texts = page.locator(f"#{FORM}-view .gm-bar .gm-button").all_inner_texts()
    assert texts[:4] == ["Play", "Pause", "Step", "Reset"]
    button("reset").click()
    expect(page.locator(VIEW)).to_have_attribute("data-at", "0")
    button("step").click()
    expect(page.locator(VIEW)).to_have_attribute("data-at", "1")
    page.locator("body").press("ArrowLeft")
    expect(page.locator(VIEW)).to_have_attribute("data-at", "0")
    page.locator("body").press("End")
    expect(button("step")).to_be_disabled()
    button("play").click()
    expect(button("pause")).to_be_enabled()
    button("pause").click()
    with page.expect_download() as download:
        page.click(f"#{FORM}-view .gm-save")
    film = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert film.n_frames > 4
    assert film.width > 2 * film.height


def test_a_narrow_page_has_no_sideways_scroll_and_a_run_outlives_a_change_of_tab(open_page):
    page = open_page(390, 844)
    followed(page, POINTS, n=100)
    at_layer(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#flow-sample-button")
    page.click("#flow-layers-button")
    expect(page.locator(VIEW)).to_have_attribute("data-at", "1")


def test_the_api_refuses_what_the_page_would(app_url):
    with pytest.raises(AppError, match="n is a whole number from 100 to 2000"):
        Client(app_url, verbose=False).predict(POINTS, {"n": 5}, api_name="/flow_layers")


# ---- without a page -------------------------------------------------------------------------------------------


def test_both_ways_hold_the_models_stations_and_data_comes_back(page_shelf):
    ask = asked(page_shelf, POINTS, n=120)
    made, model = through(ask), zoo.load(POINTS, page_shelf)
    z = Noise(range(3, 123)).normal(2)
    x = data.load("8gaussians").split("test").x[:120]
    for way, path in ((made.forth, model.path(z)), (made.back, model.path_back(x))):
        stations = list(path)
        assert len(way.stations) == len(stations) == made.total + 1
        for mine, wanted in zip(way.stations, stations, strict=True):
            assert_close(mine, wanted.detach(), rtol=1e-4, atol=1e-4)
    assert_close(made.back.noise, model.encode(x).detach(), rtol=1e-4, atol=1e-4)
    assert made.error < 1e-3
    assert_close(made.forth.mesh[0], layers.mesh(layers.REACH))
    middle = made.forth.mesh[0].view(-1, 2)[:5]
    *_, bent = model.path(middle)
    assert_close(made.forth.mesh[-1][:5], bent.detach(), rtol=1e-4, atol=1e-4)


def test_pictures_of_bytes_are_spread_over_their_levels_before_they_are_encoded(page_shelf, monkeypatch):
    source = FakePictures(data.space_of("mnist"), 30)
    whole = ((source.x + 1) * 127.5).round().to(torch.uint8)
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    made = through(asked(page_shelf, PICTURES, n=5))
    away = (made.back.stations[0] - data.in_range(whole[:5])).abs() * metrics.LEVELS
    assert 0.4 < away.max() <= 0.501
    assert made.error < 0.01
    film = layers.sent(made)["film"]
    assert [bool(track.get("sheet")) for track in film["tracks"]] == [True, True]
    assert film["steps"] == list(range(made.total + 1))


def test_a_run_that_was_stopped_says_so(page_shelf):
    made = layers._begun(asked(page_shelf, POINTS, n=100))
    steps: Iterator[str] = layers._followed(made, asked(page_shelf, POINTS, n=100), "cpu")
    next(steps)
    next(steps)
    made.stopped = True
    assert made.total == 1
    assert "stopped after layer 1" in layers._done(made, 0.1)
    sent = layers.sent(made)
    assert [way["stations"] for way in sent["ways"]] == [2, 0]
    assert "Stopped" in sent["ways"][1]["empty"]
    assert len(base64.b64decode(sent["ways"][0]["points"])) == 2 * 100 * 2 * 2


def test_only_models_that_can_be_undone_have_it(page_shelf):
    class Undone(VAE, Transforms):
        path = path_back = None

    assert layers.PANEL.suits(Undone, "points")
    assert "needs a model that transforms" in layers.PANEL.refusal(VAE, "points")
    assert "Layers is for points and pictures" in layers.PANEL.refusal(Undone, "text")
    ask = SimpleNamespace(picked=Picked("vae-8gaussians", zoo.ZOO["vae-8gaussians"], page_shelf))
    with pytest.raises(BadInput, match="no layers that can be undone"):
        layers._begun(ask)


@pytest.mark.parametrize(("value", "says"), [(3.2e-6, "3·10⁻⁶"), (0.04, "4·10⁻²"), (0.0, "0")])
def test_small_numbers_read_as_powers_of_ten(value, says):
    assert layers._small(value) == says


def test_the_wheel_has_colours_that_differ_in_lightness_too():
    grey = np.array([np.array(ImageColor.getrgb(c)) @ [0.299, 0.587, 0.114] for c in layers.WHEEL])
    assert len(set(layers.WHEEL)) == len(layers.WHEEL)
    assert grey[len(grey) // 4] - grey[3 * len(grey) // 4] > 40  # up against down
