"""The opening that a piece goes on from: the first bars of a held-out chorale, or of a MIDI file that was brought."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

from torch import Tensor

from gen_models import data, music, render
from gen_models.interface import BadInput, Option, Range
from gen_models.ui.panels import sources
from gen_models.ui.pieces import Piece
from gen_models.ui.visits import Visit

BARS = Range(1, 8)
LARGEST = 2_000_000  # bytes of a MIDI file
SET = "chorales"
PATIENCE = 0.3  # seconds a live call waits for the chorales; then the page asks again


class Opening(NamedTuple):
    """The bars that are given."""

    grid: Tensor  # (steps, 4)
    words: str


def look(visit: Visit, asked: dict) -> dict[str, Any] | None:
    """For static/opening.js: the opening as a roll, with what there is to say of it; {"waiting"} for the chorales."""
    given = asked.get("given")
    if isinstance(given, Mapping) and given.get("kind") == "chorale":
        wait([reading()], timeout=PATIENCE)
        if not reading().done():
            return {"waiting": True}
    found = read(given)
    if found is None:
        return None
    piece = Piece(found.grid, len(found.grid))
    return piece.sent() | {"words": f"{found.words}, heard in {piece.key}"}


def reading() -> Future:
    """The chorales, being read."""
    return sources.SETS.of(SET, lambda: data.load(SET))


def read(given: Any) -> Opening | None:
    """The opening that was asked for, None for none; BadInput says what to do instead."""
    if given is None or given == "":
        return None
    if not isinstance(given, Mapping) or given.get("kind") not in ("none", "chorale", "file"):
        raise BadInput('The opening is null, or {"kind": "chorale", "piece": 0, "bars": 2}, or of the kind "file".')
    if given["kind"] == "none":
        return None
    bars = Option("The number of bars of the opening", BARS, 2, int).check(given.get("bars", 2))
    grid, name = _chorale(given.get("piece", 0)) if given["kind"] == "chorale" else _file(given)
    grid = grid[: bars * music.BAR]
    if not (grid != music.REST).any():
        raise BadInput(f"The first bars of {name} are silent. Give more bars, or another piece.")
    found = -(-len(grid) // music.BAR)
    return Opening(grid, f"{found} bar{'s' * (found > 1)} of {name}")


def _chorale(number: Any) -> tuple[Tensor, str]:
    tests = reading().result().pieces("test")
    k = Option("The number of the chorale", Range(0, len(tests) - 1), 0, int).check(number)
    return tests[k], f"test chorale {k}"


def _file(given: Mapping[str, Any]) -> tuple[Tensor, str]:
    """The beginning of a MIDI file as a grid, from the bar of its first note on."""
    name = str(given.get("name") or "the MIDI file")[:80]
    notes = render.read_midi(_bytes(given.get("midi"), name))
    first = min(note.start for note in notes) // music.BAR * music.BAR
    end = int(BARS.high) * music.BAR
    early = [note._replace(start=note.start - first) for note in notes if note.start < first + end]
    return music.from_notes([note._replace(length=min(note.length, end - note.start)) for note in early]), name


def _bytes(text: Any, name: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise BadInput("Choose a MIDI file first: a .mid with the notes to begin with.")
    if len(text) * 3 // 4 > LARGEST:
        raise BadInput(f"{name} is larger than {LARGEST // 10**6} MB. Choose a file of a single piece.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(f"{name} did not arrive whole. Send it again.") from None
