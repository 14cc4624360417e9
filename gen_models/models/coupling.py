"""Layers that can be undone, with the logarithm of how much they stretch: what flows are made of.

Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2016), arXiv 1605.08803.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen_models.nn import mlp, zero

SMALLEST = 1e-3  # share of a spline's bin, and slope of its knots: steeper could not be undone in float32


class Layer(nn.Module, ABC):
    """x -> (z, log |det dz/dx|) towards the noise, (B, *shape) -> (B, *shape) and (B,); `inverse` undoes it.

    label: (B, K) rows of shares of the classes, for layers that heed them; None where there are no classes.
    """

    heeds_label = False

    @abstractmethod
    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor: ...

    def begin(self, x: Tensor) -> None:
        """Fills parameters from the first batch, as it arrives at this layer."""


# ---- couplings ------------------------------------------------------------------------------------------------


class Coupling(Layer):
    """One half of the channels stays and tells a network how to move the other: x (B, C, ...), C even.

    What stayed is still there on the way back, so the network itself need not be invertible.
    """

    def __init__(self, network: nn.Module, swapped: bool = False):
        super().__init__()
        self.network, self.swapped = network, swapped

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = self._halves(x)
        moved, log_slope = self.move(moved, self.network(kept))
        return self._whole(kept, moved), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        kept, moved = self._halves(z)
        return self._whole(kept, self.back(moved, self.network(kept)))

    @abstractmethod
    def move(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """x and what the network said of it -> z and log dz/dx, number by number."""

    @abstractmethod
    def back(self, z: Tensor, params: Tensor) -> Tensor:
        """The x that `move` takes to z."""

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, 1)
        return (second, first) if self.swapped else (first, second)

    def _whole(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.swapped else [kept, moved], 1)


class AffineCoupling(Coupling):
    """z = x exp(s) + t with |s| < `reach`; params (B, 2 C/2, ...) are s before its bound, and t."""

    reach = 2.0

    def move(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_slope, shift = self._bounded(params.to(x.dtype))
        return x * log_slope.exp() + shift, log_slope

    def back(self, z: Tensor, params: Tensor) -> Tensor:
        log_slope, shift = self._bounded(params.to(z.dtype))
        return (z - shift) * (-log_slope).exp()

    def _bounded(self, params: Tensor) -> tuple[Tensor, Tensor]:
        log_slope, shift = params.chunk(2, 1)
        return self.reach * torch.tanh(log_slope / self.reach), shift


class SplineCoupling(Coupling):
    """A monotone spline for every number, the identity outside +-bound; params (B, C/2 (3 bins - 1))."""

    def __init__(self, network: nn.Module, bins: int, bound: float, swapped: bool = False):
        super().__init__(network, swapped)
        self.bins, self.bound = bins, bound

    def move(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return spline(x, self._knots(params.to(x.dtype)), self.bound)

    def back(self, z: Tensor, params: Tensor) -> Tensor:
        return spline(z, self._knots(params.to(z.dtype)), self.bound, inverse=True)[0]

    def _knots(self, params: Tensor) -> Tensor:
        return params.view(len(params), -1, 3 * self.bins - 1)


def spline(x: Tensor, params: Tensor, bound: float, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """The rational-quadratic spline of `params` (..., 3 K - 1) at x (...), or its inverse: y and log dy/dx.

    K widths and K heights before their softmax, and the slopes of the K - 1 inner knots; all at 0 is the identity. The
    outer knots are (+-bound, +-bound) with slope 1; beyond them y = x. Neural Spline Flows (Durkan, Bekasov, Murray
    and Papamakarios, 2019), arXiv 1906.04032, equations 4 to 8.
    """
    bins = (params.shape[-1] + 1) // 3
    shares, slopes = params[..., : 2 * bins].unflatten(-1, (2, bins)), F.pad(params[..., 2 * bins :], (1, 1))
    shares = SMALLEST + (1 - SMALLEST * bins) * shares.softmax(-1)  # (..., 2, K): of widths, of heights
    ends = shares.cumsum(-1)
    inside = x.clamp(-bound, bound)
    cell = ((inside / bound + 1)[..., None] / 2 >= ends[..., 1 if inverse else 0, :-1]).sum(-1, keepdim=True)
    both = cell[..., None].expand(*cell.shape[:-1], 2, 1)
    size = 2 * bound * shares.gather(-1, both)
    width, height = size.squeeze(-1).unbind(-1)
    left, low = (2 * bound * ends.gather(-1, both) - bound - size).squeeze(-1).unbind(-1)
    slopes = slopes.gather(-1, torch.cat([cell, cell + 1], -1)) + math.log(math.expm1(1 - SMALLEST))
    before, after = (SMALLEST + F.softplus(slopes)).unbind(-1)
    mean = height / width
    bend = after + before - 2 * mean
    if inverse:
        rise = inside - low
        a, b = height * (mean - before) + rise * bend, height * before - rise * bend
        share = 2 * mean * rise / (b + (b * b + 4 * a * mean * rise).clamp_min(0).sqrt())
    else:
        share = (inside - left) / width
    between = share * (1 - share)
    bottom = mean + bend * between
    top = after * share.square() + 2 * mean * between + before * (1 - share).square()
    log_slope = 2 * mean.log() + top.log() - 2 * bottom.log()  # of the spline, not of its inverse
    moved = left + width * share if inverse else low + height * (mean * share.square() + before * between) / bottom
    beyond = x.abs() > bound
    log_slope = torch.where(beyond, 0.0, -log_slope if inverse else log_slope)
    return torch.where(beyond, x, moved), log_slope


class PointsConditioner(nn.Module):
    """A perceptron of one coordinate with sines and cosines of it, held still beyond +-bound: (B, 1) -> (B, outputs).

    Fourier Features Let Networks Learn High Frequency Functions (Tancik et al., 2020), arXiv 2006.10739.
    """

    def __init__(self, outputs: int, hidden: int, waves: int, bound: float):
        super().__init__()
        self.bound = bound
        self.register_buffer("waves", torch.arange(1, waves + 1) * (math.pi / bound / 2), persistent=False)
        self.network = mlp([1 + 2 * waves, hidden, hidden, outputs])
        zero(self.network[-1])

    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(-self.bound, self.bound)
        angles = x * self.waves
        return self.network(torch.cat([x / self.bound, angles.sin(), angles.cos()], 1))
