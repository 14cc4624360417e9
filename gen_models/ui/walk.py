"""A run of a denoiser as it is kept: few bytes per step, thinned evenly when there are too many steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import __version__
from gen_models.interface import Frame, State
from gen_models.ui import film
from gen_models.ui.fields import ANY
from gen_models.ui.visits import Picked

NOISE = 3.0  # standard deviations from grey to white


class Moment(NamedTuple):
    """One step as it is kept; pictures as bytes, points as they are. The guess was made before the step."""

    step: int  # steps walked since the noise
    t: float
    guessed: float  # the time that x0 and eps were guessed at
    x: Tensor
    x0: Tensor | None
    eps: Tensor | None
    norm: float  # the mean length of eps over the samples
    state: State | None = None  # on the CPU, to go on from here; None where a walk cannot, or does not, keep it


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
    total: int = 0  # the step at which it is finished
    calls: int = 0
    seconds: float = 0.0  # the sampler's own, without drawing
    stride: int = 1
    t: float = 1.0
    start: int = 0  # the step that it goes on from
    changed: int | None = None  # the sample that was painted on at its start: what is remembered is not of it
    keeps: bool = False  # each moment's state, so that it can be branched from

    def add(self, frame: Frame) -> None:
        """Keeps the frame in place of the last one where that falls between the strides."""
        if len(self.moments) > 1 and not self._stays(self.moments[-1]):
            self.moments.pop()
        before = self.t
        self.t = frame.state.t if frame.state else 1 - frame.step / max(1, frame.total)
        self.total, self.calls = self.start + frame.total, frame.calls
        eps = (frame.show or {}).get("eps")
        norm = float(eps.flatten(1).norm(dim=1).mean()) if eps is not None else 0.0
        small = [self.small(*pair) for pair in ((frame.x, 1.0), (frame.x0, 1.0), (eps, NOISE))]
        state = _held(frame.state) if self.keeps and frame.state else None
        self.moments.append(Moment(self.start + frame.step, self.t, before, *small, norm, state))
        if len(self.moments) > 2 * self.most + 1:
            self.stride *= 2
            last = self.moments[-1]
            self.moments = [moment for moment in self.moments if self._stays(moment) or moment is last]

    def _stays(self, moment: Moment) -> bool:
        return (moment.step - self.start) % self.stride == 0

    def settle(self) -> None:
        """Keeps what is shown alone, when nothing more will come."""
        self.moments = self.shown()

    @property
    def grey(self) -> bool:
        """Its pictures have one channel."""
        return self.picked.space.kind == "image" and self.picked.space.shape[0] == 1

    @property
    def last(self) -> int:
        """The step that it has come to."""
        return self.moments[-1].step if self.moments else self.start

    def shown(self) -> list[Moment]:
        """The moments that the player and the files hold: evenly chosen, the first and the last among them."""
        moments = list(self.moments)  # a running walk changes them
        return [moments[k] for k in film.evenly(len(moments), self.most + 1)]

    def small(self, x: Tensor | None, spread: float = 1.0) -> Tensor | None:
        """x as it is kept: pictures as bytes, [-spread, spread] from 0 to 255."""
        if x is None or self.picked.space.kind == "points":
            return None if x is None else x.detach().float().cpu()
        return (torch.nan_to_num(x * (127.5 / spread) + 127.5, 127.5).clamp(0, 255)).round().to("cpu", torch.uint8)

    def settings(self) -> dict[str, Any]:
        """What it was asked for: seed, label and the options."""
        classes = {"label": self.asked} if self.picked.labels else {}
        return {"seed": self.seed, **classes, **self.options}

    def chosen(self) -> dict[str, Any]:
        """The same as a form has it."""
        settings = self.settings()
        return settings | ({"label": ANY} if self.picked.labels and self.asked is None else {})

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        made = {"entry": self.picked.name, "panel": "steps", "n": self.count, **self.settings()}
        return made | {"version": __version__} | ({"stopped": self.last} if self.last < self.total else {})


def _held(state: State) -> State:
    """The state on the CPU."""
    return state._replace(x=state.x.cpu(), history=tuple((t, x0.cpu()) for t, x0 in state.history))


def values(x: Tensor) -> Tensor:
    """Kept bytes as what render takes, exactly."""
    return x.float() / 127.5 - 1
