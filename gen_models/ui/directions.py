"""The names that people give to the directions of a latent space: in the entry's card, or with the visit."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Any

from gen_models import checkpoint
from gen_models.interface import BadInput, Option, Range
from gen_models.ui.visits import Picked, Visit, Visits

MOST = 8  # directions that can have a name
LONGEST = 24  # characters of a name
KEY = "directions"  # in the card, where it holds {"names": [...]}, and in what a visit keeps
KEPT = "Kept for this visit: {why}"
NOT_YOURS = "the card of a shipped entry is written only where the page runs on your own machine."

_writing = threading.Lock()


def names(picked: Picked, visit: Visit) -> list[str]:
    """The first directions' names, "" where one has none; at most MOST, and whatever a card holds, never an error."""
    kept = visit.kept.get(KEY, {}).get(_place(picked))
    return list(kept) if kept is not None else _of(picked.shelf.card(picked.name))


def rename(visits: Visits, picked: Picked, visit: Visit, index: Any, name: Any, count: int) -> tuple[list[str], str]:
    """Gives direction `index` of `count` a name ("" takes it away): all names, and in words where they are kept.

    They go into the card where this person may write it, else they stay with the visit. BadInput for a name that is
    none.
    """
    at = Option("index", Range(0, min(count, MOST) - 1), 0, int).check(index)
    name = checked_name(name)
    why = NOT_YOURS
    if visits.may_edit(picked):
        try:
            found = _write(picked, at, name, visit.kept.get(KEY, {}).get(_place(picked)))
            visit.kept.get(KEY, {}).pop(_place(picked), None)
            return found, f"Saved in the card of {picked.name}."
        except BadInput as error:  # a folder without permission to write, or a full disk
            why = str(error)
    found = _named(names(picked, visit), at, name)
    visit.kept.setdefault(KEY, {})[_place(picked)] = found
    return found, KEPT.format(why=why)


def checked_name(name: Any) -> str:
    """The name without needless blanks; BadInput unless it is one line of at most LONGEST characters."""
    if isinstance(name, str) and len(name) <= 10 * LONGEST:
        plain = " ".join(name.split())
        if len(plain) <= LONGEST and plain.isprintable():
            return plain
    raise BadInput(f"A direction's name is one line of at most {LONGEST} characters, such as slant.")


def _write(picked: Picked, at: int, name: str, kept: list[str] | None) -> list[str]:
    """Changes the names in the card and nothing else; the weights, and the time of their training, stay.

    kept: the names that stayed with the visit when the card could not be written.
    """
    folder = picked.shelf.folder(picked.name)
    path = folder / checkpoint.CARD
    with _writing:
        times = path.stat()
        card = checkpoint.read_card(folder)
        found = _named(_of(card) if kept is None else kept, at, name)
        card.pop(KEY, None)
        checkpoint.write_json(path, card | ({KEY: {"names": found}} if any(found) else {}))
        with contextlib.suppress(OSError):  # somebody else's file: its time tells only when an entry was trained
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return found


def _of(card: Mapping[str, Any]) -> list[str]:
    said = card.get(KEY)
    listed = said.get("names") if isinstance(said, Mapping) else None
    return [_or_none(name) for name in listed[:MOST]] if isinstance(listed, list) else []


def _or_none(name: Any) -> str:
    try:
        return checked_name(name)
    except BadInput:  # a card may come from anywhere
        return ""


def _named(found: list[str], at: int, name: str) -> list[str]:
    """The list with one name changed, as long as its last name."""
    found = [*found, *[""] * (at + 1 - len(found))]
    found[at] = name
    return found[: max((k + 1 for k, one in enumerate(found) if one), default=0)]


def _place(picked: Picked) -> str:
    return str(picked.shelf.root / picked.name)
