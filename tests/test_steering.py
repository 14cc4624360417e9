"""Steered walks: what lies between two noises and two labels, whose ends are plain samples and whose price is plain."""

from __future__ import annotations

import itertools

import pytest
import torch
from pipelines import opened
from torch.testing import assert_close
from toys import class_pipeline, lively

from gen_models import latent, zoo
from gen_models.interface import BadInput, Frame, Space
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.models.pretrained_latent import ClassPipeline
from gen_models.noise import Noise
from gen_models.steering import Between, Mixing, evenly, relabelled, turn
from gen_models.zoo.between import between

CLASSES = ("a", "b", "c")
ALL_A, ALL_B = (torch.eye(3)[k].expand(2, 3) for k in range(2))


@pytest.fixture(scope="module", params=[DDPM, FlowMatching])
def walker(request):
    """A model with weights that all count, on points with classes."""
    return lively(zoo.live(request.param, Space("points", (2,), labels=CLASSES), channels=8))


def begin_of(model, **values):
    """Runs of two samples as `relabelled` begins them."""
    return lambda rows, start: zoo.sample(model, 5, 2, label=rows, start=start, **{"steps": 8} | values)


# ---- noise -----------------------------------------------------------------------------------------------------


def test_the_ends_are_the_streams_of_their_seeds():
    noise, plain = Between(3, 11, evenly(4)), Noise([3, 11])
    for _ in range(3):
        drawn = noise.normal(2, 5)
        assert drawn.shape == (4, 2, 5)
        assert torch.equal(drawn[[0, 3]], plain.normal(2, 5))
    assert torch.equal(noise.at(7).normal(4)[::3], Noise([3, 11]).at(7).normal(4))


def test_the_first_draw_lies_on_the_great_circle_and_the_later_ones_are_noise():
    noise = Between(0, 1, evenly(5))
    a, b = Noise([0]).normal(400), Noise([1]).normal(400)
    first, second = noise.normal(400), noise.normal(400)
    for k, weight in enumerate(evenly(5)):
        assert_close(first[k], latent.slerp(a, b, weight)[0])
    apart = first.diff(dim=0).norm(dim=1)
    assert_close(apart, apart.mean().expand(4), rtol=0.02, atol=0)
    assert torch.equal(second[1], second[2])
    assert abs(float(torch.corrcoef(torch.stack([first[2], second[2]]))[0, 1])) < 0.2
    assert abs(float(second[2].std()) - 1) < 0.15


@pytest.mark.parametrize("weights", [[0, 1.1], [-0.1], [float("nan")]])
def test_a_place_that_is_not_between_is_refused(weights):
    with pytest.raises(BadInput, match="from 0"):
        Between(0, 1, weights)


@pytest.mark.parametrize("values", [{}, {"solver": "ddpm"}, {"solver": "ddim", "eta": 0.6}, {"guidance": 3.0}])
def test_the_ends_of_the_way_are_the_samples_of_the_seeds(walker, values):
    values = {"steps": 6, **values}
    rows = torch.stack([torch.lerp(*torch.eye(3)[:2], weight) for weight in evenly(5)])
    *_, last = between(walker, 4, 9, evenly(5), label=rows, **values)
    for k, seed, label in ((0, 4, "a"), (4, 9, "b")):
        *_, single = zoo.sample(walker, seed, 1, label=label, **values)
        assert_close(last.x[k], single.x[0], rtol=1e-4, atol=1e-4)
    steps = last.x.diff(dim=0).flatten(1).norm(dim=1)
    assert (steps > 1e-4).all(), "every frame is another sample"


def test_it_works_where_the_walk_is_in_latents(tmp_path):
    class_pipeline(tmp_path / "pipeline")
    model = opened(ClassPipeline, tmp_path / "pipeline")
    *_, last = between(model, 0, 1, evenly(3), label=torch.eye(3), steps=3)
    *_, single = zoo.sample(model, 1, 1, label=2, steps=3)
    assert_close(last.x[2], single.x[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"a": -1}, "seed is a whole number"),
        ({"label": "z"}, "There is no class"),
        ({"label": torch.eye(3)}, r"are \(2, 3\)"),
        ({"colour": 3}, "Unknown option colour"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_frame(walker, ask, says):
    with pytest.raises(BadInput, match=says):
        next(between(walker, **{"a": 0, "b": 1, "weights": evenly(2)} | ask))


# ---- labels over time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "t", "share"),
    [
        (0.8, 0.4, 1.0, 0.0),
        (0.8, 0.4, 0.8, 0.0),
        (0.8, 0.4, 0.7, 0.25),
        (0.8, 0.4, 0.4, 1.0),
        (0.8, 0.4, 0.0, 1.0),
        (0.5, 0.5, 0.51, 0.0),
        (0.5, 0.5, 0.5, 1.0),
        (1.0, 1.0, 1.0, 1.0),
        (0.0, 0.0, 0.01, 0.0),
    ],
)
def test_the_label_at_each_time(begin, end, t, share):
    rows = Mixing(0, 2, begin, end).checked().rows(t, 4, 3)
    assert_close(rows, torch.tensor([1 - share, 0, share]).expand(4, 3))


def test_a_label_mixed_with_itself_stays_whole():
    assert torch.equal(Mixing(1, 1, 0.9, 0.1).rows(0.37, 2, 3), ALL_B)


@pytest.mark.parametrize(("begin", "end"), [(0.3, 0.4), (1.1, 0.4), (0.5, -0.1), (float("nan"), 0.1)])
def test_times_in_the_wrong_order_are_refused(begin, end):
    with pytest.raises(BadInput, match="begin >= end"):
        Mixing(0, 1, begin, end).checked()


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "heun", "dpm++2m"])
def test_labels_that_do_not_change_make_the_plain_walk(walker, solver):
    begin = begin_of(walker, solver=solver, eta=0.5)
    plain = list(begin(ALL_A, None))
    steered = list(relabelled(begin, lambda t: ALL_A))
    assert [frame.calls for frame in steered] == [frame.calls for frame in plain]
    for mine, theirs in zip(steered, plain, strict=True):
        assert torch.equal(mine.x, theirs.x)
        assert (mine.step, mine.total) == (theirs.step, theirs.total)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "heun", "dpm++2m"])
def test_every_step_is_that_of_its_label_and_costs_no_more(walker, solver, monkeypatch):
    begin, mixing = begin_of(walker, solver=solver), Mixing(0, 1, 0.75, 0.25)
    plain = list(begin(ALL_A, None))
    called = []
    told = type(walker).predict
    monkeypatch.setattr(type(walker), "predict", lambda self, *rest: called.append(1) or told(self, *rest))
    steered = list(relabelled(begin, lambda t: mixing.rows(t, 2, 3)))
    assert len(called) == steered[-1].calls == plain[-1].calls
    assert [frame.step for frame in steered] == list(range(9))
    for before, now in itertools.pairwise(steered):
        rows = mixing.rows(before.state.t, 2, 3)
        changed = before.step > 0 and not torch.equal(rows, mixing.rows(before.state.t + 1 / 8, 2, 3))
        state = before.state._replace(history=()) if changed else before.state
        _, alone, *_ = begin(rows, state)
        assert torch.equal(now.x, alone.x)
    assert torch.equal(steered[2].x, plain[2].x), "until the mixture begins it is the first label's walk"
    assert not torch.equal(steered[-1].x, plain[-1].x)


def test_it_goes_on_from_the_first_labels_walk_for_its_own_steps_only(walker):
    begin, mixing = begin_of(walker, solver="heun"), Mixing(0, 1, 0.5, 0.5)
    label = lambda t: mixing.rows(t, 2, 3)  # noqa: E731
    trunk = list(begin(ALL_A, None))
    leaves = next(frame for frame in trunk if turn(frame, label, ALL_A))
    assert leaves.step == 4
    branch = list(relabelled(begin, label, leaves.state))
    whole = list(relabelled(begin, label))
    assert torch.equal(branch[-1].x, whole[-1].x)
    assert branch[-1].calls == whole[-1].calls - leaves.calls
    assert [frame.step for frame in branch] == [4, 5, 6, 7, 8]
    assert {frame.total for frame in branch} == {8}
    assert not any(turn(frame, lambda t: ALL_A, ALL_A) for frame in trunk)


def test_a_walk_that_is_left_is_closed(walker):
    closed = []

    def begin(rows, start):
        try:
            yield from zoo.sample(walker, 0, 2, label=rows, start=start, steps=4)
        finally:
            closed.append(rows)

    frames = relabelled(begin, lambda t: Mixing(0, 1, 1.0, 0.0).rows(t, 2, 3))
    for _ in range(3):
        next(frames)
    assert len(closed) == 1
    frames.close()
    assert len(closed) == 2


def test_a_walk_without_states_is_refused():
    def begin(rows, start):
        yield Frame(torch.zeros(2, 2), 0, 3)

    with pytest.raises(BadInput, match="cannot be gone on from"):
        next(relabelled(begin, lambda t: ALL_A))


def test_guidance_of_one_is_the_plain_conditional_model(walker):
    x, rows = Noise(range(2)).normal(2), ALL_B
    with torch.no_grad():
        guess = walker.denoise(x, 0.6, label=rows, guidance=1.0)
        plain = walker.guess(x, torch.full((2,), 0.6), walker.predict(x, torch.full((2,), 0.6), rows))
        none = walker.denoise(x, 0.6, label=torch.zeros(2, 3), guidance=1.0)
        led = walker.denoise(x, 0.6, label=rows, guidance=3.0)
    assert torch.equal(guess.x0, plain.x0)
    assert_close(led.eps, none.eps + 3 * (guess.eps - none.eps))
