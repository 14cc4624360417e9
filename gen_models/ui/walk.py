"""A run of a denoiser as it is kept: few bytes per step, thinned evenly when there are too many steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import __version__
from gen_models.interface import Frame
from gen_models.ui import film
from gen_models.ui.visits import Picked

NOISE = 3.0  # standard deviations from grey to white


class Moment(NamedTuple):
    """One step as it is kept; pictures as bytes, points as they are. The guess was made before the step."""

    step: int
    t: float
    guessed: float  # the time that x0 and eps were guessed at
    x: Tensor
    x0: Tensor | None
    eps: Tensor | None
    norm: float  # the mean length of eps over the samples


@dataclass
class Walk:
    """A run: its moments, thinned evenly when there are too many to keep, and what made them."""

    picked: Picked
    seed: int
    labels: list[int] | None
    asked: str | None  # the label asked for, None for every class in turn
    options: dict[str, Any]
    count: int
    most: int
    moments: list[Moment] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    calls: int = 0
    seconds: float = 0.0  # the sampler's own, without drawing
    stride: int = 1
    t: float = 1.0
    cell: int = 0  # the sample that the strip shows

    def add(self, frame: Frame) -> None:
        """Keeps the frame in place of the last one where that falls between the strides."""
        if self.moments and self.moments[-1].step % self.stride:
            self.moments.pop()
        before = self.t
        self.t = frame.state.t if frame.state else 1 - frame.step / max(1, frame.total)
        self.total, self.calls = frame.total, frame.calls
        eps = (frame.show or {}).get("eps")
        norm = float(eps.flatten(1).norm(dim=1).mean()) if eps is not None else 0.0
        small = [self._small(*pair) for pair in ((frame.x, 1.0), (frame.x0, 1.0), (eps, NOISE))]
        self.moments.append(Moment(frame.step, self.t, before, *small, norm))
        if len(self.moments) > 2 * self.most + 1:
            self.stride *= 2
            last = self.moments[-1]
            self.moments = [moment for moment in self.moments if moment.step % self.stride == 0 or moment is last]

    @property
    def grey(self) -> bool:
        """Its pictures have one channel."""
        return self.picked.space.kind == "image" and self.picked.space.shape[0] == 1

    def shown(self) -> list[Moment]:
        """The moments that the player and the files hold: evenly chosen, the first and the last among them."""
        return [self.moments[k] for k in film.evenly(len(self.moments), self.most + 1)]

    def _small(self, x: Tensor | None, spread: float) -> Tensor | None:
        if x is None or self.picked.space.kind == "points":
            return None if x is None else x.detach().float().cpu()
        return (torch.nan_to_num(x * (127.5 / spread) + 127.5, 127.5).clamp(0, 255)).round().to("cpu", torch.uint8)

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        classes = {"label": self.asked} if self.picked.labels else {}
        made = {"entry": self.picked.name, "seed": self.seed, "n": self.count, **classes, **self.options}
        last = self.moments[-1].step
        return made | {"version": __version__} | ({"stopped": last} if last < self.total else {})


def values(x: Tensor) -> Tensor:
    """Kept bytes as what render takes, exactly."""
    return x.float() / 127.5 - 1
