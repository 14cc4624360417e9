"""The Sample panel of each family in a real browser, and what surrounds every panel: keys, theme, narrow screens."""

from __future__ import annotations

import io
import json
import re
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect
from ui_steps import as_shown, fill, go, pixels, run

from gen_models import render, zoo

THEME = Path(__file__).resolve().parents[2] / "gen_models" / "ui" / "static" / "theme.css"
FAMILIES = {"vae": "vae-mnist", "gan": "gan-mnist", "diffusion": "diffusion-mnist"}


def last_frame(entry, shelf, seed, n, **values):
    model = zoo.load(entry, shelf)
    *_, frame = zoo.sample(model, seed, n, **values)
    return model, frame.x


@pytest.mark.parametrize("family", FAMILIES)
def test_the_preview_stands_there_before_anything_runs(page, page_shelf, family):
    go(page, family, "sample")
    tiles = page.locator(f"#{family}-sample-view .gm-tile")
    expect(tiles).to_have_count(16)
    model, x = last_frame(FAMILIES[family], page_shelf, 0, 16)
    expect(tiles.nth(5)).to_have_attribute("aria-label", re.compile(f"^{FAMILIES[family]}, seed 5"))
    np.testing.assert_array_equal(
        pixels(page, f"#{family}-sample-view .gm-tile >> nth=5 >> canvas"), as_shown(x[5], model)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_shown_is_what_the_model_samples(page, page_shelf, family):
    go(page, family, "sample")
    fill(page, f"{family}-sample", n=4, seed=7)
    run(page, f"{family}-sample", "seeds 7 to 10")
    expect(page.locator(f"#{family}-sample-view .gm-tile")).to_have_count(4)
    model, x = last_frame(FAMILIES[family], page_shelf, 7, 4)
    for k in range(4):
        shown = pixels(page, f"#{family}-sample-view .gm-tile >> nth={k} >> canvas")
        assert abs(shown.astype(int) - as_shown(x[k], model)).max() <= 1  # the last bit of a float may round either way
    assert page.input_value(f"#{family}-sample-seed") == "7"


@pytest.mark.parametrize("family", FAMILIES)
def test_points_are_drawn_over_real_ones(page, family):
    entry = f"{family}-8gaussians"
    go(page, family, "sample", entry)
    fill(page, f"{family}-sample", n=200, seed=3)
    run(page, f"{family}-sample", "200 points")
    cloud = page.locator(f"#{family}-sample-view canvas")
    expect(cloud).to_have_attribute("aria-label", re.compile(f"200 points of {entry}, seed 3"))
    drawn = pixels(page, f"#{family}-sample-view canvas").reshape(-1, 3).astype(int)
    seen = {tuple(c) for c in drawn}
    assert any(g > r + 40 and g > b for r, g, b in seen), "no real points in green"
    assert any(b > g + 40 and r > g for r, g, b in seen), "no generated points in violet"


def test_a_class_is_asked_for_by_name(page, page_shelf):
    go(page, "gan", "sample")
    fill(page, "gan-sample", n=2, seed=1, label="3")
    run(page, "gan-sample", "seeds 1 to 2")
    model, x = last_frame("gan-mnist", page_shelf, 1, 2, label="3")
    np.testing.assert_allclose(
        pixels(page, "#gan-sample-view .gm-tile >> nth=1 >> canvas").astype(int), as_shown(x[1], model), atol=1
    )


def test_stop_keeps_what_there_is(page):
    go(page, "diffusion", "sample")
    fill(page, "diffusion-sample", n=64, steps=200)
    page.click("#diffusion-sample-run")
    expect(page.locator("#diffusion-sample-message")).to_contain_text(re.compile(r"step [1-9]\d* of 200, .* left"))
    page.keyboard.press("Escape")
    expect(page.locator("#diffusion-sample-message")).to_contain_text(re.compile(r"stopped at step \d+ of 200"))
    expect(page.locator("#diffusion-sample-run")).to_be_visible()
    expect(page.locator("#diffusion-sample-view .gm-tile")).to_have_count(64)


def test_what_is_typed_during_a_run_stays(page):
    go(page, "diffusion", "sample")
    fill(page, "diffusion-sample", n=64, steps=100)
    page.click("#diffusion-sample-run")
    expect(page.locator("#diffusion-sample-message")).to_contain_text(re.compile(r"step \d+ of 100"))
    fill(page, "diffusion-sample", seed=99999999999)
    page.click("#diffusion-sample-stop")
    run(page, "diffusion-sample", "seed is a whole number from 0 to")
    assert page.input_value("#diffusion-sample-seed") == "99999999999"


def test_the_form_follows_an_entry_picked_from_another_panel(page):
    go(page, "vae", "sample")
    fill(page, "vae-sample", n=60, seed=4)
    go(page, "vae", "latent", "vae-mnist")
    page.click("[data-entry='vae-8gaussians']")
    expect(page.locator("#vae-sample-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#vae-sample-n")).to_have_value("1000")
    assert page.input_value("#vae-sample-seed") == "4"
    run(page, "vae-sample", "1000 points")


def test_the_seed_is_drawn_before_the_run_and_can_be_used_again(page):
    go(page, "vae", "sample")
    last = page.locator("#vae-sample-last")
    expect(last).to_be_disabled()
    expect(last).to_have_attribute("title", "nothing has been run yet")
    fill(page, "vae-sample", n=1, seed="")
    run(page, "vae-sample", re.compile(r"seed \d+"))
    drawn = int(page.input_value("#vae-sample-seed"))
    assert 0 <= drawn < 2**32
    expect(page.locator("#vae-sample-message")).to_contain_text(f"seed {drawn}")
    page.click("#vae-sample-dice")
    assert int(page.input_value("#vae-sample-seed")) != drawn
    page.click("#vae-sample-last")
    assert int(page.input_value("#vae-sample-seed")) == drawn


@pytest.mark.parametrize(("name", "value"), [("seed", 2**32), ("seed", -1), ("n", 65), ("temperature", 9)])
def test_bad_values_get_a_message_and_nothing_is_lost(page, name, value):
    go(page, "vae", "sample")
    fill(page, "vae-sample", n=2, seed=5)
    run(page, "vae-sample", "seeds 5 to 6")
    before = pixels(page, "#vae-sample-view .gm-tile >> nth=1 >> canvas")
    fill(page, "vae-sample", **{name: value})
    run(page, "vae-sample", re.compile(rf"{name} is a .*number from .*; got"))
    expect(page.locator("#vae-sample-message [role=alert]")).to_be_visible()
    np.testing.assert_array_equal(pixels(page, "#vae-sample-view .gm-tile >> nth=1 >> canvas"), before)


def test_a_sample_is_taken_and_put_back(page):
    go(page, "gan", "sample")
    tile = page.locator("#gan-sample-view .gm-tile").nth(12)
    tile.click()
    expect(tile).to_have_attribute("aria-pressed", "true")
    taken = page.evaluate("gm.takenOf.gan.items()")
    assert [(t["entry"], t["seed"], t["label"]) for t in taken] == [("gan-mnist", 12, 2)]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#gan-taken")).to_contain_text("seed 13")
    page.click("#gan-taken button[aria-label='remove seed 12']")
    expect(tile).to_have_attribute("aria-pressed", "false")
    assert [t["seed"] for t in page.evaluate("gm.takenOf.gan.items()")] == [13]


def test_png_holds_its_recipe_and_restores_the_controls(page):
    go(page, "diffusion", "sample")
    fill(page, "diffusion-sample", n=3, seed=21, steps=4, label="8")
    run(page, "diffusion-sample", "seeds 21 to 23")
    with page.expect_download() as download:
        page.click("#diffusion-sample-png")
    path = download.value.path()
    recipe = json.loads(Image.open(path).text["parameters"])
    assert {k: recipe[k] for k in ("entry", "seed", "n", "label", "steps")} == {
        "entry": "diffusion-mnist", "seed": 21, "n": 3, "label": "8", "steps": 4}  # fmt: skip
    page.reload()
    page.wait_for_selector(".gm-strip")
    page.set_input_files("#recipe-file", {"name": "saved.png", "mimeType": "image/png", "buffer": path.read_bytes()})
    expect(page.locator(".gm-said")).to_contain_text("Restored from saved.png")
    for name, value in {"n": "3", "seed": "21", "steps": "4"}.items():
        assert page.input_value(f"#diffusion-sample-{name}") == value
    assert page.evaluate("gm.forms['diffusion-sample'].value().label") == "8"


def test_a_file_without_a_recipe_says_so(page):
    page.set_input_files("#recipe-file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"only words"})
    expect(page.locator(".gm-said")).to_contain_text("notes.png holds no recipe")


def test_zip_has_every_sample_with_a_recipe_of_its_own(page, page_shelf):
    go(page, "gan", "sample")
    fill(page, "gan-sample", n=3, seed=40)
    run(page, "gan-sample", "seeds 40 to 42")
    with page.expect_download() as download:
        page.click("#gan-sample-zip")
    archive = zipfile.ZipFile(download.value.path())
    names = sorted(archive.namelist())
    assert names == ["gan-mnist-seed40-0.png", "gan-mnist-seed41-1.png", "gan-mnist-seed42-2.png"]
    recipe = render.recipe_of(archive.read(names[2]))
    assert (recipe["seed"], recipe["n"], recipe["label"]) == (42, 1, "2")
    model, x = last_frame("gan-mnist", page_shelf, 42, 1, label="2")  # sample k alone is sample k of the batch
    saved = np.asarray(Image.open(io.BytesIO(archive.read(names[2]))).convert("RGB")).astype(int)
    np.testing.assert_allclose(saved, as_shown(x[0], model), atol=1)


def test_saving_before_anything_ran_says_what_to_do(page):
    go(page, "vae", "sample")
    page.click("#vae-sample-png")
    expect(page.locator("#vae-sample-message [role=alert]")).to_contain_text("press Generate")


# ---- the API ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(app_url):
    client = Client(app_url, verbose=False)
    yield client
    client.close()


def test_the_api_samples(client):
    value, _ = client.predict("diffusion-mnist", {"n": 2, "seed": 9, "steps": 3}, api_name="/diffusion_sample")
    assert (value["entry"], value["seed"], value["count"], value["step"]) == ("diffusion-mnist", 9, 2, [3, 3])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 100_000}, r"steps is a whole number from 1 to 200"),
        ({"seed": 2**32}, r"seed is a whole number"),
        ({"seed": 2**32 - 1, "n": 2}, r"seed is a whole number"),
        ({"n": 2.5}, r"n is a whole number"),
        ({"guidance": "much"}, r"guidance is a number"),
        ({"label": "eleven"}, r"label is one of any, 0"),
        ({"colour": 1}, r"Unknown setting colour"),
        ("steps", r"settings is an object"),
    ],
)
def test_the_api_refuses_with_a_reason(client, settings, says):
    with pytest.raises(AppError, match=says):
        client.predict("diffusion-mnist", settings, api_name="/diffusion_sample")


def test_the_api_names_the_entries_it_knows(client):
    with pytest.raises(AppError, match=rf"There is no entry 'nobody'; choose one of {next(iter(zoo.ZOO))}"):
        client.predict("nobody", {}, api_name="/vae_sample")


def test_an_entry_without_checkpoint_says_how_to_get_one(client):
    with pytest.raises(AppError, match=r"python -m gen_models train wgan-gp-fashion"):
        client.predict("wgan-gp-fashion", {}, api_name="/gan_sample")


# ---- around the panels --------------------------------------------------------------------------------------------


def test_an_entry_without_checkpoint_is_there_disabled_with_its_reason(page):
    go(page, "gan", "sample")
    card = page.locator("#gan-entries [data-entry='wgan-gp-fashion']")
    expect(card).to_be_disabled()
    expect(card).to_contain_text("python -m gen_models train wgan-gp-fashion")


def test_a_panel_gives_way_when_the_entry_cannot_have_it(page):
    go(page, "vae", "latent")
    page.click("[data-entry='vae-8gaussians']")
    expect(page.locator("#vae-sample-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#vae-latent-button")).to_have_attribute("title", re.compile("for pictures"))
    expect(page.locator("#vae-latent-button")).to_be_disabled()


def test_keys_run_the_visible_panel_but_never_from_a_field(page):
    go(page, "vae", "sample")
    fill(page, "vae-sample", n=1, seed=77)
    page.focus("#vae-sample-seed")
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(400)
    expect(page.locator("#vae-sample-message")).to_have_text("")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vae-sample-message")).to_contain_text("seed 77")


def test_sliders_reset_and_are_grey_when_unchanged(page):
    go(page, "vae", "sample")
    reset = page.get_by_role("button", name="reset Temperature")
    expect(reset).to_be_disabled()
    page.locator("#vae-sample-form input[type=range]").evaluate(
        "node => { node.value = 0; node.dispatchEvent(new Event('input')); }"
    )
    assert page.input_value("#vae-sample-temperature") == "0"
    reset.click()
    assert page.input_value("#vae-sample-temperature") == "1"
    expect(reset).to_be_disabled()


@pytest.mark.parametrize(("family", "dark"), list(product(FAMILIES, (False, True))))
def test_a_narrow_screen_scrolls_down_only(open_page, family, dark):
    page = open_page(390, 844, dark=dark)
    go(page, family, "sample")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.body.classList.contains('dark')") is dark


def test_the_theme_switches_and_is_remembered(page):
    page.click("#theme")
    assert page.evaluate("document.body.classList.contains('dark')")
    page.reload()
    page.wait_for_selector(".gm-strip")
    assert page.evaluate("document.body.classList.contains('dark')")
    expect(page.locator("#theme")).to_have_text("Light")


def test_nothing_is_fetched_from_another_host(open_page, app_url, browser):
    page = open_page()
    hosts = page.evaluate("[...new Set(performance.getEntriesByType('resource').map((e) => new URL(e.name).origin))]")
    assert all(app_url.startswith(host) for host in hosts if host.startswith("http")), hosts


def test_the_words_of_the_family_show_their_formula(page):
    go(page, "vae", "sample")
    page.click(".gm-words .label-wrap >> visible=true")
    expect(page.locator("#vae-words .katex").first).to_be_visible()


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [r":root[^{]*\{", r"\n\.dark[^{]*\{"])
def test_text_colours_reach_aa_contrast(theme):
    css = THEME.read_text()
    block = re.search(theme + r"([^}]*)\}", css).group(1)
    colours = dict(re.findall(r"--gm-([a-z-]+): (#[0-9a-f]{6})", block))
    for name, ground in product(("ink", "muted", "real", "generated", "latent", "accent"), ("card", "ground")):
        light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
    pair = sorted((luminance(colours["primary"]), luminance(colours["primary-ink"])))
    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 7
