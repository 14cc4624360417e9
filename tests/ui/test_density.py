"""The Density panel: what stands on screen is the model's own log-density, beside the true one and what it costs."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image, ImageColor
from playwright.sync_api import Page, expect
from torch.testing import assert_close
from toys import put_on_shelf, small
from ui_steps import fill, go, pixels, run

from gen_models import data, render, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui.panels import density, sources
from gen_models.ui.visits import Picked

FORM, ENTRY, DRAWS = "vae-density", "vae-8gaussians", 3
VIEW = f"#{FORM}-view .gm-density"


def drawn(page: Page, **values) -> None:
    go(page, "vae", "density", ENTRY)
    page.locator(f"#{FORM}-form summary").click()
    fill(page, FORM, draws=DRAWS, **values)
    run(page, FORM, "81 × 81 places in")


def asked(shelf: zoo.Shelf, name: str, **values) -> SimpleNamespace:
    picked = Picked(name, zoo.ZOO[name], shelf)
    return SimpleNamespace(picked=picked, visit=SimpleNamespace(kept={}), values=values)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_the_picture_the_cross_hair_and_the_figures_are_the_models(page, page_shelf):
    drawn(page, n=300)
    model, truth = zoo.load(ENTRY, page_shelf), data.load("8gaussians")
    box = page.locator(f"{VIEW} .gm-density-box").first.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"])
    told = page.locator(f"{VIEW} .gm-density-told")
    expect(told).to_have_attribute("data-sure", "true")
    x, y, mine, true = (float(v.replace("−", "-")) for v in re.findall(r"−?\d+\.\d+", told.inner_text())[:4])
    place = torch.tensor([[x, y]])
    assert abs(x - 0.9) < 0.1
    assert abs(y - 1.8) < 0.1
    assert mine == pytest.approx(float(density.log_prob(model, place, DRAWS)), abs=0.15)  # the place itself is rounded
    assert true == pytest.approx(float(truth.log_prob(place)), abs=0.15)
    held = truth.split("test").x[:300]
    costs = -density.log_prob(model, held, DRAWS, range(300)).double()
    gap = truth.log_prob(held).double() + costs
    words = page.locator(f"{VIEW} .gm-density-numbers").inner_text().replace("−", "-").replace("+", "")
    assert f"≤ {float(costs.mean()):.3f}" in words
    assert f"{float(gap.mean()):.3f}" in words
    assert f"± {float(gap.std() / math.sqrt(300)):.3f}" in words
    assert "not for a bound" in words


def test_model_and_truth_have_their_colours_and_a_third_view_their_difference(page):
    go(page, "vae", "density", ENTRY)
    expect(page.locator(VIEW)).to_have_attribute("data-truth", "density")
    expect(page.locator(f"{VIEW} .gm-density-before").first).to_be_visible()  # samples, until the density is drawn
    expect(page.locator(f"{VIEW} .gm-button", has_text="PNG")).to_be_disabled()
    fill(page, FORM, draws=DRAWS)
    run(page, FORM, "81 × 81 places in")
    for k, name in enumerate(("generated", "real")):
        shown = pixels(page, f"{VIEW} canvas >> nth={k}").reshape(-1, 3).astype(int)
        colour = np.array(ImageColor.getrgb(render.COLOURS["light"][name]))
        assert (abs(shown - colour).sum(1) < 60).any()
    page.click(f"{VIEW} .gm-toggle")
    expect(page.locator(f"{VIEW} canvas")).to_have_count(3)
    expect(page.locator(f"{VIEW} canvas").nth(2)).to_have_attribute("aria-label", re.compile("difference"))


def test_the_file_holds_both_pictures_and_the_recipe(page, page_shelf):
    drawn(page, n=200)
    with page.expect_download() as download:
        page.locator(f"{VIEW} .gm-button", has_text="PNG").click()
    image = Image.open(io.BytesIO(download.value.path().read_bytes()))
    recipe = render.recipe_of(image)
    assert (recipe["entry"], recipe["n"], recipe["resolution"]) == (ENTRY, 200, 81)
    assert image.width > 1.7 * image.height


def test_stop_keeps_what_is_known(page):
    go(page, "vae", "density", ENTRY)
    fill(page, FORM, draws=1000)
    page.click(f"#{FORM}-run")
    expect(page.locator(f"#{FORM}-message")).to_contain_text("left")
    page.locator("body").press("Escape")
    expect(page.locator(f"#{FORM}-message")).to_contain_text(re.compile(r"stopped at \d+%"))
    view = page.locator(VIEW)
    assert 0 < float(view.get_attribute("data-share")) < 1
    expect(view.locator(".gm-button", has_text="PNG")).to_be_enabled()


def test_a_narrow_page_has_no_sideways_scroll_and_a_density_outlives_a_change_of_tab(open_page):
    page = open_page(390, 844)
    drawn(page, n=100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#vae-sample-button")
    page.click("#vae-density-button")
    expect(page.locator(VIEW)).to_have_attribute("data-share", "1")


@pytest.mark.parametrize(
    ("entry", "settings", "says"),
    [
        ("vae-8gaussians", {"draws": 0}, "draws is a whole number from 1 to 1000"),
        ("vae-8gaussians", {"n": 5}, "n is a whole number from 100 to 20000"),
        ("vae-mnist", {}, "no density over the plane"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, api_name="/vae_density")


# ---- without a page -------------------------------------------------------------------------------------------


def test_every_node_is_computed_once_and_coarse_grids_lie_in_fine_ones():
    order, places = density.passes(), density.nodes()
    assert torch.cat(order).sort().values.tolist() == list(range(density.SIDE**2))
    assert [len(part) for part in order] == [21**2, 41**2 - 21**2, 81**2 - 41**2]
    assert_close(places[0], torch.tensor([-4.5, 4.5]))  # from the left, from the top
    assert_close(density.between(places @ torch.tensor([2.0, -3.0]), 4), places @ torch.tensor([2.0, -3.0]))


@pytest.mark.parametrize("name", [name for name in data.NAMES if data.space_of(name).kind == "points"])
def test_the_true_densities_sum_to_one(name):
    assert density.mass(density.truth(name)) == pytest.approx(1, abs=0.01 if name == "checkerboard" else 1e-4)


def test_a_finished_surface_holds_the_models_own_values(page_shelf):
    *_, surface = density._refined(asked(page_shelf, ENTRY, n=150, draws=DRAWS), "cpu")
    model = zoo.load(ENTRY, page_shelf)
    assert (surface.done, surface.side) == (surface.total, 81)
    some = slice(0, None, 97)
    wanted = density.log_prob(model, density.nodes()[some], DRAWS)
    assert_close(surface.values[some], wanted, rtol=1e-4, atol=1e-3)
    held = data.load("8gaussians").split("test").x[:150]
    wanted = -model.log_prob(held, Noise(range(150)), samples=DRAWS)
    assert_close(surface.held[0], wanted.detach().double(), rtol=1e-4, atol=1e-3)
    found = surface.figures()
    assert found["gap"][0] == pytest.approx(found["nll"][0] - found["truth"][0])


def test_the_pass_that_is_under_way_leaves_the_coarse_one_visible(page_shelf):
    for surface in density._refined(asked(page_shelf, ENTRY, n=100, draws=1), "cpu"):
        known = surface.values.isnan().logical_not()
        assert known.all() if surface.side else not known.all()
        assert surface.sent()["mass"] is None  # a bound's values are estimates: their sum says nothing


def test_what_travels_is_told_apart_from_what_is_not_known():
    values = torch.tensor([math.nan, -2.5, -1e9, 0.004])
    whole = np.frombuffer(base64.b64decode(density._coded(values)), "<i2")
    assert whole.tolist() == [-32768, -1250, round(density.LOWEST * density.UNIT), 2]
    assert density.top(torch.tensor([-1.84, -9.0])) == -1


def test_points_without_a_true_density_stand_there_themselves(tmp_path):
    entry = dataclasses.replace(small(zoo.ZOO["vae-8gaussians"]), data=None, space=data.space_of("8gaussians"))
    put_on_shelf(tmp_path / "mine", entry)
    picked = Picked("mine", entry, zoo.Shelf(tmp_path))
    serve = density._serve_truth(SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked)))
    visit = SimpleNamespace(kept={})
    assert set(serve(visit, {}).values()) == {None}
    visit.kept[sources.HELD + "mine"] = torch.ones(30, 2)
    found = serve(visit, {})
    assert found["values"] is None
    assert len(base64.b64decode(found["points"])) == 30 * 2 * 2


def test_a_place_beyond_the_view_is_refused(page_shelf):
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf)
    serve = density._serve_at(SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked)))
    with pytest.raises(BadInput, match="y is a number from"):
        serve(None, {"x": 0, "y": 5})
