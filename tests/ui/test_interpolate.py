"""The Interpolate panel: the frame on the slider is the frame of the files, and every key point is passed exactly."""

from __future__ import annotations

import io
import re

import av
import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import fill, go, pixels, run

from gen_models import latent, render, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui.panels import interpolate
from gen_models.ui.visits import Picked

FORM, FILM = "vae-interpolate", "#vae-interpolate-film"
KEYS = "#vae-interpolate-keys"


def saved(page: Page, title: str, film: str = FILM) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.locator(f"{film} .gm-save", has_text=title).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def shown_at(page: Page, k: int, film: str = FILM) -> np.ndarray:
    """The picture at frame k (from 1), brought back to one pixel per pixel: (28, 28) bytes."""
    page.locator(f"{film} .gm-range").evaluate(
        "(node, k) => { node.value = k; node.dispatchEvent(new Event('input')); }", k
    )
    expect(page.locator(f"{film} .gm-count")).to_contain_text(f"frame {k} of")
    large = pixels(page, f"{film} .gm-track canvas")[..., 0].astype(int)
    at = ((np.arange(28) + 0.5) * large.shape[0] / 28).astype(int)
    return large[at][:, at]


def picture(x: torch.Tensor) -> np.ndarray:
    return np.asarray(render.picture(x, zoo.ZOO["vae-mnist"].where)).astype(int)


def names(page: Page) -> list[str]:
    return page.locator(f"{KEYS} .gm-key-name").all_inner_texts()


# ---- in the browser -------------------------------------------------------------------------------------------


def test_the_slider_and_the_files_show_the_same_frames(page, page_shelf):
    go(page, "vae", "interpolate", "vae-mnist")
    fill(page, FORM, frames=14)
    run(page, FORM, "14 frames past 4 key points")
    model = zoo.load("vae-mnist", page_shelf)
    z = torch.cat([Noise([seed]).normal(*model.latent_shape) for seed in interpolate.STARTS])
    expected = [picture(x) for x in zoo.decoded(model, latent.walk(z, 14, "slerp", loop=True))]
    gif = Image.open(io.BytesIO(saved(page, "GIF")[1]))
    name, content = saved(page, "MP4")
    assert name == "vae-mnist-walk.mp4"
    with av.open(io.BytesIO(content)) as container:
        film = [np.asarray(frame.to_image().convert("L")).astype(int) for frame in container.decode(video=0)]
    assert (gif.n_frames, len(film)) == (14, 14)
    scale = gif.width // 28
    for k in (1, 5, 14):
        on_screen = shown_at(page, k)
        assert abs(on_screen - expected[k - 1]).max() <= 1
        gif.seek(k - 1)
        half = scale // 2
        assert (np.asarray(gif.convert("L"))[half::scale, half::scale] == on_screen).all()
        assert abs(film[k - 1][half::scale, half::scale] - on_screen).max() <= 8  # H.264 is near lossless
    name, content = saved(page, "Strip")
    strip = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    assert (strip[2:112:4, 4 * 116 + 2 : 4 * 116 + 112 : 4] == shown_at(page, 5)).all()
    assert render.recipe_of(content)["frames"] == 14


def test_it_plays_by_itself_in_a_loop_and_pauses(page):
    go(page, "vae", "interpolate", "vae-mnist")
    fill(page, FORM, frames=6)
    run(page, FORM, "6 frames")
    player = page.locator(f"{FILM} .gm-player")
    page.wait_for_function("() => document.querySelector('#vae-interpolate-film .gm-player').dataset.step === '5'")
    page.wait_for_function("() => document.querySelector('#vae-interpolate-film .gm-player').dataset.step === '2'")
    page.locator("body").press(" ")
    held = player.get_attribute("data-step")
    page.wait_for_timeout(300)
    assert player.get_attribute("data-step") == held


def test_nothing_moves_by_itself_where_less_motion_is_asked_for(page):
    page.emulate_media(reduced_motion="reduce")
    go(page, "vae", "interpolate", "vae-mnist")
    fill(page, FORM, frames=6)
    run(page, FORM, "6 frames")
    expect(page.locator(f"{FILM} .gm-player")).to_have_attribute("data-frames", "6")
    page.wait_for_timeout(300)
    expect(page.locator(f"{FILM} .gm-player")).to_have_attribute("data-step", "1")


def test_key_points_are_added_moved_and_removed(page):
    go(page, "vae", "interpolate", "vae-mnist")
    assert names(page) == ["seed 0", "seed 1", "seed 2", "seed 3"]
    chip = page.locator(f"{KEYS} .gm-keypoint")
    chip.nth(0).get_by_text("Remove").click()
    chip.nth(0).get_by_text("Right").click()
    assert names(page) == ["seed 2", "seed 1", "seed 3"]
    page.fill("#vae-keys-seed", "77")
    page.click("#vae-keys-add")
    assert names(page)[-1] == "seed 77"
    for _ in range(4):
        page.click("#vae-keys-dice")
    assert len(names(page)) == 8
    expect(page.locator("#vae-keys-dice")).to_be_disabled()
    assert "eight key points" in page.get_attribute("#vae-keys-dice", "title")
    for left in range(7, 0, -1):
        chip.nth(0).get_by_text("Remove").click()
        expect(chip).to_have_count(left)
    start = page.locator(f"#{FORM}-run")
    expect(start).to_be_disabled()
    assert "at least two key points" in start.get_attribute("title")
    page.fill("#vae-keys-seed", "4.5")
    page.click("#vae-keys-add")
    expect(page.locator(f"{KEYS} .gm-keys > .gm-wrong")).to_contain_text("whole number")
    page.fill("#vae-keys-seed", "5")
    page.click("#vae-keys-add")
    expect(start).to_be_enabled()
    run(page, FORM, "60 frames past 2 key points")


def test_a_taken_sample_is_a_key_point_and_its_picture_is_the_one_that_was_clicked(page):
    go(page, "gan", "sample", "gan-mnist")
    fill(page, "gan-sample", n=4, seed=11)
    run(page, "gan-sample", "seeds 11 to 14")
    tile = "#gan-sample-view .gm-tile >> nth=2"
    clicked = pixels(page, f"{tile} >> canvas")[..., 0].astype(int)
    page.click(tile)
    page.click("#gan-interpolate-button")
    page.locator("#gan-interpolate-keys .gm-key-taken").click()
    chip = page.locator("#gan-interpolate-keys .gm-keypoint").last
    expect(chip.locator(".gm-key-name")).to_have_text("seed 13 · 2")
    image = chip.locator("img")
    expect(image).to_be_visible()
    for _ in range(4):
        page.locator("#gan-interpolate-keys .gm-keypoint").first.get_by_text("Remove").click()
    expect(image).to_be_visible()
    assert abs(pixels(page, "#gan-interpolate-keys .gm-keypoint img")[..., 0] - clicked).max() <= 1


def test_a_drawing_and_an_uploaded_picture_are_key_points_and_a_broken_one_loses_nothing(page, tmp_path):
    go(page, "vae", "interpolate", "vae-mnist")
    page.click("#vae-keys-draw")
    broken = tmp_path / "letter.png"
    broken.write_text("Dear picture")
    page.set_input_files("#vae-keys-pad-file", str(broken))
    expect(page.locator("#vae-keys-pad-message")).to_contain_text("letter.png")
    good = tmp_path / "seven.png"
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(good)
    page.set_input_files("#vae-keys-pad-file", str(good))
    expect(page.locator("#vae-keys-pad-clear")).to_be_enabled()
    page.click("#vae-keys-use")
    assert names(page) == ["seed 0", "seed 1", "seed 2", "seed 3", "seven.png"]
    page.click("#vae-keys-draw")
    pad = page.locator(f"{KEYS} .gm-pad-canvas").bounding_box()
    page.mouse.move(pad["x"] + 60, pad["y"] + 60)
    page.mouse.down()
    page.mouse.move(pad["x"] + 120, pad["y"] + 150, steps=5)
    page.mouse.up()
    expect(page.locator("#vae-keys-pad-clear")).to_be_enabled()
    page.click("#vae-keys-use")
    assert names(page)[-1] == "drawing"
    expect(page.locator(f"{KEYS} .gm-keypoint img").last).to_be_visible()
    run(page, FORM, "60 frames past 6 key points")


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    go(page, "vae", "interpolate", "vae-mnist")
    run(page, FORM, "60 frames")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "values"),
    [("vae-mnist", {"temperature": 0.6}), ("gan-mnist", {"truncation": 0.7}), ("gan-mnist", {}), ("vae-mnist", {})],
)
def test_the_code_of_a_taken_sample_decodes_to_that_sample(page_shelf, entry, values):
    model, picked = zoo.load(entry, page_shelf), Picked(entry, zoo.ZOO[entry], page_shelf)
    *_, last = zoo.sample(model, 20, 3, **values)
    keys = [
        {"kind": "taken", "seed": 20 + k, "label": k if model.labels else None, "options": values} for k in range(3)
    ]
    z, rows = interpolate.codes(picked, model, keys, None)
    torch.testing.assert_close(zoo.decoded(model, z, rows), last.x)


def test_each_key_point_keeps_its_class_unless_one_is_asked_for(page_shelf):
    model, picked = zoo.load("gan-mnist", page_shelf), Picked("gan-mnist", zoo.ZOO["gan-mnist"], page_shelf)
    keys = [{"kind": "seed", "seed": 14}, {"kind": "seed", "seed": 3, "label": 9}]
    assert interpolate.codes(picked, model, keys, None)[1].argmax(1).tolist() == [4, 9]
    assert interpolate.codes(picked, model, keys, 6)[1].argmax(1).tolist() == [6, 6]


@pytest.mark.parametrize(
    ("settings", "keys", "says"),
    [
        ({}, [], "at least two key points"),
        ({}, [{"kind": "seed", "seed": 1}], "at least two key points"),
        ({}, [{"kind": "seed", "seed": k} for k in range(9)], "2 to 8"),
        ({}, "seeds", "2 to 8"),
        ({}, [{"kind": "seed", "seed": 1}, {"kind": "seed", "seed": -1}], "Key point 2: seed is a whole number"),
        ({}, [{"kind": "seed", "seed": 1}, {"kind": "star"}], "Key point 2: it is a seed"),
        ({}, [{"kind": "picture", "drawn": None}, {"kind": "seed", "seed": 1}], "Key point 1: .*Draw something"),
        ({}, [{"kind": "taken", "seed": 1, "options": {"temperature": 99}}], "temperature is a number"),
        ({"frames": 241}, [{"kind": "seed", "seed": k} for k in range(2)], "frames is a whole number from 2 to 240"),
        ({"frames": 2}, [{"kind": "seed", "seed": k} for k in range(3)], "at least 3 frames"),
        ({"how": "fly"}, [{"kind": "seed", "seed": k} for k in range(3)], "how is one of slerp, lerp"),
    ],
)
def test_the_api_refuses_bad_walks(app_url, settings, keys, says):
    with pytest.raises(AppError, match=re.compile(says, re.DOTALL)):
        Client(app_url, verbose=False).predict("vae-mnist", settings, keys, api_name="/vae_interpolate")


def test_an_entry_of_points_has_no_walk(page_shelf):
    picked = Picked("vae-8gaussians", zoo.ZOO["vae-8gaussians"], page_shelf)
    with pytest.raises(BadInput, match="no latent space of pictures"):
        interpolate.codes(picked, zoo.load("vae-8gaussians", page_shelf), [], None)


@pytest.mark.parametrize(("points", "frames", "loop"), [(2, 2, False), (2, 9, False), (3, 10, True), (8, 240, True)])
def test_notes_name_the_key_points_where_they_are_passed(points, frames, loop):
    places = latent.key_frames(points, frames, loop)
    notes = interpolate._notes(places, frames)
    assert len(notes) == frames
    assert [k for k, note in enumerate(notes) if note.startswith("key point")] == places
