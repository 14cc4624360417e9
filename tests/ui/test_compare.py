"""The Compare tab and the figures in an entry's card in a real browser, over evaluations written by hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from evaluations import written
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from ui_steps import as_shown, entries_on, fill, go, pixels, run

from gen_models import zoo

MNIST, POINTS = entries_on("mnist"), entries_on("8gaussians")


def opened(page: Page, data: str = "mnist") -> None:
    """The Compare tab with all cards of a data set."""
    page.click("#family-compare-button")
    page.wait_for_selector(".gm-versus")
    page.select_option("#compare-data-select", data)
    expect(page.locator(f".gm-versus[data-entry='diffusion-{data}']")).to_be_visible()
    expect(page.locator("#compare-figures .gm-figures")).to_be_visible()


def tile(entry: str, k: int) -> str:
    return f".gm-versus[data-entry='{entry}'] canvas >> nth={k}"


def shows(page: Page, entry: str, seed: int) -> None:
    """Waits until an entry's card holds the samples from this seed on."""
    expect(page.locator(f".gm-versus[data-entry='{entry}']")).to_have_attribute("data-seed", str(seed))


def cells(page: Page, entry: str) -> str:
    return page.locator(f"#compare-figures tbody[data-entry='{entry}']").inner_text()


# ---- in the browser -----------------------------------------------------------------------------------------------


def test_every_entry_of_a_data_set_stands_there_with_its_preview(page, judged):
    opened(page)
    assert page.locator(".gm-versus").evaluate_all("all => all.map((one) => one.dataset.entry)") == list(MNIST)
    for name in MNIST:
        expect(page.locator(f".gm-versus[data-entry='{name}'] canvas")).to_have_count(16)
        shows(page, name, 0)
        model = zoo.load(name, judged)
        *_, frame = zoo.sample(model, 0, 16)
        np.testing.assert_array_equal(pixels(page, tile(name, 5)), as_shown(frame.x[5], model))
    assert page.locator("#compare-data-select option").all_inner_texts() == [
        f"MNIST digits ({len(MNIST)})",
        f"CIFAR-10 ({len(entries_on('cifar10'))})",
        f"8 Gaussians ({len(POINTS)})",
    ]


def test_draw_shows_the_samples_of_that_seed_as_the_sample_panel_does(page, judged):
    opened(page)
    fill(page, "compare-draw", seed=40)
    run(page, "compare-draw", f"{len(MNIST)} entries in")
    for name in MNIST:
        shows(page, name, 40)
    expect(page.locator(".gm-versus .gm-seeds").first).to_have_text("seeds 40 to 55")
    here = pixels(page, tile("gan-mnist", 3))
    model = zoo.load("gan-mnist", judged)
    *_, frame = zoo.sample(model, 40, 16)
    assert abs(here.astype(int) - as_shown(frame.x[3], model)).max() <= 1  # the last bit of a float
    assert "tab=compare&entry=mnist&seed=40" in page.url
    go(page, "gan", "sample", None)
    fill(page, "gan-sample", seed=40, n=16)
    run(page, "gan-sample", "seeds 40 to 55")
    there = pixels(page, "#gan-sample-view .gm-tile >> nth=3 >> canvas")
    assert abs(here.astype(int) - there).max() <= 1
    page.click("#family-compare-button")
    shows(page, "gan-mnist", 40)  # what was drawn is still there


def test_points_are_drawn_over_the_real_ones(page, judged):
    opened(page, "8gaussians")
    expect(page.locator(".gm-versus")).to_have_count(len(POINTS))
    shows(page, "gan-8gaussians", 0)
    before = pixels(page, tile("gan-8gaussians", 0))
    fill(page, "compare-draw", seed=5)
    run(page, "compare-draw", f"{len(POINTS)} entries in")
    shows(page, "gan-8gaussians", 5)
    expect(page.locator(".gm-versus .gm-seeds").first).to_have_text("seeds 5 to 1004")
    assert (pixels(page, tile("gan-8gaussians", 0)) != before).any()


def test_the_table_holds_what_the_files_say(page, judged):
    opened(page)
    table = page.locator("#compare-figures .gm-figures")
    for name, texts in {
        "vae-mnist": ("temperature 1", "9.31", "± 0.05", "0.721", "92.04", "± 0.31", "40 µs"),
        "gan-mnist": ("2.12", "0.981", "0.977–0.984", "no likelihood", "900 µs"),
        "diffusion-mnist": ("guidance 1", "guidance 2", "0.94", "0.972", "no likelihood", "21 ms", "10,000"),
        "vae-mnist-plane": ("not evaluated: python -m gen_models evaluate vae-mnist-plane",),
    }.items():
        for text in texts:
            assert text in cells(page, name), (name, text)
    controls = table.locator(".gm-controls tr")
    assert [text.split()[0] for text in controls.locator(".gm-setting").all_inner_texts()] == [
        "real",
        "copycat",
        "noise",
    ]
    assert "210.00" in controls.nth(2).inner_text()
    best = table.locator(".gm-best")
    assert best.evaluate_all("all => all.map((one) => [one.dataset.key, one.firstChild.textContent])") == [
        ["kid", "2.50"], ["coverage", "0.912"], ["fd", "0.94"], ["accuracy", "0.996"]]  # fmt: skip
    assert all("best" in text for text in best.all_inner_texts())
    expect(table.locator("th[data-key='fd']")).to_have_attribute("title", re.compile(r".+lower is better"))


def test_a_point_selects_its_entry_by_mouse_and_by_key(page, judged):
    opened(page)
    points = page.locator("#compare-variety .gm-scatter-point")
    assert points.evaluate_all("all => all.map((one) => one.dataset.entry)") == [
        "vae-mnist", "gan-mnist", "diffusion-mnist", "diffusion-mnist"]  # fmt: skip
    expect(page.locator("#compare-variety")).to_contain_text("real against real")
    chosen = page.locator(".gm-versus.gm-chosen, #compare-figures tbody.gm-chosen")
    page.locator("#compare-variety .gm-scatter-point[data-entry='gan-mnist']").click()
    assert chosen.evaluate_all("all => all.map((one) => one.dataset.entry)") == ["gan-mnist", "gan-mnist"]
    expect(page.locator(".gm-versus[data-entry='gan-mnist']")).to_be_in_viewport()
    vae = page.locator("#compare-speed .gm-scatter-point[data-entry='vae-mnist']")
    assert "FD_clf 9.31 ± 0.05" in vae.get_attribute("aria-label")
    vae.focus()
    page.keyboard.press("Enter")
    assert chosen.evaluate_all("all => all.map((one) => one.dataset.entry)") == ["vae-mnist", "vae-mnist"]
    expect(vae).to_have_attribute("aria-pressed", "true")
    page.click(".gm-versus[data-entry='diffusion-mnist'] >> text=Open in Diffusion tab")
    card = page.locator("#diffusion-entries [data-entry='diffusion-mnist']")
    expect(card).to_have_attribute("aria-checked", "true")
    assert "tab=diffusion&entry=diffusion-mnist" in page.url


def test_a_truncated_or_stale_evaluation_is_said_and_the_rest_works(page, judged):
    whole = written(judged, "gan-mnist").read_text()
    written(judged, "gan-mnist").write_text(whole[: len(whole) // 2])
    old = json.loads(written(judged, "vae-mnist").read_text()) | {"weights": "0" * 64}
    written(judged, "vae-mnist").write_text(json.dumps(old))
    opened(page)
    assert "truncated" in cells(page, "gan-mnist")
    assert "python -m gen_models evaluate gan-mnist" in cells(page, "gan-mnist")
    assert "weights changed since" in cells(page, "vae-mnist")
    assert "9.31" in cells(page, "vae-mnist")
    assert "weights changed since" not in cells(page, "diffusion-mnist")
    expect(page.locator("#compare-variety .gm-scatter-point")).to_have_count(3)


def test_the_figures_of_the_chosen_entry_fold_under_its_panels(page, judged):
    go(page, "vae", "sample", None)
    page.click("#vae-figures .label-wrap")
    card = page.locator("#vae-figures-card")
    for text in ("9.31", "copycat", "one draw, binarised pixels, n = 10,000", "484 k", "977 kB", "448,000"):
        expect(card).to_contain_text(text)
    for text in ("judge-mnist-a (9e05f504)", "2 × 10,000", "2026-11-20", "861c732", "± is a standard deviation"):
        expect(card).to_contain_text(text)
    expect(page.locator("#vae-figures .label-wrap")).to_contain_text("Figures: vae-mnist")
    page.click("#vae-entries [data-entry='vae-mnist-plane']")
    expect(page.locator("#vae-figures .label-wrap")).to_contain_text("Figures: vae-mnist-plane")
    expect(card).to_have_text("Not evaluated yet: run python -m gen_models evaluate vae-mnist-plane")


def test_an_address_opens_the_data_set_with_its_seed(page, app_url, judged):
    page.goto(app_url + "?tab=compare&entry=8gaussians&seed=9")
    shows(page, "vae-8gaussians", 9)
    expect(page.locator("#compare-data-select")).to_have_value("8gaussians")
    expect(page.locator("#compare-draw-seed")).to_have_value("9")


def test_an_address_opens_a_familys_entry(open_page):
    page = open_page(address="?tab=gan&entry=gan-8gaussians")
    expect(page.locator("#gan-entries [data-entry='gan-8gaussians']")).to_have_attribute("aria-checked", "true")


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_scrolls_tables_within_themselves(open_page, judged, dark):
    page = open_page(390, 844, dark=dark)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    inside, seen = page.locator("#compare-figures .gm-figures").evaluate("node => [node.scrollWidth, node.clientWidth]")
    assert inside > seen <= 390
    page.click("#family-vae-button")
    page.click("#vae-figures .label-wrap")
    expect(page.locator("#vae-figures-card table")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


# ---- the API ------------------------------------------------------------------------------------------------------


def test_the_api_draws_and_refuses_with_a_reason(app_url):
    client = Client(app_url, verbose=False)
    value, _ = client.predict("mnist", {"seed": 3}, api_name="/compare_draw")
    assert (value["data"], value["seed"], list(value["drawn"])) == ("mnist", 3, list(MNIST))
    assert all(one["seed"] == 3 and one["count"] == 16 for one in value["drawn"].values())
    for entry, settings, says in (
        ("emoji", {}, "There is no data set 'emoji' with a trained entry; choose one of mnist, cifar10, 8gaussians"),
        (["mnist"], {}, "There is no data set"),
        ("8gaussians", {"seed": 2**32 - 10}, "seed is a whole number"),
        ("mnist", {"n": 3}, "Unknown setting n"),
    ):
        with pytest.raises(AppError, match=says.replace("(", r"\(")):
            client.predict(entry, settings, api_name="/compare_draw")
    client.close()


# ---- the same noise through every model ---------------------------------------------------------------------------


def test_seed_by_seed_says_which_models_begin_with_the_very_same_noise(page, judged):
    opened(page)
    page.get_by_role("button", name="Seed by seed").click()
    expect(page.locator(".gm-versus")).to_have_count(0)
    expect(page.locator(".gm-rows tbody tr")).to_have_count(16)
    fill(page, "compare-draw", seed=7)
    run(page, "compare-draw", f"{len(MNIST)} entries in")
    shared = page.locator(".gm-rows-shared")
    expect(shared).to_have_text("the very same 784 numbers")
    begins = {name: zoo.beginnings(zoo.load(name, judged), [7, 8]) for name in MNIST}
    group = [name for name in MNIST if begins[name] is not None and begins[name][0].numel() == 784]
    assert set(group) == {"glow-mnist", "diffusion-mnist", "flowmap-mnist"}
    assert shared.get_attribute("colspan") == str(len(group) + 1)
    row = page.locator(".gm-rows tbody tr[data-seed='8']")
    assert row.locator("td.gm-rows-sample").evaluate_all("all => all.map((one) => one.dataset.entry)")[:3] == group
    noise = pixels(page, ".gm-rows tr[data-seed='8'] td.gm-rows-noise >> nth=0 >> canvas")[..., 0].astype(int)
    expected = (begins["glow-mnist"][1].view(28, 28).numpy() / 3 * 127.5 + 127.5).clip(0, 255)
    assert abs(noise - expected).max() <= 1
    model = zoo.load("flowmap-mnist", judged)
    *_, frame = zoo.sample(model, 7, 16)
    here = pixels(page, ".gm-rows tr[data-seed='8'] td[data-entry='flowmap-mnist'] canvas")
    assert abs(here.astype(int) - as_shown(frame.x[1], model)).max() <= 1
    page.get_by_role("button", name="Entry by entry").click()
    shows(page, "gan-mnist", 7)


def test_models_that_begin_with_the_same_numbers_are_one_group_whatever_their_shape():
    one, other = torch.randn(2, 12), torch.randn(2, 12)
    begun = {"a": None, "b": one, "c": other, "d": one.view(2, 3, 4), "e": None}
    assert zoo.shared(begun) == [["b", "d"], ["c"], ["a"], ["e"]]
