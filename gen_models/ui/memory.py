"""What is in memory: where it computes, the models that are loaded, and Unload; behind the chip in the header."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gen_models import device, zoo
from gen_models.interface import BadInput
from gen_models.ui.visits import Visit, Visits


def serve(visits: Visits, where: str) -> Mapping[str, Callable[[Visit, dict], Any]]:
    """The server functions of the chip: its words, the list behind it, and Unload."""

    def unload(visit: Visit, asked: dict) -> dict[str, Any]:
        """Drops model `name` on `device` from memory; it loads again when it is needed."""
        for one in zoo.loaded():
            shelf = _shelf(one, visit, visits)
            if shelf and _may(shelf, visits) and (one.name, one.device) == (asked.get("name"), asked.get("device")):
                freed = zoo.unload(one.name, shelf, one.device)
                return shown(visit, visits) | {"chip": chip(where), "said": f"{device.amount(freed)} freed"}
        raise BadInput("This model is not in memory any more.")

    return {
        "chip": lambda visit, asked: chip(where),
        "loaded": lambda visit, asked: shown(visit, visits) | {"chip": chip(where), "said": ""},
        "unload": unload,
    }


def chip(where: str) -> str:
    """The chip's words: what it computes on, and the memory in use."""
    return device.describe(where)


def shown(visit: Visit, visits: Visits) -> dict[str, Any]:
    """The models in memory, those of other visits without a name; `may`: this person may unload it."""
    rows, others, bytes_ = [], 0, 0
    for one in zoo.loaded():
        shelf = _shelf(one, visit, visits)
        if shelf is None:
            others, bytes_ = others + 1, bytes_ + one.bytes
            continue
        row = {"name": one.name, "device": one.device, "size": device.amount(one.bytes)}
        rows.append(row | {"may": _may(shelf, visits)})
    return {"models": rows, "others": f"{others} of other visits, {device.amount(bytes_)}" if others else ""}


def _shelf(one: zoo.Loaded, visit: Visit, visits: Visits) -> zoo.Shelf | None:
    """The shelf that it stands on, where it is this visit's or everybody's."""
    shelves = (visit.shelf, visits.bundled)
    return next((shelf for shelf in shelves if one.folder.is_relative_to(shelf.root)), None)


def _may(shelf: zoo.Shelf, visits: Visits) -> bool:
    """What others wait for too is unloaded by this machine's own person only."""
    return visits.may_edit_bundled or shelf is not visits.bundled
