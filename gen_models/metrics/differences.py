"""How far two sets of samples are apart as distributions: Fréchet, kernel and energy distance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gen_models.interface import BadInput
from gen_models.metrics.rows import both
from gen_models.noise import mixed


def frechet(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of two sets (N, D): Gaussians of their moments, compared.

    GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), arXiv:1706.08500, in whatever features the
    rows are: values are comparable for one judge and one N only, since two sets of one distribution do not give 0 but
    a bias that grows with D and falls with N. BadInput where N <= D, whose covariance is singular.
    """
    a, b = both(a, b)
    fewest, dims = min(len(a), len(b)), a.shape[1]
    if fewest <= dims:
        raise BadInput(
            f"n = {fewest} is smaller than the feature dimension allows: a covariance of {dims} features is singular "
            f"for fewer than {dims + 1} samples; draw at least {dims + 1}, better thousands."
        )
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a.double()), _moments(b.double())
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = root @ cov_b @ root  # symmetric, with the eigenvalues of S_a S_b
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared
    return max(0.0, float(distance))


def kernel_distance(a: Tensor, b: Tensor, *, blocks: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The kernel distance of two sets (N, D) and its standard error: MMD^2 with the kernel (x.y / D + 1)^3.

    Demystifying MMD GANs (Bińkowski et al., 2018), arXiv:1801.01401: unbiased for every N, so that it may be negative,
    and the mean over `blocks` random subsets of `size` rows. BadInput for fewer than 4 rows.
    """
    a, b = both(a, b, least=4)
    dims = a.shape[1]
    return _two_sample(a, b, lambda x, y: (x @ y.T / dims + 1).pow_(3), blocks, size, seed)


def energy_distance(a: Tensor, b: Tensor, *, blocks: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two sets (N, D), and its standard error; meant for D of a few.

    Energy statistics (Székely and Rizzo, 2013). It is the MMD^2 with the kernel -|x - y|, so that it is computed as
    the kernel distance is: unbiased, from `blocks` random subsets. BadInput for fewer than 4 rows.
    """
    direct = "donot_use_mm_for_euclid_dist"  # no cancellation
    a, b = both(a, b, least=4)
    return _two_sample(a, b, lambda x, y: torch.cdist(x, y, compute_mode=direct).neg_(), blocks, size, seed)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) and the unbiased covariance (D, D) of rows."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def _two_sample(
    a: Tensor, b: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], blocks: int, size: int, seed: int
) -> tuple[float, float]:
    """The unbiased MMD^2, a mean over `blocks` pairs of random subsets, and its standard error over fresh draws.

    A subset holds `size` rows, at most half of the smaller set. Subsets are cut from one random order after another, so
    that all rows take part equally often, and there are more than `blocks` where each row would not be drawn twice.
    They overlap, so their spread says nothing of the error of having so few rows. That comes from the rows' own
    contributions, as for any U-statistic (Hoeffding, 1948): how much they differ between rows, and how much one row's
    differ between its subsets, which is the part that is left where both sets have one distribution.
    """
    if blocks < 2 or size < 2:
        raise BadInput(f"The mean needs at least 2 blocks of 2 rows; got {blocks} of {size}.")
    size = min(size, len(a) // 2, len(b) // 2)
    blocks = max(blocks, *(2 * math.ceil(len(x) / size) for x in (a, b)))
    rng = torch.Generator().manual_seed(mixed("two samples", seed))
    of_a, of_b = _Contributions(len(a)), _Contributions(len(b))
    total = 0.0
    for i, j in zip(_subsets(len(a), size, blocks, rng), _subsets(len(b), size, blocks, rng), strict=True):
        x, y = a[i].double(), b[j].double()
        across = kernel(x, y)
        own_x, own_y = (k.fill_diagonal_(0).sum(1) / (size - 1) for k in (kernel(x, x), kernel(y, y)))
        rows_x, rows_y = own_x - across.mean(1), own_y - across.mean(0)
        of_a.add(i, rows_x)
        of_b.add(j, rows_y)
        total += float(rows_x.mean() + rows_y.mean())
    (apart_a, noise_a), (apart_b, noise_b) = of_a.variances(size), of_b.variances(size)
    one_block = 2 * (noise_a + noise_b) / size  # the variance of a block where both sets have one distribution
    share = size * (1 / len(a) + 1 / len(b)) / 2
    few_rows = 4 * (apart_a / len(a) + apart_b / len(b)) + one_block * share**2
    return total / blocks, math.sqrt(few_rows + one_block / blocks)


class _Contributions:
    """What each of n rows adds to the estimates of the subsets that it is in, less the mean of the subset."""

    def __init__(self, n: int):
        self.sum, self.squares, self.count = torch.zeros(3, n, dtype=torch.float64)

    def add(self, index: Tensor, values: Tensor) -> None:
        values = values - values.mean()
        self.sum[index] += values
        self.squares[index] += values.square()
        self.count[index] += 1

    def variances(self, size: int) -> tuple[float, float]:
        """The variance between rows, and that of one row between fresh subsets of `size` rows (analysis of variance).

        Subsets of n given rows differ less than fresh ones do, by the factor 1 - size / n; what they have in common,
        size / n of it, shows as a difference between rows and is taken off there.
        """
        drawn, share = self.count > 0, size / len(self.count)
        count, mean = self.count[drawn], self.sum[drawn] / self.count[drawn]
        seen = (self.squares[drawn] - count * mean.square()).sum() / (count - 1).sum()
        fresh = seen / (1 - share)
        apart = mean.var() - seen * (1 / count).mean() - fresh * share
        return max(0.0, float(apart)), max(0.0, float(fresh))


def _subsets(n: int, size: int, blocks: int, rng: torch.Generator) -> Tensor:
    """Indices (blocks, size) of random subsets of n rows, cut from as many random orders as it takes."""
    each = n // size
    orders = [torch.randperm(n, generator=rng)[: each * size].view(each, size) for _ in range(math.ceil(blocks / each))]
    return torch.cat(orders)[:blocks]
