"""What every measure asks of its arrays before it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from gen_models.interface import BadInput


def rows(x: Tensor, least: int = 1) -> Tensor:
    """(N, ...) as rows (N, D) on the CPU; BadInput for fewer than `least`, or where a number is not finite."""
    if x.dim() < 2:
        raise BadInput(f"A measure takes one row of numbers per sample, (N, D); got the shape {tuple(x.shape)}.")
    if len(x) < least:
        raise BadInput(f"{len(x)} samples are too few: this measure needs at least {least}; draw more.")
    x = x.detach().flatten(1).cpu()
    if not torch.isfinite(x).all():
        raise BadInput("Some samples are not finite numbers: the model has diverged; train it again before judging it.")
    return x


def both(a: Tensor, b: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two sets as `rows` of one width; BadInput where the widths differ."""
    a, b = rows(a, least), rows(b, least)
    if a.shape[1] != b.shape[1]:
        raise BadInput(f"The sets differ in width: {a.shape[1]} and {b.shape[1]}; take both from one space or judge.")
    return a, b
