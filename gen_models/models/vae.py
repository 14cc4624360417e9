"""The variational autoencoder and its beta variant, on points and on images.

Auto-Encoding Variational Bayes (Kingma and Welling, 2013), arXiv 1312.6114.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import (
    BadInput,
    Batch,
    Decodes,
    Encodes,
    Frame,
    GenerativeModel,
    Loss,
    Range,
    Reconstructs,
    Samples,
    Scores,
    Space,
    Turn,
    at_once,
)
from gen_models.nn import mlp
from gen_models.noise import Noise

IMPORTANCE = "importance"  # the stage that trains on the importance-weighted bound


class VAE(GenerativeModel, Samples, Decodes, Encodes, Reconstructs, Scores):
    """An encoder q(z|x) and a decoder p(x|z), trained on the evidence lower bound.

    The Bernoulli likelihood is that of a freshly binarised picture (white with the pixel's brightness as probability);
    the Gaussian one learns a single deviation, as in Simple and Effective VAE Training with Calibrated Decoders
    (Rybkin, Daniilidis and Levine, 2021), arXiv 2006.13202.
    """

    exact = False
    about = r"""
**Objective.** Maximise the evidence lower bound
$$\log p(x) \ge \mathbb{E}_{q(z|x)}[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x)\,\|\,\mathcal{N}(0, I)).$$
The first term rebuilds the picture, the second keeps the codes close to a standard normal, so that codes drawn from
it decode to something sensible. $\beta = 1$ is the bound itself; a larger $\beta$ buys tidier codes and
blurrier pictures.

**Try first.** *Latent*: drag the top slider, the direction that carries most information. *Reconstruct*: draw a digit
and see which parts of it the code keeps.

**Where it fails.** Samples are soft: the decoder answers with the average of everything that a code could mean. On
points, a continuous code has to bridge the gaps between separate clusters.

**Papers.** Kingma and Welling 2013, [arXiv 1312.6114](https://arxiv.org/abs/1312.6114); beta-VAE: Higgins et al. 2017.
"""

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(1, 64)] = 16,
        hidden: Annotated[int, Range(16, 1024, 16)] = 400,
        likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
        beta: Annotated[float, Range(0.0, 20.0, 0.1)] = 1.0,
        beta_warmup: Annotated[float, Range(0.0, 1.0, 0.01)] = 0.1,
        layers: Annotated[int, Range(1, 4)] = 2,
        draws: Annotated[int, Range(2, 64)] = 5,
    ):
        super().__init__(space)
        if likelihood == "bernoulli" and space.kind != "image":
            raise BadInput("The Bernoulli likelihood needs pictures; choose the Gaussian one for points.")
        self.latent_shape, self.likelihood = (latent_dim,), likelihood
        self.beta, self.beta_warmup, self.draws = beta, beta_warmup, draws
        self.encoder = mlp([space.size, *[hidden] * layers, 2 * latent_dim])
        self.decoder = mlp([latent_dim, *[hidden] * layers, space.size])
        self.log_sigma = nn.Parameter(torch.zeros(())) if likelihood == "gaussian" else None
        self.register_buffer("kl_per_dimension", torch.zeros(latent_dim))  # nats, a running mean of training

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """The decoder starts at the mean of the data: training need not find it."""
        mean = batch.x.flatten(1).mean(0)
        if self.likelihood == "bernoulli":
            mean = torch.logit(((mean + 1) / 2).clamp(0.01, 0.99))
        self.decoder[-1].bias.copy_(mean)

    # ---- the bound ---------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), (B, latent_dim) each."""
        mu, logvar = self.encoder(x.flatten(1)).chunk(2, -1)
        return mu, logvar.clamp(-12, 6)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats; x (..., D) flat and, for Bernoulli, of -1 and 1; z (..., latent_dim) -> (...)."""
        out = self.decoder(z)
        if self.likelihood == "bernoulli":
            return (out * ((x + 1) / 2) - F.softplus(out)).sum(-1)
        log_sigma = self.log_sigma.clamp(-5, 3)
        squares = 0.5 * ((x - out) * torch.exp(-log_sigma)) ** 2
        return -(squares + log_sigma + 0.5 * math.log(2 * math.pi)).sum(-1)

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        x = batch.x
        if self.likelihood == "bernoulli":
            x = _binarised(x, torch.rand(x.shape, generator=turn.rng).to(x.device))
        mu, logvar = self.posterior(x)
        if turn.stage == IMPORTANCE:
            return self.importance_loss(x, mu, logvar, turn.rng)
        eps = torch.randn(mu.shape, generator=turn.rng).to(mu.device)
        reconstruction = -self.log_likelihood(x.flatten(1), mu + torch.exp(0.5 * logvar) * eps)
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)  # (B, latent_dim)
        if self.training:
            mean = kl.detach().mean(0)  # not finite where training diverges: what is saved then stays usable
            self.kl_per_dimension.lerp_(torch.where(mean.isfinite(), mean, self.kl_per_dimension), 0.01)
        beta = self.beta * (min(1.0, turn.done / self.beta_warmup) if self.beta_warmup else 1.0)
        bound = reconstruction + kl.sum(-1)
        show = {"negative ELBO": bound, "reconstruction": reconstruction, "KL": kl.sum(-1)}
        return Loss((reconstruction + beta * kl.sum(-1)).mean(), show)

    def importance_loss(self, x: Tensor, mu: Tensor, logvar: Tensor, rng: torch.Generator) -> Loss:
        """The importance-weighted bound with `draws` draws; the encoder's gradient is doubly reparameterised.

        Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2018), arXiv 1810.04152.
        """
        eps = torch.randn(len(x), self.draws, *self.latent_shape, generator=rng).to(mu.device)
        z = mu[:, None] + torch.exp(0.5 * logvar)[:, None] * eps
        log_weight = self.log_weight(x, z, mu.detach(), logvar.detach())
        share = log_weight.softmax(1).detach()
        if z.requires_grad:
            z.register_hook(lambda gradient: share[..., None] * gradient)  # the encoder's share is squared
        bound = math.log(self.draws) - log_weight.logsumexp(1)
        return Loss(-(share * log_weight).sum(1).mean(), {"negative importance-weighted bound": bound})

    def log_weight(self, x: Tensor, z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x), (B, draws) nats; x (B, *shape), z (B, draws, latent_dim)."""
        eps = (z - mu[:, None]) * torch.exp(-0.5 * logvar)[:, None]
        log_ratio = 0.5 * (eps**2 + logvar[:, None] - z**2).sum(-1)  # prior against posterior
        return self.log_likelihood(x.flatten(1)[:, None], z) + log_ratio

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """The importance-weighted bound with `samples` draws, (B,) nats; x is binarised from `noise` for Bernoulli.

        Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2015), arXiv 1509.00519.
        """
        noise = noise or Noise(range(len(x)), x.device)
        if self.likelihood == "bernoulli":
            x = _binarised(x, noise.uniform(*x.shape[1:]).to(x.device))
        mu, logvar = self.posterior(x)
        z = mu[:, None] + torch.exp(0.5 * logvar)[:, None] * noise.normal(samples, *self.latent_shape).to(mu.device)
        return torch.logsumexp(self.log_weight(x, z, mu, logvar).double(), 1) - math.log(samples)

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density", "binary"]:
        return "binary" if config.get("likelihood") == "bernoulli" else "density"

    # ---- what it can do ----------------------------------------------------------------------------------------

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), (B, *shape)."""
        out = self.decoder(z)
        x = 2 * torch.sigmoid(out) - 1 if self.likelihood == "bernoulli" else out
        return (x.clamp(-1, 1) if self.space.kind == "image" else x).view(-1, *self.space.shape)

    def encode(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """The mean of q(z|x), (B, latent_dim)."""
        return self.posterior(x)[0]

    def reconstruct(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(x))

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, temperature: Annotated[float, Range(0.0, 1.5, 0.05)] = 1.0
    ) -> Iterator[Frame]:
        """Codes from the prior, their deviation times `temperature`, decoded; points get the decoder's noise too."""
        x = self.decode(temperature * noise.normal(*self.latent_shape).to(self.device))
        if self.space.kind == "points":
            x = x + self.log_sigma.clamp(-5, 3).exp() * noise.normal(*self.space.shape).to(x.device)
        yield from at_once(x)


class BetaVAE(VAE):
    """A VAE whose KL term weighs beta: fewer, more independent dimensions.

    beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., ICLR 2017).
    """

    def __init__(
        self,
        space: Space,
        *,
        latent_dim: Annotated[int, Range(1, 64)] = 16,
        hidden: Annotated[int, Range(16, 1024, 16)] = 400,
        likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
        beta: Annotated[float, Range(0.0, 20.0, 0.1)] = 4.0,
        beta_warmup: Annotated[float, Range(0.0, 1.0, 0.01)] = 0.1,
        layers: Annotated[int, Range(1, 4)] = 2,
    ):
        super().__init__(
            space,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            beta=beta,
            beta_warmup=beta_warmup,
            layers=layers,
        )


def _binarised(x: Tensor, u: Tensor) -> Tensor:
    """-1 or 1 per pixel, 1 with probability (x + 1) / 2."""
    return torch.where(u < (x + 1) / 2, 1.0, -1.0)
