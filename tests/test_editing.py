"""Editing by a denoiser that is exact: what is kept stays, what is inverted comes back, what it costs is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from toys import lively

from gen_models import editing, zoo
from gen_models.interface import BadInput, Denoises, Frame, Guess, Space, State
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.noise import Noise
from gen_models.solvers import SOLVERS

MEAN, SPREAD = 0.2, 0.4  # of the exact denoiser's data
POINTS = Space("points", (2,))
SCHEDULES = {"ddpm": DDPM(POINTS, channels=8).schedule, "flow": FlowMatching(POINTS, channels=8).schedule}


class Exact(Denoises):
    """The best denoiser of numbers ~ N(MEAN, SPREAD^2), which counts how often it is asked."""

    def __init__(self, name: str):
        self.schedule_of, self.asked = SCHEDULES[name], 0

    def schedule(self, t):
        return self.schedule_of(t)

    def sample(self, noise: Noise, *, label: Tensor | None = None) -> Iterator[Frame]:
        yield from ()

    def denoise(self, x_t: Tensor, t, *, label: Tensor | None = None, guidance: float = 1.0) -> Guess:
        self.asked += 1
        alpha, sigma = (float(a) for a in self.schedule(t))
        off = (x_t - alpha * MEAN) / (alpha**2 * SPREAD**2 + sigma**2)
        return Guess(MEAN + alpha * SPREAD**2 * off, sigma * off)


@pytest.fixture(params=SCHEDULES)
def exact(request) -> Exact:
    return Exact(request.param)


@pytest.fixture(scope="module", params=[DDPM, FlowMatching])
def model(request) -> nn.Module:
    """A network with weights that all count, on small pictures with classes."""
    space = Space("image", (1, 8, 8), labels=("a", "b", "c"))
    return lively(zoo.live(request.param, space, channels=8))


def pictures(n: int = 2, seed: int = 3) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def last(frames: Iterator[Frame]) -> Frame:
    *_, frame = zoo.stepped(frames)
    return frame


# ---- picture to picture -------------------------------------------------------------------------------------------


def test_strength_0_is_the_picture_and_1_the_plain_sample_of_the_seed(model):
    x, seeds = pictures(), (7, 8)
    assert torch.equal(editing.begun(model, x, 0.0, Noise(seeds)).x, x)
    start = editing.begun(model, x, 1.0, Noise(seeds))
    edited = last(model.sample(Noise(seeds), steps=4, start=start, guidance=1.0))
    plain = last(model.sample(Noise(seeds), steps=4, guidance=1.0))
    alpha = float(model.schedule(1.0)[0])
    assert torch.equal(edited.x, plain.x) == (alpha == 0)
    assert_close(start.x, Noise(seeds).normal(1, 8, 8) * float(model.schedule(1.0)[1]) + alpha * x)


@pytest.mark.parametrize("strength", [0.0, 0.05, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("solver", SOLVERS)
def test_only_what_lies_before_the_strength_is_walked_and_counted_beforehand(model, solver, strength):
    start = editing.begun(model, pictures(), strength, Noise((1, 2)))
    frame = last(model.sample(Noise((1, 2)), steps=10, solver=solver, start=start))
    walk = editing.times(10, strength)
    assert frame.calls == editing.calls(model, solver, walk)
    assert frame.total == len(walk) - 1 == math.ceil(10 * strength)


def test_a_noised_picture_has_the_mean_and_deviation_of_its_time(exact):
    x = torch.full((1, 20_000), 0.8)
    for strength in (0.2, 0.6, 1.0):
        alpha, sigma = (float(a) for a in exact.schedule(strength))
        noised = editing.begun(exact, x, strength, Noise([4])).x
        assert abs(noised.mean() - alpha * 0.8) < 4 * sigma / 20_000**0.5
        assert abs(noised.std() - sigma) < 4 * sigma / 40_000**0.5


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_strength_out_of_bounds_is_refused(model, strength):
    with pytest.raises(BadInput, match="Strength is a number from 0"):
        editing.begun(model, pictures(), strength, Noise((1, 2)))


# ---- under a mask -------------------------------------------------------------------------------------------------


def left_half() -> Tensor:
    known = torch.zeros(1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    return known


def redrawn(model, x: Tensor, known: Tensor, seeds=(5, 6), **values) -> Frame:
    return last(editing.inpainted(model, x, known, Noise(seeds), **{"steps": 6, "solver": "ddpm"} | values))


@pytest.mark.parametrize(("solver", "resample"), [("ddpm", 1), ("ddim", 3), ("heun", 2), ("dpm++2m", 2)])
def test_what_is_known_comes_back_exactly_and_the_rest_is_new(model, solver, resample):
    x, known = pictures(), left_half()
    frame = redrawn(model, x, known, solver=solver, resample=resample)
    assert torch.equal(frame.x[..., :4], x[..., :4])
    assert (frame.x[..., 4:] != x[..., 4:]).all()
    assert frame.x.abs().max() <= 1
    assert frame.total == editing.visits(6, resample) == frame.step
    once, end = (editing.calls(model, solver, walk) for walk in (editing.times(6), (1 / 6, 0.0)))
    assert frame.calls == resample * (once - end) + end


def test_the_same_seed_redraws_the_same_and_a_picture_does_not_depend_on_its_batch(model):
    x, known = pictures(), left_half()
    both = redrawn(model, x, known, resample=2).x
    assert torch.equal(redrawn(model, x, known, resample=2).x, both)
    assert_close(redrawn(model, x[1:], known, seeds=(6,), resample=2).x[0], both[1])
    assert not torch.allclose(redrawn(model, x, known, seeds=(5, 9), resample=2).x[1], both[1])


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_where_nothing_is_known_it_is_plain_sampling(model, solver):
    none = torch.zeros(1, 8, 8, dtype=torch.bool)
    plain = last(model.sample(Noise((5, 6)), steps=6, solver=solver, guidance=1.0))
    assert torch.equal(redrawn(model, pictures(), none, solver=solver).x, plain.x)


def test_the_redrawn_part_follows_the_data_whatever_is_known(exact):
    x = torch.full((1, 4000), -0.9)
    known = torch.arange(4000) % 2 == 0
    frame = last(editing.inpainted(exact, x, known, Noise([2]), steps=300, solver="ddpm", resample=2))
    free = frame.state.x[0, ~known]
    assert abs(free.mean() - MEAN) < 4 * SPREAD / 2000**0.5 + 0.01
    assert abs(free.std() - SPREAD) < 4 * SPREAD / 4000**0.5 + 0.02


def test_noise_that_goes_back_up_makes_the_later_time_of_the_earlier_one(exact):
    schedule, x0 = editing.levels(exact), torch.full((1, 20_000), 0.7)
    for t, to in ((0.2, 0.5), (0.5, 1.0), (0.0, 0.3)):
        x = exact.noised(x0, t, Noise([1]).normal(20_000))
        up = editing.raised(schedule, x, t, to, Noise([2]).normal(20_000))
        alpha, sigma = schedule(to)
        assert abs(up.mean() - alpha * 0.7) < 4 * sigma / 20_000**0.5
        assert abs(up.std() - sigma) < 4 * sigma / 40_000**0.5


@pytest.mark.parametrize("shape", [(1, 8, 7), (8, 8), (3, 1, 8, 8)])
def test_a_mask_of_another_size_is_refused(model, shape):
    with pytest.raises(BadInput, match="paint it again"):
        redrawn(model, pictures(), torch.zeros(shape, dtype=torch.bool))


# ---- to the noise and back ----------------------------------------------------------------------------------------


def there_and_back(exact: Exact, method: str, steps: int) -> float:
    """The error of exact numbers that were inverted and walked back by the same model."""
    x = torch.linspace(-0.9, 0.9, 19, dtype=torch.float64).view(1, -1)
    z = last(editing.inverted(exact, x, steps=steps, method=method, rounds=10))
    state, noise = State(1.0, z.x), Noise([0])
    for t in editing.times(steps)[1:]:
        state, _, _ = editing.step(editing.BACK[method], exact.denoise, editing.levels(exact), state, t, noise)
    return float((state.x - x).abs().max())


def test_the_error_there_and_back_falls_with_the_steps_by_the_order_of_the_method(exact):
    euler, heun = ([there_and_back(exact, method, n) for n in (20, 40, 80)] for method in ("euler", "heun"))
    for coarse, fine in ((euler[0], euler[1]), (euler[1], euler[2])):
        assert 1.5 < coarse / fine < 3.2  # order 1 halves it
    for coarse, fine in ((heun[0], heun[1]), (heun[1], heun[2])):
        assert coarse / fine > 2.8  # order 2 quarters it
    assert heun[2] < euler[2] / 4


def test_the_fixed_point_undoes_eulers_steps_however_few_they_are(exact):
    assert there_and_back(exact, "fixed point", 10) < 0.05 * there_and_back(exact, "euler", 10)
    assert there_and_back(exact, "fixed point", 40) < 0.05 * there_and_back(exact, "euler", 40)


@pytest.mark.parametrize("method", editing.METHODS)
def test_the_noise_of_data_is_standard_normal(exact, method):
    x = MEAN + SPREAD * Noise([3]).normal(20_000).double()
    z = last(editing.inverted(exact, x, steps=200, method=method)).x
    found = editing.statistics(z)
    alpha, _ = (float(a) for a in exact.schedule(1.0))
    assert abs(found.mean - alpha * MEAN) < 4 / 20_000**0.5 + 0.01
    assert abs(found.deviation - 1) < 0.03
    assert all(abs(mine - normal) < 0.12 for normal, mine in found.quantiles)


@pytest.mark.parametrize(("method", "each"), [("euler", 1), ("heun", 2), ("fixed point", 4)])
def test_an_inversion_counts_its_calls(exact, method, each):
    frames = list(editing.inverted(exact, torch.zeros(1, 3), steps=5, method=method, rounds=4))
    assert [frame.calls for frame in frames] == [each * k for k in range(6)]
    assert exact.asked == frames[-1].calls
    assert [frame.state.t for frame in frames] == pytest.approx([k / 5 for k in range(6)])


def test_statistics_are_of_the_numbers(exact):
    z = torch.tensor([[3.0, -1.0, 1.0, 5.0]])
    found = editing.statistics(z)
    assert (found.mean, found.size) == (2.0, 4)
    assert found.deviation == pytest.approx(float(z.std()))
    assert found.norm == pytest.approx(3.0)
    assert found.quantiles[16] == pytest.approx((0.0, 2.0))


def test_errors_are_of_pixels_from_0_to_1():
    a, b = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.2, 0.0], [0.0, 0.0]]]])
    found = editing.errors(a, b)
    assert found.rmse == pytest.approx(0.05)
    assert found.most == pytest.approx(0.1)
    assert found.psnr == pytest.approx(20 * math.log10(1 / 0.05))
    assert editing.errors(a, a).psnr == math.inf
