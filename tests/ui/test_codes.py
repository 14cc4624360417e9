"""The Codes panel: the screen shows what the codes decode to, every change can be undone, the prior fills in."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from torch.testing import assert_close
from toys import FakePictures
from ui_steps import PATIENCE, as_shown, fill, go, pixels, run

from gen_models import render, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui import codebook
from gen_models.ui.panels import codes, interpolate, latent, reconstruct, sources
from gen_models.ui.visits import Picked

ENTRY, FORM, PICTURE = "vqvae-mnist", "vqvae-codes", "#vqvae-codes-picture"
VIEW = f"#{FORM}-view .gm-codes"
CELLS = 49


def model_of(shelf: zoo.Shelf):
    return zoo.load(ENTRY, shelf)


def picked_of(shelf: zoo.Shelf) -> Picked:
    return Picked(ENTRY, zoo.ZOO[ENTRY], shelf)


def sampled(shelf: zoo.Shelf, seed: int = 0, label: str = "0"):
    *_, last = zoo.sample(model_of(shelf), seed, 1, label=label)
    return last


def open_codes(page: Page) -> None:
    """The panel with its picture and codebook; without a data set that is a sample of the prior."""
    go(page, "vqvae", "codes", ENTRY)
    page.wait_for_selector(f"{VIEW} .gm-code-tile")
    expect(page.locator(VIEW)).to_have_attribute("data-changed", "0")
    page.wait_for_selector(f"{PICTURE}:visible")


def codes_of(page: Page) -> list[int]:
    return page.evaluate(f"() => gm.codeEdit('vqvae', '{ENTRY}').now().codes")


def shows(page: Page, shelf: zoo.Shelf, wanted: list[int]) -> None:
    """Waits until the page holds these codes and shows the picture that they decode to."""
    page.wait_for_function(
        f"w => gm.codeEdit('vqvae', '{ENTRY}').now().codes.join() === w", arg=",".join(map(str, wanted))
    )
    model = model_of(shelf)
    with torch.inference_mode():
        x = model.from_tokens(torch.tensor(wanted).view(1, *model.grid))
    end = time.monotonic() + PATIENCE / 1000
    while not np.array_equal(seen := pixels(page, PICTURE), as_shown(x[0], model)):
        assert time.monotonic() < end, f"the picture differs in {(seen != as_shown(x[0], model)).sum()} bytes"


def drag(page: Page, cells: list[int]) -> None:
    """Over these cells with the button held."""
    for k, cell in enumerate(cells):
        box = page.locator(f"#{FORM}-cells [data-cell='{cell}']").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        if not k:
            page.mouse.down()
    page.mouse.up()


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_cell_takes_the_code_that_is_clicked_and_gives_it_back(page, page_shelf):
    open_codes(page)
    before = sampled(page_shelf).show["tokens"].flatten().tolist()
    shows(page, page_shelf, before)
    page.click(f"#{FORM}-cells [data-cell='24']")
    other = (before[24] + 5) % 64
    page.click(f"{VIEW} .gm-code-tile[data-code='{other}']")
    after = [*before[:24], other, *before[25:]]
    shows(page, page_shelf, after)
    expect(page.locator(f"#{FORM}-cells .gm-changed")).to_have_count(1)
    expect(page.locator(f"#{FORM}-error")).to_contain_text("0.00 →")
    page.keyboard.press("Control+z")
    shows(page, page_shelf, before)
    page.keyboard.press("Control+Shift+z")
    shows(page, page_shelf, after)
    page.click(f"#{FORM}-reset")
    shows(page, page_shelf, before)


def test_cells_and_codes_answer_to_the_keyboard(page, page_shelf):
    open_codes(page)
    before = codes_of(page)
    page.focus(f"#{FORM}-cells [data-cell='0']")
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(f"#{FORM}-cell")).to_contain_text(f"row 2, column 2: code {before[8]}")
    expect(page.locator(f"{VIEW} .gm-code-tile[aria-pressed=true]")).to_have_attribute("data-code", str(before[8]))
    page.focus(f"{VIEW} .gm-code-tile[tabindex='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    chosen = int(page.locator(f"{VIEW} .gm-code-tile[aria-pressed=true]").get_attribute("data-code"))
    assert chosen != before[8]
    shows(page, page_shelf, [*before[:8], chosen, *before[9:]])


def test_one_drag_paints_an_area_and_is_one_step(page, page_shelf):
    open_codes(page)
    before = codes_of(page)
    code = min(set(range(64)) - set(before))
    page.click(f"{VIEW} .gm-code-tile[data-code='{code}']")
    assert codes_of(page) == before, "no cell was chosen, so none changes"
    page.click(f"#{FORM}-paint")
    drag(page, [14, 20])  # the mouse skips cells; the row between is covered all the same
    painted = [code if 14 <= k <= 20 else other for k, other in enumerate(before)]
    shows(page, page_shelf, painted)
    drag(page, [14])  # changes nothing, so there is nothing to undo
    drag(page, [0])
    page.click(f"#{FORM}-undo")
    shows(page, page_shelf, painted)
    page.click(f"#{FORM}-undo")
    shows(page, page_shelf, before)


def test_half_a_picture_comes_from_another(page, page_shelf):
    open_codes(page)
    before = codes_of(page)
    expect(page.locator(f"#{FORM}-mix-left")).to_have_attribute("title", "load a picture B first")
    page.click(f"#{FORM}-source-b")
    page.click(f"#{FORM}-source-seed")
    page.fill(f"#{FORM}-source-seed-number", "5")
    page.locator(f"#{FORM}-source-seed-number").blur()
    expect(page.locator(f"#{FORM}-source-message")).to_have_text("prior, seed 5 is picture B.")
    theirs = sampled(page_shelf, 5).show["tokens"].flatten().tolist()
    page.click(f"#{FORM}-mix-top")
    shows(page, page_shelf, theirs[:28] + before[28:])
    drag(page, [48])
    shows(page, page_shelf, theirs[:28] + before[28:48] + theirs[48:])


def test_the_prior_rewrites_what_is_marked_and_a_variant_is_taken_over(page, page_shelf):
    open_codes(page)
    before = codes_of(page)
    run(page, FORM, "Nothing is marked: choose the brush Mark")
    page.click(f"#{FORM}-mark")
    drag(page, [42, 48])
    expect(page.locator(VIEW)).to_have_attribute("data-marked", "7")
    fill(page, FORM, n=2, seed=11)
    run(page, FORM, "2 variants of 7 cells")
    expect(page.locator(f"#{FORM}-film .gm-player")).to_have_attribute("data-frames", "8")
    page.locator(f"#{FORM}-film .gm-cell").nth(1).click()
    tokens, known = torch.tensor(before).view(1, 7, 7), torch.arange(CELLS).view(1, 7, 7) < 42
    *_, last = model_of(page_shelf).fill(tokens, known, Noise([12]))
    assert last.show["tokens"].flatten().tolist()[:42] == before[:42]
    shows(page, page_shelf, last.show["tokens"].flatten().tolist())
    page.click(f"#{FORM}-undo")
    shows(page, page_shelf, before)


def test_a_drawing_is_written_in_codes(page, page_shelf):
    open_codes(page)
    page.click(f"#{FORM}-source-drawn")
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator(VIEW)).to_have_attribute("data-name", "your drawing")
    value = page.evaluate(f"() => gm.pads['{FORM}-pad-a'].value()")
    model = model_of(page_shelf)
    x = codes.pad.received(value, model.space)[None]
    with torch.inference_mode():
        tokens, again = model.tokens(x), model.reconstruct(x)
    shows(page, page_shelf, tokens.flatten().tolist())
    expect(page.locator(f"#{FORM}-error")).to_have_text(f"{((x - again) / 2).square().mean():#.3g}")


def test_a_saved_picture_brings_its_codes_back(page, page_shelf, tmp_path):
    open_codes(page)
    page.click(f"#{FORM}-cells [data-cell='3']")
    page.click(f"{VIEW} .gm-code-tile[data-code='9']")
    expect(page.locator(VIEW)).to_have_attribute("data-changed", "1")
    wanted = codes_of(page)
    with page.expect_download() as saved:
        page.click(f"#{FORM}-png")
    saved.value.save_as(tmp_path / "saved.png")
    recipe = render.recipe_of(tmp_path / "saved.png")
    assert recipe["entry"] == ENTRY
    assert [code for row in recipe["codes"] for code in row] == wanted
    with page.expect_download() as saved:
        page.click(f"#{FORM}-json")
    saved.value.save_as(tmp_path / "saved.json")
    assert json.loads((tmp_path / "saved.json").read_text()) == recipe
    page.click(f"#{FORM}-reset")
    page.set_input_files("#recipe-file", tmp_path / "saved.png")
    expect(page.locator(VIEW)).to_have_attribute("data-name", "prior, seed 0, as saved")
    shows(page, page_shelf, wanted)


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    open_codes(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_api_rewrites_and_refuses_what_the_page_would(app_url, page_shelf):
    client, tokens = Client(app_url, verbose=False), sampled(page_shelf, 3).show["tokens"][0].tolist()
    ones = [[1] * 7] * 7
    film, _ = client.predict(
        ENTRY, {"n": 2, "seed": 20, "label": "4"}, {"codes": tokens, "marked": ones}, api_name="/vqvae_codes"
    )
    found = [variant["codes"] for variant in film["variants"]]
    assert found == [sampled(page_shelf, seed, "4").show["tokens"][0].tolist() for seed in (20, 21)], "a fresh sample"
    for settings, edit, says in (
        ({}, {"codes": tokens, "marked": [[0] * 7] * 7}, "Nothing is marked"),
        ({}, {"entry": "vqvae-fashion", "codes": tokens, "marked": ones}, "These codes are of vqvae-fashion"),
        ({"n": 9}, {"codes": tokens, "marked": ones}, "n is a whole number from 1 to 8"),
        ({}, None, "Take a picture first"),
    ):
        with pytest.raises(AppError, match=says):
            client.predict(ENTRY, settings, edit, api_name="/vqvae_codes")


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows[:6], "are 7 x 7 codes"),
        (lambda rows: [row[:6] for row in rows], "are 7 x 7 codes"),
        (lambda rows: "codes", "are 7 x 7 codes"),
        (lambda rows: [[64, *rows[0][1:]], *rows[1:]], "from 0 to 63"),
        (lambda rows: [[-1, *rows[0][1:]], *rows[1:]], "from 0 to 63"),
        (lambda rows: [[1.5, *rows[0][1:]], *rows[1:]], "from 0 to 63"),
        (lambda rows: [[None, *rows[0][1:]], *rows[1:]], "from 0 to 63"),
    ],
)
def test_codes_that_are_none_of_this_entry_are_refused(page_shelf, spoil, says):
    rows = [[k % 64 for k in range(7)] for _ in range(7)]
    picked, model = picked_of(page_shelf), model_of(page_shelf)
    assert codebook.checked(rows, picked, model).tolist() == [rows]
    with pytest.raises(BadInput, match=says):
        codebook.checked(spoil(rows), picked, model)


def test_a_code_alone_is_the_middle_of_a_picture_full_of_it(page_shelf):
    model = model_of(page_shelf)
    found = codebook.book(model)
    assert found.patches.shape == (64, 1, 4, 4)
    assert sorted(found.order) == list(range(64))
    with torch.inference_mode():
        full = model.from_tokens(torch.full((1, 7, 7), 33))
    torch.testing.assert_close(found.patches[33], full[0, :, 12:16, 12:16], atol=1e-5, rtol=1e-4)


def test_neighbours_of_the_chain_are_close():
    x = torch.linspace(0, 1, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    assert x[codebook.chain(x[:, None])].tolist() == sorted(x.tolist())
    turn = torch.rand(60, generator=torch.Generator().manual_seed(1)) * 6
    ring = torch.stack([turn.cos(), turn.sin()], 1)
    way = ring[codebook.chain(ring)].diff(dim=0).norm(dim=1).sum()
    assert way < 1.4 * 6 < ring.diff(dim=0).norm(dim=1).sum() / 5


def test_nats_are_those_of_the_model(page_shelf):
    model = model_of(page_shelf)
    tokens = torch.randint(model.codes, (2, *model.grid), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        told = model.token_log_probs(tokens)
    assert_close(torch.tensor(codebook.nats(model, tokens)), told.float())


def test_codes_that_nobody_can_draw_have_no_sliders_and_are_walked_straight(page_shelf):
    picked, model = picked_of(page_shelf), model_of(page_shelf)
    assert "not normal" in latent.PANEL.refusal(type(model), "image")
    assert {field.option.name: field.option.default for field in interpolate._fields(picked)}["how"] == "lerp"
    z, rows = interpolate.codes(
        picked, model, [{"kind": "seed", "seed": 4}, {"kind": "taken", "seed": 5, "label": 2}], None
    )
    *_, drawn = zoo.sample(model, 4, 1, label=4)
    with torch.no_grad():
        assert_close(z[:1], model.encode(drawn.x))
    assert rows.argmax(1).tolist() == [4, 2]


def test_test_pictures_are_counted_code_by_code(page_shelf, monkeypatch):
    picked, model = picked_of(page_shelf), model_of(page_shelf)
    source = FakePictures(picked.space, 30)
    whole = ((source.x + 1) * 127.5).round().to(torch.uint8)
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    serve = codes._Serve(SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked)))
    deadline = time.monotonic() + 30
    while (found := serve.usage(None, {"entry": ENTRY})).get("pictures") != 30:
        assert time.monotonic() < deadline
    x = whole.float() / 127.5 - 1
    with torch.inference_mode():
        wanted = torch.bincount(model.tokens(x).flatten(), minlength=64)
    assert found["counts"] == wanted.tolist()
    taken = serve.take(None, {"entry": ENTRY, "source": {"test": 4}})
    with torch.inference_mode():
        assert taken["codes"] == model.tokens(x[4:5])[0].tolist()
        error = ((model.reconstruct(x[4:5]) - x[4:5]) / 2).square().mean().item()
    assert taken["name"] == "test picture 4: 4"
    seen = serve.look(None, {"entry": ENTRY, "codes": taken["codes"], "source": {"test": 4}})
    assert seen["error"] == pytest.approx(error, rel=1e-4)
    with pytest.raises(BadInput, match="test is a whole number from 0 to 29"):
        serve.take(None, {"entry": ENTRY, "source": {"test": 30}})
    file = {"kind": "file", "name": "mine.png", "pixels": base64.b64encode(whole[9].numpy().tobytes()).decode()}
    assert serve.take(None, {"entry": ENTRY, "source": {"drawn": file}})["name"] == "mine.png"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "Take a picture first"),
        ({"seed": 2**33}, "seed is a whole number"),
        ({"seed": 1, "label": "eleven"}, "There is no class 'eleven'"),
        ({"codes": [[1]]}, "are 7 x 7 codes"),
        ({"drawn": {"kind": "drawn", "pixels": "AAAA"}}, "28 x 28 pixels"),
    ],
)
def test_sources_that_are_none_say_what_to_do(page_shelf, source, says):
    picked = picked_of(page_shelf)
    serve = codes._Serve(SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked)))
    with pytest.raises(BadInput, match=says):
        serve.take(None, {"entry": ENTRY, "source": source})
