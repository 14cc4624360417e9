"""The Rounds panel: EM half a round at a time in a real browser, choosing K, and what stands behind both."""

from __future__ import annotations

import io
import math
import re

import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, fill, go, pixels

from gen_models import data, render, zoo
from gen_models.interface import BadInput
from gen_models.ui import climb
from gen_models.ui.panels import rounds

VIEW = "#mixture-rounds-view .gm-rounds"
FAMILY = zoo.FAMILIES["mixture"]


def opened(page: Page) -> None:
    go(page, "mixture", "rounds")
    page.wait_for_function("() => gm.forms['mixture-rounds']?.ready")
    page.wait_for_timeout(400)  # the form asks once more what its fields are, and then forgets what was typed before


def choose(page: Page, title: str) -> None:
    """Chooses data and waits until the form has followed."""
    page.locator("#mixture-rounds-data").select_option(label=title)
    expect(page.locator(VIEW)).to_have_attribute("data-followed", re.compile(r"[1-9]"))


def run(page: Page, says: str | re.Pattern = "converged", **values: object) -> None:
    """Runs EM and holds it at the start; values go into number boxes and lists that are on screen."""
    fill(page, "mixture-rounds", **values)
    page.click("#mixture-rounds-run")
    expect(page.locator("#mixture-rounds-message")).to_contain_text(says, timeout=PATIENCE)
    expect(page.locator(VIEW)).not_to_have_attribute("data-halves", "0")
    page.evaluate("() => document.getElementById('mixture-rounds-pause').click()")
    page.evaluate("() => document.getElementById('mixture-rounds-reset').click()")
    expect(page.locator(VIEW)).to_have_attribute("data-half", "0")


def still(page: Page):
    """The picture once it has come to rest."""
    page.wait_for_timeout(700)  # a glide takes 600 ms at most
    return pixels(page, f"{VIEW} .gm-rounds-canvas")


def figure(page: Page, name: str) -> float:
    return float(page.inner_text(f"#mixture-rounds-{name}").replace("−", "-"))


def scrub(page: Page, half: int) -> None:
    page.locator("#mixture-rounds-half").evaluate(
        "(node, half) => { node.value = half; node.dispatchEvent(new Event('input')); }", half
    )


def spray(page: Page, *strokes: tuple[float, float, float, float]) -> None:
    box = page.locator(f"{VIEW} .gm-points-canvas").bounding_box()
    for x0, y0, x1, y1 in strokes:
        page.mouse.move(box["x"] + x0 * box["width"], box["y"] + y0 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x1 * box["width"], box["y"] + y1 * box["height"], steps=15)
        page.mouse.up()


# ---- in the browser ----------------------------------------------------------------------------------------------


def test_halves_are_stepped_scrubbed_and_never_lower_the_likelihood(page):
    opened(page)
    before = still(page)
    assert len({tuple(colour) for colour in before.reshape(-1, 3).tolist()}) > 1, "the points are there before a run"
    run(page, components=8)
    start = still(page)
    page.click("#mixture-rounds-step")
    expect(page.locator("#mixture-rounds-said")).to_contain_text("E: every point asks")
    coloured = still(page)
    page.click("#mixture-rounds-step")
    expect(page.locator("#mixture-rounds-said")).to_contain_text("M: each component moves")
    moved = still(page)
    assert (start != before).any()
    assert (coloured != start).any()
    assert (moved != coloured).any()
    page.click("#mixture-rounds-back")
    assert (still(page) == coloured).all()

    halves = int(page.get_attribute(VIEW, "data-halves"))
    figures = []
    for half in range(halves + 1):
        scrub(page, half)
        expect(page.locator(VIEW)).to_have_attribute("data-half", str(half))
        figures.append(figure(page, "log-likelihood"))
    assert figures == sorted(figures)
    assert figures[-1] > figures[0]
    truth = climb.ground_of("", data.load("8gaussians")).truth
    assert figure(page, "held-out") == pytest.approx(truth, abs=0.05)  # eight components are what the truth is
    expect(page.locator("#mixture-rounds-count")).to_have_text(f"round {halves // 2} of {halves // 2}, M")

    page.keyboard.press("Home")
    expect(page.locator(VIEW)).to_have_attribute("data-half", "0")
    page.click("#mixture-sample-button")
    page.click("#mixture-rounds-button")
    expect(page.locator("#mixture-rounds-count")).to_contain_text("start of")  # leaving the tab loses nothing


def test_it_plays_by_itself_to_the_end(page):
    opened(page)
    page.locator(f"{VIEW} select").select_option(label="speed 10×")
    page.click("#mixture-rounds-run")
    seen = f"() => (({{ playing, half, halves }}) => %s)(document.querySelector('{VIEW}').dataset)"
    page.wait_for_function(seen % "playing === '1'")
    page.wait_for_function(seen % "playing === '0' && half === halves")
    expect(page.locator("#mixture-rounds-detail")).to_contain_text("Converged")


def test_bic_marks_its_minimum_and_a_dot_fills_k(page):
    opened(page)
    page.click("#mixture-choose-k-run")
    expect(page.locator("#mixture-choose-k-message")).to_contain_text("lowest BIC at K = 8", timeout=PATIENCE)
    expect(page.locator("#mixture-choose-k-view .gm-bic-dot")).to_have_count(len(rounds.KS))
    best = page.locator("#mixture-choose-k-view .gm-best")
    expect(best).to_have_attribute("aria-label", re.compile(r"K = 8: BIC \d+, the lowest"))
    page.locator("#mixture-choose-k-view [data-k='3']").click()
    expect(page.locator("#mixture-rounds-components")).to_have_value("3")
    best.press("Enter")
    expect(page.locator("#mixture-rounds-components")).to_have_value("8")


def test_own_points_are_drawn_fitted_and_saved(page):
    opened(page)
    choose(page, "your own points")
    page.click("#mixture-rounds-run")
    expect(page.locator("#mixture-rounds-message")).to_contain_text("At least 10 points are needed")
    spray(page, (0.2, 0.2, 0.4, 0.2), (0.6, 0.8, 0.8, 0.8))
    run(page, components=2)
    scrub(page, 10_000)
    expect(page.locator("#mixture-rounds-detail")).to_contain_text("Converged")
    half = page.get_attribute(VIEW, "data-half")
    with page.expect_download() as download:
        page.click("#mixture-rounds-save-png")
    recipe = render.recipe_of(download.value.path())
    assert (recipe["data"], recipe["components"], recipe["half"]) == ("own-points", 2, int(half))
    assert len(data.points_from_csv(recipe["csv"])) > 50
    with page.expect_download() as download:
        page.click("#mixture-rounds-save-gif")
    with Image.open(download.value.path()) as film:
        assert film.n_frames > int(half)
    page.click("#mixture-rounds-mode")
    expect(page.locator(f"{VIEW} .gm-points-canvas")).to_be_visible()  # the drawing is still there, to be changed


def test_more_components_than_points_are_refused_in_words(page):
    opened(page)
    choose(page, "your own points")
    rows = "\n".join(f"{k % 7},{k % 5}" for k in range(40))
    fill(page, "mixture-rounds", csv=rows, components=41)
    page.click("#mixture-rounds-run")
    expect(page.locator("#mixture-rounds-message")).to_contain_text("choose at most 40 components")
    run(page, re.compile("round"), components=3)


def test_stop_keeps_the_rounds_until_then(page):
    opened(page)
    page.locator("#mixture-rounds-form summary").click()
    fill(page, "mixture-rounds", components=64, tolerance=1e-7, restarts=32, rounds=200)
    page.click("#mixture-rounds-run")
    expect(page.locator("#mixture-rounds-message")).to_contain_text("of 32, round", timeout=PATIENCE)
    page.keyboard.press("Escape")
    expect(page.locator("#mixture-rounds-message")).to_contain_text(re.compile(r"stopped (at round|in start) \d+"))
    expect(page.locator("#mixture-rounds-run")).to_be_visible()
    expect(page.locator(VIEW)).not_to_have_attribute("data-halves", "0")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"components": 65}, "components is a whole number from 1 to 64"),
        ({"data": "mnist"}, "data is one of"),
        ({"init": "nowhere"}, "init is one of"),
        ({"data": "own-points", "csv": "1,2\n" * 60}, "in one place"),
        ({"data": "own-points", "csv": "1,2\n" * 60 + "nan,1"}, "not a finite number"),
    ],
)
def test_bad_settings_through_the_api_are_refused(app_url, settings, says):
    with pytest.raises(AppError, match=re.escape(says)):
        Client(app_url, verbose=False).predict("mixture-8gaussians", settings, api_name="/mixture_rounds")


# ---- what the browser does not show ------------------------------------------------------------------------------


def made(ground: climb.Ground, **options: object) -> climb.Fit:
    entry = climb.entry_of(FAMILY, rounds.model_of(FAMILY), {"restarts": 1, **options}, 30)
    fit = climb.Fit(entry, ground, seed=0)
    while fit.advance():
        pass
    return fit


@pytest.mark.parametrize("init", ["k-means++", "random points"])
def test_no_round_lowers_the_likelihood_and_the_start_is_cold(init):
    fit = made(climb.ground_of("", data.load("pinwheel")), components=6, init=init)
    nats = torch.tensor([look.nats for look in fit.looks])
    assert (nats.diff() > -1e-6).all()
    assert fit.rounds == len(nats) - 1
    first = fit.looks[0].components
    torch.testing.assert_close(first[:, 0], torch.full((6,), 1 / 6))
    torch.testing.assert_close(
        first[:, 3:], (torch.tensor([1.0, 0.0, 1.0]) * first[0, 3]).expand(6, 3)
    )  # the same circle each
    assert fit.looks[-1].components[:, 4].abs().max() > 0


def test_figures_and_ellipses_of_own_points_are_those_of_the_drawing():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 2, generator=rng, dtype=torch.float64) * torch.tensor([3.0, 0.2]) + torch.tensor([5.0, -1.0])
    ground = climb.ground_of("", data.from_points(x))
    assert len(ground.train) + len(ground.held) == 1000
    look = made(ground, components=1).looks[-1]
    train = ground.train.double() * ground.scale + ground.centre
    centred = train - train.mean(0)
    covariance = centred.T @ centred / len(train)
    _, mx, my, xx, xy, yy = look.components[0].double()
    torch.testing.assert_close(torch.stack([mx, my]), train.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.stack([xx, xy, yy]), covariance[[0, 0, 1], [0, 1, 1]], rtol=1e-3, atol=1e-4)
    entropy = math.log(2 * math.pi * math.e) + 0.5 * float(covariance.logdet())
    assert look.nats == pytest.approx(-entropy, abs=1e-3)
    assert look.held == pytest.approx(-entropy, abs=0.2)


def test_few_points_are_all_learnt_from_and_k_must_not_exceed_them():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    ground = climb.ground_of("", data.from_points(x))
    assert (len(ground.train), len(ground.held)) == (20, 0)
    assert made(ground, components=20).looks[-1].held is None
    with pytest.raises(BadInput, match="choose at most 20 components"):
        made(ground, components=21)


def test_the_picture_shows_each_half_and_a_far_point():
    x = torch.cat([torch.randn(60, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([[20.0, 20.0]])])
    ground = climb.ground_of("far", data.from_points(x))
    looks = made(ground, components=2).looks
    run = climb.Run("", ground, looks, [], {"data": "own-points", "seed": 0, "csv": "1,2"}, "entry", 0.1, True, False)
    shown = [climb.picture(run, half, 120) for half in range(3)]
    assert {picture.size for picture in shown} == {(120, 120)}
    assert len({picture.tobytes() for picture in shown}) == 3
    found = render.recipe_of(io.BytesIO(render.png(shown[0], run.recipe())).getvalue())
    assert found["csv"] == "1,2"
    x, y, reach = ground.view
    places = ground.train * ground.scale + ground.centre
    assert ((places - torch.tensor([x, y])).abs() < reach).all()
