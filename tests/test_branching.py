"""Branches: what is changed at a step does what its formula says, and the rest of the walk is what it was."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from toys import lively

from gen_models import branching, zoo
from gen_models.interface import BadInput, Guess, Space, State
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.noise import Noise
from gen_models.solvers import SOLVERS

MODELS = [DDPM, FlowMatching]
PICTURE = Space("image", (1, 8, 8), labels=("a", "b", "c"))


@pytest.fixture(scope="module", params=MODELS)
def walker(request):
    """A model of pictures with classes, whose weights all count."""
    return lively(zoo.live(request.param, PICTURE, channels=8))


@pytest.fixture(scope="module", params=MODELS)
def schedule(request):
    """A model of points, for its schedule alone."""
    return zoo.build(zoo.live(request.param, Space("points", (2,)), channels=8))


def beginner(model, counted=None, **values):
    """`begin` of these options for three samples; the batch sizes of the network's calls go into `counted`."""
    label = torch.eye(3)

    def begin(start, sample):
        rows = slice(None) if sample is None else slice(sample, sample + 1)
        noise = Noise(range(3)[rows])
        return zoo.stepped(
            model.sample(noise, label=label[rows], start=start, **{"steps": 6, "guidance": 2.0} | values)
        )

    if counted is not None:
        model.network.register_forward_hook(lambda _, given, __: counted.append(len(given[0])))
    return begin


def trunk_of(begin):
    return list(begin(None, None))


def square(onto="x_t", sample=1, shade=1.0):
    cover = torch.zeros(1, 8, 8)
    cover[:, 2:5, 2:5] = 1
    return branching.Painting(sample, onto, torch.full((1, 8, 8), shade), cover)


# ---- going on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_unchanged_branch_is_its_trunk_bit_for_bit(walker, solver):
    begin = beginner(walker, solver=solver, eta=0.5)
    trunk = trunk_of(begin)
    for k in (1, 4):
        branch = list(branching.walked(begin, trunk[k].state))
        assert len(branch) == 7 - k
        assert all(torch.equal(a.x, b.x) for a, b in zip(branch[1:], trunk[k + 1 :], strict=True))
        assert branch[-1].calls == trunk[-1].calls - trunk[k].calls


@pytest.mark.parametrize("solver", ["dpm++2m", "unipc"])
def test_only_the_painted_sample_forgets(walker, solver):
    begin = beginner(walker, solver=solver)
    trunk = trunk_of(begin)
    start = branching.painted(walker, trunk[3].state, square())
    branch = list(branching.walked(begin, start, 1))
    own = list(begin(branching.alone(start, 1), 1))
    for frame, before, single in zip(branch[1:], trunk[4:], own[1:], strict=True):
        for k in (0, 2):
            assert torch.equal(frame.x[k], before.x[k]), "the others are what they were"
        assert_close(frame.x[1], single.x[0])
        assert not torch.equal(frame.x[1], before.x[1])
    assert torch.equal(branch[-1].state.x[1], own[-1].state.x[0])


@pytest.mark.parametrize("solver", ["euler", "dpm++2m", "ddpm"])
def test_a_branch_costs_its_own_steps_alone(walker, solver):
    """Counted where the network is called: nothing of the past is computed again."""
    counted: list[int] = []
    begin = beginner(walker, counted, solver=solver)
    trunk = trunk_of(begin)
    assert counted == [6] * 6, "guidance is one call of twice the three samples"
    counted.clear()
    last = list(branching.walked(begin, trunk[4].state))[-1]
    assert counted == [6] * 2
    assert last.calls == 2
    counted.clear()
    changed = branching.painted(walker, trunk[4].state, square())
    last = list(branching.walked(begin, changed, 1))[-1]
    assert counted == [6, 2] * 2, "what was painted on is walked beside the others"
    assert last.calls == len(counted)
    walker.network._forward_hooks.clear()


def test_another_seed_changes_what_is_drawn_from_there(walker):
    begin = beginner(walker, solver="ddpm")
    trunk = trunk_of(begin)

    def reseeded(start, sample):
        return zoo.stepped(walker.sample(Noise([7, 1, 2]), label=torch.eye(3), start=start, steps=6, solver="ddpm",
                                         guidance=2.0))  # fmt: skip

    last = list(branching.walked(reseeded, trunk[3].state))[-1].state.x
    assert not torch.equal(last[0], trunk[-1].state.x[0])
    assert_close(last[1:], trunk[-1].state.x[1:])


# ---- noise back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "to"), [(0.0, 0.5), (0.2, 0.6), (0.6, 0.9), (0.5, 1.0)])
def test_noise_put_back_has_the_mean_and_variance_of_the_forward_transition(schedule, now, to):
    (alpha, sigma), (alpha_to, sigma_to) = (tuple(map(float, schedule.schedule(t))) for t in (now, to))
    x = torch.tensor([1.5, -0.5]).repeat(20_000, 1)
    after = branching.renoised(schedule, State(now, x, 3), to, Noise(range(20_000)))
    kept = alpha_to / alpha
    variance = sigma_to**2 - (kept * sigma) ** 2
    assert_close(after.x.mean(0), kept * x[0], atol=4 * variance**0.5 / 20_000**0.5, rtol=0)
    assert_close(after.x.var(0), torch.full((2,), variance), rtol=0.05, atol=0)
    assert (after.t, after.step, after.history) == (to, 4, ())


def test_noise_put_back_on_what_was_noised_is_as_if_it_was_noised_at_once(schedule):
    n = 20_000
    x0, eps = torch.full((n, 2), 0.7), Noise(range(n)).normal(2)
    there = State(0.3, schedule.noised(x0, 0.3, eps), 5)
    twice = branching.renoised(
        schedule, branching.renoised(schedule, there, 0.5, Noise(range(n))), 0.8, Noise(range(n))
    )
    alpha, sigma = map(float, schedule.schedule(0.8))
    assert_close(twice.x.mean(0), torch.full((2,), 0.7 * alpha), atol=0.03, rtol=0)
    assert_close(twice.x.std(0), torch.full((2,), sigma), atol=0.02, rtol=0)


def test_noise_goes_back_by_its_seed_and_step(schedule):
    state = State(0.2, torch.zeros(2, 2), 3)
    again = [branching.renoised(schedule, state, 0.5, Noise([4, 5])).x for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], branching.renoised(schedule, state, 0.5, Noise([6, 7])).x)
    later = branching.renoised(schedule, state._replace(step=4), 0.5, Noise([4, 5])).x
    assert not torch.equal(again[0], later)
    assert not torch.equal(again[0], Noise([4, 5]).normal(2)), "no draw that the walk itself makes"


@pytest.mark.parametrize("to", [0.1, 0.2, 1.01, float("nan")])
def test_noise_goes_back_to_a_later_time_only(schedule, to):
    with pytest.raises(BadInput, match="later time"):
        branching.renoised(schedule, State(0.2, torch.zeros(1, 2)), to, Noise([0]))


# ---- painting ------------------------------------------------------------------------------------------------


class Exact(FlowMatching):
    """Says of x_t the x0 that it was made of, with the noise that it was made with."""

    eps = Noise([0, 1, 2]).normal(*PICTURE.shape)

    def denoise(self, x_t, t, *, label=None, guidance=1.0):
        alpha, sigma = self.schedule(t)
        return Guess((x_t - sigma * self.eps) / alpha, self.eps)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_paint_on_the_guess_moves_the_guess_of_an_exact_denoiser_by_what_was_painted(t):
    model = Exact(PICTURE, channels=8)
    x0 = Noise([5, 6, 7]).normal(*PICTURE.shape).clamp(-1, 1)
    state = State(t, model.noised(x0, t, model.eps), 2, ((1.0, x0),))
    paint = square("x0", sample=2, shade=-1.0)
    after = branching.painted(model, state, paint, model.denoise(state.x, t).x0[2])
    guess = model.denoise(after.x, t).x0
    assert_close(guess[2], paint.over(x0[2]), atol=1e-4, rtol=0)
    assert_close(guess[:2], x0[:2], atol=1e-4, rtol=0)
    assert (guess[2, :, 2:5, 2:5] + 1).abs().max() < 1e-4
    assert torch.equal(after.x[:2], state.x[:2])


def test_paint_covers_as_much_as_it_covers(schedule):
    x = torch.zeros(1, 1, 8, 8)
    half = square(sample=0)._replace(cover=torch.full((1, 8, 8), 0.25))
    assert_close(branching.painted(schedule, State(0.4, x), half).x, torch.full_like(x, 0.25))


@pytest.mark.parametrize(
    ("painting", "t", "says"),
    [
        (square("x0"), 1.0, "alpha is 0"),
        (square(sample=3), 0.5, "There are 3 samples"),
        (square()._replace(cover=torch.zeros(1, 8, 8)), 0.5, "Nothing is painted"),
    ],
)
def test_paint_that_moves_nothing_is_refused(painting, t, says):
    model = Exact(PICTURE, channels=8)
    with pytest.raises(BadInput, match=says):
        branching.painted(model, State(t, torch.zeros(3, *PICTURE.shape)), painting, torch.zeros(PICTURE.shape))


# ---- the grid of times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [1.0, 0.8, 0.55, 0.3, 0.05])
def test_every_number_of_steps_left_can_be_had(walker, t):
    state = State(t, torch.zeros(3, *PICTURE.shape))
    for left in (1, 2, 7):
        steps = branching.steps_for(left, t, 1000)
        assert branching.steps_left(steps, t) == left
        first = next(beginner(walker, steps=steps)(state, None)) if steps <= 200 else None
        assert first is None or first.total == left
        assert steps == pytest.approx(left / t, abs=1 / t + 1), "about as far apart as they can be"


def test_what_cannot_be_walked_is_said(walker):
    with pytest.raises(BadInput, match="takes 1 to 10 steps"):
        branching.steps_for(50, 0.5, 20)
    with pytest.raises(BadInput, match="nothing is left"):
        branching.steps_for(1, 0.0, 20)
