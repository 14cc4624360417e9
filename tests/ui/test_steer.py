"""Steering on the page: every picture is one that the model makes, every figure the judges', the price as said."""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from toys import FakePictures
from ui_steps import PATIENCE, as_shown, fill, go, pixels, run

from gen_models import data, metrics, render, zoo
from gen_models.interface import BadInput
from gen_models.steering import Mixing, relabelled
from gen_models.ui import cost
from gen_models.ui.panels import between_noises, judging, steer_guidance, steer_labels, steer_mix
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask

ENTRY = "diffusion-mnist"
SWEEP, MIX, WAY = "diffusion-steer-guidance", "diffusion-steer-labels", "diffusion-between-noises"


def opened(page: Page, form: str, entry: str = ENTRY) -> None:
    """Opens the panel of a form, and its fold."""
    go(page, "diffusion", "between-noises" if form == WAY else "steer", entry)
    if form == MIX:
        page.get_by_role("tab", name="Labels over time").click()
    page.locator(f"#{form}-form summary").click()


def last(shelf: zoo.Shelf, seed: int, n: int, **values) -> torch.Tensor:
    *_, frame = zoo.sample(zoo.load(ENTRY, shelf), seed, n, **values)
    return frame.x


def saved(page: Page, button) -> tuple[str, bytes]:
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def shade(x: torch.Tensor, shelf: zoo.Shelf) -> np.ndarray:
    return as_shown(x, zoo.load(ENTRY, shelf))[..., 0].astype(int)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_sweep_shows_the_same_seeds_at_every_guidance(page, page_shelf):
    opened(page, SWEEP)
    fill(page, SWEEP, values="1, 2, .., 4", n=12, seed=3, steps=2, solver="Euler")
    expect(page.locator(f"#{SWEEP}-cost")).to_contain_text("4 values × 12 samples × 2 network calls")
    run(page, SWEEP, "4 values × 12 samples in")
    rows = page.locator(f"#{SWEEP}-view tr[data-guidance]")
    assert [row.get_attribute("data-guidance") for row in rows.all()] == ["1", "2", "3", "4"]
    for guidance in (1, 4):
        wanted = last(page_shelf, 3, 12, steps=2, solver="euler", guidance=guidance)
        strip = pixels(page, f"#{SWEEP}-view tr[data-guidance='{guidance}'] img")[..., 0].astype(int)
        assert strip.shape == (28, 280)
        for k in (0, 9):
            assert abs(strip[:, 28 * k : 28 * k + 28] - shade(wanted[k], page_shelf)).max() <= 1
    name, content = saved(page, page.locator(f"#{SWEEP}-zip"))
    assert name == "diffusion-mnist-seed3-guidance.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        table = archive.read("diffusion-mnist-guidance.csv").decode().splitlines()
        recipe = render.recipe_of(archive.read("diffusion-mnist-guidance.png"))
    assert [line.split(",")[:2] for line in table[1:5]] == [[str(k), "12"] for k in (1, 2, 3, 4)]
    assert (recipe["guidance"], recipe["seed"], recipe["n"], recipe["steps"]) == ([1, 2, 3, 4], 3, 12, 2)


def test_a_sweep_that_is_stopped_keeps_what_it_has(page):
    opened(page, SWEEP)
    fill(page, SWEEP, values="1, 2, 3", n=1000, steps=20)
    page.click(f"#{SWEEP}-run")
    expect(page.locator(f"#{SWEEP}-view tr[data-guidance='1'] img")).to_be_visible(timeout=PATIENCE)
    page.locator("body").press("Escape")
    expect(page.locator(f"#{SWEEP}-message")).to_contain_text("stopped after 0 of 3 values", timeout=PATIENCE)
    row = page.locator(f"#{SWEEP}-view tr[data-guidance='1']")
    assert 0 < int(row.get_attribute("data-done")) < 1000
    expect(row.locator("th")).to_contain_text(re.compile(r"\d+ of 1000"))


def test_what_is_wrong_with_a_sweep_is_said_before_it_starts(page):
    opened(page, SWEEP)
    fill(page, SWEEP, values="1, 99")
    line = page.locator(f"#{SWEEP}-cost")
    expect(line).to_contain_text("guidance is a number from 0 to 8")
    fill(page, SWEEP, values="1, 2")
    expect(line).to_contain_text("2 values")


def test_a_label_that_changes_is_the_walk_that_is_told_so(page, page_shelf):
    opened(page, MIX)
    fill(page, MIX, a=3, b=8, steps=5, solver="Euler", begin=0.9, end=0.3, n=2, seed=4)
    expect(page.locator(f"#{MIX}-cost")).to_contain_text("14 network calls, 1 of 5 steps are shared")
    run(page, MIX, "14 network calls: 4 + 5 + 5")
    model, mixing = zoo.load(ENTRY, page_shelf), Mixing(3, 8, 0.9, 0.3)
    options = {"steps": 5, "solver": "euler"}
    frames = list(
        relabelled(
            lambda rows, start: zoo.sample(model, 4, 2, label=rows, start=start, **options),
            lambda t: mixing.rows(t, 2, 10),
        )
    )
    for track, x in enumerate((frames[-1].x, last(page_shelf, 4, 2, label=3, **options))):
        box = page.locator(f"#{MIX}-film .gm-track >> nth={track} >> .gm-cell >> nth=1")
        left, top, width, height = box.evaluate("b => [b.offsetLeft, b.offsetTop, b.offsetWidth, b.offsetHeight]")
        shown = pixels(page, f"#{MIX}-film .gm-track >> nth={track} >> canvas")[..., 0].astype(int)
        rows = top + ((np.arange(28) + 0.5) * height / 28).astype(int)
        columns = left + ((np.arange(28) + 0.5) * width / 28).astype(int)
        assert abs(shown[rows][:, columns] - shade(x[1], page_shelf)).max() <= 1
    _, content = saved(page, page.locator(f"#{MIX}-film .gm-save", has_text="ZIP"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        recipe = json.loads(archive.read("recipe.json"))
    shares = [told["share"] for told in recipe["label of each step"]]
    assert shares == pytest.approx([0, 1 / 6, 0.5, 5 / 6, 1], abs=1e-5)
    _, content = saved(page, page.locator(f"#{MIX}-film .gm-save", has_text="GIF"))
    assert Image.open(io.BytesIO(content)).n_frames >= 5


def test_the_handles_set_when_the_label_changes(page):
    opened(page, MIX)
    mixer = page.locator(f"#{MIX}-mixer .gm-mixer")
    expect(mixer).to_have_attribute("data-begin", "0.9")
    knob = page.locator(f"#{MIX}-mixer [data-knob=begin]")
    knob.press("ArrowRight")
    expect(mixer).to_have_attribute("data-begin", "0.89")
    box, plot = knob.bounding_box(), page.locator(f"#{MIX}-mixer svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + 24 + 0.8 * (plot["width"] - 48), box["y"] + 20, steps=4)
    page.mouse.up()
    expect(mixer).to_have_attribute("data-begin", "0.2")
    expect(mixer).to_have_attribute("data-end", "0.2")
    expect(page.locator(f"#{MIX}-begin")).to_have_value("0.2")


def test_the_way_between_two_seeds_begins_and_ends_with_them(page, page_shelf):
    opened(page, WAY)
    fill(page, WAY, a=5, b=6, frames=4, steps=3, solver="Euler")
    page.select_option(f"#{WAY}-from", label="2")
    page.select_option(f"#{WAY}-to", label="7")
    expect(page.locator(f"#{WAY}-cost")).to_contain_text("4 frames, each 3 network calls")
    run(page, WAY, "4 frames from seed 5 to seed 6")
    _, content = saved(page, page.locator(f"#{WAY}-film .gm-save", has_text="ZIP"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        frames = [np.asarray(Image.open(io.BytesIO(archive.read(f"frame00{k}.png")))).astype(int) for k in range(1, 5)]
        recipe = json.loads(archive.read("recipe.json"))
    assert recipe["places"] == [0, 1 / 3, 2 / 3, 1]
    for k, seed, label in ((0, 5, "2"), (3, 6, "7")):
        (wanted,) = last(page_shelf, seed, 1, label=label, steps=3, solver="euler")
        assert abs(frames[k] - shade(wanted, page_shelf)).max() <= 1
    assert all(abs(one - other).max() > 1 for one, other in itertools.pairwise(frames))
    _, content = saved(page, page.locator(f"#{WAY}-film .gm-save", has_text="GIF"))
    assert Image.open(io.BytesIO(content)).n_frames == 6
    assert page.locator(f"#{WAY}-film .gm-track").count() == 2


@pytest.mark.parametrize("form", [SWEEP, MIX, WAY])
def test_a_narrow_page_has_no_sideways_scroll(open_page, form):
    page = open_page(390, 844)
    opened(page, form)
    fill(page, form, steps=2)
    run(page, form, re.compile("samples in|three walks of|frames from"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("panel", "entry", "settings", "says"),
    [
        ("steer_guidance", ENTRY, {"values": ""}, "at least one value for guidance"),
        ("steer_guidance", ENTRY, {"values": "0, 0.1, .., 8"}, "more than 16 values"),
        ("steer_guidance", ENTRY, {"n": 1001}, "n is a whole number from 4 to 1000"),
        ("steer_guidance", "diffusion-8gaussians", {}, "has no guidance"),
        ("steer_labels", ENTRY, {"begin": 0.2, "end": 0.4}, "1 >= begin >= end >= 0"),
        ("steer_labels", ENTRY, {"a": "ten"}, "a is one of"),
        ("steer_labels", "diffusion-8gaussians", {}, "without classes"),
        ("between", ENTRY, {"a": 1, "b": 1, "from": "2", "to": "2"}, "Both ends are the same"),
        ("between", ENTRY, {"frames": 65}, "frames is a whole number from 2 to 64"),
        ("between", "diffusion-8gaussians", {}, "is for pictures"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, panel, entry, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, api_name=f"/diffusion_{panel}")


# ---- without a page -------------------------------------------------------------------------------------------


def picked_of(shelf: zoo.Shelf) -> Picked:
    return Picked(ENTRY, zoo.ZOO[ENTRY], shelf)


def ask_of(shelf: zoo.Shelf, fields, stops_after: float = float("inf"), **values) -> Ask:
    """A checked request whose `stopped` turns true after so many looks."""
    picked = picked_of(shelf)
    known = {field.option.name: field for field in fields(picked)}
    values = {name: field.option.check(values.get(name, field.option.default)) for name, field in known.items()}
    options = {name: values[name] for name, field in known.items() if field.passed}
    looks = iter(range(10**6))

    class Stopped:
        def __contains__(self, run):
            return run != "*" and next(looks) >= stops_after

    return Ask(picked, SimpleNamespace(stopped=Stopped(), kept={}), values, options, "this run")


class FakeJudge:
    """Features are four pixels, the class is what the middle pixel says."""

    space = zoo.ZOO[ENTRY].where

    def features(self, x):
        return x.flatten(1)[:, ::200]

    def classify(self, x):
        return -(x.mean((1, 2, 3))[:, None] * 5 + 5 - torch.arange(10)).square()


@pytest.fixture
def bench(page_shelf, monkeypatch) -> judging.Bench:
    """Judges out of thin air, and 200 pictures that are held out."""
    source = FakePictures(zoo.ZOO[ENTRY].where, 200)
    judges = SimpleNamespace(features=FakeJudge(), classes=FakeJudge())
    monkeypatch.setattr(judging.evaluate, "judges_of", lambda shelf, name: judges)
    monkeypatch.setattr(judging.data, "load", lambda name: source)
    monkeypatch.setattr(judging, "SETS", type(judging.SETS)())
    found = judging.Bench(picked_of(page_shelf), 100, None)
    assert list(found.read())[-1].startswith("judging")
    return found


def test_the_marks_are_those_of_the_measures(bench):
    x = FakePictures(zoo.ZOO[ENTRY].where, 120).x[20:]
    seen, label = bench.seen(x), torch.arange(100) % 10
    marks = bench.marks(seen, label)
    exact = data.in_range(data.in_bytes(x))
    judge = FakeJudge()
    assert marks["accuracy"]["value"] == pytest.approx(float((judge.classify(exact).argmax(1) == label).float().mean()))
    density, coverage = metrics.density_coverage(bench.reference, judge.features(exact))
    assert (marks["density"]["value"], marks["coverage"]["value"]) == (density, coverage)
    assert marks["coverage"]["low"] <= coverage <= marks["coverage"]["high"]
    assert marks["density"]["se"] > 0
    assert set(bench.marks(seen, label, whole=False)) == {"accuracy"}, "of a part nobody knows the coverage"
    assert set(bench.real) == {"accuracy", "coverage", "density"}
    assert judging.written(marks["coverage"]).startswith(f"{coverage:.3f} (")
    assert judging.written(None) == "–"


def test_one_class_is_held_against_its_own(page_shelf, bench):
    of_three = judging.Bench(picked_of(page_shelf), 100, 3)
    list(of_three.read())
    assert len(of_three.reference) == 20
    assert of_three.real["accuracy"]["n"] == 20


def test_without_data_or_judges_it_says_so(page_shelf, bench, monkeypatch):
    def missing(name):
        raise BadInput("fetch it first")

    monkeypatch.setattr(judging.data, "load", missing)
    monkeypatch.setattr(judging, "SETS", type(judging.SETS)())
    bare = judging.Bench(picked_of(page_shelf), 100, None)
    list(bare.read())
    assert bare.why == "No coverage without the data: fetch it first"
    x = FakePictures(zoo.ZOO[ENTRY].where, 100).x
    assert set(bare.marks(bare.seen(x), torch.arange(100) % 10)) == {"accuracy"}
    monkeypatch.setattr(judging.evaluate, "judges_of", lambda shelf, name: None)
    alone = judging.Bench(picked_of(page_shelf), 100, None)
    assert list(alone.read()) == []
    assert "no judge of MNIST" in alone.why


def swept(page_shelf, bench, stops_after: float) -> steer_guidance.Sweep:
    settings = {"values": "1, 2, 3", "n": 70, "steps": 2, "solver": "euler"}
    ask = ask_of(page_shelf, steer_guidance._fields, stops_after, **settings)
    sweep = steer_guidance.Sweep(ask, steer_guidance._values(ask), bench)
    list(steer_guidance._drawn(sweep, zoo.load(ENTRY, page_shelf)))
    return sweep


def test_a_sweep_counts_every_sample_and_a_stopped_one_says_how_many(page_shelf, bench):
    whole = swept(page_shelf, bench, float("inf"))
    assert [(row.guidance, row.done) for row in whole.rows] == [(1, 70), (2, 70), (3, 70)]
    x = last(page_shelf, 0, 70, steps=2, solver="euler", guidance=2.0)
    wanted = bench.marks(bench.seen(x), torch.arange(70) % 10)
    assert whole.rows[1].cells["accuracy"] == wanted["accuracy"]
    part = swept(page_shelf, bench, 7)
    assert len(part.rows) < 3
    assert part.rows[-1].done in (64, 70)
    assert "stopped after" in steer_guidance._done(part, 1.0)
    sent = steer_guidance.sent(part, over=True)
    assert [row["done"] for row in sent["rows"]] == [*(row.done for row in part.rows), *[0] * (3 - len(part.rows))]
    assert ("coverage" in part.rows[-1].cells) == (part.rows[-1].done == 70)


@pytest.mark.parametrize(
    ("options", "calls"),
    [({"steps": 8, "solver": "heun"}, 15), ({"steps": 1, "solver": "heun"}, 1), ({"steps": 50, "solver": "ddim"}, 50)],
)
def test_the_calls_said_are_the_calls_made(page_shelf, options, calls):
    assert cost.calls(options) == calls
    *_, frame = zoo.sample(zoo.load(ENTRY, page_shelf), 0, 1, **options)
    assert frame.calls == calls


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "under a second"), (7.4, "about 7 s"), (42, "about 40 s"), (400, "about 7 min"), (9000, "about 2.5 h")],
)
def test_how_long_it_takes_is_said_roughly(seconds, said):
    assert cost.duration(seconds) == said


@pytest.mark.parametrize(("begin", "end"), [(0.9, 0.6), (1.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("solver", ["heun", "ddim"])
def test_the_price_of_a_mixture_is_what_it_costs(page_shelf, begin, end, solver):
    settings = {"begin": begin, "end": end, "steps": 6, "solver": solver, "n": 1}
    ask = ask_of(page_shelf, steer_labels._fields, **settings)
    mix = steer_labels._begun(ask)
    list(steer_labels._walked(mix, zoo.load(ENTRY, page_shelf)))
    assert mix.whole
    assert f"{sum(mix.calls)} network calls" in steer_labels._price(ask, "cpu")
    ends = [walk.moments[-1].x for walk in mix.walks]
    if begin == 1.0:
        assert torch.equal(ends[steer_mix.STEERED], ends[steer_mix.SECOND])
    if begin == 0.0:
        assert torch.equal(ends[steer_mix.STEERED], ends[steer_mix.FIRST])
        assert mix.calls[steer_mix.STEERED] == 0


@pytest.mark.parametrize("stops_after", [1, 9, 14])
def test_a_mixture_that_is_stopped_shows_how_far_each_walk_came(page_shelf, stops_after):
    ask = ask_of(page_shelf, steer_labels._fields, stops_after, steps=6, n=2)
    mix = steer_labels._begun(ask)
    list(steer_labels._walked(mix, zoo.load(ENTRY, page_shelf)))
    film = steer_mix.film_of(mix)
    assert not mix.whole
    assert "stopped at steps" in steer_mix.done(mix)
    reached = max(walk.moments[-1].step for walk in mix.walks if walk.moments)
    assert film["steps"] == list(range(reached + 1))
    assert all(len(track["notes"]) == reached + 1 for track in film["tracks"] if "sheet" in track)


def test_only_the_class_moves_between_a_seed_and_itself(page_shelf):
    ask = ask_of(page_shelf, between_noises._fields, a=7, b=7, frames=3, **{"from": "1", "to": "4"})
    weights, rows = between_noises.asked(ask)
    assert weights == [0, 0.5, 1]
    assert rows[1, [1, 4]].tolist() == [0.5, 0.5]
    assert torch.equal(rows.sum(1), torch.ones(3))
    assert torch.equal(rows[[0, 2]], torch.eye(10)[[1, 4]])
