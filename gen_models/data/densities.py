"""Eight two-dimensional densities with exact draws and the true log-density.

FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl, Chen, Bettencourt,
Sutskever and Duvenaud, 2018), arXiv 1810.01367; the definitions are those of its lib/toy_data.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from gen_models.interface import Batch, Space
from gen_models.noise import mixed

SIZES = {"train": 20_000, "valid": 10_000, "test": 20_000}
_CELLS = 1 << 22  # numbers in one block of a (B, K) table: 32 MiB


@dataclass(frozen=True)
class Density:
    """A density that can be drawn from without end; its three splits are fixed draws from seeds of their own."""

    name: str
    title: str
    draw: Callable[[int, torch.Generator], Tensor]  # -> (n, 2) float32
    log_prob: Callable[[Tensor], Tensor]  # (B, 2) -> (B,) nats; minus infinity outside the support
    places: tuple[Tensor, ...]  # of each of its equally likely modes, points (K, 2) along it
    space: ClassVar[Space] = Space("points", (2,))
    source: ClassVar[str] = "Drawn on the spot, as defined in FFJORD's toy_data.py (Grathwohl et al., 2018; MIT)."

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n fresh points (n, 2)."""
        return Batch(self.draw(n, rng))

    def split(self, name: Literal["train", "valid", "test"]) -> Batch:
        """20,000, 10,000 or 20,000 points, the same in every process."""
        return Batch(self.draw(SIZES[name], torch.Generator().manual_seed(mixed(self.name, name))))

    @property
    def modes(self) -> int:
        """Separate parts, such as Gaussians, rings or arms; each has the same probability."""
        return len(self.places)

    def mode_of(self, x: Tensor) -> Tensor:
        """The part that each point is nearest to: (B, 2) -> (B,) int64."""
        x = x.double().cpu()
        return torch.stack([torch.cdist(x, place).amin(1) for place in self.places], 1).argmin(1)


# ---- draws ----------------------------------------------------------------------------------------------------


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


def _uniform(n: int, rng: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=rng)


def _normal(n: int, rng: torch.Generator) -> Tensor:
    return torch.randn(n, 2, generator=rng)


def _one_of(values: int, n: int, rng: torch.Generator) -> Tensor:
    return torch.randint(values, (n,), generator=rng)


def _eight_gaussians(n: int, rng: torch.Generator) -> Tensor:
    return (4 * _circle(_one_of(8, n, rng) * (math.pi / 4)) + 0.5 * _normal(n, rng)) / 1.414


def _moon(angle: Tensor, lower: Tensor) -> Tensor:
    arc = _circle(angle)
    arc = torch.where(lower[:, None], arc.new_tensor([1.0, 0.5]) - arc, arc)
    return 2 * arc + arc.new_tensor([-1.0, -0.2])


def _moons(n: int, rng: torch.Generator) -> Tensor:
    return _moon(math.pi * _uniform(n, rng), _one_of(2, n, rng) == 1) + 0.2 * _normal(n, rng)


def _around(radius: Tensor, rng: torch.Generator) -> Tensor:
    return radius[:, None] * _circle(math.tau * _uniform(len(radius), rng))


def _circles(n: int, rng: torch.Generator) -> Tensor:
    return _around(1.5 * (1 + _one_of(2, n, rng)), rng) + 0.24 * _normal(n, rng)


def _rings(n: int, rng: torch.Generator) -> Tensor:
    return _around(0.75 * (1 + _one_of(4, n, rng)), rng) + 0.08 * _normal(n, rng)


def _roll(u: Tensor) -> Tensor:
    angle = 1.5 * math.pi * (1 + 2 * u)
    return angle[:, None] * _circle(angle) / 5


def _swissroll(n: int, rng: torch.Generator) -> Tensor:
    return _roll(_uniform(n, rng)) + 0.2 * _normal(n, rng)


def _spiral(angle: Tensor) -> Tensor:
    return angle[:, None] * _circle(angle) * angle.new_tensor([-1.0, 1.0])


def _two_spirals(n: int, rng: torch.Generator) -> Tensor:
    arm = _spiral(3 * math.pi * _uniform(n, rng).sqrt()) + 0.5 * _uniform(n, rng, 2)
    return (2 * _one_of(2, n, rng) - 1)[:, None] * arm / 3 + 0.1 * _normal(n, rng)


def _pinwheel(n: int, rng: torch.Generator) -> Tensor:
    radial, tangential = (_normal(n, rng) * torch.tensor([0.3, 0.1]) + torch.tensor([1.0, 0.0])).unbind(1)
    angle = _one_of(5, n, rng) * (math.tau / 5) + 0.25 * radial.exp()
    cos, sin = angle.cos(), angle.sin()
    return 2 * torch.stack([radial * cos + tangential * sin, tangential * cos - radial * sin], 1)


def _checkerboard(n: int, rng: torch.Generator) -> Tensor:
    # uniform on a grid of 20 bits: every sum below is exact in float32, so rounding never takes a point off the board
    u = torch.randint(1 << 20, (n, 2), generator=rng) / (1 << 20)
    column = _one_of(4, n, rng) - 2
    row = column % 2 - 2 * _one_of(2, n, rng)
    return 2 * (torch.stack([column, row], 1) + u)


# ---- true log-densities ---------------------------------------------------------------------------------------


def _in_blocks(log_prob: Callable[[Tensor], Tensor], width: int) -> Callable[[Tensor], Tensor]:
    """log_prob over rows of x in float64 on the CPU, a few at a time; the answer has the dtype and device of x."""

    def blocked(x: Tensor) -> Tensor:
        rows = x.to("cpu", torch.float64).split(max(1, _CELLS // width))
        return torch.cat([log_prob(row) for row in rows]).to(x)

    return blocked


class Blurred:
    """Log-density of points `centres` (K, 2), chosen with `weights` (K,), blurred by a Gaussian of std `sigma`.

    A curve is a row of centres at most sigma apart: the sum is then the integral to eight digits, and to a few per cent
    within sigma of the curve's ends.
    """

    def __init__(self, centres: Tensor, sigma: float, weights: Tensor | None = None):
        weights = torch.ones(len(centres), dtype=torch.float64) if weights is None else weights
        self.centres, self.sigma, self.weights = centres, sigma, weights / weights.sum()
        scale = math.log(math.tau * sigma**2)
        self._constant = self.weights.log() - scale - centres.square().sum(1) / 2 / sigma**2
        self._log_prob = _in_blocks(self._of_rows, len(centres))

    def __call__(self, x: Tensor) -> Tensor:
        return self._log_prob(x)

    def _of_rows(self, x: Tensor) -> Tensor:
        exponent = torch.addmm(self._constant, x, self.centres.T / self.sigma**2)  # (B, K)
        return exponent.logsumexp(1) - x.square().sum(1) / 2 / self.sigma**2

    def on_grid(self, line: Tensor) -> Tensor:
        """The density, not its logarithm, at (line[i], line[j]): (N, N), one product, since a Gaussian's axes part."""
        x, y = (-(line[:, None] - centre).square() / 2 / self.sigma**2 for centre in self.centres.T)  # (N, K)
        return (x.exp() * self.weights) @ y.exp().T / (math.tau * self.sigma**2)


def _midpoints(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def _concentric(count: int, step: float) -> Tensor:
    """Centres on `count` circles whose radii are multiples of `step`: (512 count, 2)."""
    turn = _circle(math.tau * _midpoints(512))
    return torch.cat([step * (1 + ring) * turn for ring in range(count)])


def _both_moons() -> Tensor:
    angle = math.pi * _midpoints(256)
    return torch.cat([_moon(angle, torch.full((256,), lower)) for lower in (False, True)])


def _both_spirals() -> tuple[Tensor, Tensor]:
    """Centres (2 K, 2) and weights (2 K,); Gauss-Legendre nodes stand for the square of side 0.5 at each angle."""
    angle = 3 * math.pi * _midpoints(320)  # its density is proportional to the angle
    nodes = torch.tensor([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5], dtype=torch.float64) / 2
    share = torch.tensor([5.0, 8.0, 5.0], dtype=torch.float64)
    arm = (_spiral(angle)[:, None] + torch.cartesian_prod(nodes, nodes)).reshape(-1, 2) / 3
    weights = (angle[:, None] * torch.outer(share, share).reshape(-1)).reshape(-1)
    return torch.cat([arm, -arm]), weights.repeat(2)


def _checkerboard_log_prob(x: Tensor) -> Tensor:
    cell = (x / 2).floor()
    inside = ((cell >= -2) & (cell < 2)).all(1) & (cell.sum(1) % 2 == 0)
    return torch.where(inside, -math.log(32), -math.inf).to(x)


def _pinwheel_log_prob(x: Tensor) -> Tensor:
    """Exact: the five arms turn a Gaussian (radial, tangential) by an angle that depends on the radial part alone.

    The turn keeps the distance rho from the origin, so the Gaussian's point is rho (cos phi, sin phi), where phi solves
    phi - exp(rho cos phi) / 4 = theta up to multiples of a fifth of a turn; each solution adds its density.
    """
    fifth = math.tau / 5
    rho, theta = (x / 2).norm(dim=1), torch.atan2(x[:, 1], x[:, 0])
    grid = torch.linspace(-math.pi, math.pi, 513, dtype=x.dtype)
    height = (grid - torch.exp(rho[:, None] * grid.cos()) / 4 - theta[:, None]) / fifth
    cell = height.floor()
    row, column = (cell[:, 1:] != cell[:, :-1]).nonzero(as_tuple=True)
    low, high, rho = height[row, column], height[row, column + 1], rho[row]
    whole = torch.maximum(cell[row, column], cell[row, column + 1])
    phi = grid[column] + (whole - low) / (high - low) * (grid[1] - grid[0])
    for _ in range(2):  # Newton
        lift = torch.exp(rho * phi.cos()) / 4
        slope = 1 + rho * phi.sin() * lift
        phi = phi - (phi - lift - theta[row] - whole * fifth) / slope
    radial, tangential = rho * phi.cos(), rho * phi.sin()
    slope = 1 + tangential * radial.exp() / 4
    log_normal = -(((radial - 1) / 0.3).square() + (tangential / 0.1).square()) / 2 - math.log(math.tau * 0.03)
    found = torch.full_like(height[:, 1:], -math.inf)
    found[row, column] = log_normal - slope.abs().log()
    return found.logsumexp(1) - math.log(5 * 4)


def _arms() -> Tensor:
    """The middles of the pinwheel's five arms, 32 points each: (160, 2)."""
    radial = 0.1 + 1.8 * _midpoints(32)
    angle = torch.arange(5, dtype=torch.float64)[:, None] * (math.tau / 5) + 0.25 * radial.exp()
    return 2 * (radial[:, None] * _circle(-angle)).reshape(-1, 2)


def _squares() -> Tensor:
    """16 points in each of the checkerboard's eight squares: (128, 2)."""
    corners = [(column, row) for column in range(-2, 2) for row in range(-2, 2) if (column + row) % 2 == 0]
    inner = torch.cartesian_prod(_midpoints(4), _midpoints(4))
    return 2 * (torch.tensor(corners, dtype=torch.float64)[:, None] + inner).reshape(-1, 2)


def _table() -> dict[str, Density]:
    eight = 4 * _circle(torch.arange(8, dtype=torch.float64) * math.pi / 4) / 1.414
    roll, moons, circles, rings = _roll(_midpoints(512)), _both_moons(), _concentric(2, 1.5), _concentric(4, 0.75)
    spirals, weights = _both_spirals()
    rows = (
        ("8gaussians", "8 Gaussians", _eight_gaussians, Blurred(eight, 0.5 / 1.414), eight.chunk(8)),
        ("moons", "Two moons", _moons, Blurred(moons, 0.2), moons.chunk(2)),
        ("circles", "Two circles", _circles, Blurred(circles, 0.24), circles.chunk(2)),
        ("rings", "Four rings", _rings, Blurred(rings, 0.08), rings.chunk(4)),
        ("swissroll", "Swiss roll", _swissroll, Blurred(roll, 0.2), (roll,)),
        ("2spirals", "Two spirals", _two_spirals, Blurred(spirals, 0.1, weights), spirals.chunk(2)),
        ("pinwheel", "Pinwheel", _pinwheel, _in_blocks(_pinwheel_log_prob, 4 * 512), _arms().chunk(5)),
        ("checkerboard", "Checkerboard", _checkerboard, _checkerboard_log_prob, _squares().chunk(8)),
    )
    return {row[0]: Density(*row) for row in rows}


DENSITIES = _table()
