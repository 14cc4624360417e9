"""What knowing almost nothing reaches on music: each voice holds its pitch, or takes one from a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hold_or_unigram(training: Sequence[Tensor], test: Sequence[Tensor]) -> float:
    """Nats per sixteenth and voice of test grids (steps, 4), with two kinds of counts from the training grids.

    One share says how often a pitch stays, the same for all voices, and a table for each voice how often it sings each
    pitch; every pitch is counted once more than it occurs. The first sixteenth is from the table alone.
    """
    voices, symbols = training[0].shape[1], 128
    table = torch.ones(voices, symbols, dtype=torch.float64)
    for piece in training:
        table += torch.stack([torch.bincount(column, minlength=symbols) for column in piece.T])
    table /= table.sum(1, keepdim=True)
    stays = [piece[1:] == piece[:-1] for piece in training]
    share = sum(float(same.sum()) for same in stays) / max(1, sum(same.numel() for same in stays))
    nats = count = 0.0
    for piece in test:
        p = torch.stack([table[voice][column] for voice, column in enumerate(piece.T)], 1)  # (steps, voices)
        p[1:] = (1 - share) * p[1:] + share * (piece[1:] == piece[:-1])
        nats, count = nats - float(p.log().sum()), count + piece.numel()
    return nats / count
