"""Mixtures against what is known: EM climbs, scikit-learn takes the same steps, densities integrate to 1."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import sklearn.mixture
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.testing import assert_close

from gen_models import checkpoint, data
from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.factor import LEVEL, MixtureOfFactorAnalyzers
from gen_models.models.mixture import GaussianMixture, Mixture, spread
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

PLANE = Space("points", (2,))
SMALL = Space("image", (1, 4, 4))
TURN = Turn("", "training", 0, 0.0, torch.Generator())


def gaussians(n: int = 600, seed: int = 0) -> Tensor:
    return data.load("8gaussians").batch(n, torch.Generator().manual_seed(seed)).x


def pictures(n: int = 300, seed: int = 0) -> Tensor:
    """Bright bars that slide over four by four pixels, in grey levels."""
    rng = torch.Generator().manual_seed(seed)
    place, height = torch.randint(4, (n, 1, 1, 1), generator=rng), torch.rand(n, 1, 1, 1, generator=rng)
    bar = torch.exp(-((torch.arange(4.0).view(1, 1, 4, 1) - place) ** 2)) * height
    grain = 0.1 * torch.rand(n, 1, 4, 4, generator=rng)
    return ((bar + grain).clamp(0, 1) * 255).round() / 127.5 - 1


def fitted(model: Mixture, x: Tensor, rounds: int = 0, seed: int = 0) -> Mixture:
    """The model in float64 after `begin` and some rounds."""
    model = model.double().requires_grad_(False)
    model.begin(Batch(x), torch.Generator().manual_seed(seed))
    for _ in range(rounds):
        model.update(Batch(x), TURN)
    return model


def plane(**config) -> GaussianMixture:
    torch.manual_seed(0)
    return GaussianMixture(PLANE, **{"restarts": 2} | config)


def analysers(**config) -> MixtureOfFactorAnalyzers:
    torch.manual_seed(0)
    return MixtureOfFactorAnalyzers(SMALL, **{"components": 4, "factors": 2, "background": 0.0} | config)


def random(model: Mixture, seed: int = 0) -> Mixture:
    """Every parameter is away from its start, in float64."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in model.double().requires_grad_(False).parameters():
        parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def as_torch(model: Mixture) -> MixtureSameFamily:
    """The same density by torch.distributions, with dense covariances."""
    found = model.components()
    factors = found.factors.flatten(2)
    covariance = factors.mT @ factors
    if isinstance(model, MixtureOfFactorAnalyzers):
        covariance = covariance + torch.diag_embed(model.log_noise.exp())
    return MixtureSameFamily(Categorical(found.weight), MultivariateNormal(found.mean.flatten(1), covariance))


# ---- expectation maximisation ----------------------------------------------------------------------------------


def climb(model: Mixture, x: Tensor, seed: int) -> Tensor:
    model = fitted(model, x, seed=seed)
    return torch.stack([model.update(Batch(x), TURN)["log-likelihood"] for _ in range(25)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize(("components", "floor"), [(3, 1e-4), (12, 1e-8), (40, 1e-2)])
def test_no_round_lowers_the_likelihood(seed, covariance, components, floor):
    x = torch.cat([gaussians(300, seed), torch.full((20, 2), 3.0)])  # a heap of equal points asks for variance 0
    init = "random points" if seed % 2 else "k-means++"
    model = plane(components=components, covariance=covariance, floor=floor, init=init, restarts=1)
    found = climb(model, x, seed)
    assert (found.diff() > -1e-9).all()
    assert found[-1] > found[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("components", "factors", "background"), [(1, 3, 0.0), (4, 2, 0.2), (20, 1, 0.5)])
def test_no_round_of_factor_analysers_lowers_it_either(seed, components, factors, background):
    model = analysers(components=components, factors=factors, floor=0.05, background=background)
    found = climb(model, pictures(seed=seed), seed)
    assert (found.diff() > -1e-8).all()
    assert found[-1] > found[0]


def theirs(model: GaussianMixture, x: Tensor, rounds: int, tolerance: float = 0.0) -> sklearn.mixture.GaussianMixture:
    """scikit-learn's mixture after as many rounds from where ours is."""
    precision = torch.linalg.inv(torch.matrix_exp(model.log_matrix))
    if model.covariance == "diagonal":
        precision = precision.diagonal(dim1=1, dim2=2)
    other = sklearn.mixture.GaussianMixture(
        len(model.mean),
        covariance_type={"full": "full", "diagonal": "diag"}[model.covariance],
        reg_covar=model.floor,
        tol=tolerance,
        max_iter=rounds,
        weights_init=model.logits.softmax(0).numpy(),
        means_init=model.mean.numpy(),
        precisions_init=precision.numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return other.fit(x.double().numpy())


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize(("regularise", "floor"), [("add", 1e-4), ("add", 1e-2), ("clip", 1e-6)])
def test_scikit_learn_takes_the_same_steps(covariance, regularise, floor):
    x = gaussians(2000)
    model = plane(components=10, covariance=covariance, regularise=regularise, floor=floor, held_out=False)
    fitted(model, x)
    other = theirs(model, x, rounds=20)
    for _ in range(20):
        model.update(Batch(x), TURN)
    assert other.n_iter_ == model.rounds == 20
    fresh = gaussians(3000, seed=1)
    assert float(model.log_prob(fresh).mean()) == pytest.approx(other.score(fresh.double().numpy()), abs=1e-6)
    posterior = torch.from_numpy(other.predict_proba(fresh.double().numpy()))
    assert_close(model.responsibilities(fresh), posterior, atol=1e-6 if regularise == "add" else 1e-3, rtol=0)
    assert model.bic(fresh) == pytest.approx(other.bic(fresh.double().numpy()), rel=1e-6)
    assert model.free_parameters == other._n_parameters()


def test_with_its_tolerance_it_stops_in_the_same_round():
    x = gaussians(2000)
    model = fitted(plane(components=12, regularise="add", held_out=False, tolerance=1e-3, patience=1), x)
    other = theirs(model, x, rounds=500, tolerance=1e-3)
    while not model.converged:
        model.update(Batch(x), TURN)
    assert model.rounds == other.n_iter_
    assert float(model.log_prob(x).mean()) == pytest.approx(other.score(x.double().numpy()), abs=1e-6)


def test_factor_analysers_explain_their_examples_at_least_as_well_as_the_truth():
    space = Space("points", (6,))
    truth = random(MixtureOfFactorAnalyzers(space, components=2, factors=2), seed=3)
    truth.mean.mul_(5)
    *_, last = truth.sample(Noise(range(2000)), grain=1.0)
    model = MixtureOfFactorAnalyzers(space, components=2, factors=2, floor=1e-6, background=0.0, held_out=False)
    fitted(model, last.x, rounds=60)
    gain = float(model.log_prob(last.x).mean() - truth.log_prob(last.x).mean())
    assert 0 < gain < 0.05  # 47 free parameters gain 47 / 2n nats


# ---- densities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_density_integrates_to_one(covariance):
    model = random(plane(components=5, covariance=covariance))
    line = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    total = torch.cat([model.log_prob(part).exp() for part in grid.split(100_000)]).sum() * (line[1] - line[0]) ** 2
    assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [plane, lambda: plane(covariance="diagonal"), analysers])
def test_log_prob_is_that_of_dense_covariances(make):
    model = random(make())
    x = 2 * torch.randn(50, *model.space.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_close(model.log_prob(x), as_torch(model).log_prob(x.flatten(1)))
    nats = model.loss(Batch(x), TURN).minimise
    assert_close(nats, -model.log_prob(x).mean())


@pytest.mark.parametrize("make", [plane, analysers])
def test_responsibilities_are_posterior_probabilities(make):
    model = random(make())
    x = torch.randn(40, *model.space.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = model.responsibilities(x)
    assert_close(found.sum(1), torch.ones(40, dtype=torch.float64))
    dense = as_torch(model)
    joint = dense.mixture_distribution.logits + dense.component_distribution.log_prob(x.flatten(1)[:, None])
    assert_close(found, joint.softmax(1))


def test_axes_of_components_are_one_deviation_long():
    model = random(plane(components=3))
    found = model.components()
    covariance = torch.matrix_exp(model.log_matrix)
    for matrix, axes in zip(covariance, found.factors, strict=True):
        for axis in axes:
            assert_close(matrix @ axis, axis * axis.square().sum())  # an eigenvector, as long as sqrt(eigenvalue)
        assert axes[0].norm() >= axes[1].norm()
        assert abs(axes[0] @ axes[1]) < 1e-9
    pictured = random(analysers()).components()
    products = pictured.factors.flatten(2) @ pictured.factors.flatten(2).mT
    assert_close(products, torch.diag_embed(products.diagonal(dim1=1, dim2=2)))
    assert_close(pictured.weight.sum(), torch.ones((), dtype=torch.float64))
    assert (pictured.noise > 0).all()


# ---- samples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [plane, analysers])
def test_samples_have_the_moments_of_their_component(make):
    model = random(make())
    if isinstance(model, MixtureOfFactorAnalyzers):
        model.mean.mul_(0.1)
        model.log_noise.sub_(6)
        model.factors.mul_(0.1)  # far from the ends of the range, where samples are clamped
    n, dense = 4000, as_torch(model).component_distribution
    grain = {"grain": 1.0} if isinstance(model, MixtureOfFactorAnalyzers) else {}
    *_, last = model.sample(Noise(range(n)), component=2, **grain)
    x = last.x.flatten(1)
    deviation = dense.covariance_matrix[1].diagonal().sqrt()
    assert ((x.mean(0) - dense.mean[1]).abs() < 4.5 * deviation / math.sqrt(n)).all()
    spread = deviation[:, None] * deviation
    assert ((x.T.cov() - dense.covariance_matrix[1]).abs() / spread < 4.5 * math.sqrt(2 / n)).all()
    *_, still = model.sample(Noise(range(3)), component=2, temperature=0.0)
    assert_close(still.x.flatten(1), dense.mean[1].expand(3, -1))


def test_components_are_drawn_by_their_weight():
    model = random(plane(components=4))
    model.mean.copy_(torch.arange(4.0)[:, None] * 1e4)
    *_, last = model.sample(Noise(range(4000)))
    share = (last.x[:, 0] / 1e4).round().long().bincount(minlength=4) / 4000
    assert_close(share.double(), model.logits.softmax(0), atol=0.03, rtol=0)
    assert plane().limits(PLANE, {"components": 5})["component"].high == 5
    assert plane().limits(PLANE, {})["component"].high == 8


def test_pictures_are_samples_in_range_and_survive_half_precision(tmp_path):
    x = pictures(400)
    model = fitted(analysers(), x, rounds=20).float()
    *_, last = model.sample(Noise(range(50)))
    assert last.x.shape == (50, 1, 4, 4)
    assert last.x.abs().max() <= 1
    checkpoint.save(tmp_path, {}, model, half=True)
    again = analysers()
    checkpoint.restore(again, tmp_path)
    test = pictures(500, seed=9)
    test = test + LEVEL * (torch.rand(test.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    bits = [float(m.requires_grad_(False).log_prob(test).mean()) / 16 / math.log(2) for m in (model, again)]
    assert bits[0] == pytest.approx(bits[1], abs=0.01)


# ---- starts, stops and odd data ---------------------------------------------------------------------------------


def test_k_means_starts_are_examples_far_apart():
    x = torch.cat([torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 0.01 + 10 * k for k in range(6)])
    for seed in range(5):
        centres = spread(x, 6, torch.Generator().manual_seed(seed))
        assert sorted((centres[:, 0] / 10).round().tolist()) == [0, 1, 2, 3, 4, 5]
        assert all((x == centre).all(1).any() for centre in centres)


def test_restarts_keep_the_likeliest_start():
    x = gaussians(1000)
    one, many = (fitted(plane(restarts=n, init="random points", held_out=False), x) for n in (1, 16))
    assert many.log_prob(x).mean() > one.log_prob(x).mean() + 0.01


@pytest.mark.parametrize(("make", "x"), [(plane, gaussians(300)), (analysers, pictures(300))])
def test_a_tenth_is_held_out_and_never_learnt_from(make, x):
    learnt, held = make().parts(x)
    assert len(learnt) + len(held) == 300
    assert 25 <= len(held) <= 35
    rows = torch.arange(300) * 0x9E3779B1 % 2**32 < 2**32 // 10
    changed = torch.where(rows.view(-1, *[1] * (x.dim() - 1)), -x, x)
    one, other = fitted(make(), x, rounds=3), fitted(make(), changed, rounds=3)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name
    assert len(make().parts(x[:20])[1]) == 0
    assert len(make(held_out=False).parts(x)[1]) == 0


def test_it_stops_when_held_out_points_gain_no_more():
    x = gaussians(150)
    model = fitted(plane(components=40, floor=1e-6, tolerance=1e-4, patience=4), x)
    found = []
    while not model.converged:
        found.append(float(model.update(Batch(x), TURN)["held-out log-likelihood"]))
        assert len(found) < 200
    best = max(range(len(found)), key=found.__getitem__)
    assert len(found) - 1 - best <= 4
    assert found[-1] <= found[best] + 1e-4
    model.begin(Batch(x), torch.Generator())
    assert not model.converged
    assert model.rounds == 0


@pytest.mark.parametrize(("make", "x", "left"), [(plane, gaussians(60), 54), (analysers, pictures(12), 12)])
def test_more_components_than_examples_are_refused(make, x, left):
    fitted(make(components=left), x, rounds=3)
    with pytest.raises(BadInput, match=rf"at least {left + 1} examples to learn from, .* choose at most {left}"):
        fitted(make(components=left + 1), x)


def test_pictures_are_too_large_for_covariances():
    with pytest.raises(BadInput, match="factor analysers"):
        GaussianMixture(Space("image", (1, 5, 5)))


ODD = {
    "equal": torch.ones(100, 2),
    "outlier": torch.cat([gaussians(200), torch.tensor([[1e6, -1e6]])]),
    "line": torch.linspace(-1, 1, 100)[:, None] * torch.ones(1, 2),
    "pairs": gaussians(30).repeat_interleave(4, 0),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("config", [{}, {"covariance": "diagonal"}, {"regularise": "add"}, {"components": 30}])
def test_odd_points_stay_finite(name, config):
    x = ODD[name]
    for model in (plane(**config).requires_grad_(False), fitted(plane(**config), x)):  # float32 and float64
        model.begin(Batch(x), torch.Generator().manual_seed(0))
        for _ in range(30):
            show = model.update(Batch(x), TURN)
        assert all(value.isfinite() for value in show.values())
        assert all(value.isfinite().all() for value in model.state_dict().values())
        assert model.log_prob(x).isfinite().all()
        assert_close(model.responsibilities(x).sum(1), torch.ones(len(x), dtype=torch.float64))
        *_, last = model.sample(Noise(range(20)))
        assert last.x.isfinite().all()
        assert model.components().factors.isfinite().all()


def test_a_background_keeps_what_was_never_seen_possible():
    x, strange = pictures(), pictures(1, seed=7)
    x[:, 0, 0, 0], strange[:, 0, 0, 0] = -1.0, 1.0
    nats = [float(fitted(analysers(background=share), x, rounds=10).log_prob(strange)) for share in (0.0, 0.2)]
    assert nats[0] < -1e5
    assert nats[1] > -100


def test_equal_pictures_stay_finite():
    x = -torch.ones(60, 1, 4, 4)
    model = fitted(analysers(), x, rounds=10)
    assert model.log_prob(x).isfinite().all()
    assert all(value.isfinite().all() for value in model.state_dict().values())


# ---- in the loop ------------------------------------------------------------------------------------------------


class Drawing:
    """Points or pictures that are given."""

    log_prob = None

    def __init__(self, x: Tensor, space: Space):
        self.x, self.space = x, space

    def split(self, name: str) -> Batch:
        return Batch(self.x)


@pytest.mark.parametrize("make", [plane, analysers])
def test_stopped_in_the_middle_and_resumed_is_never_stopped(make):
    model = make(patience=100)
    source = Drawing(gaussians(400) if make is plane else pictures(200), model.space)
    recipe = Recipe({"training": Stage(12, batch_size=0)})
    whole = Training(copy.deepcopy(model), source, recipe, seed=2, look=lambda shown: int(shown.rounds))
    assert [report.seen for report in whole] == list(range(13))

    first = Training(copy.deepcopy(model), source, recipe, seed=2)
    iterator = iter(first)
    while next(iterator).step < 5:
        pass
    iterator.close()
    later = Training(copy.deepcopy(model), source, recipe, seed=2)
    later.load_state_dict(copy.deepcopy(first.state_dict()))
    assert next(iter(later)).step == 6
    list(later)
    assert later.examples == whole.examples
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, later.model.state_dict()[name]), name


def test_a_trained_mixture_finds_the_eight_gaussians():
    source = data.load("8gaussians")
    run = Training(plane(restarts=8), source, Recipe({"training": Stage(100, batch_size=5000)}))
    reports = list(run)
    assert run.model.converged
    assert reports[-1].step < 100
    assert reports[-1].done == 1.0
    x = source.split("test").x
    gap = source.log_prob(x).mean() - run.shown.log_prob(x).mean()
    assert 0 < gap < 0.01  # 47 free parameters cost 47 / 2n nats
    angles = torch.atan2(run.shown.mean[:, 1], run.shown.mean[:, 0]) / (math.pi / 4)
    assert sorted(angles.round().long().remainder(8).tolist()) == list(range(8))
    assert np.isfinite(run.shown.bic(x))
