"""What does not fit into memory at once, made in parts that come as one: the batch is halved until it fits.

Sample k depends on its own noise alone, so parts make the same samples as the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gen_models import device
from gen_models.interface import BadInput, Frame, GenerativeModel, State

AT_ONCE = 1 << 20  # numbers of x in a batch on the CPU: a system that runs out of memory there ends the process


class Run(Iterator[Frame]):
    """The frames of a run, and a word on it for the person who waits; whoever makes the frames appends to `told`."""

    def __init__(self, frames: Iterator[Frame], told: list[str]):
        self._frames, self._told = frames, told

    @property
    def said(self) -> str:
        """The word at present; "" as long as there is none."""
        return self._told[-1] if self._told else ""

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Ends the run and frees what it holds."""
        self._frames.close()


def most_at_once(n: int, model: GenerativeModel) -> int:
    """How many of n samples to begin with at once: all of them where a lack of memory can be noticed in time."""
    if model.device.type != "cpu":
        return n
    return min(n, max(1, AT_ONCE // model.space.size))


def in_parts(
    begin: Callable[[slice], Iterator[Frame]], n: int, model: GenerativeModel, told: list[str]
) -> Iterator[Frame]:
    """The frames of n samples, of which `begin(part)` makes those of a part; `told` gets a word when it is halved.

    A run that is begun anew with smaller parts goes on after the frames that it gave before. BadInput where a single
    sample does not fit.
    """
    size, given = most_at_once(n, model), 0
    while True:
        try:
            for k, frame in enumerate(_together(begin, n, size)):
                if k >= given:
                    given = k + 1
                    yield frame
            return
        except (RuntimeError, MemoryError) as error:
            if not device.exhausted(error):
                raise
        size = _halved(size, model)  # outside of the handler: the error holds on to tensors
        told.append(f"{n} do not fit into the memory of {model.device.type} at once: drawn {size} at a time")


def in_turn(make: Callable[[slice], Tensor], n: int, model: GenerativeModel) -> Tensor:
    """make(part) of all n rows, part after part; BadInput where a single one does not fit into memory."""
    size, done, first = most_at_once(n, model), [], 0
    while first < n or not done:
        try:
            done.append(make(slice(first, min(first + size, n))))
            first += size
            continue
        except (RuntimeError, MemoryError) as error:
            if not device.exhausted(error):
                raise
        size = _halved(size, model)
    return done[0] if len(done) == 1 else torch.cat(done)


def _halved(size: int, model: GenerativeModel) -> int:
    device.release(model.device)
    if size <= 1:
        raise BadInput(
            f"There is not enough memory on {model.device.type} for a single one. Unload models that are not needed, "
            "choose a smaller one, or start with --device cpu."
        )
    return size // 2


def _together(begin: Callable[[slice], Iterator[Frame]], n: int, size: int) -> Iterator[Frame]:
    """The parts side by side, step by step: each frame is of all n samples."""
    parts = [begin(slice(first, min(first + size, n))) for first in range(0, max(n, 1), max(size, 1))]
    if len(parts) == 1:
        yield from parts[0]
        return
    held: list[Frame] = [next(part) for part in parts]
    while True:
        if len({frame.x.shape[1:] for frame in held}) == 1:  # texts of which some have ended are not equally long
            yield _joined(held)
        moved = [next(part, None) for part in parts]
        if all(frame is None for frame in moved):
            return
        held = [new or old for new, old in zip(moved, held, strict=True)]


def _joined(frames: Sequence[Frame]) -> Frame:
    """The frame of all samples from the frames of the parts."""
    last = max(frames, key=lambda frame: frame.step)
    guessed = all(frame.x0 is not None for frame in frames)
    show = {name: _rows([frame.show[name] for frame in frames], frames) for name in last.show} if last.show else None
    return last._replace(
        x=torch.cat([frame.x for frame in frames]),
        x0=torch.cat([frame.x0 for frame in frames]) if guessed else None,
        show=show,
        state=_state([frame.state for frame in frames]),
        calls=max(frame.calls for frame in frames),  # for each sample: a figure of the model, not of this machine
    )


def _rows(values: Sequence[Tensor], frames: Sequence[Frame]) -> Tensor:
    """What is shown of each sample in one; what is not of samples is the same in all parts."""
    if all(value.dim() and len(value) == len(frame.x) for value, frame in zip(values, frames, strict=True)):
        return torch.cat(list(values))
    return values[0]


def _state(states: Sequence[State | None]) -> State | None:
    if any(state is None for state in states):
        return None
    first = states[0]
    history = tuple(
        (moment[0][0], torch.cat([x0 for _, x0 in moment]))
        for moment in zip(*(state.history for state in states), strict=True)
    )
    return first._replace(x=torch.cat([state.x for state in states]), history=history)
