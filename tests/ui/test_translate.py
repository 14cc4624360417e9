"""The Translate panel: what is on screen is the model's, noise uncovers what is hidden, true twins stand beside."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from toys import fake_domains, put_on_shelf, small
from ui_steps import go, pixels

from gen_models import data, metrics, render, zoo
from gen_models.interface import BadInput, Space, Translates
from gen_models.ui import pad, trips
from gen_models.ui.panels import sources, translate
from gen_models.ui.tabs import Tab
from gen_models.ui.visits import Picked, Visit

FAMILY, ENTRY, FORM = "cyclegan", "cyclegan-emoji", "cyclegan-translate"
VIEW = f"#{FORM}-view .gm-translate"
SPACE = Space("image", (3, 16, 16), domains=("cats", "dogs"))


def shown(page: Page, words: str) -> None:
    expect(page.locator(VIEW)).to_have_attribute("data-shown", f"{ENTRY} {words}")


def near(page: Page, key: str, x: torch.Tensor, space: Space) -> bool:
    """Whether the picture `key` of the page is x (1, C, H, W), but for rounding."""
    wanted = np.asarray(render.picture(x[0], space).convert("RGB")).astype(int)
    return int(abs(pixels(page, f"#{FORM}-{key}").astype(int) - wanted).max()) <= 1


def opened(page: Page) -> None:
    go(page, FAMILY, "translate", ENTRY)
    shown(page, "example 0 to B noise 0")


def trip_of(shelf: zoo.Shelf, row: int, to: str, noise: float) -> trips.Trip:
    test = data.load("emoji").split("test")
    x, twin = (part[row : row + 1] for part in ((test.x, test.other) if to == "B" else (test.other, test.x)))
    return trips.there_and_back(zoo.load(ENTRY, shelf), x, to, noise, twin, translate.LEVELS)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_held_out_picture_goes_there_and_back_and_noise_is_felt_at_once(page, page_shelf):
    opened(page)
    space, trip = zoo.ZOO[ENTRY].where, trip_of(page_shelf, 0, "B", 0.5)
    for key, x in (("source", trip.x), ("translation", trip.y), ("back", trip.back), ("twin", trip.twin)):
        assert near(page, key, x, space)
    numbers = page.locator(f"#{FORM}-numbers")
    (ssim,) = metrics.ssim((trip.y + 1) / 2, (trip.twin + 1) / 2).tolist()
    expect(numbers).to_contain_text(f"SSIM {ssim:.3f}")
    expect(numbers).to_contain_text(f"L1 {trips.error(trip.y, trip.twin)[0]:.3f}")
    curve = ", ".join(f"{level:g}: {error:.3f}" for level, error, _ in trip.curve)
    expect(page.locator(f"#{FORM}-curve")).to_have_attribute("aria-label", f"cycle error over noise: {curve}")
    page.locator(f"#{FORM}-noise-bar").focus()
    page.keyboard.press("End")
    shown(page, "example 0 to B noise 0.5")
    assert near(page, "noisy", trip.noisy, space)
    assert near(page, "again", trip.again, space)
    assert near(page, "back", trip.back, space)
    expect(page.locator(f"#{FORM}-words")).to_contain_text(f"makes it {trip.noisy_cycle:.3f}")
    page.click(f"#{FORM}-noise-reset")
    shown(page, "example 0 to B noise 0")


def test_the_other_direction_and_another_example(page, page_shelf):
    opened(page)
    page.click(f"#{FORM}-to-A")
    shown(page, "example 0 to A noise 0")
    page.fill(f"#{FORM}-index", "7")
    page.keyboard.press("Enter")
    shown(page, "example 7 to A noise 0")
    trip = trip_of(page_shelf, 7, "A", 0.0)
    assert near(page, "translation", trip.y, zoo.ZOO[ENTRY].where)
    assert near(page, "back", trip.back, zoo.ZOO[ENTRY].where)
    page.fill(f"#{FORM}-index", "99999")
    page.keyboard.press("Enter")
    shown(page, f"example {len(data.load('emoji').split('test').x) - 1} to A noise 0")


def test_examples_are_shuffled_by_a_seed_and_taken_up_with_a_click(page):
    opened(page)
    tiles, order = page.locator(f"#{FORM}-items .gm-trans-item"), f"#{FORM}-items"
    expect(page.locator(order)).to_have_attribute("data-page", "B 0 0")
    first = tiles.evaluate_all("nodes => nodes.map((node) => node.dataset.index)")
    assert len(set(first)) == 8
    page.click(f"#{FORM}-shuffle")
    expect(page.locator(order)).not_to_have_attribute("data-page", "B 0 0")
    assert tiles.evaluate_all("nodes => nodes.map((node) => node.dataset.index)") != first
    page.fill(f"#{FORM}-seed-box", "0")
    page.keyboard.press("Enter")
    expect(page.locator(order)).to_have_attribute("data-page", "B 0 0")
    assert tiles.evaluate_all("nodes => nodes.map((node) => node.dataset.index)") == first
    page.click(f"#{FORM}-next")
    expect(page.locator(f"#{FORM}-place")).to_contain_text("page 2 of")
    tile = tiles.nth(3)
    tile.click()
    shown(page, f"example {tile.get_attribute('data-index')} to B noise 0")
    expect(tile).to_have_attribute("aria-pressed", "true")


def test_a_drawing_in_colour_and_odd_files_are_translated_and_a_broken_one_is_named(page, page_shelf):
    opened(page)
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    page.click(f"#{FORM}-pad-ink-red")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    shown(page, "your drawing to B noise 0")
    drawn = pixels(page, f"#{FORM}-source")
    assert tuple(drawn[0, 0]) == (255, 255, 255)
    assert tuple(drawn[17, 14]) == tuple(bytes.fromhex(dict(pad.INKS)["red"][1:]))
    expect(page.locator(f"#{FORM}-view")).to_contain_text("no twin is known")
    moving, printed = io.BytesIO(), io.BytesIO()
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    Image.effect_noise((90, 50), 99).convert("CMYK").save(printed, "JPEG")
    model = zoo.load(ENTRY, page_shelf)
    for name, content in (("moves.gif", moving.getvalue()), ("print.jpg", printed.getvalue())):
        page.set_input_files(f"#{FORM}-pad-file", {"name": name, "mimeType": "image/*", "buffer": content})
        shown(page, f"{name} to B noise 0")
        assert near(page, "translation", model.translate(data.picture(content, model.space)[None], "B"), model.space)
    page.set_input_files(f"#{FORM}-pad-file", {"name": "words.png", "mimeType": "image/png", "buffer": b"words"})
    expect(page.locator(f"#{FORM}-pad-message")).to_contain_text("words.png: not a picture that can be read")
    page.click(f"#{FORM}-random")
    expect(page.locator(VIEW)).to_have_attribute("data-shown", re.compile(rf"{ENTRY} example \d+ to B"))


def test_what_is_saved_holds_its_recipe_and_opens_again(page, page_shelf, tmp_path):
    opened(page)
    page.fill(f"#{FORM}-noise-box", "0.1")
    page.keyboard.press("Enter")
    page.click(f"#{FORM}-to-A")
    page.fill(f"#{FORM}-index", "3")
    page.keyboard.press("Enter")
    shown(page, "example 3 to A noise 0.1")
    with page.expect_download() as download:
        page.click(f"#{FORM}-png")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == f"{ENTRY}-to-A-example3.png"
    recipe = render.recipe_of(path)
    wanted = {"entry": ENTRY, "panel": "translate", "to": "A", "noise": 0.1, "example": 3}
    assert wanted.items() <= recipe.items()
    assert Image.open(path).size == (8 * 224 + 7 * 8, 224)  # with the twin and what noise makes of it
    trip = trip_of(page_shelf, 3, "A", 0.1)
    strip = np.asarray(Image.open(path)).astype(int)[::7, 232 : 232 + 224 : 7]
    assert abs(strip - np.asarray(render.picture(trip.y[0], zoo.ZOO[ENTRY].where))).max() <= 1
    expect(page.locator(f"#{FORM}-items")).to_have_attribute("data-page", "A 0 0")
    with page.expect_download() as download:
        page.click(f"#{FORM}-grid-png")
    grid = download.value.path()
    assert {"to": "A", "seed": 0, "page": 0}.items() <= render.recipe_of(grid).items()
    assert Image.open(grid).size == (3 * 128 + 2 * 8, 8 * 128 + 7 * 8)
    page.click(f"#{FORM}-to-B")
    page.fill(f"#{FORM}-noise-box", "0")
    page.keyboard.press("Enter")
    page.click(f"#{FORM}-random")
    page.set_input_files("#recipe-file", path)
    shown(page, "example 3 to A noise 0.1")


def test_only_panels_that_such_a_model_can_have_are_there_and_nothing_scrolls_sideways(open_page):
    page = open_page(390, 844)
    opened(page)
    assert page.locator(f"#{FAMILY}-panels > .tab-wrapper [role=tab]:visible").all_inner_texts() == [
        "Translate",
        "Train",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("settings", "drawn", "says"),
    [
        ({"noise": 0.6}, None, "noise is a number from 0 to 0.5"),
        ({"to": "C"}, None, "to is one of B, A"),
        ({"example": 100_000}, None, "example is a whole number from 0 to"),
        ({}, {"pixels": "AAAA", "kind": "drawn"}, "32 x 32 pixels"),
        ({}, "seven", "Draw something first"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, settings, drawn, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(ENTRY, settings, drawn, api_name="/cyclegan_translate")


# ---- without a page -------------------------------------------------------------------------------------------


class Faint(torch.nn.Module, Translates):
    """To B it writes the picture so faintly that nobody sees it; the way back reads that."""

    space = SPACE
    device = torch.device("cpu")

    def translate(self, x, to):
        return x / 16 if to == "B" else (x * 16).clamp(-1, 1)


class Plain(Faint):
    """Both ways turn light into dark: nothing is hidden."""

    def translate(self, x, to):
        return -x


def test_noise_uncovers_what_is_hidden_and_only_that():
    x = torch.rand(1, *SPACE.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    hidden = trips.there_and_back(Faint(), x, "B", 0.05, levels=translate.LEVELS)
    assert hidden.cycle < 0.04  # of rounding
    assert hidden.noisy_cycle > hidden.cycle + 3 * hidden.added
    plain = trips.there_and_back(Plain(), x, "B", 0.05, levels=translate.LEVELS)
    assert plain.cycle < 0.002
    assert plain.noisy_cycle == pytest.approx(plain.cycle + plain.added, abs=0.002)
    for trip in (hidden, plain):
        assert trip.curve[0] == (0.0, trip.cycle, 0.0)
        assert trip.curve[translate.LEVELS.index(0.05)][1:] == (trip.noisy_cycle, trip.added)
        assert trip.from_twin is None


def test_a_true_twin_in_which_nothing_is_hidden_is_the_yardstick():
    x = torch.rand(1, *SPACE.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    trip = trips.there_and_back(Plain(), x, "A", 0.0, twin=x)
    assert trip.from_twin == pytest.approx(x.abs().mean().item(), rel=0.01)
    likeness = trips.likeness(trip)
    assert likeness["unchanged_l1"] == 0
    assert likeness["unchanged_ssim"] == pytest.approx(1)
    assert likeness["l1"] == pytest.approx(x.abs().mean().item(), rel=0.01)


def test_the_noise_is_the_same_every_time_and_as_strong_as_it_says():
    grey = torch.zeros(1, 3, 64, 64)
    once, stronger = trips.noised(grey, 0.05), trips.noised(grey, 0.1)
    assert torch.equal(once, trips.noised(grey, 0.05))
    assert (once / 2).std() == pytest.approx(0.05, rel=0.03)
    torch.testing.assert_close(stronger, 2 * once, atol=0.02, rtol=0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Live calls over an entry whose held-out pictures are fake: ask(call, **asked), and the visit they are kept in."""
    shelf, visit = zoo.Shelf(tmp_path / "shelf"), Visit(tmp_path)
    put_on_shelf(shelf.root / ENTRY, small(zoo.ZOO[ENTRY]))
    source = fake_domains(zoo.ZOO[ENTRY].where, 19)
    monkeypatch.setattr(translate, "TWINS", sources.Readings())
    monkeypatch.setattr(data, "load", lambda name: source)
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], shelf)
    tab = SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked))
    calls = {"look": translate._look(tab, FORM), "examples": translate._examples(tab, FORM)}

    def ask(call: str, **asked):
        while "waiting" in (answer := calls[call](visit, {"entry": ENTRY, **asked})):
            pass
        return answer

    return SimpleNamespace(ask=ask, visit=visit, source=source, picked=picked, tab=tab)


def test_the_pages_of_examples_show_every_one_once_with_its_twin(place):
    pages = [place.ask("examples", to="A", seed=5, page=page) for page in range(3)]
    assert [len(page["items"]) for page in pages] == [8, 8, 3]
    assert sorted(item["index"] for page in pages for item in page["items"]) == list(range(19))
    assert pages[0] == place.ask("examples", to="A", seed=5, page=0)
    item = pages[1]["items"][2]
    test = place.source.split("test")
    for key, x in (("source", test.other), ("twin", test.x)):
        picture = Image.open(io.BytesIO(base64.b64decode(item[key].partition(",")[2])))
        assert np.array_equal(picture, render.picture(x[item["index"]], place.picked.space))
    for wrong, says in (({"page": 3}, "page is a whole number from 0 to 2"), ({"seed": -1}, "seed"), ({"to": 7}, "7")):
        with pytest.raises(BadInput, match=says):
            place.ask("examples", **wrong)


def test_the_newest_look_is_saved_whatever_order_the_calls_end_in(place):
    with pytest.raises(BadInput, match="Nothing has been translated yet"):
        trips.row_png(FORM, place.visit)
    place.ask("look", example=2, at=20.0)
    place.ask("look", example=1, at=10.0)
    assert render.recipe_of(trips.row_png(FORM, place.visit))["example"] == 2
    whole = base64.b64encode(bytes(3 * 32 * 32)).decode()
    place.ask("look", drawn={"kind": "file", "name": "a/b .. c.png", "pixels": whole}, at=30.0)
    path = trips.row_png(FORM, place.visit)
    assert path.name == f"{ENTRY}-to-B-ab--c.png"
    assert render.recipe_of(path)["picture"] == "a/b .. c.png"
    with pytest.raises(BadInput, match=r"noise is a number from 0 to 0\.5"):
        place.ask("look", noise=float("nan"))


def test_dragging_the_noise_gives_what_a_fresh_look_gives_and_another_picture_is_looked_at_anew(place, monkeypatch):
    first = place.ask("look", example=2, noise=0.0, curve=True, key="two", at=1.0)
    fresh = place.ask("look", example=2, noise=0.3, curve=True, at=2.0)
    place.ask("look", example=2, noise=0.0, curve=True, key="two", at=3.0)
    calls = []
    monkeypatch.setattr(trips, "there_and_back", lambda *rest, **more: calls.append(rest))
    dragged = place.ask("look", example=2, noise=0.3, key="two", at=4.0)
    assert not calls
    assert dragged["again_cycle"] == pytest.approx(fresh["again_cycle"], rel=1e-4)
    assert (dragged["noisy"], dragged["added"]) == (fresh["noisy"], pytest.approx(fresh["added"]))
    assert set(dragged) < set(first)
    assert not {"source", "back", "curve"} & set(dragged)
    assert render.recipe_of(trips.row_png(FORM, place.visit))["noise"] == 0.3
    with pytest.raises(AttributeError):  # of None: it was looked at anew
        place.ask("look", example=3, noise=0.3, key="three", at=5.0)
    assert calls


def test_own_pictures_have_no_twins_and_those_of_a_lost_training_are_not_there(place, tmp_path):
    own = Picked("mine", zoo.live(zoo.ZOO[ENTRY].model, SPACE, channels=8, blocks=1), place.picked.shelf)
    put_on_shelf(own.shelf.root / "mine", own.entry)
    place.tab.visits.picked = lambda name, visit: own
    with pytest.raises(BadInput, match="not kept any more"):
        place.ask("look")
    few, more = (torch.zeros(n, *SPACE.shape, dtype=torch.uint8) for n in (2, 5))
    place.visit.kept[sources.HELD + "mine"] = few, more
    assert (place.ask("examples", to="B")["total"], place.ask("examples", to="A")["total"]) == (2, 5)
    found = place.ask("look", to="A", example=4, curve=True)
    assert (found["twin"], found["likeness"], found["from_twin"]) == (None, None, None)
    assert len(found["curve"]) == len(translate.LEVELS)


# ---- which panels a family has ------------------------------------------------------------------------------------


def test_a_family_has_what_its_entries_its_live_recipes_and_the_shelf_make_possible(shelf):
    def possible(family: str) -> set:
        visits = SimpleNamespace(bundled=shelf)
        return Tab._possible(SimpleNamespace(family=zoo.FAMILIES[family], visits=visits))

    (cycle,) = zoo.FAMILIES["cyclegan"].models
    assert possible("cyclegan") == {(cycle, "image")}
    vae = {(model.__name__, kind) for model, kind in possible("vae")}
    assert vae == {(name, kind) for name in ("VAE", "BetaVAE") for kind in ("points", "image")}
    assert not any(kind == "points" for _, kind in possible("crnngan"))
    # an entry that only the shelf has: nothing but its card says what it is of
    transformer = zoo.ZOO["transformer-names"]
    before = possible("vae")
    odd = Space("image", (1, 8, 8))
    entry = zoo.live(zoo.FAMILIES["vae"].models[0], odd)
    put_on_shelf(shelf.root / "odd", entry)
    (shelf.root / "broken").mkdir()
    (shelf.root / "broken" / "card.json").write_text("{}")
    assert possible("vae") == before
    assert (transformer.model, "text") in possible("autoregressive")
