"""The VAE's terms against torch.distributions, and its bounds against a likelihood that is known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions, nn
from torch.testing import assert_close

from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.vae import IMPORTANCE, VAE, BetaVAE
from gen_models.noise import Noise

POINTS, PICTURES = Space("points", (2,)), Space("image", (1, 4, 4))


def turn(seed: int = 0, done: float = 1.0) -> Turn:
    return Turn("", "training", 0, done, torch.Generator().manual_seed(seed))


def seeded(kind: type, space: Space, **config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(space, hidden=16, **config)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL of each dimension from the standard normal, by torch."""
    posterior = distributions.Normal(mu, (0.5 * logvar).exp())
    return distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0))


# ---- the terms -----------------------------------------------------------------------------------------------


def test_kl_agrees_with_torch_distributions():
    model, x = seeded(VAE, POINTS, latent_dim=3), normal(50, 2)
    mu, logvar = model.posterior(x)
    expected = divergence(mu, logvar)
    assert_close(model.loss(Batch(x), turn()).show["KL"], expected.sum(-1))


def test_kl_per_dimension_is_a_running_mean_of_training_only():
    model, x = seeded(VAE, POINTS, latent_dim=3, beta=0.0), normal(50, 2)
    mu, logvar = model.posterior(x)
    expected = divergence(mu, logvar)
    model.loss(Batch(x), turn())
    assert_close(model.kl_per_dimension, 0.01 * expected.mean(0))
    before = model.eval().kl_per_dimension.clone()
    model.loss(Batch(x), turn())
    assert torch.equal(model.kl_per_dimension, before)


def test_a_loss_that_breaks_does_not_break_the_running_mean():
    model = seeded(VAE, POINTS, latent_dim=3)
    model.loss(Batch(torch.full((4, 2), math.nan)), turn())
    assert model.kl_per_dimension.isfinite().all()


def test_the_gaussian_likelihood_agrees_with_torch_distributions():
    model, x, z = seeded(VAE, POINTS), normal(7, 2), normal(7, 16, seed=1)
    with torch.no_grad():
        model.log_sigma.fill_(-0.7)
        expected = distributions.Normal(model.decoder(z), math.exp(-0.7)).log_prob(x).sum(-1)
        assert_close(model.log_likelihood(x, z), expected)


def test_the_bernoulli_likelihood_agrees_with_torch_distributions():
    model, z = seeded(VAE, PICTURES, likelihood="bernoulli"), normal(7, 16)
    x = normal(7, 16, seed=1).sign()
    expected = distributions.Bernoulli(logits=model.decoder(z)).log_prob((x + 1) / 2).sum(-1)
    assert_close(model.log_likelihood(x, z), expected)


def test_the_terms_add_up_and_beta_weighs_the_kl():
    x = normal(20, 2)
    cases = ((1.0, 0.0, 0.0, 1.0), (4.0, 0.1, 1.0, 4.0), (4.0, 0.5, 0.25, 2.0), (2.0, 0.5, 0.0, 0.0))
    for beta, warmup, done, weight in cases:
        loss = seeded(BetaVAE, POINTS, beta=beta, beta_warmup=warmup).loss(Batch(x), turn(done=done))
        reconstruction, kl = loss.show["reconstruction"], loss.show["KL"]
        assert_close(loss.show["negative ELBO"], reconstruction + kl)
        assert_close(loss.minimise, (reconstruction + weight * kl).mean())


def test_pictures_are_binarised_afresh_with_their_brightness_as_probability():
    model, seen = seeded(VAE, PICTURES, likelihood="bernoulli"), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.tensor([-1.0, -0.5, 0.0, 1.0]).repeat(4).view(1, 1, 4, 4).expand(4000, 1, 4, 4)
    model.loss(Batch(x), turn(0))
    model.loss(Batch(x), turn(1))
    first, second = (y.view(4000, 4, 4) for y in seen)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(first, second)
    white = (first + 1).mean((0, 1)) / 2
    assert white[0] == 0
    assert white[3] == 1
    assert_close(white[1:3], torch.tensor([0.25, 0.5]), rtol=0, atol=4 * 0.5 / 16000**0.5)


def test_gradients_reach_every_parameter():
    model = seeded(VAE, POINTS)
    model.loss(Batch(normal(20, 2)), turn()).minimise.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


# ---- the bounds ----------------------------------------------------------------------------------------------


def linear_gaussian(sharpness: float) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    """x = W z + b + s e: its log-likelihood is a Gaussian's, its posterior linear; the encoder may be too wide."""
    model = VAE(POINTS, latent_dim=1, hidden=16)
    weight, offset, s = torch.tensor([[1.2], [-0.5]]), torch.tensor([0.3, 1.0]), 0.6
    precision = 1 + weight.square().sum() / s**2
    model.decoder, model.encoder = nn.Linear(1, 2), nn.Linear(2, 2)
    with torch.no_grad():
        model.log_sigma.fill_(math.log(s))
        model.decoder.weight.copy_(weight)
        model.decoder.bias.copy_(offset)
        to_mu = weight.T / (s**2 * precision)
        model.encoder.weight.copy_(torch.cat([to_mu, torch.zeros(1, 2)]))
        model.encoder.bias.copy_(torch.stack([-(to_mu @ offset)[0], -precision.log() + 2 * math.log(sharpness)]))
    x = weight @ normal(1, 400, seed=11) + s * normal(2, 400, seed=12)  # no seed that a loss draws from below
    covariance = weight @ weight.T + s**2 * torch.eye(2)
    truth = distributions.MultivariateNormal(offset, covariance)
    return model.eval(), (x.T + offset), truth.log_prob(x.T + offset)


@torch.no_grad()
def test_with_the_true_posterior_the_bound_is_the_likelihood():
    model, x, truth = linear_gaussian(1.0)
    for samples in (1, 10):
        assert_close(model.log_prob(x, samples=samples), truth.double(), rtol=1e-4, atol=1e-4)
    elbo = -model.loss(Batch(x), turn()).show["negative ELBO"]
    assert_close(elbo.mean(), truth.mean(), rtol=0, atol=4 / 400**0.5)


@torch.no_grad()
def test_bounds_are_ordered_and_more_samples_tighten_them():
    model, x, truth = linear_gaussian(1.7)
    elbo = -torch.stack([model.loss(Batch(x), turn(seed)).show["negative ELBO"].mean() for seed in range(30)]).mean()
    bounds = [float(model.log_prob(x, Noise(range(1000, 1400)), samples=k).mean()) for k in (1, 5, 50)]
    assert bounds[0] == pytest.approx(float(elbo), abs=0.15), "one sample is the evidence lower bound"
    assert bounds[0] < bounds[1] < bounds[2] < float(truth.mean()) + 0.01
    lost = (1.7**2 - 1) / 2 - math.log(1.7)  # KL from a Gaussian 1.7 times as wide to the posterior
    assert float(truth.mean() - elbo) == pytest.approx(lost, abs=0.1)
    assert bounds[2] == pytest.approx(float(truth.mean()), abs=0.02)


def test_log_prob_depends_on_its_noise_row_by_row():
    model, x = seeded(VAE, PICTURES, likelihood="bernoulli"), normal(4, 1, 4, 4).clamp(-1, 1)
    all_rows = model.log_prob(x, Noise([5, 6, 7, 8]), samples=3)
    assert all_rows.shape == (4,)
    assert_close(model.log_prob(x[2:3], Noise([7]), samples=3), all_rows[2:3])
    assert torch.equal(model.log_prob(x), model.log_prob(x, Noise(range(4))))


def test_what_the_likelihood_measures():
    assert VAE.measure(PICTURES, {"likelihood": "bernoulli"}) == "binary"
    assert VAE.measure(PICTURES, {"likelihood": "gaussian"}) == "density"
    assert VAE.measure(POINTS, {}) == "density"


# ---- the parts -----------------------------------------------------------------------------------------------


def test_bernoulli_decodes_to_twice_the_probability_less_one():
    model, z = seeded(VAE, PICTURES, likelihood="bernoulli"), 30 * normal(5, 16)
    probability = torch.sigmoid(model.decoder(z)).view(5, 1, 4, 4)
    assert_close(model.decode(z), 2 * probability - 1)


@pytest.mark.parametrize(
    ("space", "likelihood"), [(PICTURES, "bernoulli"), (PICTURES, "gaussian"), (POINTS, "gaussian")]
)
def test_begin_puts_the_decoder_at_the_mean_of_the_data(space, likelihood):
    model, x = seeded(VAE, space, likelihood=likelihood), normal(600, *space.shape).clamp(-1, 1) * 0.3 + 0.2
    with torch.no_grad():
        model.begin(Batch(x), torch.Generator())
        model.decoder[-1].weight.zero_()
    expected = x.mean(0, keepdim=True)
    assert_close(model.decode(torch.zeros(1, 16)), expected, rtol=1e-4, atol=1e-4)


def test_temperature_scales_the_codes():
    model = seeded(VAE, PICTURES, likelihood="bernoulli")
    with torch.no_grad():
        *_, cold = model.sample(Noise([1, 2, 3]), temperature=0.0)
        *_, usual = model.sample(Noise([1, 2, 3]))
        assert_close(cold.x, model.decode(torch.zeros(3, 16)))
        assert_close(usual.x, model.decode(Noise([1, 2, 3]).normal(16)))


def test_sampled_points_carry_the_decoders_noise():
    model = seeded(VAE, POINTS, latent_dim=1)
    with torch.no_grad():
        model.log_sigma.fill_(math.log(0.5))
        *_, last = model.sample(Noise(range(2000)), temperature=0.0)
    off = last.x - model.decode(torch.zeros(1, 1))
    assert_close(off.std(0), torch.full((2,), 0.5), rtol=0, atol=4 * 0.5 / 4000**0.5)


def test_bernoulli_points_are_refused():
    with pytest.raises(BadInput, match="needs pictures"):
        VAE(POINTS, likelihood="bernoulli")


# ---- the importance-weighted stage -------------------------------------------------------------------------------


def importance(model, x, seed: int):
    rng = torch.Generator().manual_seed(seed)
    return model.loss(Batch(x), Turn("", IMPORTANCE, 0, 1.0, rng))


def plain_bound(model, x, seed: int) -> torch.Tensor:
    """The same bound with the same draws, differentiated as it stands."""
    mu, logvar = model.posterior(x)
    eps = torch.randn(len(x), model.draws, *model.latent_shape, generator=torch.Generator().manual_seed(seed))
    z = mu[:, None] + torch.exp(0.5 * logvar)[:, None] * eps
    prior, posterior = (
        distributions.Normal(0.0, 1.0),
        distributions.Normal(mu[:, None], (0.5 * logvar).exp()[:, None]),
    )
    log_weight = model.log_likelihood(x[:, None], z) + (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
    return math.log(model.draws) - log_weight.logsumexp(1)


def test_the_importance_stage_reports_the_bound():
    model, x = seeded(VAE, POINTS, latent_dim=3, draws=7), normal(50, 2)
    shown = importance(model, x, 3).show["negative importance-weighted bound"]
    assert_close(shown, plain_bound(model, x, 3))


def test_the_decoder_descends_the_bound_itself():
    model, x = seeded(VAE, POINTS, latent_dim=3, draws=7), normal(50, 2)
    decoder = list(model.decoder.parameters())
    mine = torch.autograd.grad(importance(model, x, 3).minimise, decoder)
    for one, other in zip(mine, torch.autograd.grad(plain_bound(model, x, 3).mean(), decoder), strict=True):
        assert_close(one, other)


def test_the_encoders_gradient_has_the_bounds_mean_and_less_spread():
    model, x = seeded(VAE, POINTS, latent_dim=2, draws=8), normal(4, 2)
    encoder = model.encoder[-1].bias

    def gradients(loss):
        return torch.stack([torch.autograd.grad(loss(seed), encoder)[0] for seed in range(3000)])

    mine = gradients(lambda seed: importance(model, x, seed).minimise)
    plain = gradients(lambda seed: plain_bound(model, x, seed).mean())
    error = (mine.var(0) / len(mine) + plain.var(0) / len(plain)).sqrt()
    assert ((mine.mean(0) - plain.mean(0)).abs() < 4 * error).all()
    assert mine.var(0).sum() < plain.var(0).sum()
