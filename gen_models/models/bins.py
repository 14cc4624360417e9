"""Points written as two symbols, first x and then y given x, each in bins: an autoregressive density of the plane.

The order is that of NADE: The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011); numbers as
bins are those of Pixel Recurrent Neural Networks (van den Oord et al., 2016), arXiv 1601.06759.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from gen_models.interface import BadInput, Batch, Frame, GenerativeModel, Loss, Range, Samples, Scores, Space, Turn
from gen_models.nn import kept, mlp
from gen_models.noise import Noise

WAVES = 8  # sines and cosines of x, up to half as many periods over the range
CODE = 16  # numbers that stand for an edge between two bins
CUT, MARGIN = 0.002, 0.08  # share of points beyond the range before it is widened, and by how much of it on each side
TAIL = 0.05  # first scale of the tails, in ranges


class Autoregressive2D(GenerativeModel, Samples, Scores):
    """p(x) p(y | x): masses of the bins of an axis, a density that is linear within each, exponential tails beyond.

    The density is continuous over the range: the heights at the edges between bins are learnt, of x as they are, of y
    by a perceptron that is given x. Each tail is one more choice beside the bins.
    """

    exact = True
    how = "the chain rule: x, then y given x"
    about = r"""
**Objective.** A point is written like a text of two symbols, $$p(x, y) = p(x)\, p(y \mid x),$$
each of them chosen among bins of its axis. Any shape can be told with bins, whatever holes it has, and the likelihood
is exact: training maximises it.

**Try first.** Watch it choose x for all points, then y. Train it with few bins and with many: few are blocks, many need
more points to fill them.

**Where it fails.** Bins know no geometry: twice as many numbers in a point would take twice as many steps, and
neighbours in the second number are neighbours only because training says so.

**Papers.** PixelRNN: van den Oord et al. 2016, [arXiv 1601.06759](https://arxiv.org/abs/1601.06759); NADE: Larochelle
and Murray 2011, [PMLR 15](https://proceedings.mlr.press/v15/larochelle11a.html).
"""

    def __init__(
        self,
        space: Space,
        *,
        bins: Annotated[int, Range(8, 256, 8)] = 64,
        hidden: Annotated[int, Range(8, 256, 8)] = 64,
        layers: Annotated[int, Range(1, 4)] = 2,
    ):
        if space.kind != "points" or space.size != 2:
            raise BadInput("This model writes points in the plane, x then y; choose PixelCNN for pictures.")
        super().__init__(space)
        self.bins = bins
        choices = bins + 3  # log-heights at the edges, log-masses of the tails
        self.first = nn.Parameter(torch.zeros(choices))
        self.codes = nn.Parameter(0.1 * torch.randn(bins + 1, CODE))
        self.second = mlp([CODE + 2 * WAVES, *[hidden] * layers, choices])
        self.log_scale = nn.Parameter(torch.full((2, 2), math.log(TAIL)))  # of axis and side, in ranges
        self.register_buffer("low", -torch.ones(2))
        self.register_buffer("high", torch.ones(2))

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """The range is that of the data, a few outliers aside; heights start at a smoothed histogram of each axis."""
        cut = torch.tensor([CUT, 1 - CUT]).to(batch.x)
        low, high = torch.quantile(batch.x, cut, dim=0)
        centre, half = (low + high) / 2, (high - low) / 2 * (1 + 2 * MARGIN)
        half = half.maximum(1e-3 * centre.abs()).clamp_min(1e-3)
        self.low.copy_(centre - half)
        self.high.copy_(centre + half)
        for axis, start in enumerate((self.first, self.second[-1].bias)):
            start.copy_(self._histogram(batch.x[:, axis], axis))

    def _histogram(self, x: Tensor, axis: int) -> Tensor:
        """Log-heights and log-masses of the tails as x (B,) has them, blurred as far as so few points need."""
        place = self._places(x, axis)
        inside = place[(place >= 0) & (place <= self.bins)]
        width = max(1.0, 0.02 * self.bins)
        edges = torch.arange(self.bins + 1).to(x)
        heights = torch.exp(-0.5 * ((edges[:, None] - inside) / width).square()).sum(1) / (width * math.tau**0.5)
        tails = torch.stack([(place < 0).sum(), (place > self.bins).sum()]).to(x)
        return torch.log(torch.cat([heights, tails + 0.5]) + 0.02 * len(x) / self.bins) - math.log(len(x))

    # ---- an axis -----------------------------------------------------------------------------------------------

    def _places(self, x: Tensor, axis: int) -> Tensor:
        """Numbers of an axis in bins: 0 at the low end of the range, `bins` at the high end."""
        return (x - self.low[axis]) / (self.high[axis] - self.low[axis]) * self.bins

    def following(self, x: Tensor) -> Tensor:
        """x (B,) -> log-heights and log-masses of the tails for y, (B, bins + 3)."""
        place = self._places(x, 0).clamp(0, self.bins)
        edge, share = _between(place, self.bins)
        code = torch.lerp(self.codes[edge], self.codes[edge + 1], share[:, None])  # (B, CODE)
        angle = place[:, None] / self.bins * torch.arange(1, WAVES + 1).to(x) * math.pi
        return self.second(torch.cat([code, angle.sin(), angle.cos()], 1))

    def masses(self, logits: Tensor) -> Tensor:
        """log-masses (B, bins + 2) of the bins and of the two tails; their sum is 1."""
        heights, tails = logits.split([self.bins + 1, 2], -1)
        bins = torch.logaddexp(heights[..., :-1], heights[..., 1:]) - math.log(2)
        return torch.cat([bins, tails], -1).log_softmax(-1)

    def _log_density(self, x: Tensor, logits: Tensor, axis: int) -> Tensor:
        """Nats (B,) of numbers x (B,) of an axis under `logits` (B or 1, bins + 3)."""
        logits = logits.expand(len(x), -1)
        log_mass, place = self.masses(logits), self._places(x, axis)
        edge, share = _between(place.clamp(0, self.bins), self.bins)
        pair = torch.stack([edge, edge + 1], 1)
        heights = logits.gather(1, pair).log_softmax(1) + math.log(2)  # mean 1 over the bin
        inside = torch.logaddexp(heights[:, 0] + _log(1 - share), heights[:, 1] + _log(share))
        inside = inside + log_mass.gather(1, edge[:, None])[:, 0]
        scale = self.bins * self.log_scale[axis].exp()
        below = log_mass[:, -2] - scale[0].log() + place.clamp_max(0) / scale[0]
        above = log_mass[:, -1] - scale[1].log() - (place - self.bins).clamp_min(0) / scale[1]
        nats = torch.where(place < 0, below, torch.where(place > self.bins, above, inside))
        return nats - torch.log((self.high[axis] - self.low[axis]) / self.bins)

    def _draw(self, noise: Noise, logits: Tensor, axis: int, temperature: float) -> Tensor:
        """Numbers (B,) of an axis: a bin or a tail, then a place in it."""
        chosen = noise.choice(kept(self.masses(logits), temperature, 0, 1.0))
        u = noise.uniform().to(logits)
        edge = chosen.clamp_max(self.bins - 1)
        pair = logits.gather(1, torch.stack([edge, edge + 1], 1)).softmax(1)
        a, b = pair.unbind(1)
        share = u / (a + (a.square() + (b.square() - a.square()) * u).sqrt())  # undoes the integral of the line
        scale = self.bins * self.log_scale[axis].exp()
        beyond = -torch.log1p(-u)
        place = edge + share
        place = torch.where(chosen == self.bins, -beyond * scale[0], place)
        place = torch.where(chosen == self.bins + 1, self.bins + beyond * scale[1], place)
        return self.low[axis] + place / self.bins * (self.high[axis] - self.low[axis])

    # ---- what it can do ----------------------------------------------------------------------------------------

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        cost = -self.log_prob(batch.x)
        return Loss(cost.mean(), {"negative log-likelihood": cost})

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p of points (B, 2), (B,) nats, exact and finite everywhere."""
        first, second = x.unbind(1)
        return self._log_density(first, self.first[None], 0) + self._log_density(second, self.following(first), 1)

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density"]:
        return "density"

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, temperature: Annotated[float, Range(0.0, 2.0, 0.05)] = 1.0
    ) -> Iterator[Frame]:
        """Points at the centre, then with their x, then with both."""
        x = ((self.low + self.high) / 2).expand(len(noise), 2)
        yield Frame(x, 0, 2)
        first = self._draw(noise.at(0), self.first.expand(len(noise), -1), 0, temperature)
        yield Frame(torch.stack([first, x[:, 1]], 1), 1, 2, calls=1)
        second = self._draw(noise.at(1), self.following(first), 1, temperature)
        yield Frame(torch.stack([first, second], 1), 2, 2, calls=2)


def _between(place: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Places in [0, bins] as the edge to their left, at most bins - 1, and how far they are from it, in [0, 1]."""
    edge = place.detach().floor().clamp(0, bins - 1)
    return edge.long(), place - edge


def _log(x: Tensor) -> Tensor:
    """The logarithm, finite at 0."""
    return x.clamp_min(1e-30).log()
