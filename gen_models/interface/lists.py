"""Several values of one option, as a person writes them: `1, 2, .., 10`."""

from __future__ import annotations

from typing import Any

from gen_models.interface.options import Option, Range
from gen_models.interface.spaces import BadInput

MOST = 64  # values in one list
DOTS = ("..", "...", "…")


def listed(text: str, option: Option, most: int = MOST) -> list[Any]:
    """The values of a comma list, each checked as the option's: `1, 2, .., 10`, `0.5, 1, 2`, `heun, ddim`.

    Two dots go on in even steps from the two values before them to the one after them, which is hit exactly or not
    passed: `1, 3, .., 8` is 1, 3, 5, 7. With one value before them the step is 1. BadInput says what is wrong: an empty
    list, dots without neighbours, steps that lead away, a value twice or out of bounds, more than `most` values.
    """
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise BadInput(f"Write at least one value for {option.name}, for instance {_example(option)}.")
    found: list[Any] = []
    rest = iter(parts)
    for part in rest:
        if part in DOTS:
            found += _between(found, next(rest, ""), option, most)
        elif part:
            found.append(option.check(part))
        if len(found) > most:
            raise BadInput(f"That is more than {most} values for {option.name}; write fewer.")
    twice = [value for k, value in enumerate(found) if value in found[:k]]
    if twice:
        raise BadInput(f"{option.name} has {twice[0]} twice; write each value once.")
    return found


def _between(before: list[Any], end: str, option: Option, most: int) -> list[Any]:
    """What two dots stand for: all after `before` up to `end`."""
    if not isinstance(option.allowed, Range):
        raise BadInput(f"{option.name} is not a number: write its values one by one.")
    if not before or not end:
        raise BadInput(f"Two dots need a value before and after them, for instance {_example(option)}.")
    last = option.check(end)
    step = before[-1] - before[-2] if len(before) > 1 else (1 if last > before[-1] else -1)
    if step == 0 or (last - before[-1]) / step < 0:
        raise BadInput(f"The steps of {option.name} lead away from {end}; write for instance {_example(option)}.")
    count = int((last - before[-1]) / step + 1e-6)
    if count > most:
        raise BadInput(f"That is more than {most} values for {option.name}; write fewer.")
    first = before[-1]
    return [option.check(round(first + k * step, 10)) for k in range(1, count + 1)]


def _example(option: Option) -> str:
    if isinstance(option.allowed, Range):
        low, high = option.allowed.low, option.allowed.high
        return f"{low:g}, {low + 1:g}, .., {min(high, low + 9):g}"
    return ", ".join(map(str, getattr(option.allowed, "values", ())[:2]))
