"""Where data lives, what a batch and a data set are, and the error that a person can mend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor


class BadInput(ValueError):
    """Something that a person can mend: the message says what is wrong and what to do. No traceback is shown."""


@dataclass(frozen=True)
class Space:
    """Where x lives; known without reading the data. Images lie in [-1, 1], shape (C, H, W); points are (2,)."""

    kind: Literal["points", "image", "text", "music"]
    shape: tuple[int, ...]
    alphabet: tuple[str, ...] = ()  # symbols of discrete x
    labels: tuple[str, ...] = ()  # class names when the data has classes
    domains: tuple[str, ...] = ()  # two names when the data is two unpaired sets
    encoding: Literal["plain", "lines", "events", "tokens"] = "plain"  # lines: text that ends at its first alphabet[0];
    # events and tokens: music, as gen_models.music says

    @property
    def size(self) -> int:
        """Numbers in one x."""
        return math.prod(self.shape)


class Batch(NamedTuple):
    """x (B, *shape), one class index per row (B,) int64 where the data has classes, and domain B's x."""

    x: Tensor
    label: Tensor | None = None
    other: Tensor | None = None


class Data(Protocol):
    """A data set: its Space without reading it, random batches, three splits, and the true density where known."""

    space: Space
    log_prob: Callable[[Tensor], Tensor] | None  # (B, *shape) -> (B,) nats

    def batch(self, n: int, rng: torch.Generator) -> Batch: ...

    def split(self, name: Literal["train", "valid", "test"]) -> Batch: ...
