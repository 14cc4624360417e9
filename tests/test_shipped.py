"""What is in the folder of checkpoints loads, draws, and says how it came about."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from gen_models import data, evaluate, render, zoo
from gen_models.interface import Maximises, Translates, checked, options

SHIPPED = [name for name in zoo.BUNDLED.names() if name in zoo.ZOO]
JUDGES = list(zoo.JUDGES)
TRANSLATORS = [name for name in SHIPPED if issubclass(zoo.ZOO[name].model, Translates)]
MOST_ERROR = {  # of the test set; 183 emoji in eight groups are told apart from 1156 alone
    "mnist": 0.006, "fashion-mnist": 0.08, "cifar10": 0.15, "digits-over-photos": 0.04, "noto-emoji": 0.45,
}  # fmt: skip


@pytest.mark.parametrize("name", [*SHIPPED, *JUDGES])
def test_a_shipped_card_says_how_it_came_about(name):
    card = zoo.BUNDLED.card(name)
    facts = card["training"]
    assert card["data"] in data.NAMES
    assert card["source"] == data.source_of(card["data"])
    assert "Apache-2.0" in card["licence"]
    assert facts["finished"] is True
    assert facts["seconds"] > 0
    assert facts["examples"] > 0
    assert facts["device"]
    assert isinstance(facts["seed"], int)
    assert facts["terms"]
    assert all(isinstance(value, int | float) for value in facts["terms"].values()), "null would be a loss that broke"
    most = sum(stage["steps"] for stage in card["recipe"]["stages"].values())
    early = issubclass((zoo.ZOO | zoo.JUDGES)[name].model, Maximises)  # its stage ends when it has converged
    assert 0 < facts["steps"] <= most if early else facts["steps"] == most


@pytest.mark.parametrize("name", [*SHIPPED, *JUDGES])
def test_a_shipped_checkpoint_is_its_zoo_entrys(name):
    entry, shipped = (zoo.ZOO | zoo.JUDGES)[name], zoo.BUNDLED.entry(name)
    assert shipped == dataclasses.replace(entry, space=entry.where, config=checked(entry.model.__init__, entry.config))


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in TRANSLATORS])
def test_a_shipped_checkpoint_loads_and_draws(name):
    model = zoo.load(name)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    steps = {"steps": 4} if "steps" in options(type(model).sample) else {}
    *_, last = zoo.sample(model, 0, 2, **steps)
    assert last.x.isfinite().all()
    assert last.x.float().std() > 0.05, "something is drawn"


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_shipped_translator_changes_a_picture(name):
    """A white bar on black, and one over coarse colours."""
    model, rng = zoo.load(name), torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 4, 4, generator=rng) * 2 - 1
    x = torch.cat([coarse.new_full((1, *model.space.shape), -1.0), F.interpolate(coarse, model.space.shape[1:])])
    x[:, :, 6:-6, 12:16] = 1
    for to in ("A", "B"):
        y = model.translate(x, to)
        assert y.abs().max() <= 1
        assert (y - x).abs().mean() > 0.005


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preview_is_there_with_its_recipe(name):
    path = zoo.BUNDLED.preview(name)
    assert path is not None
    assert render.recipe_of(path) == {"entry": name, "seed": 0}


@pytest.mark.parametrize("name", JUDGES)
def test_a_shipped_judge_knows_its_pictures(name):
    evaluation = evaluate.read(zoo.BUNDLED, name)
    assert evaluation["rows"][0]["figures"]["error"]["value"] <= MOST_ERROR[evaluation["data"]]
    model = zoo.load(name)
    x = torch.rand(3, *model.space.shape) * 2 - 1
    assert model.features(x).shape == (3, 64)
    assert model.classify(x).shape == (3, len(model.space.labels))


@pytest.mark.parametrize("name", [*SHIPPED, *JUDGES])
def test_what_is_shipped_was_measured_as_it_is(name):
    evaluation = evaluate.read(zoo.BUNDLED, name)
    assert evaluation is not None
    assert evaluation["finished"] is True
    assert not evaluate.stale(zoo.BUNDLED, name, evaluation), "the weights changed: evaluate again"
    for judge in (evaluation["judge"] or {}).values():
        assert zoo.BUNDLED.card(judge["name"])["weights"]["sha256"] == judge["sha256"], "the judge changed"
    controls = {row["name"] for row in evaluation["rows"] if row["kind"] == "control"}
    wanted = set() if name in zoo.JUDGES else set(evaluate.CONTROLS)
    space = zoo.BUNDLED.entry(name).where
    if space.kind == "music":
        wanted |= {"test"}
    if space.domains:
        wanted = {f"{what}, to {domain}" for what in ("unchanged", "blurred", "true twins") for domain in space.domains}
    assert controls == wanted
