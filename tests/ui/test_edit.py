"""The Edit panel: a picture of one's own noised and walked back, redrawn under a brush, taken to its noise and back."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, as_shown, fill, go, pixels, run

from gen_models import editing, render, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui import edits, held_out
from gen_models.ui.edit_films import NOTHING, Edited, named
from gen_models.ui.panels import edit
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask, kept_files

FORM, ENTRY, PAD = "diffusion-edit", "diffusion-mnist", "diffusion-edit-pad"
SPACE = zoo.ZOO[ENTRY].where


def saved(key: str, make, visit) -> Path:
    """What the panel's download of that kind writes."""
    return kept_files(key, NOTHING, named, {"file": make})["file"](visit)


def url(x: torch.Tensor) -> str:
    """A picture (C, H, W) as the browser sends it."""
    return render.data_url(render.picture(x, SPACE))


def bar() -> torch.Tensor:
    """A white bar on black, (1, 28, 28)."""
    x = torch.full((1, 28, 28), -1.0)
    x[:, 4:24, 12:16] = 1.0
    return x


def lower(rows: int = 14) -> torch.Tensor:
    """A mask that is light in the lowest rows."""
    x = torch.full((1, 28, 28), -1.0)
    x[:, 28 - rows :] = 1.0
    return x


def asked(shelf: zoo.Shelf, **values) -> Ask:
    """A request as the form checks it."""
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], shelf)
    fields = {field.option.name: field for field in edit._fields(picked)}
    settings = {"picture": url(bar()), "n": 2, "seed": 5, "steps": 4} | values
    chosen = {name: field.option.check(settings.get(name, field.option.default)) for name, field in fields.items()}
    options = {name: chosen[name] for name, field in fields.items() if field.passed}
    return Ask(picked, SimpleNamespace(stopped=set(), kept={}), chosen, options, "")


def edited(shelf: zoo.Shelf, **values) -> Edited:
    """The finished run of a request."""
    ask = asked(shelf, **values)
    model = zoo.load(ENTRY, shelf)
    made = Edited(edit._asked(ask, model))
    for moment in edits.run(made.asked, model, []):
        made.add(moment)
    return made


def stroke(page: Page, selector: str, *places: tuple[float, float]) -> None:
    """Draws a line through places of a canvas, each as parts of its width and height."""
    box = page.locator(selector).bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def opened(page: Page) -> None:
    """The panel with a drawing on its pad."""
    go(page, "diffusion", "edit", ENTRY)
    page.wait_for_selector(f"#{FORM}-canvas")
    stroke(page, ".gm-pad-canvas:visible", (0.4, 0.2), (0.6, 0.8))
    expect(page.locator(".gm-edit")).to_have_attribute("data-name", "your drawing", timeout=PATIENCE)


def settings(page: Page) -> dict:
    return page.evaluate(f"() => gm.forms['{FORM}'].value()")


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_drawing_is_noised_to_a_strength_walked_back_and_gone_on_from(page, page_shelf):
    opened(page)
    fill(page, FORM, strength=0.5, seed=3, steps=4)
    expect(page.locator(f"#{FORM}-cost")).to_contain_text("9 pictures, 2 steps, 3 network calls", timeout=PATIENCE)
    expect(page.locator(f"#{FORM}-remark")).to_contain_text("0.50 × picture + 0.50 × noise")
    run(page, FORM, re.compile(r"9 pictures from your picture in .*: 2 steps, 3 network calls"))
    wanted = edited(page_shelf, picture=settings(page)["picture"], strength=0.5, seed=3, steps=4, n=9)
    expect(page.locator(f"#{FORM}-film .gm-player")).to_have_attribute("data-frames", "3", timeout=PATIENCE)
    page.click(f"#{FORM}-film [data-track='0'] .gm-cell >> nth=4")
    page.click(f"#{FORM}-take")
    expect(page.locator(".gm-edit")).to_have_attribute("data-name", "result 5 of picture to picture", timeout=PATIENCE)
    model = zoo.load(ENTRY, page_shelf)
    sent = settings(page)["picture"].partition(",")[2]
    given = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent))).convert("RGB"))
    assert (given == as_shown(wanted.results[4], model)).all()


def test_what_is_brushed_over_is_redrawn_and_the_rest_comes_back_pixel_for_pixel(page, page_shelf):
    opened(page)
    page.click(f"#{FORM}-mode-1")
    expect(page.locator(f"#{FORM}-run")).to_be_disabled(timeout=PATIENCE)
    expect(page.locator(f"#{FORM}-form")).to_contain_text("Nothing is painted over")
    stroke(page, f"#{FORM}-canvas", (0.2, 0.7), (0.8, 0.7))
    expect(page.locator(f"#{FORM}-run")).to_be_enabled(timeout=PATIENCE)
    brushed = int(page.locator(".gm-edit").get_attribute("data-masked"))
    assert 17 * 2 < brushed < 22 * 4, "a brush of 3 pixels over 60 % of 28"
    page.click(f"#{FORM}-invert")
    expect(page.locator(".gm-edit")).to_have_attribute("data-masked", str(784 - brushed))
    page.click(f"#{FORM}-undo")
    page.click(f"#{FORM}-erase")
    stroke(page, f"#{FORM}-canvas", (0.2, 0.7), (0.5, 0.7))
    expect(page.locator(".gm-edit")).not_to_have_attribute("data-masked", str(brushed))
    fill(page, FORM, steps=3, resample=2)
    run(page, FORM, re.compile(r"9 pictures from your picture in .*: 5 steps, 5 network calls"))
    held = settings(page)
    with page.expect_download() as download:
        page.click(f"#{FORM}-film .gm-save >> text=ZIP")
    files = zipfile.ZipFile(download.value.path())
    read = {
        name: np.asarray(Image.open(io.BytesIO(files.read(name)))) for name in files.namelist() if "json" not in name
    }
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(held["mask"].partition(",")[2]))).convert("L")) > 127
    assert 0 < mask.sum() < brushed
    for k in range(9):
        result = read[f"results/{k:02d}.png"]
        assert (result[~mask] == read["picture.png"][~mask]).all()
        assert (result[mask] != read["picture.png"][mask]).any()
    recipe = json.loads(files.read("recipe.json"))
    assert (recipe["mode"], recipe["solver"], recipe["mask"]) == ("inpaint", "ddpm", held["mask"])


def test_a_picture_goes_to_its_noise_and_back_and_under_every_class(page, page_shelf):
    opened(page)
    page.click(f"#{FORM}-mode-2")
    fill(page, FORM, steps=6)
    expect(page.locator(f"#{FORM}-cost")).to_contain_text("10 pictures, 12 steps, 34 network calls", timeout=PATIENCE)
    run(page, FORM, re.compile(r"your picture to its noise and back in .*: 12 steps, 34 network calls"))
    made = edited(page_shelf, mode="invert", picture=settings(page)["picture"], steps=6, seed=0)
    facts, off = page.locator(".gm-edit-facts"), editing.errors(made.asked.x, made.last.x[0])
    expect(facts).to_contain_text(f"{off.psnr:.1f} dB", timeout=PATIENCE)
    expect(facts).to_contain_text(f"{editing.statistics(made.noise).deviation:.3f}")
    assert (
        pixels(page, ".gm-edit-shown img >> nth=1") == as_shown(made.last.x[0][0], zoo.load(ENTRY, page_shelf))
    ).all()
    assert len(made.results) == 10
    page.click(f"#{FORM}-film .gm-to-reset")
    expect(page.locator(f"#{FORM}-film [data-track='1'] .gm-void")).to_be_visible()  # nothing goes back yet
    with page.expect_download() as download:
        page.click(f"#{FORM}-film .gm-save >> text=PNG")
    assert render.recipe_of(download.value.path())["mode"] == "invert"


def test_a_saved_picture_brings_back_drawing_mask_and_settings(page, page_shelf, tmp_path):
    made = edited(page_shelf, mode="inpaint", mask=url(lower(10)), resample=3, steps=3)
    made.asked.ask.visit.kept["key"] = made
    made.asked.ask.visit.file = lambda name: tmp_path / name
    file = saved("key", Edited.png, made.asked.ask.visit)
    go(page, "diffusion", "edit", ENTRY)
    page.set_input_files("#recipe-file", str(file))
    expect(page.locator(".gm-edit")).to_have_attribute("data-masked", str(10 * 28), timeout=PATIENCE)
    expect(page.locator(".gm-edit")).to_have_attribute("data-name", "the saved picture", timeout=PATIENCE)
    expect(page.locator(f"#{FORM}-resample")).to_have_value("3")
    fill(page, FORM, steps=3)
    run(page, FORM, "2 pictures from your picture")
    sent = settings(page)
    again = edited(page_shelf, **{name: sent[name] for name in ("mode", "picture", "mask", "resample", "steps", "n")})
    assert torch.equal(again.results, made.results)


def test_a_file_is_fitted_and_says_how_and_a_broken_one_says_so(page, tmp_path):
    go(page, "diffusion", "edit", ENTRY)
    wide, broken = tmp_path / "wide.png", tmp_path / "broken.png"
    Image.new("RGB", (90, 40), (200, 30, 30)).save(wide)
    broken.write_bytes(wide.read_bytes()[:40])
    page.set_input_files(f"#{PAD}-file", str(wide))
    expect(page.locator(f"#{FORM}-how")).to_have_text(
        "40 × 90 pixels, its middle cut out, resized to 28 × 28", timeout=PATIENCE
    )
    page.set_input_files(f"#{PAD}-file", str(broken))
    expect(page.locator(f"#{PAD}-message")).to_contain_text("broken.png", timeout=PATIENCE)
    expect(page.locator(".gm-edit")).to_have_attribute("data-name", "wide.png")


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_narrow_page_has_no_sideways_scroll(open_page, mode):
    page = open_page(390, 844)
    go(page, "diffusion", "edit", ENTRY)
    page.click(f"#{FORM}-mode-{mode}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("entry", "values", "says"),
    [
        (ENTRY, {"strength": 1.2}, "strength is a number from 0 to 1"),
        (ENTRY, {"strengths": "0.2, 0.4, .., 1.4"}, "strength is a number from 0 to 1"),
        (ENTRY, {"mode": "inpaint"}, "Nothing is painted over"),
        (ENTRY, {"mode": "inpaint", "mask": "lower"}, "The mask is 14 x 28 pixels, the picture 28 x 28"),
        (ENTRY, {"mode": "inpaint", "mask": "data:image/png;base64,AAAA"}, "The mask is no picture"),
        (ENTRY, {"mode": "inpaint", "resample": 11}, "resample is a whole number from 1 to 10"),
        (ENTRY, {"mode": "melt"}, "mode is one of picture to picture, inpaint, invert"),
        (ENTRY, {"picture": "data:image/png;base64,AAAA"}, "not a picture that can be read"),
        (ENTRY, {"picture": "bar.png"}, "travels as a data URL"),
        (ENTRY, {"picture": "", "test": None}, "There is no picture yet"),
        ("diffusion-8gaussians", {}, "does not denoise pictures"),
    ],
)
def test_the_api_refuses_what_cannot_be_done(app_url, entry, values, says):
    half = render.data_url(Image.new("L", (28, 14), 255))
    values = {name: half if value == "lower" else value for name, value in values.items()}
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, {"picture": url(bar())} | values, api_name="/diffusion_edit")


# ---- without a page -------------------------------------------------------------------------------------------


def test_strength_0_asks_no_network_and_gives_the_picture_and_1_the_plain_samples(page_shelf):
    made = edited(page_shelf, strength=0)
    assert (made.last.calls, made.last.total) == (0, 0)
    assert (made.results == edit._source(made.asked.ask)[0]).all()
    assert "the picture itself" in made.said()
    model = zoo.load(ENTRY, page_shelf)
    whole = edited(page_shelf, strength=1)
    *_, plain = zoo.sample(model, 5, 2, label=torch.zeros(2, 10), steps=4)
    assert torch.equal(whole.results, plain.x)
    assert "the plain samples of these seeds" in edits.remark(whole.asked, model)


def test_a_row_of_strengths_is_each_strength_by_itself(page_shelf):
    row = edited(page_shelf, strengths="0, 0.5, 1")
    assert (row.asked.count, row.asked.columns) == (6, 3)
    for k, strength in enumerate((0, 0.5, 1)):
        assert torch.equal(row.results[k::3], edited(page_shelf, strength=strength).results)
    assert row.last.calls == row.asked.calls
    assert row.last.step == row.last.total == 2 + 4


@pytest.mark.parametrize(
    "values",
    [
        {"strength": 0.5},
        {"strength": 0.3, "solver": "ddpm", "label": "any"},
        {"mode": "inpaint", "mask": url(lower()), "resample": 3, "solver": "heun"},
        {"mode": "inpaint", "mask": url(lower(28))},
        {"mode": "invert", "method": "fixed point", "rounds": 3, "to": "none"},
        {"mode": "invert", "method": "euler", "from": "3", "to": "8"},
    ],
)
def test_what_is_said_beforehand_is_what_it_costs_and_the_seed_gives_it_again(page_shelf, values):
    made = edited(page_shelf, **values)
    assert (made.last.calls, made.last.step) == (made.asked.calls, made.asked.steps)
    assert made.finished
    assert len(made.results) == made.asked.count
    assert torch.equal(edited(page_shelf, **values).results, made.results)
    film = made.film()
    assert len(film["steps"]) == made.last.total + 1 == len(film["tracks"][0]["notes"])


def test_a_mask_over_all_of_it_is_plain_sampling_and_says_so(page_shelf):
    made, model = edited(page_shelf, mode="inpaint", mask=url(lower(28)), resample=4), zoo.load(ENTRY, page_shelf)
    *_, plain = zoo.sample(model, 5, 2, label=torch.zeros(2, 10), steps=4)
    assert torch.equal(made.results, plain.x)
    assert "plain samples" in edits.remark(made.asked, model)


def test_an_inversion_is_edited_from_the_very_noise_that_leads_back(page_shelf):
    made, model = edited(page_shelf, mode="invert", to="8", guidance=2.0), zoo.load(ENTRY, page_shelf)
    start = editing.State(1.0, made.noise)
    eight = zoo.label_rows(SPACE.labels, 1, "8")
    *_, back = zoo.sample(model, 0, 1, label=torch.zeros(1, 10), start=start, steps=4, solver="heun", guidance=1.0)
    *_, other = zoo.sample(model, 0, 1, label=eight, start=start, steps=4, solver="heun", guidance=2.0)
    assert torch.equal(made.last.x[0], back.x)
    assert torch.equal(made.results, other.x)


def test_a_run_that_is_stopped_keeps_its_steps_and_its_files(page_shelf, tmp_path):
    ask = asked(page_shelf, mode="invert", steps=6)
    model = zoo.load(ENTRY, page_shelf)
    made, moments = Edited(edit._asked(ask, model)), edits.run(edit._asked(ask, model), model, [])
    for _ in range(4):
        made.add(next(moments))
    assert made.said().startswith("stopped at step 3 of 12")
    assert made.recipe()["stopped"] == 3
    ask.visit.file, ask.visit.kept["key"] = lambda name: tmp_path / name, made
    for make in (Edited.png, Edited.gif, Edited.zip):
        assert saved("key", make, ask.visit).stat().st_size > 100
    assert made.facts()["inversion"] is None
    with pytest.raises(BadInput, match="Nothing has been edited yet"):
        saved("other", Edited.png, ask.visit)


def test_many_steps_are_thinned_and_the_ends_stay(page_shelf):
    made = edited(page_shelf, strength=1, steps=200, solver="euler", n=1)
    assert made.last.total == 200
    assert len(made.stills) == 121
    assert (made.stills[0].step, made.stills[-1].step) == (0, 200)


def test_where_no_data_is_at_hand_a_sample_of_the_preview_stands_in(page_shelf, monkeypatch):
    def absent(picked, visit):
        raise BadInput("MNIST is not here.")

    monkeypatch.setattr(held_out, "held", absent)
    ask = asked(page_shelf, picture="", test=3)
    x, name, _ = edit._source(ask)
    assert name == "sample 3 of the preview"
    *_, last = zoo.sample(zoo.load(ENTRY, page_shelf), 0, 16)
    assert (x[0] - last.x[3]).abs().max() <= 1 / 127


def test_noise_is_the_same_for_an_edit_and_a_sample_of_one_seed(page_shelf):
    model = zoo.load(ENTRY, page_shelf)
    state = editing.begun(model, bar()[None], 1.0, Noise([11]))
    *_, one = zoo.sample(model, 11, 1, start=state, steps=2)
    *_, two = zoo.sample(model, 11, 1, steps=2)
    assert torch.equal(one.x, two.x)
