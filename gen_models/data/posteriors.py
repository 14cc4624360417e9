"""What a known density of the plane says of noised points: p(x_t) and E[x0 | x_t], for x_t = alpha x0 + sigma eps.

The posterior mean is what a denoiser approaches: Score-Based Generative Modeling through Stochastic Differential
Equations (Song et al., 2021), arXiv 2011.13456; Tweedie's Formula and Selection Bias (Efron, 2011).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from gen_models.data.densities import DENSITIES, Blurred, Density

NODES = 256  # along a side of the table
REACH = 5.5  # all densities lie within (-REACH, REACH)^2
FEW = 64  # Gaussians that are summed one by one
LEAST = 0.7  # standard deviation, in nodes, of the narrowest Gaussian that the table is summed with


class Posterior(Protocol):
    """x_t (B, 2), alpha and sigma numbers of which one may be 0; answers in float64 on the CPU."""

    def log_prob(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """(B,) nats: the density of noised points."""

    def mean(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """(B, 2): where the clean point lies on average, given the noised one."""


class Gaussians:
    """Gaussians at `centres` (K, 2) with `weights` (K,), all with standard deviation `std`: in closed form."""

    def __init__(self, centres: Tensor, std: float, weights: Tensor):
        self.centres, self.std, self.weights = centres.double(), std, weights.double()

    def _terms(self, x_t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, float]:
        """x_t - alpha c (B, K, 2), each component's part of log p(x_t) (B, K), and its variance."""
        variance = (alpha * self.std) ** 2 + sigma**2
        off = x_t.double().cpu()[:, None] - alpha * self.centres
        logs = self.weights.log() - off.square().sum(2) / 2 / variance - math.log(math.tau * variance)
        return off, logs, variance

    def log_prob(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        return self._terms(x_t, alpha, sigma)[1].logsumexp(1)

    def mean(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        off, logs, variance = self._terms(x_t, alpha, sigma)
        each = self.centres + alpha * self.std**2 / variance * off  # (B, K, 2)
        return (logs.softmax(1)[:, :, None] * each).sum(1)


class Quadrature:
    """Any density, summed over a grid of NODES x NODES; a Gaussian's two axes are apart, so that it is two products.

    Noise narrower than LEAST nodes (0.03 in x0) is widened to that: only then is the answer not that of the density
    itself but of one blurred by less than that.
    """

    def __init__(self, density: Density):
        self.node = 2 * REACH / (NODES - 1)
        self.line = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
        if isinstance(density.log_prob, Blurred):
            self.mass = density.log_prob.on_grid(self.line)
        else:
            self.mass = density.log_prob(torch.cartesian_prod(self.line, self.line)).exp().view(NODES, NODES)
        self.mass /= self.mass.sum()

    def _axes(self, x_t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        """Along each axis: log-weights of the nodes (2, B, NODES), their posterior means; and the variance of x_t."""
        blur = max(0.0, (LEAST * self.node * alpha) ** 2 - sigma**2)  # of alpha x0
        variance = sigma**2 + blur
        off = x_t.double().cpu().T[:, :, None] - alpha * self.line  # (2, B, NODES)
        each = self.line + (blur / alpha / variance if alpha else 0.0) * off
        return -off.square() / 2 / variance, each, torch.tensor(variance, dtype=torch.float64)

    def _sums(self, x_t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        """The sum over all nodes (B,) without its scale, the log of the scale, and the sums of both coordinates."""
        logs, each, variance = self._axes(x_t, alpha, sigma)
        top = logs.amax(2)  # (2, B)
        a, b = (logs - top[:, :, None]).exp()
        rows = a @ self.mass  # (B, NODES)
        total = (rows * b).sum(1)
        first = ((a * each[0]) @ self.mass * b).sum(1)
        second = (rows * b * each[1]).sum(1)
        return total, top.sum(0) - (math.tau * variance).log(), torch.stack([first, second], 1)

    def log_prob(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        total, scale, _ = self._sums(x_t, alpha, sigma)
        return total.log() + scale

    def mean(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Far from all data, where every weight underflows, it is that of the nearest place with a weight."""
        total, _, sums = self._sums(x_t, alpha, sigma)
        found = sums / total[:, None]
        lost = ~(total > 0)
        return torch.where(lost[:, None], self._nearest(x_t, alpha, lost), found) if lost.any() else found

    def _nearest(self, x_t: Tensor, alpha: float, lost: Tensor) -> Tensor:
        places = torch.cartesian_prod(self.line, self.line)[self.mass.flatten() > 1e-3 * self.mass.max()]
        found = torch.zeros(len(x_t), 2, dtype=torch.float64)
        found[lost] = places[torch.cdist(x_t[lost].double().cpu(), alpha * places).argmin(1)]
        return found


@lru_cache(maxsize=len(DENSITIES))
def posterior(name: str) -> Posterior | None:
    """What is known of the data set of that name once it is noised; None where its density is not known."""
    density = DENSITIES.get(name)
    if density is None:
        return None
    truth = density.log_prob
    few = isinstance(truth, Blurred) and len(truth.centres) <= FEW
    return Gaussians(truth.centres, truth.sigma, truth.weights) if few else Quadrature(density)
