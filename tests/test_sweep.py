"""Comparing solvers and sweeping options: equal calls are equal, distances fall, cells are the samples they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import lively, put_on_shelf, small

from gen_models import render, zoo
from gen_models.interface import BadInput, Guess, Space
from gen_models.models.diffusion import FlowMatching
from gen_models.noise import Noise
from gen_models.solvers import SOLVERS, calls_of
from gen_models.ui import cost, sweep
from gen_models.ui.panels import solvers as panel
from gen_models.ui.panels import sweep as sweeping
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask
from gen_models.zoo import comparing

MEAN, SPREAD = 1.5, 0.4  # the data of the exact denoiser


class Exact(FlowMatching):
    """The best denoiser of points ~ N(MEAN, SPREAD^2): its ODE keeps each point's distance in deviations."""

    def denoise(self, x_t: Tensor, t, *, label=None, guidance: float = 1.0) -> Guess:
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=x_t.dtype))
        variance = alpha**2 * SPREAD**2 + sigma**2
        off = x_t - alpha * MEAN
        return Guess(MEAN + alpha * SPREAD**2 / variance * off, sigma / variance * off)


@pytest.fixture(scope="module")
def exact() -> Exact:
    return Exact(Space("points", (2,)), channels=8).eval()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> zoo.Shelf:
    shelf = zoo.Shelf(tmp_path_factory.mktemp("sweep"))
    for name in ("diffusion-mnist", "diffusion-8gaussians", "gan-mnist", "vae-mnist"):
        put_on_shelf(shelf.root / name, small(zoo.ZOO[name]))
    return shelf


def picked(shelf: zoo.Shelf, name: str) -> Picked:
    return Picked(name, shelf.entry(name), shelf)


def ended(model, cell: comparing.Cell, seed: int = 0, n: int = 16) -> Tensor:
    *_, last = comparing.solved(model, cell, seed, n)
    return last.x


# ---- comparing ------------------------------------------------------------------------------------------------


def test_equal_calls_are_really_equal():
    model = lively(zoo.live(FlowMatching, Space("points", (2,)), channels=8))
    counted = []
    handle = model.network.register_forward_hook(lambda *_: counted.append(1))
    plan = comparing.cells(SOLVERS, [1, 2, 5, 8], 200)
    assert len(plan) == 4 * len(SOLVERS)
    for cell in plan:
        counted.clear()
        ended(model, cell)
        assert len(counted) == cell.calls <= cell.asked
        assert cell.calls == cell.asked - (cell.solver == "heun" and cell.asked % 2 == 0), "Heun may leave one over"
    handle.remove()


def test_all_begin_with_identical_noise():
    model = lively(zoo.live(FlowMatching, Space("points", (2,)), channels=8))
    begun = [next(comparing.solved(model, cell, 7, 5)).x for cell in comparing.cells(SOLVERS, [4], 200)]
    for x in begun:
        assert torch.equal(x, Noise(range(7, 12)).normal(2))


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm++2m", "unipc", "ddim"])
def test_distances_to_the_end_of_the_ode_fall_with_the_calls(exact, solver):
    truth = MEAN + SPREAD * Noise(range(16)).normal(2)  # of t = 1: alpha is 0 there
    *_, last = comparing.reference(exact, 0, 16)
    assert last.total == 200
    assert comparing.distance(last.x, truth) < 1e-3
    off = [comparing.distance(ended(exact, cell), last.x) for cell in comparing.cells([solver], [3, 9, 27, 81], 200)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 0.05 * off[0]


def test_solvers_that_draw_noise_end_elsewhere(exact):
    assert not comparing.follows("ddpm", 0.0)
    assert not comparing.follows("ddim", 0.5)
    assert all(comparing.follows(solver, 0.0) for solver in SOLVERS if solver != "ddpm")
    *_, last = comparing.reference(exact, 0, 16)
    off = [comparing.distance(ended(exact, cell), last.x) for cell in comparing.cells(["ddpm"], [20, 200], 200)]
    assert min(off) > 0.5 * SPREAD


def test_distance_is_a_root_mean_square():
    assert comparing.distance(torch.tensor([[0.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2)) == pytest.approx(1.5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_moments_are_the_guesses_at_their_calls(exact, solver):
    (cell,) = comparing.cells([solver], [7], 200)
    frames = list(comparing.solved(exact, cell, 0, 4))
    found = list(comparing.moments(iter(frames)))
    wanted = [0, 1, 3, 5, 7] if solver == "heun" else list(range(8))
    assert [moment.calls for moment in found] == wanted
    assert torch.equal(found[0].x, frames[0].x)
    assert torch.equal(found[-1].x, frames[-1].x)
    for moment, frame in zip(found[1:-1], frames[1:-1], strict=True):
        assert torch.equal(moment.x, frame.x0)


def test_a_step_is_timed_without_the_first_one(exact):
    clock = iter(range(1000))
    seconds, steps = comparing.timed(exact, 2, lambda: next(clock), patience=1e9, solver="euler", steps=5)
    assert steps == 5
    assert 0 < seconds < 5


# ---- the panel of solvers, without a page -----------------------------------------------------------------------


def asked(form_fields, shelf, name: str, tmp_path, **changed) -> Ask:
    at, visit = picked(shelf, name), Visit(tmp_path)
    fields = {field.option.name: field for field in form_fields(at)}
    values = {key: field.option.check(changed.get(key, field.option.default)) for key, field in fields.items()}
    assert not set(changed) - set(values)
    passed = {key: values[key] for key, field in fields.items() if field.passed}
    return Ask(at, visit, values, passed, "run")


def test_the_cost_is_said_in_calls(shelf, tmp_path):
    ask = asked(panel._fields, shelf, "diffusion-8gaussians", tmp_path, calls="2, 4, 8", solvers=["heun", "unipc"])
    said = panel._price(ask, "cpu", "form")
    assert said.startswith("2 solvers × 3 numbers of calls = 25 network calls, and 200 for the ODE's end: ")
    ask.visit.kept["form-end"] = {panel._key(ask): (torch.zeros(1), 200)}
    assert "= 25 network calls, and the ODE's end is known: " in panel._price(ask, "cpu", "form")
    ask.values["reference"] = False
    assert "ODE" not in panel._price(ask, "cpu", "form")


@pytest.mark.parametrize(
    ("calls", "says"),
    [("", "at least one value"), ("0, 2", "calls is a whole number from 1 to 200"), ("2, 2", "twice"),
     ("1, 2, .., 9", "more than 8 values"), ("400", "from 1 to 200"), ("two", "whole number")],
)  # fmt: skip
def test_calls_that_cannot_be(shelf, tmp_path, calls, says):
    with pytest.raises(BadInput, match=says):
        panel._begun(asked(panel._fields, shelf, "diffusion-mnist", tmp_path, calls=calls))


def test_what_is_sent_holds_the_results(shelf, tmp_path):
    ask = asked(panel._fields, shelf, "diffusion-8gaussians", tmp_path, calls="3", solvers=["heun", "ddpm"], n=50)
    kept, model = panel._begun(ask), ask.picked.model("cpu")
    for cell in kept.plan:
        kept.drawn[cell] = list(comparing.moments(comparing.solved(model, cell, 0, 50)))
    sent = panel.sent(kept, kept.plan, over=True)
    assert [row["follows"] for row in sent["rows"]] == [False, True]  # in the panel's order
    assert [(cell["at"], cell["steps"], cell["spent"]) for cell in sent["cells"]] == [((0, 0), 3, 3), ((1, 0), 2, 3)]
    assert all(cell["off"] is None for cell in sent["cells"])
    kept.end = kept.drawn[kept.plan[1]][-1].x
    assert panel.sent(kept, kept.plan)["cells"][1]["off"] == 0
    assert panel._csv(kept)[1].decode().splitlines()[2] == "heun,3,2,3,0"


# ---- sweeps ---------------------------------------------------------------------------------------------------


def test_what_can_be_swept(shelf):
    assert list(sweep.axes(picked(shelf, "diffusion-mnist"))) == ["steps", "solver", "guidance", "eta", "label", "seed"]
    assert list(sweep.axes(picked(shelf, "diffusion-8gaussians"))) == ["steps", "solver", "eta", "seed"]
    assert sweep.axis(picked(shelf, "diffusion-mnist"), "label", "0, 1, .., 9").values == tuple(range(10))
    assert sweep.axis(picked(shelf, "diffusion-mnist"), "solver", "heun, unipc").values == ("heun", "unipc")
    for name in ("diffusion-mnist", "diffusion-8gaussians", "gan-mnist", "vae-mnist"):
        for key, option in sweep.axes(picked(shelf, name)).items():
            assert len(sweep.axis(picked(shelf, name), key, sweep.suggested(option)).values) > 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rows": "steps", "row_values": "1, 2"}, "choose two different options"),
        ({"column_values": "1, 2, .., 20", "row_values": "1, 1.1, .., 2"}, "11 × 20 is 220 cells; at most 144 fit"),
        ({"column_values": "0"}, "steps is a whole number from 1 to 200"),
        ({"rows": "seed", "row_values": "4294967296"}, "seed is a whole number"),
        ({"row_values": " , "}, "at least one value"),
    ],
)
def test_sweeps_that_cannot_be(shelf, tmp_path, changed, says):
    with pytest.raises(BadInput, match=says):
        sweeping._begun(asked(sweeping._fields, shelf, "diffusion-mnist", tmp_path, **changed))


def test_a_large_sweep_says_its_cost(shelf, tmp_path):
    changed = {"columns": "seed", "column_values": "0, 1, .., 9", "row_values": "1, 1.5, .., 5.5", "steps": 50}
    ask = asked(sweeping._fields, shelf, "diffusion-mnist", tmp_path, **changed, solver="unipc")
    said = sweeping._price(ask, "cpu")
    assert said.startswith("10 × 10 = 100 cells, 5,000 network calls: about ")
    per_call = [sweep.pace(ask.picked, "cpu", 1, {"guidance": guidance})[0] for guidance in (1.0, 2.0)]
    assert said.endswith(cost.duration(500 * per_call[0] + 4500 * per_call[1])), "guidance 1 is another pace"


def test_the_cost_of_models_that_do_not_walk(shelf, tmp_path):
    ask = asked(sweeping._fields, shelf, "gan-mnist", tmp_path)
    rows, columns = sweep.grid(ask.picked, ask.values)
    said = sweeping._price(ask, "cpu")
    assert said.startswith(f"{len(rows.values)} × {len(columns.values)} = ")
    assert "network calls" not in said
    assert math.isfinite(sweep.price(ask.picked, "cpu", 1, [{"seed": 0}] * 3)[1])


def test_the_settings_of_a_cell(shelf, tmp_path):
    changed = {"rows": "label", "row_values": "3, 7", "columns": "seed", "column_values": "5, 6"}
    kept = sweeping._begun(asked(sweeping._fields, shelf, "diffusion-mnist", tmp_path, steps=2, **changed))
    found = kept.settings(1, 0)
    assert (found["label"], found["seed"], found["steps"]) == ("7", 5, 2)
    model = kept.ask.picked.model("cpu")
    for r, c in kept.places:
        asking = kept.settings(r, c)
        *_, last = zoo.sample(model, asking.pop("seed"), 1, **asking)
        kept.cells[r, c] = last.x
    *_, single = zoo.sample(model, 6, 1, label=3, steps=2)
    assert_close(kept.cells[0, 1], single.x)
    picture = sweep.headed(
        {(0, 0): render_of(kept, 0, 0), (1, 1): render_of(kept, 1, 1)}, ["3", "7"], ["5", "6"], "Class \\ Seed"
    )
    assert picture.size[1] == 28 + 2 * (28 + 4)
    left = picture.size[0] - 2 * (28 + 4)
    assert list(picture.crop((left, 28, left + 28, 56)).convert("L").tobytes()) == list(render_of(kept, 0, 0).tobytes())


def render_of(kept, r: int, c: int):
    return render.picture(kept.cells[r, c][0], kept.ask.picked.space)


def test_calls_of_every_cell_add_up(shelf):
    runs = [{"solver": solver, "steps": 3, "seed": 0} for solver in SOLVERS]
    calls, seconds = sweep.price(picked(shelf, "diffusion-8gaussians"), "cpu", 20, runs)
    assert calls == sum(calls_of(solver, 3) for solver in SOLVERS) == 3 * (len(SOLVERS) - 1) + 5
    assert seconds > 0
