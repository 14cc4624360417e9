"""The forward process: schedules by formula, posteriors by brute force, a perfect denoiser loses only what it must."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from toys import lively, small

from gen_models import data, forward, schedules, zoo
from gen_models.interface import Batch, Denoises, Guess, Space, Turn
from gen_models.models.diffusion import DDPM, FlowMatching, Walks
from gen_models.noise import Noise
from gen_models.ui.panels import plane_field, sources

PLANE = Space("points", (2,))
DENSITIES = [name for name in data.NAMES if data.space_of(name).kind == "points"]
T = torch.linspace(0, 1, 1001, dtype=torch.float64)


class Exact(Walks):
    """The best denoiser of a density of the plane, on the straight path."""

    space, device, labels = PLANE, torch.device("cpu"), ()

    def __init__(self, name: str):
        self.best = plane_field.bayes(data.posterior(name), self)

    def schedule(self, t):
        return schedules.flow(t)

    def denoise(self, x_t, t, *, label=None, guidance=1.0):
        return Guess(*(part.float() for part in self.best(x_t, t)))

    def sample(self, noise, *, label=None, start=None):
        return self.walk(noise, label, 40, "heun", 1.0, 0.0, start)


def test_a_walk_by_the_exact_denoiser_ends_among_the_data():
    *_, last = Exact("8gaussians").sample(Noise(range(300)))
    places = torch.cat(data.load("8gaussians").places)
    near = torch.cdist(last.x.double(), places).amin(1)
    assert (near < 4 * 0.354).double().mean() > 0.985
    assert near.square().mean() == pytest.approx(2 * 0.354**2, rel=0.3)


# ---- schedules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_a_schedule_goes_from_data_to_noise_and_its_snr_only_falls(name):
    alpha, sigma, _, _, snr = forward.table(schedules.SCHEDULES[name])
    assert (float(alpha[0]), float(sigma[0])) == (1, 0)
    assert alpha[-1] < 0.01
    assert sigma[-1] == pytest.approx(1, abs=1e-4)
    assert (snr.diff() < 0).all()
    assert_close(snr[1:-1], (alpha[1:-1].square() / sigma[1:-1].square()).log())
    assert snr[0] == math.inf


def test_the_schedules_are_those_of_their_papers():
    alpha, sigma = schedules.linear(T)
    model = DDPM(PLANE, channels=8)
    assert_close((alpha, sigma), model.schedule(T))
    # in the limit of many levels, alpha^2 = exp(-the integral of beta): 0.1 + 19.9 t per unit of time
    assert_close(alpha.square().log(), -(0.1 * T + 19.9 * T**2 / 2), atol=0.12, rtol=0)
    alpha, sigma = schedules.cosine(T)
    bar = torch.cos((T + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert_close(alpha.square(), bar, atol=1e-12, rtol=0)
    assert_close(alpha.square() + sigma.square(), torch.ones_like(T))
    assert_close(schedules.flow(T), FlowMatching(PLANE, channels=8).schedule(T))


def test_the_rates_are_derivatives():
    _, _, alpha, sigma, _ = forward.table(schedules.flow)
    assert_close(alpha, torch.full_like(T, -1))
    assert_close(sigma, torch.ones_like(T))
    angle = math.pi / 2 * (T + 0.008) / 1.008
    wanted = -angle.sin() * math.pi / 2 / 1.008 / math.cos(math.pi / 2 * 0.008 / 1.008)
    assert_close(forward.table(schedules.cosine)[2][1:-1], wanted[1:-1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [n for n, entry in zoo.ZOO.items() if issubclass(entry.model, (DDPM, FlowMatching))])
def test_the_target_is_what_the_entrys_own_loss_is_of(name):
    entry = zoo.ZOO[name]
    model = zoo.build(entry)
    x = torch.zeros(2, *entry.where.shape)
    label = torch.zeros(2, dtype=torch.long) if entry.where.labels else None
    shown = model.loss(Batch(x, label), Turn("", "training", 0, 0.0, torch.Generator().manual_seed(0))).show
    word = {"velocity": "velocity error", "eps": "noise error"}[forward.target(model.schedule)]
    assert word in shown


def test_a_schedule_of_its_own_has_no_name():
    assert forward.own(schedules.cosine) == "cosine"
    assert forward.own(lambda t: (1 - t**2, t)) == ""


# ---- exact posteriors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["8gaussians", "moons", "pinwheel", "checkerboard", "2spirals"])
@pytest.mark.parametrize(("alpha", "sigma"), [(0.85, 0.15), (0.5, 0.5), (0.3, 0.95)])
def test_the_posterior_mean_is_that_of_many_draws(name, alpha, sigma):
    """Self-normalised importance: each draw of the data, weighted by how likely it makes x_t."""
    x0 = data.load(name).batch(200_000, torch.Generator().manual_seed(3)).x.double()
    some = x0[:6]
    x_t = alpha * some + sigma * torch.randn(6, 2, generator=torch.Generator().manual_seed(4)).double()
    logs = -(x_t[:, None] - alpha * x0).square().sum(2) / 2 / sigma**2
    weight = logs.softmax(1)
    error = (weight.square().sum(1)).rsqrt()  # effective draws, square root
    known = data.posterior(name)
    spread = (weight @ x0.square() - (weight @ x0).square()).clamp(min=0).sqrt()
    assert ((known.mean(x_t, alpha, sigma) - weight @ x0).abs() < 5 * spread / error[:, None] + 2e-3).all()
    density = logs.logsumexp(1) - math.log(len(x0) * math.tau * sigma**2)
    assert_close(known.log_prob(x_t, alpha, sigma), density, atol=0.05, rtol=0)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.95, 0.05), (0.9, 0.1), (0.5, 0.5), (0.006, 1.0), (0.0, 1.0)])
def test_the_grid_agrees_with_the_closed_form(alpha, sigma):
    closed = data.posterior("8gaussians")
    grid = data.posteriors.Quadrature(data.load("8gaussians"))
    x0 = data.load("8gaussians").split("test").x[:200].double()
    x_t = alpha * x0 + sigma * torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    assert_close(grid.mean(x_t, alpha, sigma), closed.mean(x_t, alpha, sigma), atol=2e-3, rtol=0)
    assert_close(grid.log_prob(x_t, alpha, sigma), closed.log_prob(x_t, alpha, sigma), atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_score_of_the_noised_density_is_that_of_the_posterior_mean(name):
    """Tweedie: grad log p(x_t) = -(x_t - alpha E[x0 | x_t]) / sigma^2, here by differences."""
    alpha, sigma, h = 0.6, 0.5, 1e-3
    known, x_t = data.posterior(name), torch.tensor([[0.3, -0.4], [1.1, 0.2], [-0.8, 0.9]], dtype=torch.float64)
    steps = h * torch.eye(2, dtype=torch.float64)
    rise = [known.log_prob(x_t + by, alpha, sigma) - known.log_prob(x_t - by, alpha, sigma) for by in steps]
    wanted = -(x_t - alpha * known.mean(x_t, alpha, sigma)) / sigma**2
    assert_close(torch.stack(rise, 1) / 2 / h, wanted, atol=1e-4, rtol=0)


def test_far_from_all_data_the_mean_is_still_a_place():
    x_t = torch.tensor([[4.5, 4.5], [0.0, 0.0], [-4.5, 4.5]])
    for name in DENSITIES:
        found = data.posterior(name).mean(x_t, 0.99, 0.01)
        assert found.isfinite().all()
        assert found.abs().max() < 5.5
    assert data.posterior("mnist") is None


# ---- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["8gaussians", "checkerboard"])
def test_a_perfect_denoiser_is_no_distance_from_the_exact_mean(name):
    model = Exact(name)
    found = plane_field.field(model, name)
    assert found["rmse"] == pytest.approx([0.0] * len(plane_field.TIMES), abs=1e-5)
    assert all(a < b for a, b in zip(found["least"], found["least"][4:], strict=False))


def test_the_losses_of_an_exact_denoiser_are_bayes_errors():
    """Of x0 ~ N(m, s^2 I): the posterior's variance is s^2 sigma^2 / (alpha^2 s^2 + sigma^2), whatever x_t."""
    m, s, times = 1.5, 0.4, [0.1, 0.5, 0.9]

    def denoise(x_t, t, rows):
        off = (x_t - (1 - t) * m) / ((1 - t) ** 2 * s**2 + t**2)
        return Guess(m + (1 - t) * s**2 * off, t * off)

    model = SimpleNamespace(schedule=schedules.flow)
    model.noised = lambda x0, t, eps: Denoises.noised(model, x0, t, eps)
    x0 = m + s * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    eps = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    *_, losses = forward.measured(denoise, model, x0, eps, times, 5000)
    assert losses.counts() == [20_000] * 3
    for k, t in enumerate(times):
        bayes = s**2 * t**2 / ((1 - t) ** 2 * s**2 + t**2)
        wanted = {"x0": bayes, "eps": bayes * ((1 - t) / t) ** 2, "velocity": bayes / t**2}
        for name, value in wanted.items():
            mean, error = losses.curve(name)[k]
            assert abs(mean - value) < 4 * error
            assert error < 0.02 * value
    assert forward.trivial(x0)["x0"] == pytest.approx(s**2, rel=0.02)


def test_losses_come_early_for_all_times_and_count_what_they_met():
    x0 = torch.ones(10, 2)
    model = SimpleNamespace(noised=lambda x0, t, eps: x0 + t * eps)
    seen = []
    for losses in forward.measured(lambda x, t, rows: Guess(x, x), model, x0, x0, [0.0, 0.5, 1.0], 4):
        seen.append(losses.counts())
    assert seen[2] == [4, 4, 4]
    assert seen[-1] == [10, 10, 10]
    assert len(seen) == 9
    assert losses.curve("x0")[1] == pytest.approx((0.25, 0.0))
    assert sorted(forward.spread_out(30)) == list(range(30))
    assert forward.spread_out(8)[:4] == [0, 4, 2, 6]


# ---- paths --------------------------------------------------------------------------------------------------------


def test_paths_end_where_the_same_seeds_are_sampled_and_begin_with_the_same_noise():
    model = lively(small(zoo.ZOO["diffusion-8gaussians"]))
    chosen = ["euler", "heun", "ddpm"]
    found = plane_field.paths(model, 7, 5, chosen, 6)["solvers"]
    start = sources.coded(Noise(range(7, 12)).normal(2))
    for solver in chosen:
        *_, last = zoo.sample(model, 7, 5, solver=solver, steps=6)
        points = found[solver]["points"]
        whole = sources.coded(torch.cat([frame.x for frame in zoo.sample(model, 7, 5, solver=solver, steps=6)]))
        assert points == whole
        assert last.calls == found[solver]["calls"]
        assert points[:24] == start[:24]  # of 27 characters; the rest shares one with what follows
        assert found[solver]["times"] == pytest.approx([1 - k / 6 for k in range(7)])
