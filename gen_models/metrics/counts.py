"""Shares, counts and likelihoods, with the uncertainty that each of them has."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

from gen_models.interface import BadInput

Number = TypeVar("Number", float, Tensor)
LEVELS = 127.5  # levels of a byte per unit of x: pictures in [-1, 1] are byte / 127.5 - 1


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share, Probable Inference (Wilson, 1927); z = 1.96 for 95 %.

    `successes` may hold halves (ties). BadInput unless n >= 1 and 0 <= successes <= n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(f"A share needs 0 to n successes of n >= 1; got {successes} of {n}.")
    share, width = successes / n, z * z / n
    centre = (share + width / 2) / (1 + width)
    half = math.sqrt(width * (share * (1 - share) + width / 4)) / (1 + width)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if successes > 0 else 0.0), (high if successes < n else 1.0)  # the ends are exact, rounding is not


def modes_and_kl(codes: Tensor, modes: int) -> tuple[int, float]:
    """How many of `modes` classes the codes (N,) int64 hit, and KL(sampled || uniform) in nats.

    A perfect generator does not reach 0: its expected KL is about (modes - 1) / 2N, for 1000 modes 999 / 2N = 0.019
    at N = 26000, so that values at different N must not be compared. BadInput for no codes or a code outside
    0 .. modes - 1.
    """
    if codes.dim() != 1 or not len(codes) or codes.is_floating_point():
        raise BadInput("Modes are counted from one whole number per sample; draw at least one sample.")
    if modes < 1 or codes.min() < 0 or codes.max() >= modes:
        raise BadInput(f"Codes lie in 0 .. {modes - 1}; got {int(codes.min())} .. {int(codes.max())}.")
    counts = torch.bincount(codes.cpu(), minlength=modes).double()
    share = counts / counts.sum()
    return int((counts > 0).sum()), max(0.0, float(torch.xlogy(share, share * modes).sum()))


def modes_covered(found: Tensor, modes: int) -> int:
    """How many of `modes` equally likely modes hold at least a tenth of their share of samples, whose modes are `found`
    (N,) int64: 0 where there are none. BadInput for a mode outside 0 .. modes - 1.
    """
    if len(found) and (found.min() < 0 or found.max() >= modes):
        raise BadInput(f"Modes lie in 0 .. {modes - 1}; got {int(found.min())} .. {int(found.max())}.")
    counts = torch.bincount(found.cpu(), minlength=modes)
    return int((counts >= max(1.0, 0.1 * len(found) / modes)).sum())


def mean_error(values: Tensor) -> tuple[float, float]:
    """The mean of independent values (N,) and its standard error; BadInput for fewer than two or not finite ones."""
    values = values.detach().flatten().cpu().double()
    if len(values) < 2:
        raise BadInput(f"A standard error needs at least 2 values; got {len(values)}. Measure more.")
    if not torch.isfinite(values).all():
        raise BadInput("Some values are not finite: the model gives an example no probability at all; train it again.")
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def bits_per_dim(nats_per_example: Number, dims: int, scale: float) -> Number:
    """Bits per dimension from the cost -log p(x) in nats (positive is worse) of examples with `dims` numbers.

    `scale` is the number of levels per unit of x: LEVELS for a density over [-1, 1] of bytes 1 / 127.5 apart, which
    were dequantised by uniform noise one level wide; 1 for probabilities of the bytes themselves. A density per unit
    of x is 1 / scale^dims of that per level, so bits = (-log p(x) + dims log scale) / (dims log 2): uniform over all
    bytes' cells, -log p(x) = dims log(256 / 127.5), is exactly 8. A standard error in nats is only divided by
    dims log 2; the mean_error of a tensor of bits does that.
    """
    if dims < 1 or scale <= 0:
        raise BadInput(f"Bits per dimension need dims >= 1 and scale > 0; got {dims} and {scale}.")
    return (nats_per_example / dims + math.log(scale)) / math.log(2)


def ratio(cost: Tensor, count: Tensor) -> dict[str, float]:
    """The whole cost over the whole count, of rows (N,) that hold both, with the standard error of a ratio."""
    value = float(cost.sum() / count.sum())
    _, error = mean_error((cost - value * count) / count.mean())
    return {"value": value, "se": error}
