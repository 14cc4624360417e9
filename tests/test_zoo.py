"""The table and what is done with its names: shelves, cards that people bring, loading, live recipes, and saving."""

from __future__ import annotations

import inspect
import json
import os
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from toys import FakePictures, fake_domains, fake_text, lively, put_on_shelf, small

from gen_models import checkpoint, data, training, zoo
from gen_models.interface import BadInput, Imitates, Range, Space, State, options
from gen_models.noise import Noise

VAE = next(model for model in zoo.FAMILIES["vae"].models if model.__name__ == "VAE")
KINDS = {
    "points": Space("points", (2,)),
    "classes": Space("points", (2,), labels=("a", "b")),
    "grey": Space("image", (1, 8, 8), labels=("a", "b", "c")),
    "colour": Space("image", (3, 12, 16)),
    "domains": Space("image", (3, 12, 16), domains=("day", "night")),
    "text": Space("text", (12,), alphabet=("a", "b", "c")),
    "lines": Space("text", (6,), alphabet=("\n", "a", "b"), encoding="lines"),
}
MODELS = [model for family in zoo.FAMILIES.values() for model in family.models]


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(training, "REPORT", 0.0)


def spoil(shelf: zoo.Shelf, name: str, **values) -> None:
    """Changes the card by hand."""
    path = shelf.folder(name) / checkpoint.CARD
    card = json.loads(path.read_text())
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(card.get(key), dict):
            card[key].update(value)
        else:
            card[key] = value
    path.write_text(json.dumps(card))


# ---- the table -----------------------------------------------------------------------------------------------


def test_families_are_tabs_in_order():
    assert [(family.key, family.title) for family in zoo.FAMILIES.values()] == [
        ("mixture", "Mixture"), ("vae", "VAE"), ("gan", "GAN"), ("cyclegan", "CycleGAN"), ("crnngan", "C-RNN-GAN"),
        ("autoregressive", "Autoregressive"), ("vqvae", "VQ-VAE"), ("flow", "Flow"), ("diffusion", "Diffusion"),
    ]  # fmt: skip
    assert {entry.family for entry in zoo.ZOO.values()} == set(zoo.FAMILIES), "every tab has entries"
    for model in MODELS:
        assert not inspect.isabstract(model)
        assert "**Paper" in model.about, "whose work it is"


def test_the_entries_that_the_project_ships():
    wanted = {
        "vae-mnist", "vae-mnist-plane", "beta-vae-fashion", "gan-mnist", "wgan-gp-fashion", "gan-stacked-mnist",
        "diffusion-mnist", "diffusion-fashion", "ddpm-mnist", "mixture-mnist", "glow-mnist", "pixelcnn-mnist",
        "transformer-shakespeare", "transformer-names", "vqvae-mnist", "vqvae-fashion", "vqvae-cifar10",
    }  # fmt: skip
    assert wanted <= set(zoo.ZOO)
    for family in set(zoo.FAMILIES) - {"vqvae", "cyclegan", "crnngan"}:  # for pictures in codes, in pairs, for music
        assert any(e.family == family and e.where.kind == "points" for e in zoo.ZOO.values()), f"{family} on points"
    assert zoo.ZOO["beta-vae-fashion"].config["latent_dim"] == 16
    assert zoo.ZOO["vae-mnist-plane"].config["latent_dim"] == 2
    for name in ("gan-mnist", "diffusion-mnist", "diffusion-fashion"):
        assert len(zoo.ZOO[name].labels) == 10
    assert zoo.ZOO["ddpm-mnist"].labels == ()


# ---- live recipes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_trains_live_on_the_data_it_is_for(model, space):
    if model not in zoo.live_models(zoo.sort_of(space)):
        family = next(family for family in zoo.FAMILIES.values() if model in family.models)
        taught = issubclass(model, Imitates)  # it needs a teacher, which a visitor's data has not
        assert taught or any(model in zoo.live_models(sort) for sort in zoo.SORTS), f"{family.title}: for something"
        with pytest.raises(BadInput, match=f"{model.__name__} is not for {space.kind}"):
            zoo.live(model, space)
        return
    few = {"components": 3} if "components" in options(model.__init__) else {}
    entry = zoo.live(model, space, steps=3, batch_size=4, **few)
    assert entry.model in zoo.FAMILIES[entry.family].models
    if model.__name__ == "PixelCNN" and space == KINDS["colour"]:
        with pytest.raises(BadInput, match="grey"):
            zoo.build(entry)
        return
    assert sum(stage.steps for stage in entry.recipe.stages.values()) == 3
    assert entry.recipe.batch_size == 4
    if space.kind == "text":
        source = fake_text(space)
    else:
        source = data.load("moons") if space.kind == "points" else FakePictures(space)
    if space == KINDS["classes"]:
        source = Labelled(space)
    if space.domains:
        source = fake_domains(space)
    list(run := training.Training(zoo.build(entry), source, entry.recipe))
    assert zoo.entry_of(json.loads(json.dumps(zoo.card_of(entry)))) == entry
    if space.domains:
        there_and_back = zoo.both_ways(run.shown, *zoo.held_pairs(source))
        assert there_and_back.shape == (16, *space.shape)
        assert there_and_back.isfinite().all()
        return
    known = options(model.sample, zoo.limits(run.shown))
    few = {name: 2 for name in ("steps", "length") if name in known and not known[name].fixed}
    *_, last = zoo.sample(run.shown, 0, 2, **few)
    assert last.x.shape == ((2, 2) if "length" in few else (2, *space.shape))
    assert last.x.isfinite().all()


class Labelled:
    """The moons, with a class per half of the plane."""

    log_prob = None

    def __init__(self, space: Space):
        self.space = space

    def batch(self, n: int, rng: torch.Generator):
        batch = data.load("moons").batch(n, rng)
        return batch._replace(label=(batch.x[:, 0] > 0).long())

    def split(self, name: str):
        return self.batch(100, torch.Generator().manual_seed(0))


def test_steps_are_shared_among_the_stages_as_the_recipe_has_them():
    model = zoo.FAMILIES["vqvae"].models[0]
    usual = [stage.steps for stage in zoo.live(model, KINDS["colour"]).recipe.stages.values()]
    for steps in (7, 100, 1001):
        shared = [stage.steps for stage in zoo.live(model, KINDS["colour"], steps=steps).recipe.stages.values()]
        assert sum(shared) == steps
        assert shared[0] == pytest.approx(steps * usual[0] / sum(usual), abs=1)


def test_live_keeps_the_recipe_where_nothing_is_said_and_checks_the_rest():
    base = zoo.live(VAE, KINDS["points"])
    assert zoo.live(VAE, KINDS["points"], steps=None, lr=None, batch_size=None) == base
    changed = zoo.live(VAE, KINDS["points"], "moons", lr=0.5, latent_dim=3)
    assert (changed.recipe.lr, changed.config["latent_dim"], changed.data) == (0.5, 3, "moons")
    assert zoo.live(VAE, KINDS["grey"]).config["likelihood"] == "bernoulli"
    assert zoo.live(VAE, KINDS["colour"]).config["likelihood"] == "gaussian"
    with pytest.raises(BadInput, match="latent_dim is a whole number"):
        zoo.live(VAE, KINDS["points"], latent_dim=1000)
    with pytest.raises(BadInput, match="Unknown option depth"):
        zoo.live(VAE, KINDS["points"], depth=3)


# ---- cards that people bring ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoilt",
    [
        {"model": "vae.NoSuchModel"},
        {"model": "os.system"},
        {"model": "vae.Tensor"},
        {"model": "diffusion.Diffusion"},
        {"model": "../vae.VAE"},
        {"model": 3},
        {"config": {"latent_dim": 10**9}},
        {"config": {"depth": 3}},
        {"config": [1]},
        {"recipe": {"betas": None}},
        {"recipe": {"moon": "full"}},
        {"recipe": None},
        {"space": {"shape": [2, 3, 4, 5, 6]}},
        {"space": {"shape": [10**9]}},
        {"space": {"shape": []}},
        {"space": {"shape": "wide"}},
        {"space": {"kind": "smell"}},
        {"space": {"kind": "image"}},
        {"space": {"colour": 1}},
        {"space": 4},
        {"family": "ghost"},
        {"family": None},
        {"weights": "none"},
        {"weights": None},
    ],
    ids=str,
)
def test_a_card_that_makes_no_sense_is_refused_in_words(shelf, spoilt):
    spoil(shelf, "vae-8gaussians", **spoilt)
    with pytest.raises(BadInput) as error:
        zoo.load("vae-8gaussians", shelf)
    assert len(str(error.value)) > 30


def test_a_card_of_an_abstract_model_is_refused(shelf):
    spoil(shelf, "diffusion-mnist", model="diffusion.Diffusion")
    with pytest.raises(BadInput, match=r"diffusion\.Diffusion"):
        zoo.load("diffusion-mnist", shelf)


def test_a_card_of_another_models_weights_is_refused(shelf):
    spoil(shelf, "vae-8gaussians", config={"latent_dim": 3})
    with pytest.raises(BadInput, match=r"do not match the model that its card describes.*encoder"):
        zoo.load("vae-8gaussians", shelf)


# ---- shelves -------------------------------------------------------------------------------------------------


def test_a_shelf_lists_the_zoos_entries_first_and_then_the_visitors_by_age(shelf):
    for name in ("zebra", "ant"):
        put_on_shelf(shelf.root / name, small(zoo.ZOO["vae-8gaussians"]))
        time_of = shelf.root / name / checkpoint.CARD
        age = {"zebra": 1_000_000, "ant": 2_000_000}[name]
        os.utime(time_of, (age, age))
    (shelf.root / "unfinished").mkdir()
    assert shelf.names() == ["vae-8gaussians", "gan-mnist", "diffusion-mnist", "zebra", "ant"]
    assert zoo.Shelf(shelf.root / "nowhere").names() == []
    assert shelf.entry("zebra").model is zoo.ZOO["vae-8gaussians"].model
    assert shelf.preview("zebra") is None


@pytest.mark.parametrize("name", ["../vae-mnist", "/etc", "", ".hidden", "a/b", "x" * 200])
def test_a_name_cannot_leave_the_shelf(shelf, name):
    with pytest.raises(BadInput):
        shelf.folder(name)


def test_an_unknown_name_is_told_what_there_is(shelf):
    with pytest.raises(BadInput, match="vae-8gaussians"):
        zoo.load("vae-8gausians", shelf)


# ---- loading -------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_once_and_again_when_its_weights_change(shelf):
    first = zoo.load("vae-8gaussians", shelf)
    assert zoo.load("vae-8gaussians", shelf) is first
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())
    expected = lively(small(zoo.ZOO["vae-8gaussians"])).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in first.state_dict().items())

    entry = small(zoo.ZOO["vae-8gaussians"])
    checkpoint.save(shelf.folder("vae-8gaussians"), zoo.card_of(entry), lively(entry, seed=1))
    assert zoo.load("vae-8gaussians", shelf) is not first

    again = zoo.load("gan-mnist", shelf)
    zoo.forget(shelf)
    assert zoo.load("gan-mnist", shelf) is not again


def test_the_cache_drops_what_was_used_longest_ago(shelf, monkeypatch):
    zoo.forget(shelf)
    vae, gan = zoo.load("vae-8gaussians", shelf), zoo.load("gan-mnist", shelf)
    assert zoo.load("vae-8gaussians", shelf) is vae
    monkeypatch.setattr(zoo.shelf, "CACHE_BYTES", 1)
    diffusion = zoo.load("diffusion-mnist", shelf)
    assert zoo.load("diffusion-mnist", shelf) is diffusion, "the newest stays, however large"
    assert zoo.load("gan-mnist", shelf) is not gan


def test_threads_load_and_build_without_disturbing_each_other(shelf):
    expected = zoo.build(zoo.ZOO["vae-8gaussians"], 5).state_dict()
    found, before = [], torch.random.get_rng_state()

    def work():
        zoo.forget(shelf)
        zoo.load("gan-mnist", shelf)
        found.append(zoo.build(zoo.ZOO["vae-8gaussians"], 5).state_dict())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for state in found:
        assert all(torch.equal(value, expected[name]) for name, value in state.items())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n.", b"PK\x03\x04" + bytes(100), b"hello" * 10])
def test_weights_that_are_none_are_refused(shelf, content):
    (shelf.folder("vae-8gaussians") / checkpoint.WEIGHTS).write_bytes(content)
    with pytest.raises(BadInput):
        zoo.load("vae-8gaussians", shelf)


def test_weights_of_a_stranger_with_the_right_shapes_are_refused(shelf):
    path = shelf.folder("vae-8gaussians") / checkpoint.WEIGHTS
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    with pytest.raises(BadInput, match="SHA-256"):
        zoo.load("vae-8gaussians", shelf)


# ---- sampling ------------------------------------------------------------------------------------------------


def test_labels_go_round_or_are_asked_for():
    labels = ("cat", "dog", "7")
    assert zoo.label_rows(labels, 5).argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert zoo.label_rows(labels, 3, first=4).argmax(1).tolist() == [1, 2, 0]
    assert zoo.label_rows(labels, 2, "dog").tolist() == [[0, 1, 0], [0, 1, 0]]
    assert zoo.label_rows(labels, 1, 0).argmax(1).tolist() == [0]
    assert zoo.label_rows(labels, 1, "1").argmax(1).tolist() == [1]
    assert zoo.label_rows(labels, 1, 7).argmax(1).tolist() == [2], "a class named 7 comes before a number 7"
    assert zoo.label_rows((), 3) is None
    for wrong in ("bird", 3, -1, "", "²", 1.5, "1" * 5000):
        with pytest.raises(BadInput, match="cat, dog, 7"):
            zoo.label_rows(labels, 1, wrong)
    with pytest.raises(BadInput, match="no classes"):
        zoo.label_rows((), 1, 0)


def test_a_sample_has_the_seed_and_class_of_its_number(shelf):
    model = zoo.load("gan-mnist", shelf)
    *_, four = zoo.sample(model, 100, 4)
    *_, last = zoo.sample(model, 103, 1, first=3)
    assert_close(last.x, four.x[3:], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        *_, by_hand = model.sample(Noise([103]), label=torch.eye(10)[3:4])
    assert_close(by_hand.x, four.x[3:], rtol=1e-4, atol=1e-4)


def test_an_entry_that_cannot_decode_says_so(shelf):
    with pytest.raises(BadInput, match="no decoder"):
        zoo.decoded(zoo.load("diffusion-mnist", shelf), torch.zeros(1, 2))
    x = zoo.decoded(zoo.load("vae-8gaussians", shelf), torch.zeros(3, 2))
    assert x.shape == (3, 2)
    assert not x.requires_grad


def test_limits_narrow_the_steps_of_flow_matching():
    assert zoo.ZOO["diffusion-mnist"].limits()["steps"] == Range(1, 200)
    assert zoo.ZOO["ddpm-mnist"].limits()["steps"] == Range(1, 1000)


# ---- going on from a step --------------------------------------------------------------------------------------


def test_a_run_goes_on_from_any_of_its_steps_at_the_cost_of_what_is_left():
    model = zoo.build(zoo.ZOO["diffusion-8gaussians"], 0).eval()
    asked = {"steps": 6, "solver": "dpm++2m"}
    trunk = list(zoo.sample(model, 3, 5, **asked))
    branch = list(zoo.sample(model, 3, 5, start=trunk[2].state, **asked))
    assert [frame.total for frame in branch] == [4] * 5
    assert branch[-1].calls == 4
    for left, right in zip(trunk[2:], branch, strict=True):
        assert_close(left.x, right.x, rtol=0, atol=0)


def test_a_model_that_does_not_denoise_has_no_step_to_go_on_from():
    model = zoo.build(zoo.ZOO["gan-8gaussians"], 0).eval()
    with pytest.raises(BadInput, match="does not denoise"):
        next(zoo.sample(model, 0, 2, start=State(0.5, torch.zeros(2, 2))))


def test_label_rows_may_be_given_and_must_fit():
    rows = torch.rand(3, 4)
    assert_close(zoo.label_rows("abcd", 3, rows), rows)
    with pytest.raises(BadInput, match="Label rows"):
        zoo.label_rows("abcd", 2, rows)
