"""Points in bins against what is known: the density integrates to 1, and points are drawn as often as it says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gen_models import data
from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.bins import Autoregressive2D
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

POINTS = Space("points", (2,))
SMALL = {"bins": 16, "hidden": 16}


def points(n: int, seed: int = 0) -> Tensor:
    """An oblique Gaussian off the origin."""
    eps = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).double()
    return eps @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]).double() + torch.tensor([3.0, -40.0])


def binned(x: Tensor | None = None, shaken: float = 0.5, **config) -> Autoregressive2D:
    """A small model in float64 that has begun; `shaken` moves every parameter."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = Autoregressive2D(POINTS, **SMALL | config).double()
        model.begin(Batch(points(1000) if x is None else x), torch.Generator().manual_seed(0))
        for parameter in model.parameters():
            parameter.add_(shaken * torch.randn_like(parameter))
        for choices in (model.first, model.second[-1].bias):
            choices[-2:] += 4 * shaken  # tails that count
    return model.eval().requires_grad_(False)


def drawn(model: Autoregressive2D, seeds, temperature: float = 1.0) -> Tensor:
    return list(model.sample(Noise(seeds), temperature=temperature))[-1].x


def lattice(model: Autoregressive2D, axis: int, per_bin: int = 20, reach: float = 15.0) -> tuple[Tensor, Tensor]:
    """Midpoints of an axis that never straddle an edge, tails included, and how wide each of them stands for."""
    width = (model.high[axis] - model.low[axis]) / model.bins
    beyond = math.ceil(reach * model.log_scale[axis].exp().max() * model.bins)
    n = (model.bins + 2 * beyond) * per_bin
    middles = (torch.arange(n).double() + 0.5) / per_bin - beyond
    return model.low[axis] + middles * width, (width / per_bin).expand(n)


def test_each_axis_and_the_plane_integrate_to_one():
    model = binned()
    x, dx = lattice(model, 0)
    first = (model._log_density(x, model.first[None], 0).exp() * dx).sum()
    assert_close(first, torch.ones_like(first), rtol=1e-4, atol=0)
    x, dx = lattice(model, 0, per_bin=3)
    y, dy = lattice(model, 1, per_bin=4)
    plane = torch.cartesian_prod(x, y)
    density = model.log_prob(plane).exp().view(len(x), len(y))
    assert_close((density * dx[:, None] * dy).sum(), torch.ones((), dtype=torch.float64), rtol=5e-3, atol=0)
    inside = (x > model.low[0]) & (x < model.high[0])
    assert 0.3 < (density * dx[:, None] * dy)[inside].sum() < 0.97, "the tails hold a share of their own"


def test_the_density_is_finite_everywhere_and_continuous_over_the_range():
    model = binned()
    far = torch.tensor([[1e6, 1e6], [-1e6, 0.0], [3.0, 1e5], [0.0, 0.0]]).double()
    assert model.log_prob(far).isfinite().all()
    edges = model.low + (model.high - model.low) * torch.arange(1, 16).double()[:, None] / 16
    below, above = model.log_prob(edges - 1e-9).exp(), model.log_prob(edges + 1e-9).exp()
    assert_close(below, above, rtol=0, atol=1e-6 * float(above.max()))
    x = points(5).requires_grad_()
    (gradient,) = torch.autograd.grad(model.log_prob(x).sum(), x)
    step = 1e-6 * torch.ones(5, 2).double()
    for axis in range(2):
        along = step * torch.eye(2).double()[axis]
        slope = (model.log_prob(x + along) - model.log_prob(x - along)) / 2e-6
        assert_close(slope.detach(), gradient[:, axis], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_points_fall_into_bins_and_tails_as_often_as_these_are_probable(temperature):
    model, n = binned(), 8000
    x = drawn(model, range(n), temperature)
    expected = (model.masses(model.first) / temperature).softmax(-1)
    given = (model.masses(model.following(x[:, 0])) / temperature).softmax(-1).mean(0)
    for axis, shares in enumerate((expected, given)):
        place = model._places(x[:, axis], axis)
        cell = place.floor().clamp(0, 15).long()
        cell = torch.where(place < 0, 16, torch.where(place > 16, 17, cell))
        found = torch.bincount(cell, minlength=18) / n
        assert ((found - shares).abs() < 4.5 * (shares / n).sqrt() + 1e-5).all()


def test_points_lie_within_bins_and_tails_as_densely_as_the_model_says():
    model = binned(bins=8, shaken=1.0)
    x = drawn(model, range(4000))[:, 0]
    sorted_x = x.sort().values
    grid, dx = lattice(model, 0, per_bin=40)
    cumulative = (model._log_density(grid, model.first[None], 0).exp() * dx).cumsum(0)
    found = torch.searchsorted(sorted_x, grid + dx / 2) / len(x)
    assert (found - cumulative).abs().max() < 1.95 / math.sqrt(len(x)), "Kolmogorov and Smirnov, at one in a thousand"


def test_frames_choose_x_then_y():
    model = binned()
    start, half, end = model.sample(Noise([1, 2, 3]))
    centre = (model.low + model.high) / 2
    assert torch.equal(start.x, centre.expand(3, 2))
    assert torch.equal(half.x[:, 0], end.x[:, 0])
    assert (half.x[:, 1] == centre[1]).all()
    assert len(end.x.unique()) == 6
    assert [(f.step, f.total, f.calls) for f in (start, half, end)] == [(0, 2, 0), (1, 2, 1), (2, 2, 2)]
    assert_close(drawn(model, [2]), end.x[1:2])
    assert drawn(model, [3, 2, 1]).flip(0).equal(end.x)


def test_temperature_zero_takes_the_likeliest_bin():
    model = binned()
    x = drawn(model, range(50), 0.0)
    assert (model._places(x[:, 0], 0).floor() == model.masses(model.first).argmax()).all()
    assert (model._places(x[:, 1], 1).floor() == model.masses(model.following(x[:, 0])).argmax(1)).all()


def test_the_range_is_the_datas_but_for_outliers():
    x = points(4000)
    wild = torch.cat([x, torch.full((4, 2), 1e4).double()])
    model, other = binned(x, 0.0), binned(wild, 0.0)
    assert ((x >= model.low) & (x <= model.high)).double().mean() > 0.99
    assert (model.high - model.low < 1.6 * (x.amax(0) - x.amin(0))).all()
    assert_close(model.high, other.high, rtol=0.05, atol=0.5)
    same = binned(torch.ones(600, 2).double(), 0.0)
    assert same.log_prob(torch.ones(1, 2).double()).isfinite()
    assert model.log_prob(x).mean() > -5, "the start is already a histogram of both axes"


def test_it_learns_what_y_has_to_do_with_x():
    source = data.load("8gaussians")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Autoregressive2D(POINTS, bins=32, hidden=32)
    recipe = Recipe({"training": Stage(150)}, batch_size=256, lr=1e-2, betas=(0.9, 0.99), ema=0.98)
    run = Training(model, source, recipe)
    list(run)
    x = source.split("test").x[:2000]
    with torch.no_grad():
        gap = source.log_prob(x).mean() - run.shown.log_prob(x).mean()
    assert -0.01 < gap < 0.15
    turn = Turn("", "training", 0, 0.0, torch.Generator())
    loss = model.loss(Batch(x), turn)
    assert_close(loss.minimise, loss.show["negative log-likelihood"].mean())


@pytest.mark.parametrize("space", [Space("image", (1, 8, 8)), Space("points", (3,))])
def test_other_data_is_refused(space):
    with pytest.raises(BadInput, match="points in the plane"):
        Autoregressive2D(space)
