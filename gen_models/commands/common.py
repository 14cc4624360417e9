"""What several commands share: the line that shows progress, entries by name, the method's own options."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gen_models import checkpoint, zoo
from gen_models.interface import BadInput, Choices, Option, Text

BAR = 28  # characters
DEVICE = "auto, cpu, cuda or mps"

Command = Callable[[str, Callable[[argparse.Namespace, Sequence[str]], int], str], argparse.ArgumentParser]


def bar(done: float) -> str:
    """A share as [=====     ]."""
    filled = round(BAR * done)
    return f"[{'=' * filled}{' ' * (BAR - filled)}]"


def rewrite(line: str) -> None:
    """Puts the line over the one before, on a terminal."""
    width = shutil.get_terminal_size().columns - 1
    print("\r" + line[:width].ljust(width), end="", flush=True)


def told(line: str, *, last: bool) -> None:
    """One line: rewritten on a terminal, a new one every half minute in a log."""
    if sys.stdout.isatty():
        rewrite(line)
    elif last or time.monotonic() - told.last > 30:
        told.last = time.monotonic()
        print(line, flush=True)


told.last = float("-inf")


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def trained(name: str, shelf: zoo.Shelf) -> zoo.Entry:
    if name in zoo.ZOO and not (shelf.root / name / checkpoint.CARD).exists():
        raise BadInput(f"{name} has no checkpoint yet: run `python -m gen_models train {name}` first.")
    return shelf.entry(name)


def chosen(words: Sequence[str], known: Mapping[str, Option]) -> dict[str, Any]:
    """`--name value` and `--name=value` pairs; BadInput for anything else, with what there is."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for name in known:
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, default=argparse.SUPPRESS)
    try:
        values, rest = parser.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        raise BadInput(f"{error}.") from None
    if rest:
        there = "; ".join(f"--{name} {allowed(option)}" for name, option in known.items()) or "none"
        raise BadInput(f"{rest[0]} is no option of this entry. Its options: {there}.")
    return {name: known[name].check(value) for name, value in vars(values).items()}


def allowed(option: Option) -> str:
    """What the option may be, briefly."""
    if isinstance(option.allowed, Choices):
        return "|".join(map(str, option.allowed.values))
    if isinstance(option.allowed, Text):
        return "TEXT"
    return f"{option.allowed.low:g}..{option.allowed.high:g}"
