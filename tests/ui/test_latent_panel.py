"""The Latent panel in a real browser: the picture is always what the decoder says of the position shown."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from ui_steps import as_shown, go, pixels

from gen_models import zoo
from gen_models.noise import Noise
from gen_models.ui.panels.latent import CELLS, directions

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
