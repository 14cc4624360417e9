"""Normalising flows: RealNVP and neural splines on points, a small Glow on pictures, all with an exact density.

Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2016), arXiv 1605.08803.
Neural Spline Flows (Durkan, Bekasov, Murray and Papamakarios, 2019), arXiv 1906.04032.
Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018), arXiv 1807.03039.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from gen_models.interface import (
    BadInput,
    Batch,
    Decodes,
    Encodes,
    Frame,
    GenerativeModel,
    Loss,
    Range,
    Samples,
    Scores,
    Space,
    Transforms,
    Turn,
)
from gen_models.models.coupling import AffineCoupling, Layer, PointsConditioner, SplineCoupling
from gen_models.models.levels import LEVELS, GlowStep, LevelCoupling
from gen_models.nn import quartered
from gen_models.noise import Noise

MOST = 3 * 64 * 64  # numbers in a picture
REACH = 4.0  # deviations from the mean: as far as splines bend points and networks tell them apart
COARSE = 2  # how much wider the networks on coarser grids are, at most


class Flow(GenerativeModel, Samples, Decodes, Encodes, Scores, Transforms):
    """A chain of layers that can be undone, from data to a standard normal.

    Where it has classes, some layers heed them, and z is standard normal within each. Without a label `sample` draws a
    class evenly and `log_prob` is the density of that; `decode` and `encode` then take the layers between all classes,
    so that they still undo each other.
    """

    exact = True
    how = "the change of variables through every layer"
    about = r"""
**Objective.** A chain of invertible layers $f$ carries data to noise; the density follows from how much it stretches,
$$\log p(x) = \log \mathcal{N}(f(x); 0, I) + \log\left|\det \frac{\partial f}{\partial x}\right|,$$
and training maximises it. A *coupling* keeps one half of the numbers and lets a network say how to move the other: it
is undone without inverting the network, and its determinant is a product. RealNVP shifts and scales, the neural
spline bends along a monotone curve, Glow mixes channels and moves the grey levels of pictures from coarse to fine.

**Try first.** Watch the layers bend the plane: noise becomes data without being cut. On pictures, lower the
temperature, or encode two of your own and walk between them: every code is exact.

**Where it fails.** A flow stretches the plane but cannot tear it: thin filaments remain between separate clusters, and
a hole is never quite empty. A high density does not mean that something looks like the data: to a flow of digits an
empty black picture is far more probable than any digit.

**Papers.** RealNVP: Dinh et al. 2016, [arXiv 1605.08803](https://arxiv.org/abs/1605.08803); neural spline flows: Durkan
et al. 2019, [arXiv 1906.04032](https://arxiv.org/abs/1906.04032); Glow: Kingma and Dhariwal 2018,
[arXiv 1807.03039](https://arxiv.org/abs/1807.03039); densities that mislead: Nalisnick et al. 2018,
[arXiv 1810.09136](https://arxiv.org/abs/1810.09136).
"""

    def __init__(self, space: Space, layers: Sequence[Layer], *, conditional: bool = False):
        super().__init__(space, conditional=conditional)
        self.latent_shape = (space.size,)
        self.layers = nn.ModuleList(layers)  # from data to noise

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        """Every layer starts from the batch as it arrives there."""
        label = self._rows(batch.label, len(batch.x))
        h, _ = self.enter(batch.x)
        for layer in self.layers:
            layer.begin(h)
            h, _ = layer(h, label)

    def enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data as the layers take it, and the log-determinant of that: (B, *shape), (B,)."""
        return x, x.new_zeros(len(x))

    def leave(self, h: Tensor) -> Tensor:
        """What layers hold, in the units of data: undoes `enter`."""
        return h

    # ---- the density -------------------------------------------------------------------------------------------

    def towards_noise(self, x: Tensor, *, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, *shape) -> z (B, D) and the log-determinant (B,)."""
        rows = self._rows(label, len(x))
        h, log_det = self.enter(x)
        for layer in self.layers:
            h, more = layer(h, rows)
            log_det = log_det + more
        return h.flatten(1), log_det

    def log_prob(
        self, x: Tensor, noise: Noise | None = None, *, label: Tensor | None = None, samples: int = 1
    ) -> Tensor:
        """log p(x), (B,) nats, exact; without a label that of a class drawn evenly."""
        rows = self.label_rows(label, len(x))
        if rows is not None and not rows.any():
            return self.log_prob_of_classes(x).logsumexp(1) - math.log(len(self.labels))
        if rows is not None and not (given := rows.any(1)).all():
            return torch.where(given, self.log_prob(x, label=self._rows(rows, len(x))), self.log_prob(x))
        z, log_det = self.towards_noise(x, label=rows)
        return log_det - 0.5 * (z.square() + math.log(math.tau)).sum(1)

    def log_prob_of_classes(self, x: Tensor) -> Tensor:
        """log p(x | class), (B, K) nats, exact: the largest names the class that the flow believes in."""
        classes, rows = len(self.labels), None
        h, log_det = self.enter(x)
        for layer in self.layers:
            if layer.heeds_label and rows is None:  # what comes before is the same for all classes
                rows = torch.eye(classes).to(x).repeat(len(x), 1)
                h, log_det = h.repeat_interleave(classes, 0), log_det.repeat_interleave(classes, 0)
            h, more = layer(h, rows)
            log_det = log_det + more
        cost = 0.5 * (h.flatten(1).square() + math.log(math.tau)).sum(1)
        return (log_det - cost).view(len(x), classes)

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        cost = -self.log_prob(batch.x, label=self.label_rows(batch.label, len(batch.x)))
        return Loss(cost.mean(), {"negative log-likelihood": cost})

    @classmethod
    def measure(cls, space: Space, config: Mapping[str, Any]) -> Literal["density"]:
        return "density"

    # ---- there and back ----------------------------------------------------------------------------------------

    def encode(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, *shape) -> z (B, D), standard normal where the flow is perfect and the label is that of x."""
        return self.towards_noise(x, label=label)[0]

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """z (B, D) -> x (B, *shape)."""
        for x in self.path(z, label=label):
            last = x
        return self.in_space(last)

    def path(self, z: Tensor, *, label: Tensor | None = None) -> Iterator[Tensor]:
        """Where points or pictures go from noise z (B, D) to data, (B, *shape): z itself, then after every layer."""
        rows = self._rows(label, len(z))
        h = z.view(-1, *self.space.shape)
        yield h
        for layer in reversed(self.layers):
            h = layer.inverse(h, rows)
            yield self.leave(h)

    def path_back(self, x: Tensor, *, label: Tensor | None = None) -> Iterator[Tensor]:
        """The same stations from data x to noise: x itself, then after every layer, last z as (B, *shape)."""
        rows = self._rows(label, len(x))
        h, _ = self.enter(x)
        for layer in self.layers:
            yield self.leave(h)
            h, _ = layer(h, rows)
        yield h

    def in_space(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 1) if self.space.kind == "image" else x

    def sample(
        self, noise: Noise, *, label: Tensor | None = None, temperature: Annotated[float, Range(0.0, 1.5, 0.05)] = 1.0
    ) -> Iterator[Frame]:
        """z times `temperature`, then x after every layer; without a label every sample gets a class by chance."""
        z = temperature * noise.normal(*self.latent_shape).to(self.device)
        if self.labels:
            rows, even = self.label_rows(label, len(z)), torch.ones(len(z), len(self.labels))
            drawn = nn.functional.one_hot(noise.at(1).choice(even), len(self.labels)).to(rows)
            label = torch.where(rows.any(1, keepdim=True), rows, drawn)
        for step, x in enumerate(self.path(z, label=label)):
            yield Frame(self.in_space(x), step, len(self.layers), calls=step)

    def _rows(self, label: Tensor | None, n: int) -> Tensor | None:
        """Label rows as shares of the classes, (n, K): even where a row is empty."""
        rows = self.label_rows(label, n)
        if rows is None:
            return None
        rows = torch.where(rows.any(1, keepdim=True), rows, 1.0)
        return (rows / rows.sum(1, keepdim=True)).to(next(self.parameters()))


# ---- points ---------------------------------------------------------------------------------------------------


class PointsFlow(Flow):
    """A flow of points whose layers see data of mean 0 and deviation 1."""

    def __init__(self, space: Space, layers: Sequence[Layer]):
        if space.kind != "points" or space.size % 2:
            raise BadInput("This flow is for points in the plane; choose Glow for pictures.")
        super().__init__(space, layers)
        self.register_buffer("mean", torch.zeros(space.size))
        self.register_buffer("deviation", torch.ones(space.size))

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        self.mean.copy_(batch.x.mean(0))
        self.deviation.copy_(batch.x.std(0).clamp_min(1e-3))
        super().begin(batch, rng, teacher)

    def enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.deviation, -self.deviation.log().sum().expand(len(x))

    def leave(self, h: Tensor) -> Tensor:
        return self.mean + self.deviation * h


class RealNVP(PointsFlow):
    """Affine couplings that take turns with the coordinates: each shifts and scales one given the other.

    Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2016), arXiv 1605.08803.
    """

    def __init__(
        self,
        space: Space,
        *,
        layers: Annotated[int, Range(2, 32)] = 12,
        hidden: Annotated[int, Range(8, 256, 8)] = 64,
        waves: Annotated[int, Range(1, 16)] = 4,
    ):
        def layer(i: int) -> Layer:
            return AffineCoupling(PointsConditioner(space.size, hidden, waves, REACH), swapped=i % 2 == 1)

        super().__init__(space, [layer(i) for i in range(layers)])


class NeuralSpline(PointsFlow):
    """Couplings that bend one coordinate along a monotone spline given the other, in turns.

    Neural Spline Flows (Durkan, Bekasov, Murray and Papamakarios, 2019), arXiv 1906.04032.
    """

    def __init__(
        self,
        space: Space,
        *,
        layers: Annotated[int, Range(2, 32)] = 4,
        hidden: Annotated[int, Range(8, 256, 8)] = 64,
        bins: Annotated[int, Range(2, 64)] = 32,
        waves: Annotated[int, Range(1, 16)] = 4,
    ):
        def layer(i: int) -> Layer:
            conditioner = PointsConditioner(space.size // 2 * (3 * bins - 1), hidden, waves, REACH)
            return SplineCoupling(conditioner, bins, REACH, swapped=i % 2 == 1)

        super().__init__(space, [layer(i) for i in range(layers)])


# ---- pictures -------------------------------------------------------------------------------------------------


class Glow(Flow):
    """A small Glow: steps of ActNorm, 1x1 convolution and affine coupling, then couplings that paint grey levels.

    The steps mix the noise, folded into 4 and into 16 channels per colour; the couplings nearest the picture turn it
    into levels, from every 16th pixel to the pixels in between. Pictures are dequantised uniformly.
    """

    def __init__(
        self,
        space: Space,
        *,
        channels: Annotated[int, Range(8, 64, 8)] = 16,
        bins: Annotated[int, Range(2, 64)] = 24,
        steps: Annotated[int, Range(1, 16)] = 2,
        hidden: Annotated[int, Range(16, 256, 16)] = 32,
        conditional: bool = False,
    ):
        quartered(space)
        if space.size > MOST:
            raise BadInput(f"This Glow is for pictures of up to 64 x 64, not {space.shape}; choose a smaller size.")
        classes = len(space.labels) if conditional else 0
        layers: list[Layer] = []
        stride, rows, columns = 1, *space.shape[1:]
        while rows * columns > 4:
            heeded = classes if stride > 1 else 0  # the finest pixels follow from those around them
            for part in ("cross", "centre") if min(rows, columns) > 1 else ("cross",):
                layers.append(LevelCoupling(space.shape, stride, part, channels * min(stride, COARSE), bins, heeded))
            stride, rows, columns = 2 * stride, (rows + 1) // 2, (columns + 1) // 2
        layers.append(LevelCoupling(space.shape, stride, "rest", 0, bins, classes))
        for fold in (2, 4):
            layers += [GlowStep(space.shape[0], fold, hidden) for _ in range(steps)]
        super().__init__(space, layers, conditional=conditional)

    def begin(self, batch: Batch, rng: torch.Generator, teacher: GenerativeModel | None = None) -> None:
        super().begin(batch._replace(x=self.dequantised(batch.x, rng)), rng, teacher)

    def dequantised(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """x with every byte spread evenly over its level, as `log_prob` expects pictures."""
        return x + (torch.rand(x.shape, generator=rng).to(x) - 0.5) / LEVELS

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        x = self.dequantised(batch.x, turn.rng)
        cost = -self.log_prob(x, label=self.label_rows(batch.label, len(x)))
        bits = (cost / self.space.size + math.log(LEVELS)) / math.log(2)
        return Loss(cost.mean(), {"bits per dimension": bits})
