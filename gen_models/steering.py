"""Where a sampler can be steered without training: the noise it starts from, and the label it is told at each time.

Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), arXiv 2010.02502, section 5.3, for the ways between
two noises; Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), arXiv 2207.12598, for the label rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models import latent
from gen_models.interface import BadInput, Frame, State
from gen_models.noise import Noise, mixed

Begin = Callable[[Tensor, State | None], Iterator[Frame]]  # (label rows (B, K), start) -> a run with that label


# ---- between two noises ----------------------------------------------------------------------------------------


class Between(Noise):
    """Streams whose first draw lies on the great circle from seed a's to seed b's; row k is at weights[k] of it.

    At 0 and 1 a row is the very stream of `Noise([a])` or `Noise([b])`, so that it samples what those seeds do. The
    later draws of all other rows are those of one further stream: a solver that adds noise adds the same to each.
    BadInput for weights outside 0 .. 1.
    """

    def __init__(self, a: int, b: int, weights: Sequence[float], device: str | torch.device = "cpu"):
        if not all(0 <= weight <= 1 for weight in weights):
            raise BadInput("A place between two noises is a number from 0 (the first) to 1 (the second).")
        own = mixed("between", a, b)
        super().__init__([{0: a, 1: b}.get(weight, own) for weight in weights], device)
        self.ends, self.weights = (int(a), int(b)), tuple(map(float, weights))
        self._begun = False

    def normal(self, *shape: int) -> Tensor:
        rows = super().normal(*shape)
        if self._begun:
            return rows
        self._begun = True
        first, last = Noise(self.ends).normal(*shape).unsqueeze(1)  # (1, *shape) each
        at = torch.tensor(self.weights)
        n = len(self)
        circle = latent.slerp(first.expand(n, *shape), last.expand(n, *shape), at).to(self.device)
        inner = ((at > 0) & (at < 1)).to(self.device)
        return torch.where(inner.view(-1, *(1,) * len(shape)), circle, rows)


def evenly(frames: int) -> list[float]:
    """Weights 0 .. 1 of so many frames, both ends exact; BadInput for fewer than 2."""
    if frames < 2:
        raise BadInput(f"A way from one noise to another has at least 2 frames; got {frames}.")
    return [k / (frames - 1) for k in range(frames)]


# ---- labels that change on the way -----------------------------------------------------------------------------


class Mixing(NamedTuple):
    """Label a until time t = `begin`, label b from t = `end` on, and a mixture that grows evenly in between."""

    a: int
    b: int
    begin: float
    end: float

    def share(self, t: float) -> float:
        """The share of b at time t, 0 .. 1; t falls from 1 to 0."""
        if t <= self.end:
            return 1.0
        return 0.0 if t >= self.begin else (self.begin - t) / (self.begin - self.end)

    def rows(self, t: float, n: int, classes: int) -> Tensor:
        """The label rows (n, classes) at time t; each sums to 1."""
        row = torch.zeros(classes)
        row[self.a] += 1 - self.share(t)
        row[self.b] += self.share(t)
        return row.expand(n, classes).clone()

    def checked(self) -> Mixing:
        """Itself; BadInput where the times are not 1 >= begin >= end >= 0."""
        if not 1 >= self.begin >= self.end >= 0:
            raise BadInput(
                f"The mixture begins at a time that is not before its end (1 >= begin >= end >= 0): time runs from 1, "
                f"noise, to 0, data; got begin {self.begin:g} and end {self.end:g}."
            )
        return self


def relabelled(begin: Begin, label: Callable[[float], Tensor], start: State | None = None) -> Iterator[Frame]:
    """A walk that is told label(t) in the step that starts at time t; each frame has its State.

    It costs the calls of a plain walk: a run is left where its label ends, and another goes on from its state. There
    the history is emptied, since it was guessed for another label: DPM-Solver++ and other multistep solvers take that
    step at order 1, and so every step of a mixture that grows. Heun's second call in a step has the step's label.
    Steps are numbered from the walk's beginning; calls are those since `start`. BadInput for runs without State.
    """
    rows = label(1.0 if start is None else start.t)
    run, spent, calls = begin(rows, start), 0, 0
    try:
        frame = next(run)
        total = frame.total + (start.step if start else 0)
        while True:
            if frame.state is None:
                raise BadInput("This entry walks where its steps cannot be gone on from, so its label cannot change.")
            yield frame._replace(step=frame.state.step, total=total, calls=calls)
            if frame.state.step >= total:
                return
            if not torch.equal(wanted := label(frame.state.t), rows):
                run.close()
                rows, spent = wanted, calls
                run = begin(rows, frame.state._replace(history=()))
                next(run)  # the start again
            frame = next(run)
            calls = spent + frame.calls
    finally:
        run.close()


def turn(trunk: Frame, label: Callable[[float], Tensor], rows: Tensor) -> bool:
    """Whether the walk with changing labels leaves at this frame the walk that is told `rows` throughout."""
    return trunk.state is not None and trunk.step < trunk.total and not torch.equal(label(trunk.state.t), rows)
