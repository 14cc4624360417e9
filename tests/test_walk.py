"""Walks from noise to data: frames that can be branched from, calls that are counted, guidance by its formula."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.testing import assert_close
from toys import lively

from gen_models import zoo
from gen_models.interface import Space
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.noise import Noise
from gen_models.solvers import SOLVERS


@pytest.fixture(scope="module", params=[DDPM, FlowMatching])
def walker(request):
    """A model with weights that all count, on points with classes."""
    entry = zoo.live(request.param, Space("points", (2,), labels=("a", "b", "c")), channels=8)
    return lively(entry)


LABEL = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])


def frames(model, start=None, seeds=(5, 6), label=LABEL, **values):
    with torch.no_grad():
        return list(model.sample(Noise(seeds), label=label, start=start, **{"steps": 8, "guidance": 2.0} | values))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_branch_that_changes_nothing_is_its_trunk(walker, solver):
    trunk = frames(walker, solver=solver, eta=0.7)
    for k in (0, 3, 7):
        branch = frames(walker, start=trunk[k].state, solver=solver, eta=0.7)
        assert torch.equal(branch[0].x, trunk[k].state.x)
        assert [frame.total for frame in branch] == [8 - k] * (9 - k)
        for mine, theirs in zip(branch[1:], trunk[k + 1 :], strict=True):
            assert torch.equal(mine.x, theirs.x)
            assert torch.equal(mine.x0, theirs.x0)
            assert mine.state.t == theirs.state.t
            assert mine.state.step == theirs.state.step
        assert branch[-1].calls == trunk[-1].calls - trunk[k].calls, "a branch pays for its own calls only"


def test_a_finished_walk_has_nowhere_to_go(walker):
    last = frames(walker)[-1]
    (only,) = frames(walker, start=last.state)
    assert torch.equal(only.x, last.x)
    assert (only.step, only.total, only.calls) == (0, 0, 0)


@pytest.mark.parametrize("first", SOLVERS)
@pytest.mark.parametrize("second", SOLVERS)
def test_the_solver_may_change_midway(walker, first, second):
    trunk = frames(walker, solver=first)
    last = frames(walker, start=trunk[4].state, solver=second)[-1]
    assert last.step == last.total == 4
    assert last.x.isfinite().all()
    assert torch.equal(last.x, trunk[-1].x) == (first == second or {first, second} == {"euler", "ddim"})


def test_the_number_of_steps_may_change_midway(walker):
    trunk = frames(walker, solver="dpm++2m")
    branch = frames(walker, start=trunk[4].state, solver="dpm++2m", steps=16)
    assert [frame.state.t for frame in branch] == pytest.approx([0.5 - k / 16 for k in range(9)])


@pytest.mark.parametrize(
    ("solver", "calls"), [("euler", 8), ("ddim", 8), ("ddpm", 8), ("dpm++2m", 8), ("unipc", 8), ("heun", 15)]
)
def test_calls_are_counted(walker, solver, calls):
    count = []
    handle = walker.network.register_forward_hook(lambda *_: count.append(1))
    last = frames(walker, solver=solver)[-1]
    handle.remove()
    assert last.calls == calls == len(count), "guidance is one call of twice the batch"


def test_frames_carry_the_guess_and_the_noise(walker):
    found = frames(walker, solver="euler")
    for before, after in itertools.pairwise(found):
        alpha, sigma = (float(a) for a in walker.schedule(before.state.t))
        explained = alpha * after.x0 + sigma * after.show["eps"]
        assert_close(explained, before.x, rtol=1e-3, atol=1e-3)
    assert_close(found[-1].x, found[-1].x0, msg="the last step of Euler arrives at its guess")


# ---- guidance ------------------------------------------------------------------------------------------------


def test_guidance_moves_from_the_unconditional_guess_through_the_conditional_one(walker):
    x, t = Noise([0, 1]).normal(2), 0.6
    with torch.no_grad():
        conditional = walker.denoise(x, t, label=LABEL)
        unconditional = walker.denoise(x, t, label=torch.zeros(2, 3))
        assert not torch.allclose(conditional.x0, unconditional.x0)
        for scale in (0.0, 1.0, 2.5):
            guided = walker.denoise(x, t, label=LABEL, guidance=scale)
            for part in ("x0", "eps"):
                c, u = getattr(conditional, part), getattr(unconditional, part)
                assert_close(getattr(guided, part), u + scale * (c - u), rtol=1e-4, atol=1e-4)
        assert torch.equal(walker.denoise(x, t, label=None, guidance=3.0).x0, unconditional.x0)


def test_guidance_of_one_is_the_plain_conditional(walker):
    plain = walker.denoise(Noise([0, 1]).normal(2), 0.6, label=LABEL)
    assert torch.equal(walker.denoise(Noise([0, 1]).normal(2), 0.6, label=LABEL, guidance=1.0).x0, plain.x0)


def test_rows_may_have_times_of_their_own(walker):
    x, t = Noise([0, 1]).normal(2), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        both = walker.denoise(x, t, label=LABEL)
        for k in (0, 1):
            alone = walker.denoise(x[k : k + 1], float(t[k]), label=LABEL[k : k + 1])
            assert_close(both.x0[k : k + 1], alone.x0, rtol=1e-4, atol=1e-4)
            assert_close(both.eps[k : k + 1], alone.eps, rtol=1e-4, atol=1e-4)
