"""The forward process x_t = alpha x0 + sigma eps: how fast it goes, and how far a denoiser is off at each time.

Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv 2006.11239.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gen_models.interface import Denoises, Guess
from gen_models.metrics import mean_error
from gen_models.schedules import LEVELS, SCHEDULES, Schedule

Target = Literal["velocity", "eps"]

# ---- schedules --------------------------------------------------------------------------------------------------


def log_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    """log(alpha^2 / sigma^2), nats; plus infinity where there is no noise, minus infinity where there is no signal."""
    return 2 * (alpha.log() - sigma.log())


def table(schedule: Schedule, pieces: int = LEVELS) -> Tensor:
    """(5, pieces + 1) float64 at t = 0, 1 / pieces, .., 1: alpha, sigma, d alpha / dt, d sigma / dt and the log-SNR."""
    t = torch.arange(pieces + 1, dtype=torch.float64) / pieces
    alpha, sigma = (a.double().cpu() for a in schedule(t))
    rates = [torch.gradient(a, spacing=1 / pieces)[0] for a in (alpha, sigma)]
    return torch.stack([alpha, sigma, *rates, log_snr(alpha, sigma)])


def own(schedule: Schedule) -> str:
    """The name under which a schedule stands in SCHEDULES; "" where it is another one."""
    t = torch.arange(LEVELS + 1, dtype=torch.float64) / LEVELS
    mine = torch.stack([a.double().cpu() for a in schedule(t)])
    return next((name for name, other in SCHEDULES.items() if (torch.stack(other(t)) - mine).abs().max() < 1e-3), "")


def target(schedule: Schedule) -> Target:
    """What such a model is trained to predict: the velocity eps - x0 on a straight path, the noise on any other."""
    return "velocity" if own(schedule) == "flow" else "eps"


# ---- errors -----------------------------------------------------------------------------------------------------


class Errors(NamedTuple):
    """Squared errors per number of x, (B,) each: of the guessed x0, of the guessed eps, of the velocity eps - x0."""

    x0: Tensor
    eps: Tensor
    velocity: Tensor


def errors(x0: Tensor, eps: Tensor, guess: Guess) -> Errors:
    """How far a guess of x0 and eps (B, ...) is off."""
    pairs = ((guess.x0, x0), (guess.eps, eps), (guess.eps - guess.x0, eps - x0))
    return Errors(*((a - b).double().square().flatten(1).mean(1).cpu() for a, b in pairs))


def trivial(x0: Tensor) -> dict[str, float]:
    """The errors of one who never looks at x_t: the data's mean for x0 (N, ...), nothing for eps."""
    variance = float(x0.double().var(0, correction=0).mean())
    return {"x0": variance, "eps": 1.0, "velocity": 1.0 + variance}


class Losses:
    """Errors at several times, as far as they are measured; every time meets the same examples and the same noise."""

    def __init__(self, times: Sequence[float]):
        self.times = tuple(times)
        self._found: list[list[Errors]] = [[] for _ in self.times]

    def add(self, k: int, found: Errors) -> None:
        """What was measured of some more examples at times[k]."""
        self._found[k].append(found)

    def counts(self) -> list[int]:
        """Examples that each time has met."""
        return [sum(len(part.x0) for part in parts) for parts in self._found]

    def values(self, name: str, k: int) -> Tensor:
        """(n,) squared errors at times[k], in the order of the examples."""
        return torch.cat([getattr(part, name) for part in self._found[k]])

    def curve(self, name: str) -> list[tuple[float, float] | None]:
        """Mean and standard error at each time; None where fewer than two examples were met."""
        counts = self.counts()
        return [mean_error(self.values(name, k)) if counts[k] > 1 else None for k in range(len(self.times))]


def even(count: int) -> list[float]:
    """The middles of `count` equal parts of 0 .. 1."""
    return [(k + 0.5) / count for k in range(count)]


def spread_out(count: int) -> list[int]:
    """0 .. count - 1 so that every beginning of the list is spread over the whole: by their bits, read backwards."""
    bits = max(1, (count - 1).bit_length())
    reverse = sorted(range(2**bits), key=lambda k: int(f"{k:0{bits}b}"[::-1], 2))
    return [k for k in reverse if k < count]


@torch.no_grad()
def measured(
    denoise: Callable[[Tensor, float, slice], Guess],
    model: Denoises,
    x0: Tensor,
    eps: Tensor,
    times: Sequence[float],
    size: int,
) -> Iterator[Losses]:
    """Losses after each call of `denoise(x_t, t, rows)`: `size` examples at every time, then the next ones.

    x0 and eps (N, *shape) lie on the model's device. So the curve stands early, and its error bars shrink.
    """
    losses = Losses(times)
    for first in range(0, len(x0), size):
        rows = slice(first, first + size)
        for k in spread_out(len(times)):
            x_t = model.noised(x0[rows], times[k], eps[rows])
            losses.add(k, errors(x0[rows], eps[rows], denoise(x_t, times[k], rows)))
            yield losses
