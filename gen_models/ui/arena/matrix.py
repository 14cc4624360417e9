"""What can this model do? Families by abilities: where each is shown, or why a family cannot."""

from __future__ import annotations

from typing import Any, NamedTuple

from gen_models import zoo
from gen_models.interface import (
    Decodes,
    Encodes,
    GenerativeModel,
    Reconstructs,
    Samples,
    Scores,
    Transforms,
    Translates,
)
from gen_models.ui.panels import PANELS
from gen_models.ui.visits import Visits


class Ability(NamedTuple):
    """A column: what a model must inherit, the panels that show it, and why a family may lack it."""

    key: str
    title: str
    needs: tuple[type, ...]
    panels: tuple[str, ...]
    why: str
    exact: bool | None = None  # of a likelihood


ABILITIES = (
    Ability("sample", "Sample", (Samples,), ("sample", "write", "listen"), "It does not draw samples of its own."),
    Ability(
        "exact", "Exact likelihood", (Scores,), ("density", "likelihood"),
        "It gives no exact likelihood: at best a bound, or samples alone.", True,
    ),
    Ability(
        "encode", "Encode", (Encodes,), ("reconstruct", "layers"),
        "It has no way from a picture back to a code: nothing in training asks for one.",
    ),
    Ability(
        "invert", "Invert exactly", (Transforms,), ("layers",),
        "Going to a code and back does not return the very same point.",
    ),
    Ability("reconstruct", "Reconstruct", (Reconstructs,), ("reconstruct",), "It does not rebuild a given picture."),
    Ability("interpolate", "Interpolate", (Decodes,), ("interpolate",), "It has no space of codes to walk through."),
    Ability(
        "complete", "Complete", (), ("complete", "write", "listen", "codes"),
        "It draws a whole: it was not made to go on from a given part.",
    ),
    Ability(
        "steps", "Step by step", (), ("steps", "layers", "rounds", "predict", "write", "codes"),
        "It draws in one go: there is no walk.",
    ),
    Ability("translate", "Translate", (Translates,), ("translate",), "It knows one domain of pictures."),
    Ability("train", "Train live", (GenerativeModel,), ("train",), ""),
)  # fmt: skip


def table(visits: Visits) -> dict[str, Any]:
    """What static/arena_matrix.js draws."""
    columns = [{"key": ability.key, "title": ability.title} for ability in ABILITIES]
    rows = [
        {
            "key": family.key,
            "title": family.title,
            "family": family.key,
            "cells": {ability.key: _cell(family, ability, visits) for ability in ABILITIES},
        }
        for family in zoo.FAMILIES.values()
    ]
    return {"columns": columns, "rows": rows}


def _able(model: type, ability: Ability) -> bool:
    exact = ability.exact is None or getattr(model, "exact", False) is ability.exact
    return exact and all(issubclass(model, need) for need in ability.needs)


def _cell(family: zoo.Family, ability: Ability, visits: Visits) -> dict[str, Any]:
    """The first shipped entry and panel that show it, in the order of the ability's panels."""
    names = [name for name in visits.bundled.names() if name in zoo.ZOO and zoo.ZOO[name].family == family.key]
    names = sorted(names, key=list(zoo.ZOO).index) or [n for n, e in zoo.ZOO.items() if e.family == family.key]
    able = [name for name in names if _able(zoo.ZOO[name].model, ability)]
    for key in ability.panels:
        for name in able:
            entry = zoo.ZOO[name]
            if any(panel.key == key and panel.suits(entry.model, entry.where.kind) for panel in PANELS):
                return {"can": True, "family": family.key, "entry": name, "panel": key}
    return {"can": False, "why": f"{family.title}: {ability.why}"}
