"""The Latent panel in a real browser: the picture is always what the decoder says of the position shown."""

from __future__ import annotations

import io
import json
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from toys import put_on_shelf, small
from ui_steps import as_shown, go, pixels

from gen_models import checkpoint, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui import directions as named
from gen_models.ui import page as whole_page
from gen_models.ui.panels import train
from gen_models.ui.panels.latent import CELLS, directions
from gen_models.ui.visits import Visits

MOVE = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"


def opened(page, family, entry=None):
    go(page, family, "latent", entry)
    expect(page.locator(f"#{family}-latent-view .gm-axis").first).to_be_visible()
    page.wait_for_function(f"document.getElementById('{family}-latent-picture').src")


def settled(page, family, wanted):
    """Waits until the picture on screen is the wanted one, bar the last bit."""
    shown = None
    for _ in range(60):
        shown = pixels(page, f"#{family}-latent-picture")
        if abs(shown.astype(int) - wanted).max() <= 1:
            return
        page.wait_for_timeout(50)
    np.testing.assert_allclose(shown.astype(int), wanted, atol=1)


def start(model, seed=0):
    return Noise([seed]).normal(*model.latent_shape)


def decoded(model, z, label=None):
    return as_shown(zoo.decoded(model, z, zoo.label_rows(model.labels, 1, label))[0], model)


@pytest.mark.parametrize(("family", "entry", "label"), [("vae", "vae-mnist", None), ("gan", "gan-mnist", 0)])
def test_the_picture_follows_the_slider_and_comes_back(page, page_shelf, family, entry, label):
    opened(page, family, entry)
    model = zoo.load(entry, page_shelf)
    settled(page, family, decoded(model, start(model), label))
    axis = torch.tensor(directions(model)["axes"][0]).view(1, *model.latent_shape)
    slider = page.locator(f"#{family}-latent-view [data-axis='0']")
    for value in (-2.5, 0.7, 3.0, 1.25):  # faster than answers come: the newest must win
        slider.evaluate(MOVE, value)
    settled(page, family, decoded(model, start(model) + 1.25 * axis, label))
    assert page.input_value(f"#{family}-latent-0") == "1.25"
    page.locator(f"#{family}-latent-view .gm-axis").first.get_by_role("button", name="reset").click()
    settled(page, family, decoded(model, start(model), label))


def test_sliders_snap_to_zero_and_reset_is_grey_there(page):
    opened(page, "vae", "vae-mnist")
    slider = page.locator("#vae-latent-view [data-axis='0']")
    slider.evaluate(MOVE, 1)
    reset = page.locator("#vae-latent-view .gm-axis").first.get_by_role("button", name="reset")
    expect(reset).to_be_enabled()
    slider.evaluate(MOVE, 0.05)
    assert page.input_value("#vae-latent-0") == "0.00"
    expect(reset).to_be_disabled()


def test_a_drag_shows_many_pictures_and_ends_on_the_last(page, page_shelf):
    opened(page, "vae", "vae-mnist")
    model = zoo.load("vae-mnist", page_shelf)
    axis = torch.tensor(directions(model)["axes"][1]).view(1, *model.latent_shape)
    shown = page.evaluate(
        """async () => {
          const slider = document.querySelector("#vae-latent-view [data-axis='1']"), seen = new Set();
          const picture = document.getElementById("vae-latent-picture");
          for (let k = 0; k <= 60; k++) {
            slider.value = -3 + k / 10;
            slider.dispatchEvent(new Event("input"));
            await new Promise((resolve) => requestAnimationFrame(resolve));
            seen.add(picture.src);
          }
          return seen.size;
        }"""
    )
    assert shown > 5  # it moved while the hand moved; how many depends on the machine
    settled(page, "vae", decoded(model, start(model) + 3 * axis))


def test_a_class_is_chosen(page, page_shelf):
    opened(page, "gan", "gan-mnist")
    page.select_option("#gan-latent-label", label="7")
    model = zoo.load("gan-mnist", page_shelf)
    wanted = decoded(model, start(model), "7")
    assert (wanted != decoded(model, start(model), "0")).any(), "the class is seen in the picture"
    settled(page, "gan", wanted)
    assert page.locator("#gan-latent-label option:checked").inner_text() == "7"


def test_a_seed_is_the_start_and_a_taken_sample_too(page, page_shelf):
    go(page, "gan", "sample", "gan-mnist")
    page.locator("#gan-sample-view .gm-tile").nth(5).click()
    opened(page, "gan")
    model = zoo.load("gan-mnist", page_shelf)
    page.fill("#gan-latent-seed", "123")
    page.press("#gan-latent-seed", "Tab")
    settled(page, "gan", decoded(model, start(model, 123), 0))
    page.locator("#gan-latent-view .gm-chips button", has_text="seed 5").click()
    settled(page, "gan", decoded(model, start(model, 5), 5))
    sample = zoo.sample(model, 5, 1, label="5")
    *_, frame = sample
    settled(page, "gan", as_shown(frame.x[0], model))  # the very sample that was taken
    assert page.locator("#gan-latent-label option:checked").inner_text() == "5"


def test_the_plane_is_the_decoded_grid_and_a_click_lands_on_it(page, page_shelf):
    opened(page, "vae", "vae-mnist-plane")
    model = zoo.load("vae-mnist-plane", page_shelf)
    page.wait_for_function("document.querySelector('#vae-latent-plane img').src")
    atlas = pixels(page, "#vae-latent-plane img")
    height, width = model.space.shape[1:]
    assert atlas.shape == (CELLS * height, CELLS * width, 3)
    corner = decoded(model, torch.tensor([[-3.0, 3.0]]))  # left and up
    np.testing.assert_allclose(atlas[:height, :width].astype(int), corner, atol=1)
    box = page.locator("#vae-latent-plane").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (0.5 / CELLS), box["y"] + box["height"] * (20.5 / CELLS))
    words = page.locator("#vae-latent-view .gm-where")
    expect(words).to_contain_text(re.compile(r"z = \(-(3\.0\d|2\.9\d), -(3\.0\d|2\.9\d)\)"))
    x, y = map(float, re.findall(r"-?\d+\.\d+", words.inner_text()))
    wanted = decoded(model, torch.tensor([[x, y]]))
    page.wait_for_timeout(300)
    assert abs(pixels(page, "#vae-latent-picture").astype(int) - wanted).mean() < 2  # the words are rounded
    page.focus("#vae-latent-plane")
    page.keyboard.press("ArrowRight")
    expect(words).to_contain_text(f"({x + 0.1:.2f}")


def test_a_drawing_is_encoded(page, page_shelf):
    opened(page, "vae", "vae-mnist")
    before = pixels(page, "#vae-latent-picture")
    page.get_by_text("Start from a drawing or a picture").click()
    box = page.locator("#vae-latent-view canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.8, steps=8)
    page.mouse.up()
    expect(page.locator("#vae-latent-view .gm-origin")).to_contain_text("your drawing")
    assert (pixels(page, "#vae-latent-picture") != before).any()


def test_a_text_file_named_png_gets_a_message_and_nothing_is_lost(page):
    opened(page, "vae", "vae-mnist")
    before = pixels(page, "#vae-latent-picture")
    page.get_by_text("Start from a drawing or a picture").click()
    bad = {"name": "words.png", "mimeType": "image/png", "buffer": b"these are words"}
    page.locator("#vae-latent-view input[type=file]").set_input_files(bad)
    expect(page.locator("#vae-latent-view [role=alert], #vae-latent-view .gm-wrong").first).to_contain_text("words.png")
    np.testing.assert_array_equal(pixels(page, "#vae-latent-picture"), before)


def test_a_picture_file_is_encoded(page, page_shelf):
    opened(page, "vae", "vae-mnist")
    model = zoo.load("vae-mnist", page_shelf)
    page.get_by_text("Start from a drawing or a picture").click()
    grey = (np.outer(np.linspace(0, 255, 28), np.ones(28))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    good = {"name": "ramp.png", "mimeType": "image/png", "buffer": stream.getvalue()}
    page.locator("#vae-latent-view input[type=file]").set_input_files(good)
    expect(page.locator("#vae-latent-view .gm-origin")).to_contain_text("ramp.png")
    x = torch.from_numpy(grey).float().view(1, 1, 28, 28) / 127.5 - 1
    with torch.inference_mode():
        settled(page, "vae", decoded(model, model.encode(x)))


BAD = {
    "z of another length": ({"entry": "vae-mnist", "z": [0.0]}, "z is a list of 32 numbers"),
    "z far away": ({"entry": "vae-mnist", "z": [1e9] * 32}, "each number of z is a number from -20 to 20"),
    "z of words": ({"entry": "vae-mnist", "z": ["a"] * 32}, "each number of z is a number"),
    "no such entry": ({"entry": "nobody", "z": [0.0] * 32}, "There is no entry 'nobody'"),
    "points": ({"entry": "vae-8gaussians", "z": [0.0] * 2}, "no latent space of pictures"),
    "another's visit": ({"entry": "vae-mnist", "z": [0.0] * 32, "visit": "guessed"}, "reload the page"),
}


@pytest.mark.parametrize("name", BAD)
def test_live_calls_check_what_they_are_given(page, app_url, name):
    asked, says = BAD[name]
    opened(page, "vae", "vae-mnist")
    answer = page.evaluate(
        """async (asked) => {
          const view = gradio_config.components.find((c) => c.props.elem_id === "vae-latent-view");
          const visit = await gm.visit;
          const body = { data: { visit, ...asked }, component_id: view.id, fn_name: "decode", session_hash: "x" };
          const headers = { "Content-Type": "application/json" };
          const sent = { method: "POST", headers, body: JSON.stringify(body) };
          return (await fetch("gradio_api/component_server", sent)).json();
        }""",
        asked,
    )
    assert says in answer["error"]


# ---- names of directions ----------------------------------------------------------------------------------------


def axis_names(page):
    return page.locator("#gan-latent-view .gm-axis-name").all_inner_texts()


@pytest.fixture
def card(page_shelf):
    """The card of gan-mnist as a dict, read anew by calling it; put back afterwards."""
    path = page_shelf.root / "gan-mnist" / checkpoint.CARD
    before = path.read_bytes()
    yield lambda: json.loads(path.read_text())
    path.write_bytes(before)


def test_a_direction_is_renamed_in_place_and_stays_so(open_page, card):
    page, before = open_page(), card()
    opened(page, "gan", "gan-mnist")
    page.click("#gan-latent-rename-1")
    page.keyboard.type("  slant ")
    page.keyboard.press("Enter")
    expect(page.locator("#gan-latent-view .gm-message")).to_have_text("Saved in the card of gan-mnist.")
    assert axis_names(page)[:3] == ["direction 1", "slant", "direction 3"]
    expect(page.locator("#gan-latent-rename-1")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("something else")
    page.keyboard.press("Escape")
    assert axis_names(page)[1] == "slant"
    page.locator("#gan-latent-view [data-axis='1']").evaluate(MOVE, 1)
    expect(page.locator("#gan-latent-view .gm-where")).to_have_text("+1.00 slant")
    assert card() == before | {"directions": {"names": ["", "slant"]}}
    other = open_page()
    opened(other, "gan", "gan-mnist")
    assert axis_names(other)[1] == "slant"
    other.click("#gan-latent-rename-1")
    other.keyboard.press("Delete")  # the old name is selected: it is gone
    other.keyboard.press("Enter")
    expect(other.locator("#gan-latent-view .gm-axis-name").nth(1)).to_have_text("direction 2")
    assert card() == before


def visited(shelf, may=True):
    visits = Visits(shelf, may)
    return visits, visits.of(SimpleNamespace(session_hash="a"))


def test_a_name_changes_nothing_but_the_card(shelf):
    visits, visit = visited(shelf)
    (shelf.root / "gan-mnist" / "evaluation.json").write_text("{}")
    picked, model = visits.picked("gan-mnist", visit), zoo.load("gan-mnist", shelf)
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (shelf.root / "gan-mnist").iterdir()}
    given, words = named.rename(visits, picked, visit, 2, "width", 8)
    assert given == ["", "", "width"]
    assert "Saved in the card" in words
    assert zoo.load("gan-mnist", shelf) is model, "the model in memory stays"
    assert visits.picked("gan-mnist", visit) == picked
    for path, (content, time) in files.items():
        assert path.stat().st_mtime_ns == time
        assert path.read_bytes() == content or path.name == checkpoint.CARD
    assert named.names(visits.picked("gan-mnist", visits.of(SimpleNamespace(session_hash="b"))), visit) == given


def test_where_a_person_may_not_write_the_names_stay_with_the_visit(shelf):
    visits, visit = visited(shelf, may=False)
    other = visits.of(SimpleNamespace(session_hash="b"))
    picked, before = visits.picked("gan-mnist", visit), shelf.card("gan-mnist")
    given, words = named.rename(visits, picked, visit, 0, "width", 8)
    assert given == named.names(picked, visit) == ["width"]
    assert words == "Kept for this visit: " + named.NOT_YOURS
    assert named.names(picked, other) == []
    assert shelf.card("gan-mnist") == before


def test_a_folder_that_cannot_be_written_keeps_them_with_the_visit_too(shelf, monkeypatch):
    def full(path, value):
        raise BadInput("The disk is full.")

    visits, visit = visited(shelf)
    monkeypatch.setattr(checkpoint, "write_json", full)
    given, words = named.rename(visits, visits.picked("gan-mnist", visit), visit, 0, "width", 8)
    assert (given, words) == (["width"], "Kept for this visit: The disk is full.")
    monkeypatch.undo()
    given, words = named.rename(visits, visits.picked("gan-mnist", visit), visit, 1, "slant", 8)
    assert shelf.card("gan-mnist")["directions"]["names"] == given == ["width", "slant"]


def test_names_of_a_trained_entry_are_in_its_download(shelf):
    visits, visit = visited(shelf, may=False)
    entry = small(zoo.ZOO["gan-mnist"])
    put_on_shelf(visit.shelf.root / "yours", entry)
    named.rename(visits, visits.picked("yours", visit), visit, 0, "width", 8)
    visit.kept["train"] = train.Trained("yours", entry, "GAN on MNIST", 1)
    with zipfile.ZipFile(train._packed(visit, SimpleNamespace(id="train"))) as packed:
        assert json.loads(packed.read("yours/card.json"))["directions"] == {"names": ["width"]}


@pytest.mark.parametrize("name", ["a" * 25, "two\nlines\x07", None, 7, ["slant"], "a" * 10**6, "\u202eslant"])
def test_a_name_is_one_short_line(shelf, name):
    visits, visit = visited(shelf)
    with pytest.raises(BadInput, match="one line of at most 24 characters"):
        named.rename(visits, visits.picked("gan-mnist", visit), visit, 0, name, 8)


@pytest.mark.parametrize("index", [-1, 8, "first", None, 0.5])
def test_a_direction_is_one_of_those_there_are(shelf, index):
    visits, visit = visited(shelf)
    with pytest.raises(BadInput, match="index is a whole number from 0 to 7"):
        named.rename(visits, visits.picked("gan-mnist", visit), visit, index, "slant", 8)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (None, []),
        ("slant", []),
        ({"names": "slant"}, []),
        ({"names": ["slant", 7, "a" * 99, {}, "width"]}, ["slant", "", "", "", "width"]),
        ({"names": ["slant"] * 1000}, ["slant"] * 8),
    ],
)
def test_whatever_a_card_says_of_directions_is_bounded(shelf, said, read):
    visits, visit = visited(shelf)
    path = shelf.root / "gan-mnist" / checkpoint.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"directions": said}))
    assert named.names(visits.picked("gan-mnist", visit), visit) == read


@pytest.mark.parametrize(
    ("host", "share", "space", "may"),
    [
        ("127.0.0.1", False, "", True),
        ("127.0.0.1", True, "", False),
        ("0.0.0.0", False, "", False),
        ("127.0.0.1", False, "somebody/space", False),
    ],
)
def test_shipped_cards_are_written_on_ones_own_machine_alone(monkeypatch, host, share, space, may):
    monkeypatch.setenv("SPACE_ID", space)
    assert whole_page.private(host, share) is may
