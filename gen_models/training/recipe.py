"""How a model is trained, and what training reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True)
class Stage:
    """A stretch of training; each starts with fresh optimizers.

    A model that `Maximises` gets one batch, the same at every step: `batch_size` examples drawn once, or without a size
    the whole training split. Its stage ends when it has converged; it takes neither turns nor averages.
    """

    steps: int
    seconds: float | None = None  # ends earlier, when this much time was spent
    turns: Mapping[str, int] = field(default_factory=dict)  # moves per step of each player, 1 unless said; 0 = frozen
    batch_size: int | None = None  # None: the recipe's; 0: the whole training split


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: one flat class for every family."""

    stages: Mapping[str, Stage]
    batch_size: int = 128
    lr: float | Mapping[str, float] = 1e-3  # per player where they differ
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"  # muon: for matrices of linear layers, else AdamW
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"  # after the warm-up; cosine goes to 0 at the stage's end
    warmup: int = 0  # steps
    ema: float = 0.0  # decay per step of the averaged copy; 0 = no average
    clip: float = 0.0  # largest norm of a player's gradient; 0 = no limit
    precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions and matrix products; weights stay float32


class Progress(NamedTuple):
    """What training reports: figures are means since the last report; step and done (0..1) count in the stage."""

    stage: str
    step: int
    total: int
    show: Mapping[str, float]
    examples_per_second: float
    seen: Any = None  # what look() returned, when it was called
    done: float = 0.0
    seconds: float = 0.0  # spent on training so far, all stages and resumed runs together
