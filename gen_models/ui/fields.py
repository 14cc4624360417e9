"""Fields: what a model can be asked, as controls that say type, bounds and default and check every value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gen_models.interface import BadInput, Choices, Option, Range, Text, options
from gen_models.noise import SEEDS
from gen_models.ui.visits import Picked

ANY = "any"  # the label choice that asks for every class in turn
CHANGES = "Changes the picture for the same seed."
WORDS = {  # an option's name -> its label and what to know about it
    "steps": ("Steps", f"More are finer and slower. {CHANGES}"),
    "solver": ("Solver", f"How a step is taken. {CHANGES}"),
    "guidance": ("Guidance", f"1 is none; more keeps closer to the class or the words. {CHANGES}"),
    "prompt": ("Prompt", f"What to draw, in words. {CHANGES}"),
    "negative_prompt": ("Not this", f"What to keep away from; it counts where guidance is above 1. {CHANGES}"),
    "eta": ("Fresh noise (eta)", f"For DDIM: 0 is deterministic, 1 is like DDPM. {CHANGES}"),
    "temperature": ("Temperature", f"Spread of the codes; 1 is what was trained. {CHANGES}"),
    "truncation": ("Truncation", f"Lower is safer, with less variety. {CHANGES}"),
}


SOLVERS = {  # a solver's name as its authors write it
    "euler": "Euler",
    "heun": "Heun",
    "dpm++2m": "DPM-Solver++ 2M",
    "unipc": "UniPC",
    "ddim": "DDIM",
    "ddpm": "DDPM",
}


class Field(NamedTuple):
    """One control of a form: its Option says type, bounds and default, and checks every value that arrives."""

    option: Option
    kind: str  # seed, number, slider, choice, several, check, text or hidden
    label: str
    info: str = ""
    more: bool = False  # folds under "More options"
    shown: tuple[str, ...] = ()  # what a person reads for each choice
    passed: bool = False  # an option of the model's method: part of Ask.options

    def sent(self) -> dict[str, Any]:
        """What the browser needs to draw it."""
        allowed = self.option.allowed
        plain = {"name": self.option.name, "kind": self.kind, "label": self.label, "info": self.info}
        plain |= {"more": self.more, "default": self.option.default}
        if isinstance(allowed, Range):
            step = allowed.step or (1 if self.option.type is int else "any")
            return plain | {"low": allowed.low, "high": allowed.high, "step": step, "log": allowed.log}
        if isinstance(allowed, Text):
            return plain | {"most": allowed.most, "rows": 2 if self.passed else 3}
        return plain | {"choices": list(allowed.values), "shown": list(self.shown or map(str, allowed.values))}


class _Several(Option):
    """Some of the values of `allowed`, each once and in their order; at least one."""

    def check(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value or any(one not in self.allowed.values for one in value):
            known = ", ".join(map(str, self.allowed.values))
            raise BadInput(f"{self.name} is a list of at least one of {known}; got {value!r}.")
        return tuple(one for one in self.allowed.values if one in value)


def number(name: str, label: str, low: float, high: float, value: float, *, step: float | None = None, **more) -> Field:
    """A number box; the type is that of `value`."""
    return Field(Option(name, Range(low, high, step), value, type(value)), "number", label, **more)


def slider(name: str, label: str, low: float, high: float, value: float, *, step: float | None = None, **more) -> Field:
    """A slider with a number box and a reset."""
    return number(name, label, low, high, value, step=step, **more)._replace(kind="slider")


def choice(name: str, label: str, values: Sequence, value: Any = None, **more) -> Field:
    """A drop-down list."""
    value = values[0] if value is None else value
    return Field(Option(name, Choices(tuple(values)), value, type(value)), "choice", label, **more)


def several(name: str, label: str, values: Sequence, chosen: Sequence, **more) -> Field:
    """Chips of which some are on."""
    return Field(_Several(name, Choices(tuple(values)), list(chosen), list), "several", label, **more)


def hidden(name: str, values: Sequence, value: Any) -> Field:
    """A value that no control shows: another part of the page sets it."""
    return choice(name, name, values, value)._replace(kind="hidden")


def check(name: str, label: str, value: bool = False, **more) -> Field:
    return Field(Option(name, Choices((False, True)), value, bool), "check", label, **more)


def text(name: str, label: str, value: str = "", limit: int = 100_000, **more) -> Field:
    return Field(Option(name, Text(limit), value, str), "text", label, **more)


def seed(value: int = 0) -> Field:
    """The seed row: number, Dice, Reuse last. An emptied box draws a seed before the run and shows it."""
    return Field(Option("seed", Range(0, SEEDS - 1), value, int), "seed", "Seed")


def label(picked: Picked, *, any_too: bool = True) -> list[Field]:
    """The class to ask for; nothing where the entry has no classes. `Ask.label` is the index, None for any."""
    if not picked.labels:
        return []
    digits = picked.labels == tuple("0123456789")
    values = ((ANY,) if any_too else ()) + picked.labels
    shown = (f"any ({picked.labels[0]}–{picked.labels[-1]} in turn)" if digits else "any (in turn)",) if any_too else ()
    return [choice("label", "Digit" if digits else "Class", values, shown=shown + picked.labels)]


def words_first(usual: Sequence[Field], offered: Sequence[Field]) -> list[Field]:
    """What the model offers after what is usual; but what is asked for in words stands on top."""
    words = [field for field in offered if field.kind == "text"]
    return [*words, *usual, *(field for field in offered if field not in words)]


def option_fields(method: Callable, limits: Mapping | None = None, first: Sequence[str] = ()) -> list[Field]:
    """Controls for a method's options; all but those of `first` fold under "More options", fixed ones have none."""
    found = []
    for name, option in options(method, limits).items():
        if option.fixed:
            continue
        label, info = WORDS.get(name, (name.replace("_", " ").capitalize(), ""))
        more = name not in first
        if isinstance(option.allowed, Range):
            found.append(Field(option, "slider", label, info, more, passed=True))
        elif isinstance(option.allowed, Text):
            found.append(Field(option, "text", label, info, more, passed=True))
        elif option.type is bool:
            found.append(Field(option, "check", label, info, more, passed=True))
        else:
            shown = tuple(_humanised(value) for value in option.allowed.values)
            found.append(Field(option, "choice", label, info, more, shown, passed=True))
    return sorted(found, key=lambda field: first.index(field.option.name) if field.option.name in first else len(first))


def _humanised(value: Any) -> str:
    return SOLVERS.get(value, str(value))
