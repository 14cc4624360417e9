"""The Likelihood panel: the cost on screen is the model's, the range is that of test pictures, and plain ones win."""

from __future__ import annotations

import base64
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from toys import FakePictures
from ui_steps import go, run

from gen_models import data, zoo
from gen_models.interface import BadInput, Space
from gen_models.ui import pad
from gen_models.ui.panels import likelihood, reconstruct, sources
from gen_models.ui.visits import Picked

FORM, ENTRY, PAD = "vae-likelihood", "vae-mnist", "vae-likelihood-pad"
VIEW = f"#{FORM}-view .gm-likelihood"
GREY = Space("image", (1, 4, 4), labels=("a", "b", "c"))


def draw(page: Page) -> torch.Tensor:
    """A stroke on the pad; the picture that it gives, (1, 1, 28, 28)."""
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"() => gm.pads['{PAD}'].value() !== null")
    page.wait_for_timeout(100)
    value = page.evaluate(f"() => gm.pads['{PAD}'].value()")
    whole = np.frombuffer(pad._bytes(value["pixels"]), np.uint8).reshape(28, 28, 1)
    return data.picture(whole, zoo.ZOO[ENTRY].where)[None]


def judge_of(shelf: zoo.Shelf, name: str = ENTRY, draws: int = 100) -> likelihood.Judge:
    return likelihood._judge(Picked(name, zoo.ZOO[name], shelf), draws)


def fake(kind: str, log_prob, labels: tuple[str, ...] = (), exact: bool = True) -> likelihood.Judge:
    model = SimpleNamespace(log_prob=log_prob, device="cpu", labels=labels, exact=exact, how="")
    return likelihood.Judge(SimpleNamespace(space=GREY, name="fake"), model, kind, 1)


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_drawing_has_its_cost_and_the_pictures_made_from_it_have_theirs(page, page_shelf):
    go(page, "vae", "likelihood", ENTRY)
    page.wait_for_selector(".gm-pad-canvas:visible")
    x = draw(page)
    judge = judge_of(page_shelf)
    expect(page.locator(VIEW)).to_have_attribute("data-shown", "your drawing")
    run(page, FORM, "your drawing is measured")
    expect(page.locator(f"#{FORM}-value")).to_contain_text(f"≤ {judge.costs(x).item():,.1f} nats")
    tiles = page.locator(f"#{FORM}-simpler .gm-like-tile")
    expect(tiles).to_have_count(6)
    shown = [float(tile.get_attribute("data-cost")) for tile in tiles.all()]
    wanted = [judge.costs(other).item() for other in likelihood.simpler(x).values()]
    assert shown == pytest.approx(wanted, rel=1e-4)
    less = sum(cost < judge.costs(x).item() for cost in wanted)
    expect(page.locator(f"#{FORM}-simpler .gm-like-beats")).to_have_count(less)


def test_without_the_data_set_it_says_how_to_get_it_and_the_rest_works(page):
    go(page, "vae", "likelihood", ENTRY)
    expect(page.locator(f"{VIEW} .gm-wrong")).to_contain_text("hf download ylecun/mnist --repo-type dataset")
    expect(page.locator(f"{VIEW} .gm-like-count")).to_have_text("not at hand")
    page.wait_for_selector(".gm-pad-canvas:visible")
    draw(page)
    expect(page.locator(VIEW)).to_have_attribute("data-shown", "your drawing")
    expect(page.locator(f"{VIEW} .gm-wrong")).to_be_hidden()
    run(page, FORM, "is measured")
    expect(page.locator(f"#{FORM}-near")).to_contain_text("not at hand")


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    go(page, "vae", "likelihood", ENTRY)
    page.wait_for_selector(f"{VIEW} .gm-like-strip")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("entry", "settings", "drawn", "says"),
    [
        ("vae-8gaussians", {}, None, "gives pictures no likelihood"),
        (ENTRY, {"draws": 0}, None, "draws is a whole number from 1 to 1000"),
        (ENTRY, {}, {"pixels": "AAAA", "kind": "drawn"}, "28 x 28 pixels"),
        (ENTRY, {}, "seven", "Draw something first"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, drawn, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, drawn, api_name="/vae_likelihood")


# ---- without a page -------------------------------------------------------------------------------------------


def test_a_uniform_density_over_bytes_costs_eight_bits():
    x = torch.rand(5, *GREY.shape) * 2 - 1
    even = fake("density", lambda x, noise, label, samples: torch.full((len(x),), -16 * math.log(256 / 127.5)))
    assert even.costs(x).tolist() == pytest.approx([8.0] * 5)
    grey = fake("grey", lambda x, noise, label, samples: torch.full((len(x),), -16 * math.log(256)))
    assert grey.costs(x).tolist() == pytest.approx([8.0] * 5)


def test_every_picture_meets_the_same_noise():
    seen = fake("density", lambda x, noise, label, samples: x.flatten(1).sum(1))
    x = torch.zeros(7, *GREY.shape)
    assert len(set(seen.costs(x).tolist())) == 1


@pytest.mark.parametrize("kind", ["binary", "density"])
def test_the_classes_follow_bayes_rule(kind):
    told = torch.tensor([-1.0, -2.0, -4.0])
    judge = fake(kind, lambda x, noise, label, samples: label @ told, labels=("a", "b", "c"))
    assert judge.classes(torch.zeros(1, *GREY.shape)) == pytest.approx(told.softmax(0).tolist(), rel=1e-4)
    bound = fake(kind, None, labels=("a", "b", "c"), exact=False)
    assert bound.classes(torch.zeros(1, *GREY.shape)) is None


def test_the_nearest_are_found_without_the_picture_itself():
    tests = torch.randint(256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    x = data.in_range(tests[7:8])
    rows, errors = likelihood.nearest(x, tests)
    away = (tests.double() / 255 - tests[7].double() / 255).square().flatten(1).mean(1)
    assert rows.tolist() == away.argsort()[1 : 1 + likelihood.NEAR].tolist()
    assert errors.tolist() == pytest.approx(away[rows].tolist(), rel=1e-4)


def test_what_is_made_from_a_picture_stays_a_picture():
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    others = likelihood.simpler(x)
    assert all(other.shape == x.shape and other.abs().max() <= 1 for other in others.values())
    assert sorted(others["pixels shuffled"].flatten().tolist()) == sorted(x.flatten().tolist())
    assert torch.equal(others["inverted"], -x)


def test_the_range_is_measured_while_somebody_looks(monkeypatch):
    x = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1)
    spread = likelihood.Spread(lambda x: x.flatten().double(), x)
    deadline = time.monotonic() + 20
    while len(spread.look()) < 30:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert spread.look() == pytest.approx(data.in_range(x).flatten().tolist())
    monkeypatch.setattr(likelihood, "LEFT", -1.0)  # nobody looks
    left = likelihood.Spread(lambda x: x.flatten().double(), x)
    left.look()
    left._run.result(20)
    assert left.values == []


def test_test_pictures_come_with_costs_neighbours_and_a_range(page_shelf, monkeypatch):
    picked = Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf)
    source = FakePictures(picked.space, 30)
    whole = ((source.x + 1) * 127.5).round().to(torch.uint8)
    monkeypatch.setattr(reconstruct, "test_pictures", lambda name: (whole, source.label))
    monkeypatch.setattr(reconstruct, "TESTS", sources.Readings())
    tab = SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked))
    found = likelihood._more(tab)(None, {"entry": ENTRY, "test": 4, "draws": 3})
    judge = judge_of(page_shelf, draws=3)
    x = data.in_range(whole)
    assert found["name"] == "test picture 4"
    assert found["cost"] == pytest.approx(judge.costs(x[4:5]).item(), rel=1e-5)
    assert 4 not in [item["index"] for item in found["near"]]
    for item in found["near"]:
        assert item["cost"] == pytest.approx(judge.costs(x[item["index"]][None]).item(), rel=1e-4)
        assert item["label"] == str(item["index"] % 10)
    assert found["done"]
    spread = likelihood._spread(tab)
    deadline = time.monotonic() + 60
    while len(values := spread(None, {"entry": ENTRY, "draws": 3})["values"]) < 30:
        assert time.monotonic() < deadline
    assert values == pytest.approx(judge.costs(x).tolist(), rel=1e-4)
    with pytest.raises(BadInput, match="test is a whole number from 0 to 29"):
        likelihood._look(tab)(None, {"entry": ENTRY, "test": 30})
    drawn = {"kind": "file", "name": "mine.png", "pixels": base64.b64encode(whole[9].numpy().tobytes()).decode()}
    look = likelihood._look(tab)(None, {"entry": ENTRY, "drawn": drawn, "draws": 3})
    assert look["name"] == "mine.png"
    assert look["cost"] == pytest.approx(judge.costs(x[9:10]).item(), rel=1e-4)
