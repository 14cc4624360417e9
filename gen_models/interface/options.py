"""Options: read from a signature, shown as controls, checked in one place."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gen_models.interface.spaces import BadInput


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False  # a slider for it is logarithmic


@dataclass(frozen=True)
class Choices:
    """The values an option may take."""

    values: tuple


@dataclass(frozen=True)
class Text:
    """Free text of at most so many characters."""

    most: int


Allowed = Range | Choices | Text


@dataclass(frozen=True)
class Option:
    """One keyword that a person may set: its bounds or choices, its default and its type."""

    name: str
    allowed: Allowed
    default: Any
    type: type

    @property
    def fixed(self) -> bool:
        """Nothing to choose: the page shows no control for it."""
        if isinstance(self.allowed, Range):
            return self.allowed.low >= self.allowed.high
        if isinstance(self.allowed, Text):
            return self.allowed.most < 1
        return len(self.allowed.values) < 2

    def check(self, value: Any) -> Any:
        """The value in the option's type; BadInput that names the bounds otherwise."""
        if isinstance(self.allowed, Choices):
            if self.type is bool and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
                value = value.lower() in ("true", "yes")
            for allowed in self.allowed.values:
                if value == allowed or (self.type is not bool and str(value) == str(allowed)):
                    return allowed
            raise BadInput(f"{self.name} is one of {', '.join(map(str, self.allowed.values))}; got {value!r}.")
        if isinstance(self.allowed, Text):
            if not isinstance(value, str) or len(value) > self.allowed.most:
                raise BadInput(f"{self.name} is a text of at most {self.allowed.most} characters.")
            return value
        low, high = self.allowed.low, self.allowed.high
        kind = "whole number" if self.type is int else "number"
        what = f"{self.name} is a {kind} from {low:.10g} to {high:.10g}; got {value!r}."
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise BadInput(what) from None
        if not low <= number <= high or (self.type is int and number != int(number)):  # NaN fails the comparison
            raise BadInput(what)
        return self.type(number)


def options(method: Callable, limits: Mapping[str, Allowed] | None = None) -> dict[str, Option]:
    """The options of a method: its keyword-only parameters annotated Range, Choices, Text, Literal or bool.

    `start` and `label` never are. `limits` narrows an option to what an instance allows; its default follows.
    """
    hints = typing.get_type_hints(method, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in ("start", "label"):
            continue
        hint, default = hints.get(name), parameter.default
        kind, allowed = hint, None
        if typing.get_origin(hint) is Annotated:
            kind = typing.get_args(hint)[0]
            allowed = next((a for a in hint.__metadata__ if isinstance(a, Allowed)), None)
        elif typing.get_origin(hint) is Literal:
            kind, allowed = type(typing.get_args(hint)[0]), Choices(typing.get_args(hint))
        elif hint is bool:
            allowed = Choices((False, True))
        if allowed is None:
            continue
        if limits and name in limits:
            allowed = limits[name]
            if isinstance(allowed, Range):
                default = kind(min(max(default, allowed.low), allowed.high))
            elif isinstance(allowed, Text):
                default = default[: allowed.most]
            elif default not in allowed.values:
                default = allowed.values[0]
        found[name] = Option(name, allowed, default, kind)
    return found


def checked(method: Callable, values: Mapping[str, Any], limits: Mapping[str, Allowed] | None = None) -> dict:
    """Every option of the method with its checked value, defaults filled in; BadInput for unknown or out of bounds."""
    known = options(method, limits)
    unknown = [name for name in values if name not in known]
    if unknown:
        raise BadInput(f"Unknown option {', '.join(unknown)}; this model has {', '.join(known) or 'no options'}.")
    return {name: option.check(values.get(name, option.default)) for name, option in known.items()}


def checked_seed(seed: Any, count: int = 1) -> int:
    """A seed such that seed .. seed + count - 1 all lie in 0 .. 2^32 - 1; BadInput otherwise."""
    return Option("seed", Range(0, 2**32 - max(count, 1)), 0, int).check(seed)
