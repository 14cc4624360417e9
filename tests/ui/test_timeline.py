"""The timeline of branches: what is branched, painted, removed and exported is what the model makes of it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect
from ui_steps import at_step, denoised, fill

from gen_models import render, zoo
from gen_models.interface import BadInput, Denoises, Frame, Refines, State
from gen_models.ui import tree_film
from gen_models.ui.panels import steps
from gen_models.ui.tree import FIRST, MOST, Tree
from gen_models.ui.visits import Picked
from gen_models.ui.walk import Walk

RUN, BRANCH, FILM = "diffusion-steps", "diffusion-branch", "#diffusion-steps-film"
PLAYER, ROWS = f"{FILM} .gm-player", f"{FILM} .gm-way"
ENTRY = "diffusion-mnist"


def branched(page: Page, step: int, rows: int, **values: object) -> None:
    """Branches the chosen track at a step with these values, and waits for its row."""
    at_step(page, step)
    page.click(f"{FILM} .gm-branch-here")
    fold = page.locator(f"#{BRANCH}-form details")
    fold.evaluate("node => { node.open = true; }")
    fill(page, BRANCH, **values)
    page.click(f"#{BRANCH}-run")
    expect(page.locator(ROWS)).to_have_count(rows)
    expect(page.locator(f"#{BRANCH}-message")).to_contain_text("network calls")
    expect(page.locator(f"#{BRANCH}-run")).to_be_visible()


def saved(page: Page, title: str) -> bytes:
    with page.expect_download() as download:
        page.locator(f"{FILM} .gm-save", has_text=re.compile(f"^{title}$")).click()
    return download.value.path().read_bytes()


def grey(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)


def shade(x: torch.Tensor, model) -> np.ndarray:
    return np.asarray(render.picture(x, model.space)).astype(int)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_run_is_branched_painted_on_and_both_tracks_are_exported(page, page_shelf):
    denoised(page, seed=3, steps=6, n=2, solver="Euler")
    model = zoo.load(ENTRY, page_shelf)
    trunk = list(zoo.sample(model, 3, 2, steps=6, solver="euler"))
    page.locator(f"{FILM} .gm-track >> nth=0 >> .gm-cell >> nth=1").click()
    branched(page, 2, 2, label="8", guidance=3)
    other = list(zoo.sample(model, 3, 2, label="8", start=trunk[2].state, steps=6, solver="euler", guidance=3.0))
    expect(page.locator(ROWS).nth(1)).to_contain_text("label any → 8, guidance 1.5 → 3 at t = 0.67")
    expect(page.locator(ROWS).nth(1)).to_contain_text(f"{other[-1].calls} network calls")

    page.locator(f"{ROWS} >> nth=0 >> .gm-way-name").click()
    at_step(page, 4)
    page.click(f"#{BRANCH}-onto-x_t")
    canvas = page.locator("#diffusion-switch .gm-brush canvas")
    expect(canvas).to_be_visible()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    expect(canvas).to_have_attribute("data-strokes", "1")
    page.click(f"#{BRANCH}-run")
    expect(page.locator(ROWS)).to_have_count(3)
    expect(page.locator(f"{FILM} .gm-way-chosen")).to_contain_text("painted x_t at step 4")

    with zipfile.ZipFile(io.BytesIO(saved(page, "ZIP"))) as archive:  # of the painted track
        files = {name: archive.read(name) for name in archive.namelist()}
    recipe = json.loads(files["recipe.json"])
    stroke = Image.open(io.BytesIO(base64.b64decode(recipe["branches"][0]["paint"].partition(",")[2])))
    assert stroke.size == (28, 28)
    cover = np.asarray(stroke)[..., 3] / 255
    assert cover[14, 8] > 0.9
    assert cover[4].max() == 0
    painted = trunk[4].state.x[1] + torch.from_numpy(cover).float() * (1 - trunk[4].state.x[1])
    state = trunk[4].state._replace(x=torch.stack([trunk[4].state.x[0], painted]))
    last = list(zoo.sample(model, 3, 2, start=state, steps=6, solver="euler"))[-1].x
    for name, x in (("x_t/step0006.png", last), ("x_t/step0004.png", state.x), ("x_t/step0002.png", trunk[2].x)):
        for k in (0, 1):
            shown = grey(files[name])[1 : 1 + 56 : 2, 1 + 58 * k : 1 + 58 * k + 56 : 2]
            assert abs(shown - shade(x[k], model)).max() <= 1, (name, k)
    assert abs(shade(last[1], model) - shade(trunk[6].x[1], model)).max() > 20

    content = saved(page, "Tree")
    kept = render.recipe_of(content)
    assert (kept["seed"], kept["sample"], kept["tracks"]) == (3, 1, ["0", "2", "1"])
    assert [(one["track"], one["step"]) for one in kept["branches"]] == [("0", 2), ("0", 4)]
    sheet = grey(content)
    ends = [trunk[6].x[1], last[1], other[-1].x[1]]  # of the rows from top to bottom: the later fork stands higher
    for row, x in enumerate(ends):
        top = 20 + 2 * 26 - 6 + row * (64 + 26 + 6)
        tile = sheet[top : top + 64, 20 + 6 * 70 : 20 + 6 * 70 + 64]
        small = Image.fromarray(shade(x, model).astype(np.uint8)).resize((56, 56), Image.Resampling.NEAREST)
        small = np.asarray(small.resize((64, 64), Image.Resampling.NEAREST)).astype(int)
        assert abs(tile - small).max() <= 1
    with zipfile.ZipFile(io.BytesIO(saved(page, "GIFs"))) as archive:
        gifs = [name for name in archive.namelist() if name.endswith(".gif")]
        assert gifs == ["0-run.gif", "1-painted-x-t-at-step-4.gif", "2-label-any-to-8-guidance-1.5-to-3-at-t-0.67.gif"]
        for name in gifs:
            assert Image.open(io.BytesIO(archive.read(name))).n_frames >= 7


def test_noise_goes_back_and_the_past_stays_in_the_film(page):
    denoised(page, "diffusion-8gaussians", seed=1, steps=5, n=100)
    branched(page, 5, 2, back=0.6, seed=9)
    expect(page.locator(f"{FILM} .gm-way-chosen")).to_contain_text("noise back to t = 0.6, seed 9")
    notes = page.locator(f"{FILM} .gm-track >> nth=0 >> figcaption")
    for step, t in ((0, "t = 1"), (5, "t = 0"), (6, "t = 0.6"), (7, "t = 0.4"), (9, "t = 0")):
        at_step(page, step)
        assert notes.inner_text().endswith(t)
    assert page.locator(f"#{BRANCH}-onto-x_t").is_disabled(), "points are not painted on"
    expect(page.locator(f"{FILM} .gm-count")).to_have_text("step 9 of 9")


def test_a_running_branch_is_removed_and_comes_back_as_far_as_it_got(page):
    denoised(page, steps=4, n=16)
    at_step(page, 0)
    page.click(f"{FILM} .gm-branch-here")
    page.locator(f"#{BRANCH}-form summary").click()
    fill(page, BRANCH, left=200)
    page.click(f"#{BRANCH}-run")
    page.locator(f"{ROWS} >> nth=1", has_text="running").locator(".gm-way-remove").click()
    message = page.locator(f"#{BRANCH}-message")
    expect(message).to_contain_text(re.compile(r"removed while it ran, after \d+ network calls"))
    spent = int(re.search(r"after (\d+)", message.inner_text())[1])
    assert 0 < spent < 399
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(f"{FILM} .gm-count")).to_contain_text("of 4")
    page.click(f"{FILM} .gm-undo")
    expect(page.locator(ROWS)).to_have_count(2)
    expect(page.locator(f"{FILM} .gm-film-note")).to_contain_text("stopped at step")


def test_removed_tracks_leave_their_past_and_a_narrow_page_holds_all(open_page):
    page = open_page(390, 844)
    denoised(page, steps=4, n=2)
    branched(page, 2, 2, seed=5)
    page.locator(f"{ROWS} >> nth=0 >> .gm-way-remove").click()
    expect(page.locator(ROWS)).to_have_count(1)
    at_step(page, 0)
    expect(page.locator(f"{FILM} .gm-track >> nth=0 >> figcaption")).to_contain_text("t = 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#diffusion-sample-button")
    page.click("#diffusion-steps-button")
    expect(page.locator(ROWS)).to_have_count(1)
    page.click(f"{FILM} .gm-undo")
    expect(page.locator(ROWS)).to_have_count(2)


# ---- by the API -----------------------------------------------------------------------------------------------


def drawing(size: int = 28) -> str:
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((5, 5, 20, 9), fill=(255, 255, 255, 255))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_the_api_branches_what_it_ran(app_url, page_shelf):
    client = Client(app_url, verbose=False)
    settings = {"seed": 2, "n": 2, "steps": 6, "solver": "ddpm"}
    client.predict(ENTRY, settings, api_name="/diffusion_steps")
    film, _ = client.predict(ENTRY, {"step": 3}, api_name="/diffusion_branch")
    same = film["tree"]["tracks"][1]
    assert (same["name"], same["calls"], same["steps"]) == ("unchanged at t = 0.5", 3, [3, 4, 5, 6])
    trunk = film["tree"]["tracks"][0]
    assert trunk["calls"] == 6
    painted = {"step": 3, "track": "0", "onto": "x0", "sample": 1, "paint": drawing(), "left": 2}
    film, _ = client.predict(ENTRY, painted, api_name="/diffusion_branch")
    found = next(one for one in film["tree"]["tracks"] if one["name"].startswith("painted"))
    assert found["name"] == "painted x̂0 at step 3, 2 steps left"
    assert found["calls"] == 3, "two steps, and the guess that was painted on"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "the step to branch from"),
        ({"step": 99}, "Step 99 is not kept; near it are 2, 3, 4"),
        ({"step": 1.5}, "step is a whole number"),
        ({"step": 2, "track": "7"}, "There is no track '7'"),
        ({"step": 2, "back": 0.3}, "later time"),
        ({"step": 4}, "nothing is left to denoise"),
        ({"step": 0, "onto": "x0", "paint": drawing()}, "alpha is 0"),
        ({"step": 2, "onto": "x_t", "paint": ""}, "Nothing is painted"),
        ({"step": 2, "onto": "x_t", "paint": drawing(20)}, "20 x 20, the picture 28 x 28"),
        ({"step": 2, "onto": "x_t", "paint": drawing(), "sample": 2}, "There are 2 samples"),
        ({"step": 2, "left": 9999}, "left is a whole number"),
        ({"step": 2, "solver": "magic"}, "solver is one of"),
        ({"step": 2, "colour": 1}, "Unknown setting colour"),
    ],
)
def test_the_api_refuses_a_branch_that_cannot_be(client, settings, says):
    with pytest.raises(AppError, match=says):
        client.predict(ENTRY, settings, api_name="/diffusion_branch")


@pytest.fixture(scope="module")
def client(app_url) -> Client:
    """A visit with a run of four steps and two samples."""
    client = Client(app_url, verbose=False)
    client.predict(ENTRY, {"seed": 0, "n": 2, "steps": 4}, api_name="/diffusion_steps")
    return client


def test_there_is_nothing_to_branch_from_before_a_run(app_url):
    with pytest.raises(AppError, match="no run to branch from"):
        Client(app_url, verbose=False).predict(ENTRY, {"step": 1}, api_name="/diffusion_branch")


def test_a_branch_is_of_the_entry_that_was_run(client):
    with pytest.raises(AppError, match="is of diffusion-mnist"):
        client.predict("diffusion-8gaussians", {"step": 1}, api_name="/diffusion_branch")


def test_a_walk_in_a_latent_space_says_why_it_cannot_be_branched():
    entry = zoo.ZOO[ENTRY]
    latent = [model for model in zoo.HUB.models if issubclass(model, Refines) and not issubclass(model, Denoises)]
    assert latent
    for model in latent:
        picked = Picked("theirs", dataclasses.replace(entry, model=model), zoo.BUNDLED)
        assert "watched, not branched" in steps._cannot(picked)
    assert steps._cannot(Picked(ENTRY, entry, zoo.BUNDLED)) == ""


# ---- the tree alone -------------------------------------------------------------------------------------------


def walk_of(first: int, last: int) -> Walk:
    """A finished walk of three points, whose numbers are the steps."""
    picked = Picked("diffusion-8gaussians", zoo.ZOO["diffusion-8gaussians"], zoo.BUNDLED)
    walk = Walk(picked, 0, None, None, {"steps": last}, 3, 50, start=first, keeps=True, t=1 - first / 10)
    for k in range(first, last + 1):
        x = torch.full((3, 2), float(k))
        walk.add(Frame(x, k - first, last - first, x0=x, show={"eps": x}, state=State(1 - k / 10, x, k)))
    return walk


def grown(tree: Tree, parent: str, first: int, last: int = 10) -> str:
    track = tree.grow(tree.track(parent), f"from {first}", walk_of(first, last), {"step": first, "track": parent})
    tree.finish(track.key)
    return track.key


@pytest.fixture
def tree() -> Tree:
    """A run with branches at 4 and 7, and one at 9 of the latter."""
    tree = Tree(walk_of(0, 10))
    tree.finish(FIRST)
    grown(tree, "0", 4)
    grown(tree, "0", 7)
    grown(tree, "2", 9, 12)
    return tree


def paths(tree: Tree) -> dict[str, list[int]]:
    return {key: [moment.step for _, moment in tree.path(key)] for key in tree.tracks}


def test_a_path_is_whole_without_repetition(tree):
    assert paths(tree) == {"0": [*range(11)], "1": [*range(11)], "2": [*range(11)], "3": [*range(13)]}
    assert [track.key for track in tree.order()] == ["0", "2", "3", "1"]
    assert [owner.key for owner, _ in tree.path("3")] == ["0"] * 7 + ["2"] * 2 + ["3"] * 4


@pytest.mark.parametrize("key", ["0", "1", "2", "3"])
def test_what_is_left_keeps_its_past_and_undo_brings_all_back(tree, key):
    before, order = paths(tree), [(track.key, track.parent, track.start) for track in tree.order()]
    tree.remove(key)
    assert paths(tree) == {other: path for other, path in before.items() if other != key}
    with pytest.raises(BadInput, match="That track was removed"):
        tree.at(key, 0)
    tree.undo()
    assert paths(tree) == before
    assert [(track.key, track.parent, track.start) for track in tree.order()] == order


def test_what_branched_from_the_past_of_an_heir_hangs_right_after_undo(tree):
    tree.remove("0")
    assert tree.track("2").parent is None
    new = grown(tree, "2", 3)
    tree.undo()
    assert tree.track(new).parent == "0"
    assert paths(tree)[new] == [*range(11)]


def test_a_past_that_was_taken_over_has_the_settings_of_those_who_walked_it(tree):
    tree.track("2").walk.options["steps"] = 77
    tree.remove("0")
    assert tree.at("2", 3)[1].options == {"steps": 10}
    assert tree.at("2", 8)[1].options == {"steps": 77}


def test_a_running_track_is_not_branched_from_and_ends_when_it_is_removed(tree):
    track = tree.grow(tree.track("1"), "running", walk_of(5, 8), {"step": 5, "track": "1"})
    with pytest.raises(BadInput, match="still running"):
        tree.at(track.key, 6)
    assert tree.runs(track.key)
    tree.remove(track.key)
    assert not tree.runs(track.key)
    tree.finish(track.key)
    tree.undo()
    assert not tree.runs(track.key)
    assert tree.at(track.key, 6)[2].state.step == 6


def test_tracks_and_their_memory_are_bounded(tree, monkeypatch):
    while len(tree.tracks) < MOST:
        grown(tree, "0", 5)
    with pytest.raises(BadInput, match="12 tracks, which is the most"):
        grown(tree, "0", 5)
    tree.remove("1")
    monkeypatch.setattr("gen_models.ui.tree.ROOM", 1000)
    with pytest.raises(BadInput, match="fill the memory"):
        grown(tree, "0", 5)
    with pytest.raises(BadInput, match="nothing to bring back"):
        tree.undo()  # it made room where it could


def test_the_last_track_stays(tree):
    for key in ("3", "2", "1"):
        tree.remove(key)
    with pytest.raises(BadInput, match="the only track"):
        tree.remove("0")


def test_the_recipe_numbers_what_is_needed_in_the_order_of_making(tree):
    tree.remove("1")
    recipe = tree.recipe()
    assert [(one["branch"], one["track"], one["step"]) for one in recipe["branches"]] == [("1", "0", 7), ("2", "1", 9)]
    assert recipe["tracks"] == ["0", "1", "2"]
    assert tree.recipe("0")["branches"] == []


def test_what_is_told_of_a_tree_is_plain_data_without_pictures(tree):
    tree.levels = torch.stack([torch.linspace(1, 0, 257), torch.linspace(0, 1, 257)])
    told = json.loads(json.dumps(tree_film.told(tree)))
    assert told["span"] == [0, 12]
    last = next(one for one in told["tracks"] if one["key"] == "3")
    assert (last["parent"], last["start"], last["steps"], last["plot"]["upto"]) == ("2", 9, [9, 10, 11, 12], 12)
    alpha = last["plot"]["curves"][0]["y"]
    assert alpha[0] == 0
    np.testing.assert_allclose(alpha, np.linspace(0, 1.2, len(alpha)).clip(max=1), atol=1e-3)
