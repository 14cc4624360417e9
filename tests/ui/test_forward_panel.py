"""The Forward process panel: on screen stands alpha x0 + sigma eps, the loss is the model's, the field exact."""

from __future__ import annotations

import base64
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from torch.testing import assert_close
from toys import FakePictures, lively, small
from ui_steps import PATIENCE, fill, go, pixels, run

from gen_models import data, schedules, zoo
from gen_models.interface import BadInput
from gen_models.noise import Noise
from gen_models.ui import held_out, pad
from gen_models.ui.panels import forward as panel
from gen_models.ui.panels import plane_field, sources
from gen_models.ui.visits import Picked

FORM, PAD = "diffusion-forward-process", "diffusion-forward-process-pad"
VIEW = f"#{FORM}-view .gm-forward"
DIGITS, PLANE = "diffusion-mnist", "diffusion-8gaussians"


def opened(page: Page, entry: str, view: str = "noising") -> None:
    go(page, "diffusion", "forward-process", entry)
    expect(page.locator(VIEW)).to_have_attribute("data-own", "flow", timeout=PATIENCE)
    page.click(f"{VIEW} [data-view={view}]")
    expect(page.locator(VIEW)).to_have_attribute("data-view", view)


def at(page: Page, t: float) -> None:
    page.locator(f"#{FORM}-t").evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", round(1000 * t)
    )
    expect(page.locator(VIEW)).to_have_attribute("data-t", f"{t:.3f}")


def draw(page: Page) -> torch.Tensor:
    """A stroke on the pad; the picture that it gives, (1, 28, 28)."""
    box = page.locator(".gm-pad-canvas:visible").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    expect(page.locator(VIEW)).to_have_attribute("data-given", "your drawing", timeout=PATIENCE)
    page.wait_for_timeout(300)
    value = page.evaluate(f"() => gm.pads['{PAD}'].value()")
    return pad.received(value, zoo.ZOO[DIGITS].where)


def asked(shelf: zoo.Shelf, name: str, visit: object = None, **values) -> SimpleNamespace:
    picked = Picked(name, zoo.ZOO[name], shelf)
    visit = visit or SimpleNamespace(kept={})
    values = {"n": 40, "times": 5, "seed": 3} | values
    return SimpleNamespace(picked=picked, visit=visit, values=values, seed=values["seed"], stopped=False)


def tab_of(picked: Picked) -> SimpleNamespace:
    return SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked), device="cpu")


def absent(name: str) -> None:
    raise BadInput("There is no network: bring the data set first.")


# ---- in the browser -------------------------------------------------------------------------------------------------


def test_a_drawing_drowns_in_the_noise_of_its_seed_without_a_request(page):
    opened(page, DIGITS)
    fill(page, FORM, seed=5)
    x0 = draw(page)
    eps = Noise([5]).normal(1, 28, 28)[0]
    page.context.set_offline(True)
    for t in (0.25, 0.8):
        at(page, t)
        wanted = (((1 - t) * x0 + t * eps + 1) * 127.5).clamp(0, 255)[0].numpy()
        shown = pixels(page, f"{VIEW} canvas[data-part=sum]")[..., 0].astype(float)
        places = ((np.arange(28) + 0.5) * len(shown) / 28).astype(int)  # the middle of each pixel
        middle = shown[places][:, places]
        assert np.abs(middle - wanted).max() < 2.5
    snr = (0.2 / 0.8) ** 2
    expect(page.locator(f"{VIEW} [data-level=snr]")).to_have_text(f"{snr:.4f}")
    expect(page.locator(f"{VIEW} [data-level=db]")).to_have_text(f"−{-10 * np.log10(snr):.1f} dB")
    page.context.set_offline(False)


def test_schedules_lie_over_each_other_and_their_pictures_differ(page):
    opened(page, DIGITS, "schedules")
    draw(page)
    at(page, 0.5)
    for name, schedule in schedules.SCHEDULES.items():
        alpha, sigma = schedule(torch.tensor(0.5))
        figure = page.locator(f"{VIEW} figure[data-part={name}]")
        expect(figure).to_contain_text(f"{20 * float((alpha / sigma).log10()):.1f} dB".replace("-", "−"))
    for key in ("alpha", "sigma", "snr"):
        expect(page.locator(f"#{FORM}-plot-{key} .gm-time-line")).to_have_count(3)
        expect(page.locator(f"#{FORM}-plot-{key} .gm-time-main")).to_have_attribute("data-line", "flow")
    linear, flow = (pixels(page, f"{VIEW} canvas[data-part={name}]") for name in ("linear", "flow"))
    assert (linear != flow).any()


def test_the_loss_at_each_time_is_the_models_and_lies_over_the_least_there_is(page, page_shelf):
    opened(page, PLANE, "loss")
    page.locator(f"#{FORM}-form summary").click()
    fill(page, FORM, n=300, times=6)
    run(page, FORM, "300 examples at each of 6 times")
    expect(page.locator(VIEW)).to_have_attribute("data-measured", "300")
    expect(page.locator(f"#{FORM}-loss .gm-time-line")).to_have_count(3)
    at(page, 0.25)
    *_, found = panel._losses(asked(page_shelf, PLANE, n=300, times=6, seed=0), "cpu")
    mean, _ = found["measures"]["velocity"][1]
    told = page.locator(f"{VIEW} .gm-forward-told")
    expect(told).to_contain_text("At t = 0.250")
    assert float(re.search(r": ([\d.]+) ±", told.inner_text())[1]) == pytest.approx(mean, rel=0.01)
    page.click(f"{VIEW} [data-measure=x0]")
    mean = found["measures"]["x0"][1][0]
    expect(told).to_contain_text("the data's mean")
    assert float(re.search(r": ([\d.]+) ±", told.inner_text())[1]) == pytest.approx(mean, rel=0.01)


def test_the_field_is_compared_at_every_time_and_the_paths_follow_the_form(page, page_shelf):
    opened(page, PLANE, "field")
    view = page.locator(VIEW)
    expect(view).to_have_attribute(
        "data-paths", " ".join(plane_field.solvers(Picked(PLANE, zoo.ZOO[PLANE], page_shelf)))
    )
    wanted = plane_field.field(zoo.load(PLANE, page_shelf), "8gaussians")
    for t, k in ((0.5, 19), (0.1, 3)):
        at(page, t)
        expect(view).to_have_attribute("data-rmse", re.compile(r"\d"), timeout=PATIENCE)
        assert float(view.get_attribute("data-rmse")) == pytest.approx(wanted["rmse"][k], rel=1e-3)
    before = pixels(page, f"{VIEW} canvas[data-part=arrows]")
    page.click(f"{VIEW} [data-arrows=score]")
    assert (pixels(page, f"{VIEW} canvas[data-part=arrows]") != before).any()
    page.click(f"#{FORM}-solvers [data-choice=ddpm]")
    expect(view).not_to_have_attribute("data-paths", re.compile("ddpm"))
    fill(page, FORM, steps=3)
    expect(view).to_have_attribute("data-steps", "3")


def test_a_narrow_page_has_no_sideways_scroll_and_keys_step_the_time(open_page):
    page = open_page(390, 844)
    opened(page, PLANE, "field")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    opened(page, PLANE, "noising")
    at(page, 0.4)
    page.locator(f"{VIEW} .gm-count").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator(VIEW)).to_have_attribute("data-t", "0.410")
    page.keyboard.press("Home")
    expect(page.locator(f"{VIEW} [data-level=snr]")).to_have_text("∞")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n": 1}, "n is a whole number from 100 to 5000"),
        ({"times": 0}, "times is a whole number from 2 to 200"),
        ({"solvers": []}, "solvers is a list of at least one of"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(PLANE, settings, api_name="/diffusion_forward_loss")


# ---- without a page -------------------------------------------------------------------------------------------------


def test_pictures_of_the_loss_are_held_out_and_know_their_class(page_shelf, monkeypatch):
    source = FakePictures(zoo.ZOO[DIGITS].where, 20)
    known = held_out.Held(data.in_bytes(source.x), source.label)
    monkeypatch.setattr(held_out, "held", lambda picked, visit: known)
    *_, found = panel._losses(asked(page_shelf, DIGITS, n=12, times=3, classes=True), "cpu")
    *_, without = panel._losses(asked(page_shelf, DIGITS, n=12, times=3, classes=False), "cpu")
    assert found["own"] == "velocity"
    assert found["counts"] == [12, 12, 12]
    assert found["least"] is None
    assert found["measures"]["velocity"] != without["measures"]["velocity"]
    model = zoo.load(DIGITS, page_shelf)
    rows = torch.randperm(20, generator=torch.Generator().manual_seed(panel.mixed("rows", 3)))[:12]
    batch, eps = known.rows(rows), Noise(range(3, 15)).normal(1, 28, 28)
    guess = model.denoise(model.noised(batch.x, 0.5, eps), 0.5, label=batch.label)
    error = (guess.eps - guess.x0 - eps + batch.x).double().square().flatten(1).mean(1)
    assert found["measures"]["velocity"][1][0] == pytest.approx(float(error.mean()), rel=1e-4)
    assert found["trivial"]["velocity"] == pytest.approx(
        1 + float(known.rows(torch.arange(20)).x.var(0, correction=0).mean())
    )


def test_stop_keeps_what_is_measured_so_far(page_shelf):
    ask = asked(page_shelf, PLANE, n=1500, times=4)
    parts = panel._losses(ask, "cpu")
    first = next(parts)
    assert sorted(first["counts"]) == [0, 0, 0, 500]
    assert "stopped at 8%" in panel._progress(first, True)
    assert [curve is None for curve in first["measures"]["x0"]].count(False) == 1


def test_without_its_data_an_entry_noises_samples_of_its_own_and_says_so(page_shelf, monkeypatch):
    monkeypatch.setattr(held_out.data, "load", absent)
    monkeypatch.setattr(held_out, "VALID", sources.Readings())
    picked = Picked(DIGITS, zoo.ZOO[DIGITS], page_shelf)
    visit = SimpleNamespace(kept={})
    found = panel._given(tab_of(picked))(visit, {"entry": DIGITS, "seed": 0, "first": 2})
    for _ in range(20):
        if "waiting" not in found:
            break
        found = panel._given(tab_of(picked))(visit, {"entry": DIGITS, "seed": 0, "first": 2})
    assert "There is no network" in found["words"]
    *_, last = zoo.sample(zoo.load(DIGITS, page_shelf), 0, 16)
    whole = np.frombuffer(base64.b64decode(found["x0"]), np.uint8).reshape(4, 1, 28, 28)
    assert np.abs(whole.astype(int) - data.in_bytes(last.x)[2:6].numpy()).max() <= 1
    with pytest.raises(BadInput, match="There is no network"):
        list(panel._losses(asked(page_shelf, DIGITS), "cpu"))


def test_points_and_their_noise_travel_as_they_are(page_shelf):
    picked = Picked(PLANE, zoo.ZOO[PLANE], page_shelf)
    visit = SimpleNamespace(kept={})
    while "waiting" in (found := panel._given(tab_of(picked))(visit, {"entry": PLANE, "seed": 9})):
        pass
    eps = np.frombuffer(base64.b64decode(found["eps"]), "<i2").reshape(-1, 2) / 3000
    assert_close(torch.tensor(eps[:5]).float(), Noise(range(9, 14)).normal(2), atol=2e-4, rtol=0)
    x0 = np.frombuffer(base64.b64decode(found["x0"]), "<i2").reshape(-1, 2) / 3000
    truth = data.load("8gaussians").log_prob(torch.tensor(x0))
    assert float(-truth.mean()) == pytest.approx(2.832, abs=0.1)


def test_points_whose_density_is_not_known_have_arrows_alone():
    model = lively(small(zoo.ZOO[PLANE]))
    found = plane_field.field(model, None)
    assert found["exact"] is None
    assert found["rmse"] is None
    learned = np.frombuffer(base64.b64decode(found["learned"]), "<i2").reshape(len(found["times"]), -1, 2) / 3000
    places = torch.tensor(np.frombuffer(base64.b64decode(found["places"]), "<i2").reshape(-1, 2) / 3000).float()
    assert learned.shape[1] == 13 * 13
    guess = model.denoise(places, found["times"][7]).x0
    assert_close(torch.tensor(learned[7]).float(), guess, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"solvers": ["magic"]}, "solver is one of"),
        ({"solvers": ["heun", "heun"]}, "each once"),
        ({"solvers": None}, "Choose some of the solvers"),
        ({"steps": 51}, "steps is a whole number from 1 to 50"),
        ({"particles": 0}, "particles is a whole number from 1 to 200"),
        ({"seed": 2**32 - 1}, "seed is a whole number"),
    ],
)
def test_paths_refuse_what_they_cannot_draw(page_shelf, changed, says):
    serve = plane_field.serve_paths(tab_of(Picked(PLANE, zoo.ZOO[PLANE], page_shelf)))
    usual = {"seed": 0, "solvers": ["heun"], "steps": 3, "particles": 4}
    assert set(serve(None, usual)["solvers"]) == {"heun"}
    with pytest.raises(BadInput, match=says):
        serve(None, usual | changed)


@pytest.mark.parametrize("serve", [panel._given, panel._schedules, plane_field.serve_field, plane_field.serve_paths])
def test_an_entry_that_does_not_denoise_is_refused(page_shelf, serve):
    picked = Picked("gan-8gaussians", zoo.ZOO["gan-8gaussians"], page_shelf)
    with pytest.raises(BadInput, match="choose another entry"):
        serve(tab_of(picked))(SimpleNamespace(kept={}), {"seed": 0})
