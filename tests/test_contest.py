"""The Arena's engine: equal budgets, trainings that do not disturb each other, honest figures."""

from __future__ import annotations

import base64

import pytest
import torch
from torch.testing import assert_close

from gen_models import data, zoo
from gen_models.interface import BadInput, Denoises, Maximises, Scores
from gen_models.training import Training
from gen_models.ui.arena import looks, matrix, results
from gen_models.ui.arena.lessons import LESSONS
from gen_models.ui.arena.show import Show
from gen_models.ui.arena.tab import MODELS, SETS, ArenaForm, _fields, _source
from gen_models.ui.visits import Visits

GRADIENT = {name: model for name, model in MODELS.items() if not issubclass(model, Maximises)}


def moons():
    return data.load("moons")


def finished(contest: zoo.Contest) -> zoo.Contest:
    while contest.advance():
        pass
    return contest


def contest(*names: str, **budget) -> zoo.Contest:
    settings = {name: zoo.Setting(MODELS[name]) for name in names}
    return zoo.Contest(settings, moons(), data_name="moons", seed=3, **budget or {"steps": 3})


# ---- taking turns ------------------------------------------------------------------------------------------------


def test_everyone_gets_the_same_number_of_steps():
    found = finished(contest(*GRADIENT, steps=4))
    assert {key: c.rounds for key, c in found.contestants.items()} == dict.fromkeys(GRADIENT, 4)
    assert found.at == found.total == 4


@pytest.mark.parametrize("name", ["VAE", "WGANGP", "FlowMatching"])
def test_a_training_among_others_equals_the_same_training_alone(name):
    """Turns do not disturb one another: neither through the random generators nor through the optimizers."""
    among = finished(contest(*GRADIENT, steps=3)).contestants[name]
    alone = Training(zoo.build(among.entry, 3), moons(), among.entry.recipe, seed=3)
    list(alone)
    for mine, theirs in zip(among.model.parameters(), alone.shown.parameters(), strict=True):
        assert_close(mine, theirs, rtol=0, atol=0)


def test_a_budget_of_seconds_is_each_ones_own_time():
    found = finished(contest("VAE", "GAN", seconds=0.3))
    for contestant in found.contestants.values():
        longest = 0.3 + 50 * contestant.training.seconds / max(1, contestant.rounds)
        assert 0.3 <= contestant.training.seconds < longest, "it ends with the step in which the time is up"


def test_a_single_step_is_one_step_of_each():
    found = contest("VAE", "GAN", steps=50)
    found.advance()  # before the first step: what an untrained model draws
    before = {key: c.rounds for key, c in found.contestants.items()}
    found.advance(single=True)
    assert {key: c.rounds - before[key] for key, c in found.contestants.items()} == {"VAE": 1, "GAN": 1}


def test_one_that_fails_says_why_and_the_others_go_on():
    settings = {"bad": zoo.Setting(MODELS["VAE"], recipe={"lr": 1e30, "clip": 0.0}), "good": zoo.Setting(MODELS["VAE"])}
    found = finished(zoo.Contest(settings, moons(), seed=0, steps=20))
    assert "no longer finite" in found.contestants["bad"].trouble
    assert found.contestants["good"].rounds == 20
    assert not found.contestants["good"].trouble


@pytest.mark.parametrize("budget", [{}, {"seconds": 1.0, "steps": 3}])
def test_a_contest_has_one_budget(budget):
    with pytest.raises(BadInput, match="seconds or steps"):
        zoo.Contest({}, moons(), **budget)


# ---- figures -----------------------------------------------------------------------------------------------------


def test_real_points_measure_as_real():
    truth = results.Truth(data.load("8gaussians"))
    (row,) = results.controls(truth)
    cells = row["cells"]
    assert cells["gap"]["value"] == 0
    assert abs(cells["energy"]["value"]) < 0.02
    assert cells["modes"]["value"] == 8
    assert 98 < cells["inside"]["value"] <= 100
    assert cells["nll"]["value"] == pytest.approx(truth.floor)


def test_a_collapsed_generator_is_seen_to_be_one():
    truth = results.Truth(data.load("8gaussians"))
    one = truth.held[truth.source.mode_of(truth.held) == 2]
    modes, good = truth.covered(one)
    assert modes == 1
    assert good > 0.95
    modes, good = truth.covered(torch.zeros(500, 2))
    assert (modes, good) == (0, 0.0), "between the modes there is nothing"


def test_the_table_has_a_row_for_each_and_marks_the_best():
    show = Show(finished(contest("VAE", "GAN", steps=20)), moons(), {"key": "moons", "title": "Two moons"}, "", None)
    *_, last = show.ending("done")
    table = last["table"]
    assert [row["key"] for row in table["rows"]] == ["VAE", "GAN", "real"]
    vae, gan, real = (row["cells"] for row in table["rows"])
    assert "nll" not in gan
    assert vae["nll"]["text"].startswith("≤ "), "a bound says so"
    assert vae["gap"]["value"] > 0, "a bound of a model that is not the truth"
    assert sorted(row["cells"]["energy"]["best"] for row in table["rows"][:2]) == [False, True]
    assert real["gap"]["value"] == 0
    assert not real["energy"]["best"]
    assert vae["steps"]["value"] == 20
    assert vae["parameters"]["value"] > 1000
    assert {cell["state"] for cell in last["cells"]} == {"done"}


def test_what_is_drawn_follows_from_the_abilities():
    found = finished(contest(*MODELS, steps=2))
    show = Show(found, moons(), {"key": "moons", "title": "Two moons"}, "", None)
    *_, last = show.ending("done")
    for cell in last["cells"]:
        model = MODELS[cell["key"]]
        assert (cell["density"] is not None) == issubclass(model, Scores), cell["key"]
        assert (cell["field"] is not None) == hasattr(model, "criticise"), cell["key"]
        assert cell["points"]
        assert cell["brief"][0]["label"] == "NLL"
        if not issubclass(model, Scores):
            assert cell["brief"][0]["text"] == "no likelihood"
        if issubclass(model, Denoises):
            assert cell["paths"]["length"] == looks.FEW["steps"] + 1


def test_a_density_is_drawn_on_the_truths_scale():
    truth = results.Truth(moons())
    drawn = looks.shades(moons().log_prob(looks.plane(looks.DENSITY)), truth.highest)
    assert drawn["side"] == looks.DENSITY
    shades = torch.frombuffer(bytearray(base64.b64decode(drawn["bytes"])), dtype=torch.uint8)
    assert shades.max() == 255, "bright on the moons"
    assert shades.view(looks.DENSITY, -1)[0].max() < 30, "dark at the rim"


# ---- what a person brings ----------------------------------------------------------------------------------------


def rows(n: int) -> str:
    return "\n".join(f"{k % 7},{k % 5}" for k in range(n))


def test_fewer_than_fifty_points_are_too_few():
    with pytest.raises(BadInput, match="At least 50 points are needed here; there are 49"):
        _source({"data": "own-points", "csv": rows(49)})
    with pytest.raises(BadInput, match="there are 0"):
        _source({"data": "own-points", "csv": " "})
    assert _source({"data": "own-points", "csv": rows(50)}).space.shape == (2,)


def test_an_outlier_is_named_instead_of_flattening_the_rest():
    with pytest.raises(BadInput, match="far from all others"):
        _source({"data": "own-points", "csv": rows(60) + "\n1e7,0"})


def test_the_form_says_what_is_wrong():
    form = object.__new__(ArenaForm)  # its fields alone: the page is not needed
    form.fields = _fields
    ask = lambda **values: form.checked(None, values, "n")[1]  # noqa: E731
    assert ask(families=["GAN", "VAE"])["families"] == ("VAE", "GAN"), "in the page's order"
    for wrong in ([], ["Nothing"], "GAN"):
        with pytest.raises(BadInput, match="families is a list of at least one of"):
            ask(families=wrong)
    with pytest.raises(BadInput, match="budget is a number from"):
        ask(budget=0)


# ---- lessons and abilities -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", LESSONS)
def test_a_lessons_failure_and_its_cure_differ_and_train(key):
    lesson = LESSONS[key]
    assert lesson.broken != lesson.fixed
    assert lesson.broken.model in MODELS.values()
    settings = {"broken": lesson.broken, "fixed": lesson.fixed}
    found = finished(zoo.Contest(settings, data.load(lesson.data), data_name=lesson.data, seed=0, steps=2))
    assert not any(c.trouble for c in found.contestants.values())
    assert {one["key"] for one in SETS} >= {lesson.data}


def test_the_matrix_names_a_panel_or_a_reason(tmp_path):
    table = matrix.table(Visits(zoo.Shelf(tmp_path)))
    assert [row["key"] for row in table["rows"]] == list(zoo.FAMILIES)
    cells = {(row["key"], key): cell for row in table["rows"] for key, cell in row["cells"].items()}
    assert not cells["gan", "exact"]["can"]
    assert "likelihood" in cells["gan", "exact"]["why"]
    assert cells["diffusion", "steps"] == cells["diffusion", "steps"] | {"can": True, "panel": "steps"}
    assert cells["vae", "encode"]["panel"] == "reconstruct"
    assert cells["flow", "invert"]["panel"] == "layers"
    assert cells["mixture", "steps"]["panel"] == "rounds"
    assert cells["mixture", "exact"]["panel"] == "density"
    assert not cells["vae", "steps"]["can"]
    assert cells["autoregressive", "complete"]["panel"] == "complete"
    assert cells["vqvae", "complete"]["panel"] == "codes"
    assert all(cell["entry"] in zoo.ZOO for cell in cells.values() if cell["can"])
