"""What counting alone makes of a text: an interpolated Kneser-Ney n-gram over symbols, the yardstick of text models.

Improved Backing-off for M-gram Language Modeling (Kneser and Ney, 1995); interpolated, with three discounts, as in
An Empirical Study of Smoothing Techniques for Language Modeling (Chen and Goodman, 1999).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gen_models.interface import BadInput
from gen_models.noise import mixed

MOST = 32  # the highest order


def kneser_ney(train: Tensor, held: Tensor, order: int, symbols: int, lines: bool = False) -> float:
    """Nats per symbol of `held` by an n-gram counted in `train`: both (n,), or (N, T) of lines, whose ends count."""
    return -float(KneserNey(train, order, symbols, lines).log_probs(held).mean())


class KneserNey:
    """p(next symbol | the order - 1 before it), from counts.

    The longest n-grams count as often as they occur, shorter ones once for each symbol that they follow, those at the
    beginning of the text or of a line as often as they occur. A context that never occurred leaves it to the next
    shorter one; below the shortest all symbols are alike. Each line begins anew, and ends with its first 0.
    """

    def __init__(self, train: Tensor, order: int, symbols: int, lines: bool = False):
        """train (n,), or (N, T) of lines: int64 in 0 .. symbols - 1. BadInput where there is nothing to count."""
        if not 1 <= order <= MOST:
            raise BadInput(f"The order of an n-gram is a number from 1 to {MOST}; got {order}.")
        if not train.numel():
            raise BadInput("There is nothing to count in this text; take a longer one.")
        self.order, self.symbols, self.lines = order, symbols, lines
        self._levels: list[_Level] = []  # of order 1, 2, ...
        grams, above = self._grams(train), None
        for n in range(order, 0, -1):
            here = grams[_whole(grams, n), -n:]
            key, first, count = np.unique(_keys(here), return_index=True, return_counts=True)
            kinds = here[first]  # one n-gram of each kind
            if above is not None:
                suffix, followed = np.unique(_keys(above[:, 1:]), return_counts=True)
                place = np.searchsorted(suffix, key).clip(max=len(suffix) - 1)
                count = np.where(kinds[:, 0] == 0, count, followed[place])
            self._levels.insert(0, _Level(key, _keys(kinds[:, :-1]), count))
            above = kinds

    def log_probs(self, held: Tensor) -> Tensor:
        """Nats of each symbol of a text given those before it: (n,) float64; of lines all in one row, ends included."""
        return torch.from_numpy(np.log(self._probabilities(self._grams(held))))

    def distribution(self, context: Tensor) -> Tensor:
        """p(next symbol) after `context` (n,), n >= 0, at the beginning of a text or line: (symbols,) float64."""
        every = np.arange(self.symbols)[:, None]
        rows = np.concatenate([np.broadcast_to(context.numpy(), (self.symbols, len(context))), every], 1)
        return torch.from_numpy(self._probabilities(self._padded(rows)[:, -self.order :]))

    def _probabilities(self, grams: np.ndarray) -> np.ndarray:
        """p(last symbol | those before it) of n-grams (n, order)."""
        p = np.full(len(grams), 1.0 / self.symbols)
        for n, level in enumerate(self._levels, 1):
            whole = _whole(grams, n)
            here = grams[whole, -n:]
            p[whole] = level.interpolated(_keys(here), _keys(here[:, :-1]), p[whole])
        return p

    def _grams(self, x: Tensor) -> np.ndarray:
        """Each symbol that counts, last in a row of `order` with those before it: (n, order)."""
        rows = np.atleast_2d(x.numpy())
        grams = np.lib.stride_tricks.sliding_window_view(self._padded(rows), self.order, 1)  # (N, T, order)
        if not self.lines:
            return grams[0]
        ends = rows == 0
        return grams[ends.cumsum(1) - ends == 0]

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        """Symbols counted from 1, after places before the beginning that hold 0."""
        return np.pad((rows + 1).astype(np.int32), ((0, 0), (self.order - 1, 0)))


class _Level:
    """Discounted counts of the n-grams of one order."""

    def __init__(self, key: np.ndarray, context: np.ndarray, count: np.ndarray):
        """Each kind of n-gram: its key (sorted), its context's key, and how often it counts."""
        discount = _discounts(count)[np.minimum(count, 3)]
        self.key, self.left = key, count - discount
        self.context, of = np.unique(context, return_inverse=True)
        self.total = np.bincount(of, count)
        self.freed = np.bincount(of, discount) / self.total  # the share that a context leaves to the shorter one

    def interpolated(self, key: np.ndarray, context: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """Probabilities of n-grams, given those by the shorter context: (n,)."""
        k, seen = _found(self.context, context)
        g, there = _found(self.key, key)
        p = np.where(there, self.left[g], 0.0) / self.total[k] + self.freed[k] * shorter
        return np.where(seen, p, shorter)


def _discounts(count: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more: (4,); one half where too few were counted to estimate it."""
    n = np.bincount(np.minimum(count, 5), minlength=6)[1:5].astype(float)
    if not n.all():
        return np.array([0.0, 0.5, 0.5, 0.5])
    share = n[0] / (n[0] + 2 * n[1])
    estimated = [k - (k + 1) * share * n[k] / n[k - 1] for k in (1, 2, 3)]
    return np.array([0.0, *np.clip(estimated, 0.05, [0.95, 1.9, 2.9])])


def _whole(grams: np.ndarray, n: int) -> np.ndarray:
    """Whose last n places hold the beginning at most once: longer contexts would only repeat it."""
    return grams[:, -n + 1] > 0 if n > 1 else np.ones(len(grams), bool)


_FACTORS = np.array([mixed("n-gram", k) for k in range(MOST)], np.uint64)


def _keys(grams: np.ndarray) -> np.ndarray:
    """Each row as one number of 64 bits: sums of random multiples, which among millions of rows do not meet."""
    keys = np.zeros(len(grams), np.uint64)
    for k in range(grams.shape[1]):
        keys += grams[:, k].astype(np.uint64) * _FACTORS[k]
    return keys


def _found(ordered: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each is, and whether it is there."""
    place = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    return place, ordered[place] == wanted
