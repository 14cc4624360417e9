"""The Attention panel of pictures: the maps are the model's, and pointing asks the server nothing."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from ui_steps import as_shown, go, pixels

from gen_models import zoo
from gen_models.interface import AttendsWithin, BadInput, Space
from gen_models.noise import Noise
from gen_models.ui.panels import gaze
from gen_models.ui.visits import Picked

ENTRY, PLAIN = "sagan-cifar10", "sagan-cifar10-plain"
VIEW, PICTURE = "#gan-gaze-view .gm-gaze", "#gan-gaze-picture"


def opened(page: Page, entry: str = ENTRY) -> None:
    go(page, "gan", "attention", entry)
    page.wait_for_selector(f"{VIEW} figure >> nth=2")
    expect(page.locator(VIEW)).to_have_attribute("data-at", "8 8")


def true_maps(shelf: zoo.Shelf, seed: int = 0, label: int = 0) -> dict[str, torch.Tensor]:
    """By layer (heads, h, w, h', w')."""
    model = zoo.load(ENTRY, shelf)
    with torch.no_grad():
        maps = model.attention_maps(Noise([seed]).normal(*model.latent_shape), label=torch.tensor([label]))
    return {name: weights[0] for name, weights in maps.items()}


def told(page: Page, layer: str) -> dict[str, str]:
    return page.locator(f"#gan-gaze-{layer}").evaluate("node => ({ ...node.dataset })")


def agrees(page: Page, maps: dict[str, torch.Tensor], row: int, column: int) -> None:
    """What is written under each layer is what the model says of the place, counted in 16 x 16."""
    expect(page.locator(VIEW)).to_have_attribute("data-at", f"{row} {column}")
    for name, weights in maps.items():
        step = 16 // weights.shape[1]
        at = (row // step, column // step)
        looks = weights.mean(0)[at]
        shown = told(page, name.replace(" ", "-"))
        assert shown["at"] == f"{at[0]} {at[1]}"
        assert float(shown["share"]) == pytest.approx(looks.max().item(), rel=0.03, abs=1e-4)
        best = tuple(map(int, shown["most"].split()))
        assert looks[best].item() == pytest.approx(looks.max().item(), rel=0.02)


def fake(weights: dict[str, torch.Tensor]) -> SimpleNamespace:
    """A tab whose only entry attends with these weights, whatever it draws."""

    class Fake(AttendsWithin):
        latent_shape, labels, device = (3,), (), torch.device("cpu")
        space = Space("image", (1, 8, 8))

        def decode(self, z, *, label=None):
            return z.new_zeros(len(z), 1, 8, 8)

        def attention_maps(self, z, *, label=None):
            return weights

    picked = SimpleNamespace(name="fake", entry=SimpleNamespace(model=Fake), space=Fake.space, model=Fake)
    return SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: picked))


# ---- in the browser -------------------------------------------------------------------------------------------


def test_pointing_shows_where_the_generator_looked_and_asks_nobody(page, page_shelf):
    opened(page)
    maps, asked = true_maps(page_shelf), []
    agrees(page, maps, 8, 8)
    page.on("request", lambda request: asked.append(request.url) if "component_server" in request.url else None)
    box = page.locator(PICTURE).bounding_box()
    for row, column in ((2, 13), (15, 0)):
        page.mouse.move(box["x"] + (column + 0.5) * box["width"] / 16, box["y"] + (row + 0.5) * box["height"] / 16)
        agrees(page, maps, row, column)
    page.mouse.move(0, 0)
    agrees(page, maps, 8, 8)
    page.locator(PICTURE).click(position={"x": box["width"] * 4.5 / 16, "y": box["height"] * 6.5 / 16})
    page.mouse.move(0, 0)
    agrees(page, maps, 6, 4)  # a click stays
    page.focus(PICTURE)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    agrees(page, maps, 7, 3)
    box = page.locator("#gan-gaze-8-x-8").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"] / 8, box["y"] + 7.5 * box["height"] / 8)
    expect(page.locator("#gan-gaze-8-x-8")).to_have_attribute("data-at", "7 0")
    assert not asked


def test_another_seed_and_class_is_another_picture(page, page_shelf):
    opened(page)
    page.fill("#gan-gaze-seed", "7")
    page.press("#gan-gaze-seed", "Tab")
    page.select_option("#gan-gaze-label", label="frog")
    label = zoo.ZOO[ENTRY].labels.index("frog")
    model = zoo.load(ENTRY, page_shelf)
    x = zoo.decoded(model, Noise([7]).normal(*model.latent_shape), torch.eye(10)[label : label + 1])[0]
    wanted = as_shown(x, model)

    def alike() -> bool:
        canvas = pixels(page, PICTURE)
        at = (np.arange(32) + 0.3) * canvas.shape[0] / 32  # off the middle: the outline of the place is thin
        off = abs(canvas[np.ix_(at.astype(int), at.astype(int))].astype(int) - wanted)
        return bool(np.median(off) <= 1 and (off.max(2) <= 2).mean() > 0.97)

    for _ in range(60):
        if alike():
            break
        page.wait_for_timeout(50)
    assert alike(), "the picture on screen is that of seed 7, frog"
    agrees(page, true_maps(page_shelf, 7, label), 8, 8)


def test_a_model_without_attention_says_so(page):
    go(page, "gan", "attention", PLAIN)
    expect(page.locator(f"{VIEW} .gm-nothing")).to_contain_text("was trained without attention")
    go(page, "gan", "sample", "gan-mnist")
    expect(page.locator("#gan-attention-button")).to_have_attribute("aria-disabled", "true")
    assert "attends within" in page.locator("#gan-attention-button").get_attribute("title")


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- without a page -------------------------------------------------------------------------------------------


def test_weights_survive_their_packing():
    weights = torch.rand(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0)).pow(6)
    weights /= weights.sum((-2, -1), keepdim=True)
    layer = gaze.sent("4 x 4", weights)
    assert (layer["heads"], layer["at"], layer["to"]) == (2, [4, 4], [8, 8])
    whole = np.frombuffer(base64.b64decode(layer["weights"]), np.uint8).astype(float).reshape(2, 4, 4, 8, 8) ** 2
    again = whole / whole.sum((-2, -1), keepdims=True)
    np.testing.assert_allclose(again, weights.numpy(), atol=0.004 * weights.amax().item(), rtol=0.02)


def test_many_heads_of_a_large_layer_are_sent_as_their_mean():
    weights = torch.rand(2, 32, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    layer = gaze.sent("32 x 32", weights)
    assert layer["heads"] == 1
    assert layer["weights"] == gaze.packed(weights.mean(0, keepdim=True))


def test_coarse_keys_and_several_heads_are_sent_as_they_are():
    weights = torch.rand(1, 3, 8, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    found = gaze._look(fake({"8 x 8": weights}))(None, {"entry": "fake", "seed": 1})
    (layer,) = found["layers"]
    assert (layer["heads"], layer["at"], layer["to"]) == (3, [8, 8], [4, 4])
    assert len(base64.b64decode(layer["weights"])) == weights.numel()
    assert gaze._look(fake({}))(None, {"entry": "fake"})["layers"] == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": "seven"}, "seed"),
        ({"scale": 11}, "scale is a number from 0 to 10"),
        ({"label": "no such class"}, "There is no class"),
        ({"entry": "gan-mnist"}, "attends within"),
        ({"entry": "gan-8gaussians"}, "attends within"),
    ],
)
def test_live_calls_check_what_they_are_given(page_shelf, asked, says):
    tab = SimpleNamespace(
        visits=SimpleNamespace(picked=lambda name, visit: Picked(name, zoo.ZOO[name], page_shelf)),
    )
    with pytest.raises(BadInput, match=says):
        gaze._look(tab)(None, {"entry": ENTRY} | asked)
