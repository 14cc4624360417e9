"""What lies next to what: density and coverage, samples that are nearer to the training data, and exact copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from gen_models.interface import BadInput
from gen_models.metrics.rows import both

BLOCK = 512  # rows of `real` whose distances to all others are held at once
CELLS = 2**22  # numbers of an exact comparison held at once
TIE = 1e-12  # relative difference of two distances that is rounding


def density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> tuple[float, float]:
    """Density and coverage of fake rows (M, D) among real ones (N, D), with balls to the k-th nearest real row.

    Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), arXiv:2002.09797. Density is
    how many balls hold a fake row, over k: not bounded by 1. Coverage is the share of balls that hold one. For two
    sets of one distribution and one size they are 1 and about 1 - 2^-k (0.969 for k = 5). What lies exactly on a
    ball's surface is outside. BadInput where N <= k.
    """
    real, fake = both(real, fake)
    if not 1 <= k < len(real):
        raise BadInput(
            f"The {k}-th nearest neighbour needs more than {max(k, 1)} real rows and k >= 1; got {len(real)}."
        )
    centre = real.double().mean(0)  # distances come from products, whose rounding grows with the norms
    real, fake = real.double() - centre, fake.double() - centre
    rounding = (real.shape[1] + 4) * 2.0**-50 * float(real.square().sum(1).max())
    inside = covered = 0
    for start in range(0, len(real), BLOCK):
        block = real[start : start + BLOCK]
        among = _squared(block, real)
        among.diagonal(start).fill_(torch.inf)  # a row is no neighbour of itself
        radius = among.topk(k, dim=1, largest=False).values[:, -1:]
        held = _squared(block, fake) < radius - rounding
        inside += int(held.sum())
        covered += int(held.any(1).sum())
    return inside / (k * len(fake)), covered / len(real)


def nearest(x: Tensor, reference: Tensor, *, block: int = 2048) -> Tensor:
    """The Euclidean distance from each row of x (N, D) to the nearest row of the reference (M, D): (N,) float64.

    Exact, and 0 for a copy: float32 products leave out only what cannot be nearest whatever their rounding, and the
    rest is subtracted in float64. `block` rows of each set are compared at a time.
    """
    x, reference = both(x, reference)
    parts = reference.split(block)
    centre = sum(part.double().sum(0) for part in parts) / len(reference)
    radius = max(float((part.double() - centre).norm(dim=1).max()) for part in parts) or 1.0
    queries = [_query((part.double() - centre) / radius) for part in x.split(block)]
    slack = (x.shape[1] + 8) * 2.0**-22  # twice the rounding of a product of D + 1 numbers, whose terms sum to 1.5
    lowest = torch.full((len(x), 1), torch.inf)
    best = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for part in parts:
        keys = (part.double() - centre) / radius
        keys = torch.cat([-keys, keys.square().sum(1, keepdim=True) / 2], 1).float()
        for number, query in enumerate(queries):
            here = slice(number * block, number * block + len(query))
            scores = query @ keys.T
            torch.minimum(lowest[here], scores.amin(1, keepdim=True), out=lowest[here])
            near = (scores <= lowest[here] + slack).nonzero()
            for i, distance in _exact(x[here], part, near):
                best[here].scatter_reduce_(0, i, distance, "amin")
    return best.sqrt()


def nearer(x: Tensor, train: Tensor, held: Tensor) -> Tensor:
    """1 where a row of x is nearer to `train` than to `held`, 0 where it is not, 0.5 for a tie: (N,) float64.

    The mean over samples is 0.5 for a model that memorises nothing. BadInput unless both sets are equally large, since
    the nearest of more rows is nearer.
    """
    if len(train) != len(held):
        raise BadInput(
            f"The training rows ({len(train)}) and the held-out rows ({len(held)}) must be equally many: "
            "take a random subset of the larger set."
        )
    to_train, to_held = nearest(x, train), nearest(x, held)
    tie = (to_train - to_held).abs() <= TIE * torch.maximum(to_train, to_held)
    return torch.where(tie, 0.5, (to_train < to_held).double())


def copies(x_bytes: Tensor, reference_bytes: Tensor) -> Tensor:
    """Which pictures (N, ...) uint8 are, byte for byte, among the reference (M, ...) uint8: (N,) bool.

    BadInput for another type, or where the pictures' shapes differ.
    """
    if x_bytes.dtype != torch.uint8 or reference_bytes.dtype != torch.uint8:
        raise BadInput("Copies are looked for among bytes: bring both sets to 8 bits (uint8) first.")
    if x_bytes.shape[1:] != reference_bytes.shape[1:]:
        shapes = f"{tuple(x_bytes.shape[1:])} and {tuple(reference_bytes.shape[1:])}"
        raise BadInput(f"The pictures differ in shape: {shapes}; bring both sets to one.")
    known = set(_digests(reference_bytes))
    return torch.tensor([digest in known for digest in _digests(x_bytes)], dtype=torch.bool)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (A, B) between rows, from products."""
    return (a @ b.T).mul_(-2).add_(a.square().sum(1, keepdim=True)).add_(b.square().sum(1))


def _query(x: Tensor) -> Tensor:
    """Rows (B, D + 1) whose product with a key (-y, |y|^2 / 2) falls and rises with the distance to y.

    A row outside the unit ball is divided by its norm, which keeps its order of distances and bounds the rounding.
    """
    shrink = x.norm(dim=1, keepdim=True).clamp_min(1)
    return torch.cat([x / shrink, 1 / shrink], 1).float()


def _exact(x: Tensor, reference: Tensor, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows i of x and the squared distances of the pairs (P, 2) of indices (i, j), a bounded number at a time."""
    for i, j in (part.T for part in pairs.split(max(1, CELLS // x.shape[1]))):
        yield i, (x[i].double() - reference[j].double()).square().sum(1)


def _digests(pictures: Tensor) -> Iterator[bytes]:
    """One short digest per picture."""
    for row in pictures.cpu().flatten(1).contiguous().numpy():
        yield hashlib.blake2b(row, digest_size=16).digest()
