"""What a person may change at a step of a walk before it goes on from there: its grid of times, its noise, its pixels.

SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations (Meng et al., 2022), arXiv 2108.01073,
for going back up in t after an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from torch import Tensor

from gen_models.editing import levels, raised, times
from gen_models.interface import BadInput, Denoises, Frame, State
from gen_models.noise import Noise

Begin = Callable[[State, int | None], Iterator[Frame]]  # (start, a single sample or None for all) -> its frames


class Painting(NamedTuple):
    """What was painted on one sample, over x_t itself or over the clean guess x0."""

    sample: int
    onto: Literal["x_t", "x0"]
    colour: Tensor  # (C, H, W) in [-1, 1]
    cover: Tensor  # (1, H, W) in 0 .. 1: how much of it replaces what was there

    def over(self, x: Tensor) -> Tensor:
        """x (C, H, W) under the paint."""
        cover = self.cover.to(x)
        return x + cover * (self.colour.to(x) - x)


def steps_left(steps: int, t: float) -> int:
    """How many of the times 1, 1 - 1/steps, .., 0 lie before t."""
    return len(times(steps, t)) - 1


def steps_for(left: int, t: float, most: int) -> int:
    """The number of steps of a whole walk of which `left` lie before t, as evenly as can be; BadInput beyond `most`.

    One more step in the whole walk puts one or no time more before t, so that every number can be had.
    """
    if t <= 0:
        raise BadInput("At t = 0 nothing is left to denoise: add noise back first.")
    fitting = [steps for steps in range(1, most + 1) if steps_left(steps, t) == left]
    if not fitting:
        raise BadInput(f"From t = {t:.3g} this model takes 1 to {steps_left(most, t)} steps; choose as many.")
    return min(fitting, key=lambda steps: abs(steps - left / t))


def renoised(model: Denoises, state: State, t: float, noise: Noise) -> State:
    """The state noised further to the later time t, a draw of q(x_t | x_now), which counts as a step of its own.

    The noise is that of its number in a stream of its own, which no step of a walk draws from: the same seed at the
    same step gives the same. The history is emptied: it belongs to the way that is left. BadInput where t is not
    later.
    """
    if not state.t < t <= 1:
        raise BadInput(f"Noise is added back to a later time than t = {state.t:.3g}, and to 1 at most; got {t:.3g}.")
    eps = noise.at(state.step).normal(*state.x.shape[1:]).to(state.x)
    return State(t, raised(levels(model), state.x, state.t, t, eps), state.step + 1)


def movable(model: Denoises, t: float) -> float:
    """alpha at t, by which paint on x0 moves x_t; BadInput where it is 0."""
    alpha, _ = levels(model)(t)
    if alpha == 0:
        raise BadInput(f"At t = {t:.3g} alpha is 0: paint on the guess moves nothing there. Go to a later step.")
    return alpha


def painted(model: Denoises, state: State, painting: Painting, guess: Tensor | None = None) -> State:
    """The state with one sample painted on; the others are as they were, and so is the history, which is theirs.

    Painted on x0 the difference to `guess` (C, H, W), that sample's clean guess, moves x_t by alpha_t times itself.
    BadInput where alpha is 0, since nothing would move, for a sample that is not there, and for an empty painting.
    """
    if not 0 <= painting.sample < len(state.x):
        raise BadInput(f"There are {len(state.x)} samples; sample {painting.sample + 1} cannot be painted on.")
    if not bool((painting.cover > 0).any()):
        raise BadInput("Nothing is painted: draw on the picture first, or choose to paint on nothing.")
    row = state.x[painting.sample]
    if painting.onto == "x_t":
        row = painting.over(row)
    else:
        row = row + movable(model, state.t) * (painting.over(guess) - guess)
    x = state.x.clone()
    x[painting.sample] = row
    return state._replace(x=x)


def alone(state: State, sample: int) -> State:
    """The state of one sample whose history is empty."""
    return State(state.t, state.x[sample : sample + 1], state.step)


def walked(begin: Begin, start: State, changed: int | None = None) -> Iterator[Frame]:
    """The frames from `start`; a sample that was `changed` there is walked beside the others, without their history.

    So the others are, bit for bit, what they would have been. Where there is no history one walk does it all.
    """
    whole = begin(start, None)
    if changed is None or not start.history:
        yield from whole
        return
    single = begin(alone(start, changed), changed)
    try:
        for frame, own in zip(whole, single, strict=True):
            yield _with(frame, changed, own)
    finally:
        whole.close()
        single.close()


def _with(frame: Frame, sample: int, own: Frame) -> Frame:
    """The frame with one sample's row from a frame of that sample alone; its calls come on top."""
    pairs = min(len(frame.state.history), len(own.state.history))
    kept = zip(frame.state.history[-pairs:] if pairs else (), own.state.history[-pairs:] if pairs else (), strict=True)
    history = tuple((t, _row(x0, sample, mine)) for (t, x0), (_, mine) in kept)
    state = frame.state._replace(x=_row(frame.state.x, sample, own.state.x), history=history)
    show = {name: _row(value, sample, own.show[name]) for name, value in frame.show.items()} if frame.show else None
    x0 = None if frame.x0 is None else _row(frame.x0, sample, own.x0)
    calls = frame.calls + own.calls
    return frame._replace(x=_row(frame.x, sample, own.x), x0=x0, show=show, state=state, calls=calls)


def _row(x: Tensor, sample: int, own: Tensor) -> Tensor:
    x = x.clone()
    x[sample] = own[0]
    return x
