"""What a text has taken from another one, stretch by stretch."""

from __future__ import annotations

import torch
from torch import Tensor

from gen_models.interface import BadInput


def copied(x: Tensor, text: Tensor, length: int) -> Tensor:
    """For every stretch of `length` symbols in the texts x (B, T), whether it stands in `text` (n,): bool.

    (B, T - length + 1). Symbols are whole numbers from 0. BadInput where the texts are shorter than a stretch.
    """
    if length < 1 or x.shape[1] < length or len(text) < length:
        raise BadInput(f"Stretches of {length} symbols need longer texts, not {x.shape[1]} and {len(text)} symbols.")
    whole = _written(text)
    known = {whole[i : i + length] for i in range(len(whole) - length + 1)}
    rows = [[row[i : i + length] in known for i in range(len(row) - length + 1)] for row in map(_written, x.cpu())]
    return torch.tensor(rows, dtype=torch.bool).view(len(x), -1)


def distinct(x: Tensor) -> Tensor:
    """Which of x (B, ...) equals no other one: (B,) bool."""
    _, place, count = x.flatten(1).unique(dim=0, return_inverse=True, return_counts=True)
    return count[place] == 1


def _written(symbols: Tensor) -> str:
    """A character for each symbol: slices of strings are quick to compare."""
    return "".join(map(chr, symbols.tolist()))
