"""The Steps panel and the player: every frame on screen is one that the model made, and the files hold the same."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import as_shown, at_step, denoised, fill, go, pixels

from gen_models import render, zoo
from gen_models.interface import Frame, Space, State
from gen_models.ui import film, tree_film
from gen_models.ui.panels import steps
from gen_models.ui.visits import Picked
from gen_models.ui.walk import Walk

FORM, FILM = "diffusion-steps", "#diffusion-steps-film"
PLAYER = f"{FILM} .gm-player"


def made(shelf: zoo.Shelf, entry: str, n: int, seed: int, **values) -> list[Frame]:
    return list(zoo.sample(zoo.load(entry, shelf), seed, n, **values))


def cell(page: Page, track: int, k: int) -> np.ndarray:
    """Sample k of a track as it stands on the screen, brought back to one pixel per pixel: (28, 28) bytes."""
    box = page.locator(f"{FILM} .gm-track >> nth={track} >> .gm-cell >> nth={k}")
    x, y, w, h = box.evaluate("b => [b.offsetLeft, b.offsetTop, b.offsetWidth, b.offsetHeight]")
    shown = pixels(page, f"{FILM} .gm-track >> nth={track} >> canvas")[..., 0]
    rows = y + ((np.arange(28) + 0.5) * h / 28).astype(int)
    columns = x + ((np.arange(28) + 0.5) * w / 28).astype(int)
    return shown[rows][:, columns].astype(int)


def saved(page: Page, title: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.locator(f"{FILM} .gm-save", has_text=re.compile(f"^{title}$")).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


# ---- in the browser -------------------------------------------------------------------------------------------


def test_the_slider_shows_the_frames_that_the_model_made(page, page_shelf):
    denoised(page, seed=3, steps=6, n=4)
    frames, model = made(page_shelf, "diffusion-mnist", 4, 3, steps=6), zoo.load("diffusion-mnist", page_shelf)
    expect(page.locator(f"{FILM} .gm-count")).to_have_text("step 6 of 6")
    for step in (0, 3, 6):
        at_step(page, step)
        expect(page.locator(f"{FILM} .gm-count")).to_have_text(f"step {step} of 6")
        for k in (0, 3):
            assert abs(cell(page, 0, k) - as_shown(frames[step].x[k], model)[..., 0]).max() <= 1
            if step:
                assert abs(cell(page, 1, k) - as_shown(frames[step].x0[k], model)[..., 0]).max() <= 1
                eps = np.asarray(render.picture(frames[step].show["eps"][k], model.space, spread=3))
                assert abs(cell(page, 2, k) - eps.astype(int)).max() <= tree_film.GREYS // 2 + 1
    at_step(page, 0)
    expect(page.locator(f"{FILM} .gm-track >> nth=0 >> figcaption")).to_contain_text("t = 1")
    for track in (1, 2):
        expect(page.locator(f"{FILM} .gm-track >> nth={track} >> .gm-void")).to_contain_text("No guess yet")
    at_step(page, 2)
    expect(page.locator(f"{FILM} .gm-track >> nth=1 >> .gm-void")).to_be_hidden()


def test_play_pause_step_reset_and_the_keys(page):
    denoised(page, steps=8, n=2)
    player, button = page.locator(PLAYER), lambda name: page.locator(f"{FILM} .gm-to-{name}")
    texts = page.locator(f"{FILM} .gm-bar .gm-button").all_inner_texts()
    assert texts[:4] == ["Play", "Pause", "Step", "Reset"]
    button("reset").click()
    expect(player).to_have_attribute("data-step", "0")
    button("step").click()
    expect(player).to_have_attribute("data-step", "1")
    page.locator("body").press("ArrowRight")
    expect(player).to_have_attribute("data-step", "2")
    page.locator("body").press("ArrowLeft")
    expect(player).to_have_attribute("data-step", "1")
    page.locator("body").press("End")
    expect(player).to_have_attribute("data-step", "8")
    assert button("step").get_attribute("title") == "this is the last step"
    page.locator("body").press(" ")
    expect(button("pause")).to_be_enabled()
    expect(player).to_have_attribute("data-step", "8", timeout=10_000)
    expect(button("pause")).to_be_disabled()
    page.select_option(f"{FILM} .gm-speed", label="talk 0.1×")
    button("play").click()
    button("pause").click()
    assert int(player.get_attribute("data-step")) < 8


def test_a_click_on_a_thumbnail_or_a_sample_goes_there(page, page_shelf):
    denoised(page, seed=5, steps=4, n=4)
    slots = page.locator(f"{FILM} .gm-slot")
    expect(slots).to_have_count(5)
    slots.nth(2).click()
    expect(page.locator(PLAYER)).to_have_attribute("data-step", "2")
    expect(slots.nth(2)).to_have_attribute("aria-current", "true")
    frames, model = made(page_shelf, "diffusion-mnist", 4, 5, steps=4), zoo.load("diffusion-mnist", page_shelf)
    page.locator(f"{FILM} .gm-track >> nth=1 >> .gm-cell >> nth=3").click()
    thumb = pixels(page, f"{FILM} .gm-slot >> nth=2 >> canvas").astype(int)
    assert abs(thumb - as_shown(frames[2].x[3], model)).max() <= 1
    name, content = saved(page, "Strip")
    assert name == "diffusion-mnist-seed5-sample3-strip.png"
    recipe = render.recipe_of(content)
    assert (recipe["seed"], recipe["steps"], recipe["sample"]) == (5, 4, 3)
    strip = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    for k, frame in enumerate(frames):
        tile = strip[2:112:4, k * 116 + 2 : k * 116 + 112 : 4]
        assert abs(tile - as_shown(frame.x[3], model)[..., 0]).max() <= 1


def test_the_files_hold_what_is_shown(page, page_shelf):
    denoised(page, seed=1, steps=5, n=2)
    frames = made(page_shelf, "diffusion-mnist", 2, 1, steps=5)
    _, content = saved(page, "GIF")
    gif = Image.open(io.BytesIO(content))
    assert gif.n_frames >= 6
    gif.seek(3)
    assert abs(np.asarray(gif.convert("L")).astype(int)[1:56:2, 1:56:2] - shade(frames[3].x[0])).max() <= 1
    _, content = saved(page, "ZIP")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        recipe = json.loads(archive.read("recipe.json"))
        last = np.asarray(Image.open(io.BytesIO(archive.read("x_t/step0005.png"))).convert("L")).astype(int)
    assert sorted(names) == sorted(
        ["recipe.json", *(f"x_t/step{k:04d}.png" for k in range(6))]
        + [f"{track}/step{k:04d}.png" for track in ("x0", "eps") for k in range(1, 6)]
    )
    assert abs(last[1:56:2, 1:56:2] - shade(frames[5].x[0])).max() <= 1
    assert (recipe["seed"], recipe["n"], recipe["network_calls"]) == (1, 2, frames[5].calls)


def shade(x: torch.Tensor) -> np.ndarray:
    return np.asarray(render.picture(x, Space("image", (1, 28, 28)))).astype(int)


def test_stop_keeps_what_exists(page):
    go(page, "diffusion", "steps", "diffusion-mnist")
    fill(page, FORM, steps=200)
    page.click(f"#{FORM}-run")
    expect(page.locator(f"{FILM} .gm-count")).to_contain_text(re.compile(r"step [1-9]\d* of 200"))
    page.locator("body").press("Escape")
    message = page.locator(f"#{FORM}-message")
    expect(message).to_contain_text(re.compile(r"stopped at step \d+ of 200"))
    stopped = int(re.search(r"step (\d+) of", message.inner_text())[1])
    assert 0 < stopped < 200
    expect(page.locator(PLAYER)).to_have_attribute("data-step", str(stopped))
    at_step(page, 1)
    expect(page.locator(f"{FILM} .gm-film-note")).to_contain_text(f"stopped at step {stopped}")


def test_points_stand_over_the_real_ones(page):
    denoised(page, "diffusion-8gaussians", steps=5, n=100)
    at_step(page, 4)
    for track in range(3):
        shown = pixels(page, f"{FILM} .gm-track >> nth={track} >> canvas").reshape(-1, 3).astype(int)
        ink = np.ptp(shown, axis=1) > 40
        greenish = (shown[:, 1] > shown[:, 0] + 20) & (shown[:, 1] > shown[:, 2] + 10)
        assert ink.any()
        assert bool((ink & greenish).any()) is (track < 2)  # the noise has no real data to compare with
    at_step(page, 0)
    expect(page.locator(f"{FILM} .gm-track >> nth=1 >> .gm-void")).to_be_visible()


def test_before_a_run_the_preview_stands_there_and_nothing_can_be_saved(page):
    go(page, "diffusion", "steps", "diffusion-mnist")
    assert len(np.unique(pixels(page, f"{FILM} .gm-track >> nth=0 >> canvas"))) > 10
    save = page.locator(f"{FILM} .gm-save").first
    expect(save).to_be_disabled()
    assert "nothing to save" in save.get_attribute("title")


def test_a_narrow_page_has_no_sideways_scroll_and_a_film_outlives_a_change_of_tab(open_page):
    page = open_page(390, 844)
    denoised(page, steps=4)
    at_step(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#diffusion-sample-button")
    page.click("#diffusion-steps-button")
    expect(page.locator(PLAYER)).to_have_attribute("data-step", "2")


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 1001}, "steps is a whole number from 1 to"),
        ({"n": 17}, "n is a whole number from 1 to 16"),
        ({"solver": "magic"}, "solver is one of"),
        ({"seed": 2**32}, "seed is a whole number"),
        ({"colour": 1}, "Unknown setting colour"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict("diffusion-mnist", settings, api_name="/diffusion_steps")


def walk_of(total: int, upto: int | None = None) -> Walk:
    picked = Picked("diffusion-8gaussians", zoo.ZOO["diffusion-8gaussians"], zoo.BUNDLED)
    walk = Walk(picked, 0, None, None, {}, 3, steps.MOST)
    for k in range((upto or total) + 1):
        x = torch.full((3, 2), float(k))
        walk.add(Frame(x, k, total, x0=x if k else None, show={"eps": x} if k else None, state=State(1 - k / total, x)))
    return walk


@pytest.mark.parametrize(
    ("total", "upto"), [(1, None), (120, None), (121, None), (241, None), (1000, None), (1000, 140)]
)
def test_long_runs_are_thinned_evenly_with_both_ends(total, upto):
    walk, last = walk_of(total, upto), upto or total
    shown = [moment.step for moment in walk.shown()]
    assert len(walk.moments) <= 2 * steps.MOST + 2
    assert len(shown) == min(last, steps.MOST) + 1
    assert (shown[0], shown[-1]) == (0, last)
    gaps = np.diff(shown)
    assert gaps.min() > 0
    assert gaps.max() <= 2 * last / (len(shown) - 1) + 1
    for moment in walk.shown():
        assert (moment.x == moment.step).all()
        assert moment.t == pytest.approx(1 - moment.step / total)


def test_a_long_run_says_what_it_shows():
    assert "showing 120 of 1000 steps" in tree_film.film_of(walk_of(1000))["note"]
    assert "showing" not in tree_film.film_of(walk_of(50))["note"]
    assert tree_film.film_of(walk_of(1000, 140))["span"] == [0, 140]


def test_packed_points_survive():
    x = torch.tensor([[0.0, 1.5], [-4.4, float("nan")], [9.0, -9.0]])
    back = np.frombuffer(base64.b64decode(film.packed(x)["data"]), "<i2").reshape(3, 2) * film.LIMIT / 32767
    np.testing.assert_allclose(back[:1], x[:1], atol=1e-3)
    assert abs(back[1, 0] + 4.4) < 1e-3
    assert abs(back[1, 1]) >= film.LIMIT  # not a number: outside, like what is too far
    assert (abs(back[2]) >= film.LIMIT).all()
