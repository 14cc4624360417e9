"""The Arena in a real browser: own points, models trained side by side, steered, scrubbed, taken away, broken."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from ui_steps import PATIENCE, pixels

from gen_models import data, zoo
from gen_models.models.gan import GAN
from gen_models.models.vae import VAE
from gen_models.ui.arena.lessons import LESSONS

VIEW = ".gm-arena"
LONG = 8 * PATIENCE  # a contest, and its figures
QUICK = ("VAE", "GAN")


# ---- what the tests do again and again --------------------------------------------------------------------------


def opened(page: Page) -> None:
    page.click("#family-arena-button")
    page.wait_for_function("() => gm.forms['arena-run']?.ready")
    expect(page.locator(f"{VIEW} .gm-arena-cell").first).to_be_visible()


def compete(page: Page, *models: str, steps: int) -> None:
    """Chooses exactly these models and a budget in steps."""
    chips = page.locator("#arena-run-families button")
    for on in (True, False):
        for chip in chips.all():
            wanted = chip.get_attribute("data-choice") in models
            if wanted == on and chip.get_attribute("aria-pressed") == str(not on).lower():
                chip.click()
    page.select_option("#arena-run-unit", label="steps")
    page.fill("#arena-run-budget", str(steps))


def reaches(page: Page, condition: str) -> None:
    """Waits until the stage's data, `at`, makes a condition true."""
    page.wait_for_function(
        f"() => {{ const at = document.querySelector('{VIEW}').dataset; return {condition}; }}", timeout=LONG
    )


def ended(page: Page, phase: str = "done") -> None:
    reaches(page, f"at.phase === '{phase}'")
    expect(page.locator("#arena-run-run")).to_be_visible(timeout=LONG)


def train(page: Page, *models: str, steps: int = 12) -> None:
    compete(page, *models, steps=steps)
    page.click("#arena-run-run")
    ended(page)


def now(page: Page) -> dict[str, str]:
    return page.locator(VIEW).evaluate("node => ({ ...node.dataset })")


def titles(page: Page) -> list[str]:
    return page.locator("#arena-table tbody th").all_inner_texts()


def cell(page: Page, row: str, column: str) -> str:
    """A figure of the table as it is shown, without its error."""
    at = page.locator("#arena-table thead th").evaluate_all("all => all.map((one) => one.dataset.key)").index(column)
    return page.locator(f"#arena-table tr[data-key='{row}'] > *").nth(at).inner_text().split("\n")[0]


def canvas(model: str) -> str:
    return f"{VIEW} .gm-arena-cell[data-key='{model}'] canvas"


def part(page: Page, model: str, name: str) -> Locator:
    """The brief figures, or the step, below a model's picture."""
    return page.locator(f"{VIEW} .gm-arena-cell[data-key='{model}'] .gm-arena-{name}")


def stroke(page: Page, y: float, start: float, end: float, steps: int) -> None:
    """Drags over the pad; places are shares of its sides."""
    box = page.locator("#arena-data .gm-points .gm-points-canvas").bounding_box()
    page.mouse.move(box["x"] + start * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + y * box["height"], steps=steps)
    page.mouse.up()


# ---- points of one's own ----------------------------------------------------------------------------------------


def test_points_are_drawn_four_families_learn_them_and_the_table_is_read(page):
    opened(page)
    page.click("#arena-draw")
    expect(page.locator("#arena-data-set")).to_have_value("own-points")
    for y in (0.3, 0.7):
        stroke(page, y, 0.2, 0.8, 30)
    count = int(re.match(r"\d+", page.inner_text("#arena-data-hint")).group())
    assert count > 200
    train(page, "VAE", "GAN", "WGANGP", "FlowMatching")

    names = ["VAE", "GAN, non-saturating", "WGAN-GP", "Flow matching"]
    assert page.locator(f"{VIEW} .gm-arena-cell header b").all_inner_texts() == names
    assert titles(page)[:4] == names
    assert cell(page, "VAE", "nll").startswith("≤ ")
    assert np.isfinite(float(cell(page, "FlowMatching", "nll")))
    assert cell(page, "GAN", "nll") == cell(page, "WGANGP", "nll") == "—"
    expect(part(page, "GAN", "brief")).to_contain_text("no likelihood")
    for name, model in (("VAE", VAE), ("GAN", GAN)):
        built = zoo.build(zoo.live(model, data.space_of("8gaussians")), 0)
        assert cell(page, name, "parameters") == f"{sum(p.numel() for p in built.parameters()):,}"
        assert cell(page, name, "steps") == "12"
        assert len(np.unique(pixels(page, canvas(name)).reshape(-1, 3), axis=0)) > 20
    assert "your own points" in page.inner_text(f"{VIEW} .gm-arena-note")
    expect(page.locator("#arena-run-message")).to_contain_text("4 trained and measured")


def test_fewer_than_fifty_points_are_counted_and_refused(page):
    opened(page)
    page.click("#arena-draw")
    expect(page.locator("#arena-data-hint")).to_contain_text("at least 50")
    stroke(page, 0.5, 0.4, 0.5, 3)
    expect(page.locator("#arena-data-hint")).to_contain_text(re.compile(r"^\d+ points; at least 50 are needed"))
    page.click("#arena-run-run")
    expect(page.locator("#arena-run-message")).to_contain_text("At least 50 points are needed", timeout=PATIENCE)
    expect(page.locator("#arena-run-run")).to_be_visible()
    page.click("#arena-points-undo")
    expect(page.locator("#arena-data-hint")).to_contain_text("Draw at least 50")


def test_a_file_of_points_is_shown_and_a_wrong_one_says_what_is_wrong(page):
    opened(page)
    rows = "\n".join(f"{k % 7 - 3},{k % 5 - 2}" for k in range(70))
    for content, says in ((rows + "\n1,cat", "'cat' is not a number"), ("1,2\n" * 70, "in one place")):
        page.set_input_files("#arena-csv-input", {"name": "p.csv", "mimeType": "text/csv", "buffer": content.encode()})
        expect(page.locator("#arena-data-wrong")).to_contain_text(says)
    page.set_input_files("#arena-csv-input", {"name": "p.csv", "mimeType": "text/csv", "buffer": rows.encode()})
    expect(page.locator("#arena-data-hint")).to_have_text("70 points")
    expect(page.locator("#arena-data-wrong")).to_be_hidden()
    page.wait_for_function("() => gm.arenaMemory.real !== null")  # they stand behind the cells that are still empty
    assert len(np.unique(pixels(page, canvas("VAE")).reshape(-1, 3), axis=0)) > 1


# ---- steering ---------------------------------------------------------------------------------------------------


def test_pause_stands_still_step_goes_on_by_one_and_stop_keeps_what_there_is(page):
    opened(page)
    compete(page, *QUICK, steps=900_000)
    page.click("#arena-run-run")
    reaches(page, "at.phase === 'training' && at.tick > 2")
    page.click("#arena-pause")
    reaches(page, "at.phase === 'paused'")
    page.wait_for_timeout(300)  # what was on its way when it paused
    still = now(page)
    page.wait_for_timeout(700)
    assert now(page) == still
    steps = [int(part(page, name, "step").inner_text().split()[-1].replace(",", "")) for name in QUICK]
    page.click("#arena-step")
    reaches(page, f"at.tick > {still['tick']}")
    for name, before in zip(QUICK, steps, strict=True):
        expect(part(page, name, "step")).to_have_text(f"step {before + 1:,}")
    expect(page.locator("#arena-pause")).to_be_disabled()
    page.locator(f"{VIEW} .gm-arena-told").click()
    page.keyboard.press("Space")
    reaches(page, "at.phase === 'training'")
    page.select_option("#arena-speed", label="1/10")
    reaches(page, f"at.tick > {int(now(page)['tick']) + 1}")
    page.click("#arena-reset")
    ended(page, "stopped")
    assert len(titles(page)) == 3
    page.click("#arena-reset")
    expect(page.locator("#arena-status")).to_have_text("not trained yet")
    expect(page.locator("#arena-table")).to_have_count(0)


def test_training_time_is_scrubbed_and_leaving_the_tab_loses_nothing(page):
    opened(page)
    train(page, *QUICK, steps=40)
    last, seen = {name: pixels(page, canvas(name)) for name in QUICK}, now(page)["frames"]
    brief = part(page, "VAE", "brief").inner_text()
    expect(page.locator("#arena-status")).to_have_text("step 40 of 40")
    page.locator("#arena-time").focus()
    page.keyboard.press("Home")
    reaches(page, "Number(at.at) < 40")
    first = page.inner_text("#arena-status")
    assert first != "step 40 of 40"
    assert part(page, "VAE", "brief").inner_text() != brief
    for name in QUICK:
        assert (pixels(page, canvas(name)) != last[name]).any()
    page.click("#family-vae-button")
    opened(page)
    expect(page.locator("#arena-status")).to_have_text(first)
    assert now(page)["frames"] == seen
    page.click("#arena-play")  # the film, to its end
    expect(page.locator("#arena-status")).to_have_text("step 40 of 40", timeout=LONG)
    expect(page.locator("#arena-play")).to_be_enabled(timeout=LONG)
    for name in QUICK:
        assert (pixels(page, canvas(name)) == last[name]).all()


def test_a_layer_is_taken_away_and_brought_back(page):
    opened(page)
    train(page, "GAN")
    whole = pixels(page, canvas("GAN"))
    page.click("[data-layer=critic]")
    assert (pixels(page, canvas("GAN")) != whole).any()
    page.click("[data-layer=critic]")
    assert (pixels(page, canvas("GAN")) == whole).all()


# ---- the table and what is taken away ---------------------------------------------------------------------------


def test_the_table_sorts_and_is_taken_away_as_csv_and_as_a_slide(page):
    opened(page)
    expect(page.locator("#arena-csv")).to_be_disabled()
    expect(page.locator("#arena-csv")).to_have_attribute("title", re.compile("once the models are trained"))
    train(page, "VAE", "GAN", "WGANGP")
    models = titles(page)[:3]
    head = page.locator("#arena-table th[data-key='energy']")
    orders = []
    for order in ("ascending", "descending"):  # lower is better: the best comes first
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", order)
        orders.append(titles(page))
        rows = page.locator("#arena-table tbody").first.locator("tr")
        keys = rows.evaluate_all("all => all.map((row) => row.dataset.key)")
        values = [float(cell(page, key, "energy")) for key in keys]
        assert values == sorted(values, reverse=order == "descending")
    assert orders[0][:3] == orders[1][2::-1]
    assert orders[0][3:] == orders[1][3:]  # control rows stay below
    assert sorted(orders[0][:3]) == sorted(models)

    with page.expect_download() as download:
        page.click("#arena-csv")
    assert download.value.suggested_filename == "gen_models-arena-8gaussians.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["model"] for row in rows] == orders[1]
    assert [row["control"] for row in rows] == ["no"] * 3 + ["yes"] * (len(rows) - 3)
    assert all(np.isfinite(float(row["energy distance"])) for row in rows)

    with page.expect_download() as download:
        page.click("#arena-picture")
    assert download.value.suggested_filename == "gen_models-arena-8gaussians.png"
    slide = Image.open(download.value.path())
    assert slide.size == (1920, 1080)
    found = {tuple(color) for color in np.unique(np.asarray(slide.convert("RGB")).reshape(-1, 3), axis=0)}
    assert {(0xFB, 0xFB, 0xFA), (0xFF, 0xFF, 0xFF), (0x1B, 0x1D, 0x22), (0x00, 0x80, 0x5C)} <= found


# ---- lessons and abilities --------------------------------------------------------------------------------------


def test_a_lesson_runs_and_the_next_button_is_its_fix(page):
    opened(page)
    lesson = LESSONS["posterior"] if "posterior" in LESSONS else next(iter(LESSONS.values()))
    compete(page, *QUICK, steps=12)
    page.click("#arena-lessons summary")
    item = page.locator(f"#arena-lessons [data-lesson='{lesson.key}']")
    expect(item).to_contain_text(lesson.words)
    item.click()
    banner = page.locator(f"{VIEW} .gm-arena-lesson")
    expect(banner).to_contain_text(lesson.words, timeout=LONG)
    ended(page)
    expect(page.locator(f"{VIEW} .gm-arena-cell")).to_have_count(1)
    assert page.evaluate("gm.forms['arena-run'].value().lesson") == ""
    page.click("#arena-fix")
    expect(page.locator(f"{VIEW} .gm-arena-cell")).to_have_count(2, timeout=LONG)
    expect(banner).to_contain_text(lesson.fix)
    page.click("#arena-break")  # while the fixed one still trains: it is stopped first
    expect(page.locator(f"{VIEW} .gm-arena-cell")).to_have_count(1, timeout=LONG)
    ended(page)
    train(page, *QUICK)
    expect(banner).to_be_hidden()


def test_an_ability_opens_its_panel_and_a_missing_one_says_why(page):
    opened(page)
    cannot = page.locator(".gm-arena-cannot[data-row='gan'][data-column='exact']")
    cannot.click()
    expect(page.locator("#arena-matrix-told")).to_contain_text(cannot.get_attribute("title").split(": ")[-1])
    page.click(".gm-arena-can[data-row='vae'][data-column='interpolate']")
    expect(page.locator("#vae-interpolate-button")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#vae-interpolate")).to_be_visible()
    assert "tab=vae" in page.url


# ---- narrow -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(open_page, dark):
    page = open_page(390, 844, dark=dark)
    opened(page)

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for box in (
            one.bounding_box()
            for one in page.locator(f"{VIEW} button:visible, {VIEW} canvas, #arena-data button:visible").all()
        ):
            if box is not None and box["y"] < page.locator(f"{VIEW} .gm-arena-time").bounding_box()["y"]:
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= 390

    fits()
    page.click("#arena-lessons summary")
    fits()
    page.keyboard.press("Escape")
    page.click("#arena-draw")
    fits()
    page.select_option("#arena-data-set", "moons")
    train(page, *QUICK)
    fits()
