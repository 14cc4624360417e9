"""The mixture of factor analysers: a Gaussian mixture with few directions per component, for pictures.

The EM Algorithm for Mixtures of Factor Analyzers (Ghahramani and Hinton, 1996), University of Toronto CRG-TR-96-1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import Batch, Components, Frame, GenerativeModel, Range, Space, at_once
from gen_models.models.mixture import LIVING, Mixture, exact, squared_distance, wide
from gen_models.noise import Noise

LEVEL = 1 / 127.5  # between two grey levels of pictures in [-1, 1]: the width of uniform dequantisation
BLOCK = 1 << 21  # numbers in one block of factors (rows, K q)
LEARNT = 20_000  # examples that k-means runs on
MOVES = 10  # rounds of k-means
SURE = 1e-12  # a smaller responsibility is none: what all of them could change is below rounding
INNER = 2  # steps of each factor analyser in an M step: its own E step is cheap beside the mixture's


class MixtureOfFactorAnalyzers(Mixture):
    """Each component explains x by q factors and a noise of its own for every number: x = mean + z factors + eps.

    Covariances are factors^T factors + diagonal, so all arithmetic is that of q x q matrices (Woodbury's identity and
    the determinant lemma). Pictures are dequantised with noise that is drawn once, at the beginning.

    No number's noise is less than `floor` times the number's variance over all examples; that of the first component is
    at least `background` times the mean variance, everywhere: where no training picture has a stroke, one test picture
    in a hundred has one, and a mixture that thinks it impossible loses more there than it gains elsewhere. EM climbs to
    the likeliest parameters within these bounds.
    """

    warm: ClassVar[int] = 0

    about = r"""
**Objective.** Maximise the likelihood of a mixture whose components are flat ellipsoids:
$$p(x) = \sum_k \pi_k\, \mathcal{N}(x;\, \mu_k,\ \Lambda_k \Lambda_k^\top + \Psi_k),$$
with $q$ directions $\Lambda_k$ in which the picture varies as a whole (slant, thickness) and independent pixel noise
$\Psi_k$. EM is in closed form; pictures of 784 pixels cost no matrix of 784 by 784.

**Try first.** *Components*: each mean is a kind of digit that nobody labelled, its factors are what varies within it.
Draw from one component only.

**Where it fails.** A pixel's brightness is not Gaussian: samples are soft, with haze where strokes may or may not be,
and grainy with all of their pixel noise (*grain*). Its likelihood is exact, yet that of a plain histogram per pixel is
better on digits: it knows that most pixels are exactly black, and no Gaussian can be so sure.

**Papers.** Ghahramani and Hinton 1996; mixtures of probabilistic principal components: Tipping and Bishop 1999; on
pictures: Richardson and Weiss 2018, [arXiv 1805.12462](https://arxiv.org/abs/1805.12462).
"""

    def __init__(
        self,
        space: Space,
        *,
        components: Annotated[int, Range(1, 512)] = 100,
        factors: Annotated[int, Range(1, 32)] = 10,
        restarts: Annotated[int, Range(1, 32)] = 1,
        floor: Annotated[float, Range(1e-6, 1.0, log=True)] = 1e-5,
        background: Annotated[float, Range(0.0, 1.0, 0.01)] = 0.2,
        held_out: bool = True,
        tolerance: Annotated[float, Range(1e-3, 10.0, log=True)] = 0.1,
        patience: Annotated[int, Range(1, 100)] = 5,
    ):
        super().__init__(space, components, restarts, held_out, tolerance, patience)
        self.floor, self.background = floor, background
        self.factors = nn.Parameter(0.1 * torch.randn(components, factors, space.size))
        self.log_noise = nn.Parameter(torch.zeros(components, space.size))
        self.register_buffer("log_least", torch.zeros(components, space.size))  # of the noise
        self.register_buffer("dequantisation", torch.zeros((), dtype=torch.int64))  # its seed

    # ---- learning ----------------------------------------------------------------------------------------------

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """Draws the dequantisation, then starts."""
        self.dequantisation.copy_(torch.randint(2**62, (), generator=rng))
        super().begin(batch, rng, teacher)

    def start(self, x: Tensor, rng: torch.Generator) -> None:
        variance = x.var(0)
        least = self.floor * variance.expand(len(self.logits), -1)
        least = torch.cat([least[:1].clamp_min(self.background * float(variance.mean())), least[1:]])
        self.log_least.copy_(least.clamp_min(LEVEL**2 / 12 if self.space.kind == "image" else 1e-8).log())
        super().start(x[torch.randperm(len(x), generator=rng)[:LEARNT].to(x.device)], rng)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.space.kind == "image":
            u = torch.rand(x.shape, generator=torch.Generator().manual_seed(int(self.dequantisation)))
            x = x + (u.to(x) - 0.5) * LEVEL
        return super().parts(x)

    def flat(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, D) in the type of the parameters: sums that could cancel are widened later."""
        return x.flatten(1).to(self.mean)

    def scored(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        k, q, d = self.factors.shape
        mean, factors, log_noise = (exact(t) for t in (self.mean, self.factors, self.log_noise))
        precision = (-log_noise).exp()
        scaled = factors * precision[:, None]  # (K, q, D)
        root = torch.linalg.cholesky(torch.eye(q).to(mean) + scaled @ factors.mT)  # of the factors' posterior precision
        whiten = torch.linalg.solve_triangular(root, scaled, upper=False)  # (K, q, D)
        shift = (whiten @ mean[:, :, None]).view(-1).to(x)
        whiten = whiten.reshape(-1, d).to(x)
        squares = torch.cat([precision, -2 * precision * mean], 1).to(wide(x[:0]))  # (K, 2 D)
        logdet = log_noise.sum(1) + 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        rest = d * math.log(math.tau) + logdet + (precision * mean**2).sum(1)
        constant = (exact(self.logits).log_softmax(0) - rest / 2).to(squares)
        for rows in x.split(max(1, BLOCK // (k * q))):
            explained = torch.addmm(-shift, rows, whiten.T).square_().view(-1, k, q).sum(2)  # (B, K)
            both = wide(rows)
            distance = torch.cat([both.square(), both], 1) @ squares.T - explained  # (B, K)
            yield rows, (constant - distance / 2).T

    def expectation(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        shares, nats = [], 0
        for _, log_joint in self.scored(x):
            total = log_joint.logsumexp(0)
            shares.append((log_joint - total).exp().to(x))
            nats = nats + total.sum()
        return (x, torch.cat(shares, 1)), nats / len(x)

    def maximisation(self, expected: tuple[Tensor, Tensor]) -> None:
        x, shares = expected  # (N, D), (K, N)
        weight = wide(shares).sum(1)
        self.weigh(weight)
        for k in (weight > LIVING).nonzero()[:, 0].tolist():
            rows = (shares[k] > SURE).nonzero()[:, 0]
            self.refit(k, wide(x[rows]), wide(shares[k, rows]))

    def refit(self, k: int, x: Tensor, share: Tensor) -> None:
        """Steps of one factor analyser on its examples x (n, D) with their shares (n,)."""
        mean, factors, log_noise = (wide(t[k]) for t in (self.mean, self.factors, self.log_noise))
        total, least, eye = share.sum(), wide(self.log_least[k]).exp(), torch.eye(len(factors)).to(x)
        x = x - mean
        for _ in range(INNER):
            scaled = factors * (-log_noise).exp()
            covariance = torch.linalg.inv(exact(eye + scaled @ factors.mT)).to(x)  # of the factors, given x
            z = F.pad(x @ scaled.mT @ covariance, (0, 1), value=1.0)  # (n, q + 1)
            weighted = share[:, None] * z
            second = weighted.mT @ z
            second[:-1, :-1] += total * covariance
            cross = weighted.mT @ x  # (q + 1, D)
            found = torch.linalg.solve(exact(second), exact(cross)).to(x)
            left = (share @ x.square() - (found * cross).sum(0)) / total
            factors, shift, log_noise = found[:-1], found[-1], torch.maximum(left, least).log()
            x, mean = x - shift, mean + shift
        self.mean[k], self.factors[k], self.log_noise[k] = (t.to(self.mean) for t in (mean, factors, log_noise))

    def centres(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """k-means from k-means++."""
        centres = super().centres(x, rng)
        for _ in range(MOVES):
            nearest = squared_distance(x, centres).argmin(1)
            count = nearest.bincount(minlength=len(centres))[:, None]
            sums = torch.zeros_like(centres).index_add_(0, nearest, x)
            centres = torch.where(count > 0, sums / count.clamp_min(1), centres)
        return centres

    def around(self, x: Tensor, centres: Tensor, rng: torch.Generator) -> None:
        """Factors are deviations of a few examples from their centre; the noise is what k-means left, for all alike."""
        self.logits.zero_()
        self.mean.copy_(centres)
        nearest = squared_distance(x, centres).argmin(1)
        noise = (x - centres[nearest]).square().mean(0)
        self.log_noise.copy_(noise.log().maximum(self.log_least.to(x)))
        k, q, _ = self.factors.shape
        order = torch.rand(k, len(x), generator=rng).to(x) + (nearest == torch.arange(k, device=x.device)[:, None])
        rows = order.topk(min(q, len(x)), 1).indices  # of the component itself, as far as it has so many
        self.factors[:, : rows.shape[1]] = (x[rows] - centres[:, None]) / math.sqrt(q)

    # ---- what it can do ----------------------------------------------------------------------------------------

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        component: Annotated[int, Range(0, 512)] = 0,
        temperature: Annotated[float, Range(0.0, 1.5, 0.05)] = 1.0,
        grain: Annotated[float, Range(0.0, 1.0, 0.05)] = 0.0,
    ) -> Iterator[Frame]:
        """From any component by its weight (0), or from one of them; factors times `temperature`.

        `grain` is how much of the independent noise is added: the density has all of it, pictures are clearer without.
        """
        chosen = self.chosen(noise, component)
        z, eps = (noise.normal(n).to(self.mean) for n in (self.factors.shape[1], self.space.size))
        x = self.mean[chosen] + temperature * (z[:, None] @ self.factors[chosen])[:, 0]
        x = x + grain * (self.log_noise[chosen] / 2).exp() * eps
        x = x.clamp(-1, 1) if self.space.kind == "image" else x
        yield from at_once(x.view(-1, *self.space.shape))

    def components(self) -> Components:
        _, sizes, axes = torch.linalg.svd(exact(self.factors), full_matrices=False)
        factors = (sizes[:, :, None] * axes).to(self.mean)
        shape = self.space.shape
        mean, noise = self.mean.view(-1, *shape), self.log_noise.exp().mean(1)
        return Components(self.logits.softmax(0), mean, factors.unflatten(2, shape), noise)

    @property
    def free_parameters(self) -> int:
        k, q, d = self.factors.shape
        return k - 1 + 2 * k * d + k * (q * d - q * (q - 1) // 2)  # factors may be turned among themselves
