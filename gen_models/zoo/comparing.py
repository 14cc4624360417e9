"""Every solver from the same noise at equal numbers of network calls, and how far each ends from where the ODE ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from gen_models.interface import BadInput, Denoises, Frame, GenerativeModel, options
from gen_models.solvers import calls_of, steps_within
from gen_models.zoo.parts import Run
from gen_models.zoo.sampling import limits, sample

REFERENCE = "unipc"  # of the highest order here, at one call a step


class Cell(NamedTuple):
    """One solver at one number of calls: the most steps that fit."""

    solver: str
    asked: int
    steps: int

    @property
    def calls(self) -> int:
        """The calls that its steps take; one fewer than asked where a solver takes two a step and one is left over."""
        return calls_of(self.solver, self.steps)


class Moment(NamedTuple):
    """What a walk holds after so many calls: the noise after none, a guess of x0 on the way, at last the sample."""

    calls: int
    x: Tensor


def most_steps(model: type[GenerativeModel], bounds: Any) -> int:
    """The most steps that the model's `sample` takes."""
    return int(options(model.sample, bounds)["steps"].allowed.high)


def cells(solvers: Sequence[str], numbers: Sequence[int], most: int) -> list[Cell]:
    """A cell for each solver and number of calls, solver after solver; `most` steps at most."""
    return [Cell(solver, calls, min(most, steps_within(solver, calls))) for solver in solvers for calls in numbers]


def follows(solver: str, eta: float) -> bool:
    """Whether more steps bring the solver to the end of the ODE; those that draw fresh noise end elsewhere."""
    return solver != "ddpm" and (solver != "ddim" or eta == 0)


def distance(x: Tensor, end: Tensor) -> float:
    """The root mean square of the difference per number of x; both (B, *shape)."""
    return float((x.double() - end.double()).square().mean().sqrt())


def moments(frames: Iterator[Frame]) -> Iterator[Moment]:
    """The walk's moments, one for each step after the noise; the guess of a step is made by the first of its calls."""
    before = 0
    for frame in frames:
        last = frame.step == frame.total
        guessed = frame.x if last or frame.x0 is None else frame.x0
        yield Moment(frame.calls if last or not frame.step else before + 1, guessed.detach().cpu())
        before = frame.calls


def solved(model: GenerativeModel, cell: Cell, seed: int, n: int, **values: Any) -> Run:
    """Frames of n samples by the cell's solver in its steps; the noise depends on the seeds alone. As `sample`."""
    return sample(model, seed, n, solver=cell.solver, steps=cell.steps, **values)


def reference(model: GenerativeModel, seed: int, n: int, **values: Any) -> Run:
    """Frames to the end of the probability-flow ODE from the same noise: UniPC in as many steps as the model takes.

    With that many steps the solvers of order 2 and 3 agree: to 4e-4 per number on diffusion-mnist (200 steps), UniPC
    and DPM-Solver++ to 4e-5 on ddpm-mnist (1000 steps); Euler is 1e-3 to 4e-3 away. BadInput for a model that does not
    denoise.
    """
    if not isinstance(model, Denoises):
        raise BadInput("This entry has no ODE to follow: it does not denoise.")
    steps = most_steps(type(model), limits(model))
    return sample(model, seed, n, **values | {"solver": REFERENCE, "steps": steps})


def timed(model: GenerativeModel, n: int, clock: Any, patience: float = 0.3, **values: Any) -> tuple[float, int]:
    """Seconds of one step of `sample` on n samples, and how many steps it takes; clock() is the time in seconds.

    One run with these options is begun, its first step left out unless it is the only one, and given up after
    `patience` seconds. Steps that take several calls count as one.
    """
    for warm in (True, False):
        begun, at, first = clock(), 0, None
        for frame in sample(model, 0, n, **values):
            frame.x.cpu()
            at, total = frame.step, frame.total
            if first is None and at > 0:
                first = (clock(), at)
            if clock() - begun > patience and at > 0:
                break
        if at > first[1]:
            return (clock() - first[0]) / (at - first[1]), total
        if not warm or clock() - begun > patience:
            return (clock() - begun) / at, total
    raise AssertionError("a run has at least one step")
