"""The panels Solvers and Sweep: what stands in a cell is what its headings say, costs come first, Stop keeps."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, as_shown, fill, go, pixels, run

from gen_models import render, zoo
from gen_models.zoo import comparing

SOLVERS, SWEEP = "diffusion-solvers", "diffusion-sweep"


def cell(page: Page, form: str, row: int, column: int) -> np.ndarray:
    """What stands in a cell, one pixel per pixel, (H, W, 3) bytes."""
    expect(page.locator(f"#{form}-view [data-at='{row},{column}']")).to_have_class(re.compile("gm-drawn"))
    return pixels(page, f"#{form}-view [data-at='{row},{column}'] canvas").astype(int)


def scrub(page: Page, calls: int) -> None:
    slider = page.locator(f"#{SOLVERS}-view .gm-range")
    slider.evaluate("(node, k) => { node.value = k; node.dispatchEvent(new Event('input')); }", calls)
    expect(page.locator(f"#{SOLVERS}-view .gm-player")).to_have_attribute("data-at", str(calls))


def saved(page: Page, form: str, title: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(f"#{form}-{title}")
    return download.value.suggested_filename, download.value.path().read_bytes()


# ---- solvers --------------------------------------------------------------------------------------------------


def test_solvers_stand_side_by_side_at_equal_calls(page, page_shelf):
    go(page, "diffusion", "solvers", "diffusion-mnist")
    for name in ("ddim", "euler", "dpm++2m"):
        page.click(f"#{SOLVERS}-solvers [data-choice='{name}']")
    fill(page, SOLVERS, calls="2, 4", seed=3)
    expect(page.locator(f"#{SOLVERS}-cost")).to_contain_text(
        "3 solvers × 2 numbers of calls = 16 network calls, and 200 for the ODE's end", timeout=PATIENCE
    )
    run(page, SOLVERS, "16 network calls, 6 cells")
    model, view = zoo.load("diffusion-mnist", page_shelf), page.locator(f"#{SOLVERS}-view")
    expect(view.locator("tbody th")).to_have_text(["DDPMfresh noise", "Heun2 calls a step", "UniPC"])
    plan = comparing.cells(["ddpm", "heun", "unipc"], [2, 4], 200)
    for k, asked in enumerate(plan):
        *_, last = comparing.solved(model, asked, 3, 4)
        assert abs(cell(page, SOLVERS, k // 2, k % 2) - as_shown(last.x[0], model)).max() <= 1
    scrub(page, 0)
    for k in range(1, len(plan)):
        assert (cell(page, SOLVERS, k // 2, k % 2) == cell(page, SOLVERS, 0, 0)).all(), "identical noise"
    scrub(page, 3)
    frames = list(comparing.solved(model, plan[5], 3, 4))
    view.locator(".gm-solvers-pick button", has_text="2").click()
    assert abs(cell(page, SOLVERS, 2, 1) - as_shown(frames[3].x0[1], model)).max() <= 1
    *_, end = comparing.reference(model, 3, 4)
    *_, last = comparing.solved(model, plan[5], 3, 4)
    off = comparing.distance(last.x, end.x)
    assert f"{off:.3g}" in view.locator("[data-at='2,1']").get_attribute("title")
    expect(view.locator(".gm-distances-dot")).to_have_count(6)
    expect(view.locator(".gm-distances-line.gm-apart")).to_have_attribute("data-entry", "DDPM*")
    name, content = saved(page, SOLVERS, "csv")
    assert name == "diffusion-mnist-seed3-solvers.csv"
    assert content.decode().splitlines()[-1].startswith("unipc,4,4,4,")
    assert float(content.decode().splitlines()[-1].rpartition(",")[2]) == pytest.approx(off, rel=1e-3)


def test_solvers_of_points_and_stop(page):
    go(page, "diffusion", "solvers", "diffusion-8gaussians")
    fill(page, SOLVERS, calls="4, 197, 198, .., 200")
    page.click(f"#{SOLVERS}-run")
    expect(page.locator(f"#{SOLVERS}-view .gm-player")).to_have_attribute(
        "data-cells", re.compile("[1-9]"), timeout=PATIENCE
    )
    page.locator("body").press("Escape")
    message = page.locator(f"#{SOLVERS}-message")
    expect(message).to_contain_text(
        re.compile(r"stopped (after [1-9]\d* of 30 cells; those are kept|before the ODE)"), timeout=PATIENCE
    )
    assert len(np.unique(cell(page, SOLVERS, 0, 0).reshape(-1, 3), axis=0)) > 3
    name, content = saved(page, SOLVERS, "png")
    assert name == "diffusion-8gaussians-seed0-solvers.png"
    assert render.recipe_of(content)["calls"] == "4, 197, 198, .., 200"


# ---- sweeps ---------------------------------------------------------------------------------------------------


def test_a_sweep_draws_the_samples_that_its_headings_say(page, page_shelf):
    go(page, "diffusion", "sweep", "diffusion-mnist")
    fill(page, SWEEP, rows="Class")
    expect(page.locator(f"#{SWEEP}-row_values")).to_have_value("0, 1, .., 9")
    fill(page, SWEEP, row_values="3, 8", column_values="1, 2, .., 4", seed=5)
    expect(page.locator(f"#{SWEEP}-cost")).to_contain_text("2 × 4 = 8 cells, 32 network calls", timeout=PATIENCE)
    run(page, SWEEP, "8 cells in")
    model, view = zoo.load("diffusion-mnist", page_shelf), page.locator(f"#{SWEEP}-view")
    expect(view.locator("thead th")).to_have_text([re.compile("Class"), "1", "2", "3", "4"])
    for r, digit in enumerate((3, 8)):
        for c in range(4):
            *_, last = zoo.sample(model, 5, 1, label=digit, steps=c + 1)
            assert abs(cell(page, SWEEP, r, c) - as_shown(last.x[0], model)).max() <= 1
    _, content = saved(page, SWEEP, "png")
    recipe = render.recipe_of(content)
    assert (recipe["rows"], recipe["row_values"], recipe["columns"], recipe["seed"]) == ("label", "3, 8", "steps", 5)
    assert Image.open(io.BytesIO(content)).size[0] > 4 * 56
    view.locator("[data-at='1,2']").click()
    expect(view.locator(".gm-sweep-detail dd").nth(0)).to_be_visible()
    view.locator(".gm-sweep-detail button").click()
    expect(page.locator("#diffusion-sample-steps")).to_have_value("3")
    expect(page.locator("#diffusion-sample-seed")).to_have_value("5")


def test_a_large_sweep_can_be_stopped_and_keeps_what_there_is(page):
    go(page, "diffusion", "sweep", "diffusion-mnist")
    fill(page, SWEEP, columns="Seed", rows="Guidance")
    fill(page, SWEEP, column_values="0, 1, .., 9", row_values="1, 1.5, .., 5.5")
    page.locator(f"#{SWEEP}-form summary").click()
    fill(page, SWEEP, steps=50)
    expect(page.locator(f"#{SWEEP}-cost")).to_contain_text(
        re.compile(r"100 cells, 9,900 network calls: about \d"), timeout=PATIENCE
    )
    page.click(f"#{SWEEP}-run")
    expect(page.locator(f"#{SWEEP}-view .gm-sweep")).to_have_attribute(
        "data-cells", re.compile("[1-9]"), timeout=PATIENCE
    )
    page.locator("body").press("Escape")
    message = page.locator(f"#{SWEEP}-message")
    expect(message).to_contain_text(re.compile(r"stopped after \d+ of 100 cells; those are kept"), timeout=PATIENCE)
    done = int(re.search(r"after (\d+) of", message.inner_text())[1])
    expect(page.locator(f"#{SWEEP}-view .gm-sweep")).to_have_attribute("data-cells", str(done))
    expect(page.locator(f"#{SWEEP}-view .gm-drawn")).to_have_count(done)
    _, content = saved(page, SWEEP, "png")
    assert render.recipe_of(content)["stopped"] == done


def test_other_families_sweep_too_and_a_narrow_page_does_not_scroll_sideways(open_page):
    page = open_page(390, 844)
    go(page, "vae", "sweep", "vae-mnist")
    run(page, "vae-sweep", "cells in")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    go(page, "diffusion", "solvers", "diffusion-8gaussians")
    fill(page, SOLVERS, calls="2, 4")
    run(page, SOLVERS, "12 cells")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("solvers", {"calls": "0, 1"}, "calls is a whole number from 1 to 200"),
        ("solvers", {"solvers": ["magic"]}, "solvers is a list"),
        ("solvers", {"n": 9}, "n is a whole number from 1 to 8"),
        ("sweep", {"column_values": "1, 2, .., 64", "row_values": "1, 2, 3"}, "192 cells; at most 144"),
        ("sweep", {"rows": "colour"}, "rows is one of"),
        ("sweep", {"rows": "steps"}, "two different options"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, name, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict("diffusion-mnist", settings, api_name=f"/diffusion_{name}")
