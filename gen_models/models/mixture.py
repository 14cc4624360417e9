"""Mixtures fitted by expectation maximisation, and the Gaussian mixture for points.

Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.interface import (
    BadInput,
    Batch,
    Clusters,
    Components,
    Frame,
    GenerativeModel,
    Loss,
    Maximises,
    Range,
    Samples,
    Scores,
    Space,
    Turn,
    at_once,
    options,
)
from gen_models.noise import Noise

FEWEST = 50  # with fewer points none is held out: a tenth of them could not tell gain from chance
WIDEST = 16  # numbers in one x of a Gaussian mixture
CELLS = 1 << 16  # numbers in one (K, rows) table of an expectation: several of them stay in the cache
TRIED = 2048, 40  # examples, and examples per component, that restarts are compared on
FAINT = -600.0  # logarithm of the least share: arithmetic on still smaller numbers is slow
LIVING = 1e-8  # examples; a component with less keeps its place and its shape


class Mixture(GenerativeModel, Samples, Scores, Clusters, Maximises):
    """K weighted components, EM rounds, and the early stop; what a component is, a subclass says.

    A tenth of the batch, chosen by a hash of the row's number, is never trained on: the mixture has converged when its
    mean log-likelihood there has gained no more than `tolerance` nats in `patience` rounds. With `held_out` off, or
    fewer than 50 rows, the training rows are judged by instead.
    """

    exact = True
    warm: ClassVar[int] = 10  # rounds of each restart

    def __init__(self, space: Space, components: int, restarts: int, held_out: bool, tolerance: float, patience: int):
        super().__init__(space)
        self.restarts, self.held_out, self.tolerance, self.patience = restarts, held_out, tolerance, patience
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, space.size))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int64))  # of expectation maximisation
        self.register_buffer("best", torch.zeros(()))  # log-likelihood that the early stop compares with
        self.register_buffer("since", torch.zeros((), dtype=torch.int64))  # rounds without a gain
        self.register_buffer("over", torch.zeros((), dtype=torch.bool))

    # ---- what a subclass says ----------------------------------------------------------------------------------

    @abstractmethod
    def scored(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of x (N, D), a block at a time, with log p(x, component) (K, B) nats; x comes from `flat`."""

    @abstractmethod
    def expectation(self, x: Tensor) -> tuple[Any, Tensor]:
        """The E step on x (B, D): what the M step needs, and the mean log-likelihood in nats."""

    @abstractmethod
    def maximisation(self, expected: Any) -> None:
        """The M step: the parameters that explain best what the E step found."""

    @abstractmethod
    def around(self, x: Tensor, centres: Tensor, rng: torch.Generator) -> None:
        """Fills the parameters for centres (K, D) of the rows x (B, D)."""

    @property
    @abstractmethod
    def free_parameters(self) -> int:
        """Numbers that can be chosen independently, as information criteria count them."""

    # ---- learning ----------------------------------------------------------------------------------------------

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """The best of `restarts` starts; BadInput with fewer examples than components."""
        x = self.parts(batch.x)[0]
        most = len(self.logits)
        if len(x) < most:
            raise BadInput(
                f"{most} components need at least {most} examples to learn from, and there are {len(x)}: "
                f"choose at most {len(x)} components, or add examples."
            )
        self.start(x, rng)
        for buffer in (self.rounds, self.best, self.since, self.over):
            buffer.zero_()

    def start(self, x: Tensor, rng: torch.Generator) -> None:
        """Fills the parameters: of several starts the likeliest after a few cheap rounds on a part of x (N, D)."""
        few = x[torch.randperm(len(x), generator=rng)[: max(TRIED[0], TRIED[1] * len(self.logits))].to(x.device)]
        best, kept = -math.inf, []
        for _ in range(self.restarts):
            self.around(few, self.centres(few, rng), rng)
            for _ in range(self.warm):
                self.maximisation(self.expectation(few)[0])
            score = float(self.log_prob(few).mean())
            if not kept or score > best:
                best, kept = score, [p.detach().clone() for p in self.parameters()]
        for parameter, value in zip(self.parameters(), kept, strict=True):
            parameter.copy_(value)

    def centres(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Where the components start, (K, D), among the rows x (N, D)."""
        return spread(x, len(self.logits), rng)

    @torch.no_grad()
    def update(self, batch: Batch, turn: Turn) -> Mapping[str, Tensor]:
        """One round; the figures are the mean log-likelihoods of the mixture that it began with, in nats."""
        x, held = self.parts(batch.x)
        expected, found = self.expectation(x)
        show = {"log-likelihood": found}
        if len(held):
            found = show["held-out log-likelihood"] = self.log_prob(held).mean()
        self.maximisation(expected)
        gained = self.rounds == 0 or found > self.best + self.tolerance
        self.best.copy_(found if gained else self.best)
        self.since.copy_(0 if gained else self.since + 1)
        self.over.copy_(self.since >= self.patience)
        self.rounds += 1
        return show

    @property
    def converged(self) -> bool:
        return bool(self.over)

    def weigh(self, examples: Tensor) -> None:
        """Fills the weights from how many examples each component has, (K,); of none the logarithm stays finite."""
        self.logits.copy_(((examples + torch.finfo(examples.dtype).eps) / examples.sum()).log())

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of x (N, *shape) to learn from and those held out, (., D) each."""
        x = self.flat(x)
        if not self.held_out or len(x) < FEWEST:
            return x, x[:0]
        held = torch.arange(len(x), device=x.device) * 0x9E3779B1 % 2**32 < 2**32 // 10
        return x[~held], x[held]

    def flat(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, D), wide: likelihoods are sums of large and small numbers."""
        return x.flatten(1).to(wide(self.mean[:0]))

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        """The negative log-likelihood in nats; EM lowers it without its gradient."""
        nats = -self.log_prob(batch.x)
        return Loss(nats.mean(), {"negative log-likelihood": nats})

    # ---- what it can do ----------------------------------------------------------------------------------------

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x), (B,) nats, exact; nothing is drawn."""
        return torch.cat([log_joint.logsumexp(0) for _, log_joint in self.scored(self.flat(x))])

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density"]:
        return "density"

    def responsibilities(self, x: Tensor) -> Tensor:
        return torch.cat([log_joint.softmax(0).T for _, log_joint in self.scored(self.flat(x))])

    def bic(self, x: Tensor) -> float:
        """The Bayesian information criterion on x (B, *shape): lower is better.

        Estimating the Dimension of a Model (Schwarz, 1978).
        """
        return float(self.free_parameters * math.log(len(x)) - 2 * self.log_prob(x).sum())

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range]:
        return {"component": Range(0, config.get("components", options(cls.__init__)["components"].default))}

    def chosen(self, noise: Noise, component: int) -> Tensor:
        """Indices (B,) drawn by the weights where `component` is 0, else that one, counted from 1."""
        drawn = noise.choice(self.logits.softmax(0).expand(len(noise), -1)).to(self.device)
        return torch.full_like(drawn, component - 1) if component else drawn


class Moments(NamedTuple):
    """What the E step of a Gaussian mixture found: sums over examples, weighted by the responsibilities."""

    weight: Tensor  # (K,) examples
    first: Tensor  # (K, D) of x
    second: Tensor  # (K, D, D) of x x^T


class GaussianMixture(Mixture):
    """A mixture of Gaussians with full or diagonal covariances, for points.

    Covariances are stored as their matrix logarithm, of which every symmetric matrix is a valid one. The floor is the
    least variance in any direction: clipped eigenvalues are the most likely ones that respect it, so that no round
    lowers the likelihood; added to every variance, as is often done, a round near convergence may.
    """

    about = r"""
**Objective.** A sum of $K$ Gaussian bumps, its parameters chosen to maximise
$$\frac1N \sum_n \log \sum_k \pi_k\, \mathcal{N}(x_n;\, \mu_k, \Sigma_k).$$
*Expectation maximisation* alternates two closed-form steps. **E**: how responsible is each component for each point,
$r_{nk} = p(k \mid x_n)$? **M**: every component becomes the weighted mean and covariance of its points. Neither step
ever lowers the likelihood, and there is no learning rate.

**Try first.** *Train* on the 8 Gaussians with 8 components and watch round by round: colours are responsibilities, the
ellipses move to the points that they explain. Then start from random points, with one restart.

**Where it fails.** It climbs to the nearest top, not the highest: two components share a cluster, one bridges two. Thin
curved shapes take many components, and pictures far more than it can hold: see the mixture of factor analysers.

**Papers.** Dempster, Laird and Rubin 1977 (EM); k-means++: Arthur and Vassilvitskii 2007; BIC: Schwarz 1978.
"""

    def __init__(
        self,
        space: Space,
        *,
        components: Annotated[int, Range(1, 512)] = 8,
        covariance: Literal["full", "diagonal"] = "full",
        init: Literal["k-means++", "random points"] = "k-means++",
        restarts: Annotated[int, Range(1, 32)] = 8,
        floor: Annotated[float, Range(1e-8, 1.0, log=True)] = 1e-4,
        regularise: Literal["clip", "add"] = "clip",
        held_out: bool = True,
        tolerance: Annotated[float, Range(1e-7, 0.1, log=True)] = 1e-4,
        patience: Annotated[int, Range(1, 100)] = 10,
    ):
        if space.size > WIDEST:
            raise BadInput(
                f"A Gaussian mixture takes at most {WIDEST} numbers per example, not {space.size}; "
                "choose the mixture of factor analysers for pictures."
            )
        super().__init__(space, components, restarts, held_out, tolerance, patience)
        self.covariance, self.init, self.floor, self.regularise = covariance, init, floor, regularise
        shape = (components, space.size, space.size) if covariance == "full" else (components, space.size)
        self.log_covariance = nn.Parameter(torch.zeros(shape))

    @property
    def log_matrix(self) -> Tensor:
        """The logarithms of the covariances, symmetric (K, D, D), exact."""
        found = exact(self.log_covariance)
        return (found + found.mT) / 2 if self.covariance == "full" else torch.diag_embed(found)

    def scored(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        matrix, (k, d) = self.log_matrix, self.mean.shape
        whiten = torch.matrix_exp(-matrix / 2)  # (K, D, D)
        shift = -whiten @ exact(self.mean)[:, :, None]
        whiten = torch.cat([whiten, shift], 2).transpose(0, 1).reshape(-1, d + 1).to(x)  # (D K, D + 1)
        trace = matrix.diagonal(dim1=1, dim2=2).sum(1)
        constant = (exact(self.logits).log_softmax(0) - (trace + d * math.log(math.tau)) / 2)[:, None].to(x)
        for rows in x.split(max(1, CELLS // k)):
            y = (whiten @ F.pad(rows, (0, 1), value=1.0).T).view(d, k, -1)  # whitened, then squared: nothing cancels
            log_joint = torch.addcmul(constant, y[0], y[0], value=-0.5)
            for axis in y[1:]:
                log_joint = log_joint.addcmul_(axis, axis, value=-0.5)
            yield rows, log_joint

    def expectation(self, x: Tensor) -> tuple[Moments, Tensor]:
        upper = torch.triu_indices(x.shape[1], x.shape[1], device=x.device)
        total, nats = 0, 0
        for rows, log_joint in self.scored(x):
            top = log_joint.amax(0)
            share = log_joint.sub_(top).clamp_min_(FAINT).exp_()
            sums = share.sum(0)
            features = torch.cat([torch.ones_like(rows[:, :1]), rows, rows[:, upper[0]] * rows[:, upper[1]]], 1)
            total = total + share @ (features / sums[:, None])  # (K, 1 + D + D (D + 1) / 2)
            nats = nats + (top + sums.log()).sum()
        weight, first, products = total[:, 0], total[:, 1 : x.shape[1] + 1], total[:, x.shape[1] + 1 :]
        second = x.new_zeros(len(total), x.shape[1], x.shape[1])
        second[:, upper[0], upper[1]] = second[:, upper[1], upper[0]] = products
        return Moments(weight, first, second), nats / len(x)

    def maximisation(self, expected: Moments) -> None:
        weight, first, second = (exact(t) for t in expected)
        self.weigh(weight)
        alive = weight > LIVING
        mean = first[alive] / weight[alive, None]
        covariance = second[alive] / weight[alive, None, None] - mean[:, :, None] * mean[:, None]
        if self.covariance == "diagonal":
            covariance = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
        values, axes = torch.linalg.eigh(covariance)
        values = (values if self.regularise == "clip" else values + self.floor).clamp_min(self.floor)
        log_matrix = (axes * values.log()[:, None]) @ axes.mT
        if self.covariance == "diagonal":
            log_matrix = log_matrix.diagonal(dim1=1, dim2=2)
        alive = alive.to(self.device)
        self.mean[alive], self.log_covariance[alive] = mean.to(self.mean), log_matrix.to(self.mean)

    def centres(self, x: Tensor, rng: torch.Generator) -> Tensor:
        if self.init == "k-means++":
            return super().centres(x, rng)
        return x[torch.randperm(len(x), generator=rng)[: len(self.logits)].to(x.device)]

    def around(self, x: Tensor, centres: Tensor, rng: torch.Generator) -> None:
        """Round Gaussians of equal weight, as wide as the points lie from their nearest centre."""
        self.logits.zero_()
        self.mean.copy_(centres)
        variance = squared_distance(x, centres).amin(1).mean() / x.shape[1]
        spherical = variance.clamp_min(self.floor).log() * torch.eye(x.shape[1]).to(x)
        self.log_covariance.copy_(spherical if self.covariance == "full" else spherical.diagonal())

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        component: Annotated[int, Range(0, 512)] = 0,
        temperature: Annotated[float, Range(0.0, 1.5, 0.05)] = 1.0,
    ) -> Iterator[Frame]:
        """From any component by its weight (0), or from one of them; deviations from the mean times `temperature`."""
        chosen = self.chosen(noise, component)
        root = torch.matrix_exp(self.log_matrix / 2).to(self.mean)[chosen]  # (B, D, D)
        eps = noise.normal(self.space.size).to(self.mean)
        x = self.mean[chosen] + temperature * (root @ eps[:, :, None])[:, :, 0]
        yield from at_once(x.view(-1, *self.space.shape))

    def components(self) -> Components:
        values, axes = torch.linalg.eigh(self.log_matrix)
        factors = ((values / 2).exp()[:, None] * axes).mT.flip(1)  # (K, D, D), a row per axis, the longest first
        shape = self.space.shape
        weight, mean = self.logits.softmax(0), self.mean.view(-1, *shape)
        noise = torch.zeros_like(weight)
        return Components(weight, mean, factors.to(mean).unflatten(2, shape), noise)

    @property
    def free_parameters(self) -> int:
        k, d = self.mean.shape
        return k - 1 + k * d + k * (d * (d + 1) // 2 if self.covariance == "full" else d)


def wide(x: Tensor) -> Tensor:
    """In the widest type of its device."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def exact(x: Tensor) -> Tensor:
    """On the CPU in float64: small matrices are factorised there, which not every device can."""
    return x.to("cpu", torch.float64)


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """(B, D), (K, D) -> (B, K), not below 0."""
    return torch.addmm(y.square().sum(1), x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def spread(x: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Centres (count, D) among the rows of x, each likely to be far from those before it.

    k-means++: The Advantages of Careful Seeding (Arthur and Vassilvitskii, 2007), its greedy form: of a few candidates
    the one that leaves the least distance.
    """
    candidates = 2 + int(math.log(count))
    chosen = [int(torch.randint(len(x), (), generator=rng))]
    nearest = squared_distance(x, x[chosen])[:, 0]
    for _ in range(count - 1):
        reached = nearest.cumsum(0)
        u = torch.rand(candidates, generator=rng, dtype=torch.float64).to(x)
        rows = torch.searchsorted(reached, u * reached[-1], right=True).clamp_max(len(x) - 1)
        left = torch.minimum(nearest[:, None], squared_distance(x, x[rows]))  # (B, candidates)
        best = left.sum(0).argmin()
        chosen.append(int(rows[best]))
        nearest = left[:, best]
    return x[chosen]
