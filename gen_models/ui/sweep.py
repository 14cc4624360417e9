"""Sweeps: the values of two options, what all their cells cost, and the cells as one picture with its headings."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from gen_models.interface import BadInput, Choices, Denoises, Opens, Option, Range, Text, options
from gen_models.interface.lists import listed
from gen_models.noise import SEEDS
from gen_models.solvers import calls_of
from gen_models.ui import cost
from gen_models.ui.fields import SOLVERS, WORDS
from gen_models.ui.visits import Picked, card_time
from gen_models.zoo.comparing import timed

MOST = 144  # cells in one sweep
NOTHING = "nothing"  # the axis that has one row
_PACES: dict[tuple, tuple[float, int]] = {}
_LOCK = threading.Lock()


class Axis(NamedTuple):
    """An option and the values it takes along the rows or the columns."""

    name: str
    values: tuple[Any, ...]

    @property
    def title(self) -> str:
        return titled(self.name)

    def heading(self, value: Any) -> str:
        """A value as it stands at its row or column."""
        return f"{value:.4g}" if isinstance(value, float) else SOLVERS.get(value, str(value))


def titled(name: str) -> str:
    """An option's name as a person reads it."""
    usual = {"seed": "Seed", "label": "Class", NOTHING: "Nothing: one row"}
    return usual.get(name) or WORDS.get(name, (name.replace("_", " ").capitalize(),))[0]


def axes(picked: Picked) -> dict[str, Option]:
    """What can be swept: the options of the entry's `sample` but words, its classes, and the seed."""
    found = {}
    if hasattr(picked.entry.model, "sample"):
        offered = options(picked.entry.model.sample, picked.entry.limits())
        found = {name: o for name, o in offered.items() if not o.fixed and not isinstance(o.allowed, Text)}
    if picked.labels:
        found["label"] = _classes(picked.labels)
    return found | {"seed": Option("seed", Range(0, SEEDS - 1), 0, int)}


def _classes(labels: Sequence[str]) -> Option:
    """The classes by name; by number where the names are the numbers, so that two dots count them."""
    if tuple(labels) == tuple(map(str, range(len(labels)))):
        return Option("label", Range(0, len(labels) - 1), 0, int)
    return Option("label", Choices(tuple(labels)), labels[0], str)


def suggested(option: Option) -> str:
    """Values to begin with, as a person would write them."""
    if isinstance(option.allowed, Choices):
        return ", ".join(map(str, option.allowed.values[:8]))
    low, high = option.allowed.low, option.allowed.high
    if option.name == "guidance":
        return ", ".join(f"{v:g}" for v in (1, 1.5, 2, 4, 8) if low <= v <= high)
    if option.name == "seed":
        return "0, 1, .., 5"
    if option.type is int:
        if high - low < 12:
            few = range(int(low), int(high) + 1)
            return f"{low:g}, {low + 1:g}, .., {high:g}" if len(few) > 3 else ", ".join(map(str, few))
        return ", ".join(f"{v:g}" for v in (1, 2, 4, 8, 16, 32) if low <= v <= high)
    return ", ".join(f"{low + k * (high - low) / 4:.3g}" for k in range(5))


def axis(picked: Picked, name: str, text: str) -> Axis:
    """The values written for an option; BadInput says what is wrong with them."""
    if name == NOTHING:
        return Axis(name, ("",))
    return Axis(name, tuple(listed(text, axes(picked)[name])))


def grid(picked: Picked, values: Mapping[str, Any]) -> tuple[Axis, Axis]:
    """Rows and columns of a checked form; BadInput for one option twice or too many cells."""
    if values["rows"] == values["columns"]:
        raise BadInput(f"Rows and columns are both {titled(values['rows'])}: choose two different options.")
    rows = axis(picked, values["rows"], values["row_values"])
    columns = axis(picked, values["columns"], values["column_values"])
    count = len(rows.values) * len(columns.values)
    if count > MOST:
        raise BadInput(f"{len(rows.values)} × {len(columns.values)} is {count} cells; at most {MOST} fit. Write fewer.")
    return rows, columns


def settings(rows: Axis, columns: Axis, row: int, column: int, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell is drawn with: seed, label as text, and options."""
    asked = dict(fixed) | {columns.name: columns.values[column], rows.name: rows.values[row]}
    asked.pop(NOTHING, None)
    return asked | ({"label": str(asked["label"])} if asked.get("label") is not None else {})


# ---- what it costs --------------------------------------------------------------------------------------------


def pace(picked: Picked, device: str, n: int, asked: Mapping[str, Any]) -> tuple[float, int] | None:
    """Seconds of a step with n samples, timed once per checkpoint, and the steps of a run; None for models of the Hub.

    Guidance other than 1 is another pace: such a call is one of twice the samples.
    """
    if issubclass(picked.entry.model, Opens):
        return None
    walks = issubclass(picked.entry.model, Denoises)
    kind = asked.get("guidance", 1.0) != 1.0 if walks else tuple(sorted(asked.items(), key=str))
    key = (str(picked.shelf.root), picked.name, card_time(picked.shelf, picked.name), device, n, kind)
    with _LOCK:
        if key not in _PACES:
            usual = {"solver": "euler", "steps": 8} if walks else {}
            drawn = {name: value for name, value in asked.items() if name != "seed"}
            _PACES[key] = timed(picked.model(device), n, time.perf_counter, **drawn | usual)
    return _PACES[key]


def price(picked: Picked, device: str, n: int, runs: Sequence[Mapping[str, Any]]) -> tuple[int | None, float | None]:
    """Network calls of all runs, None for models that do not walk; and seconds, None where they are not known."""
    calls, seconds, walks = 0, 0.0, issubclass(picked.entry.model, Denoises)
    like = {name: value for name, value in runs[0].items() if name not in ("seed", "label")}
    for run in runs:
        found = pace(picked, device, n, run if walks else like)
        steps = calls_of(run["solver"], run["steps"]) if walks else run.get("steps")
        calls += steps or 0
        seconds = None if found is None or seconds is None else seconds + found[0] * int(steps or found[1])
    return calls if walks else None, seconds


def lasting(seconds: float | None) -> str:
    """ ": about 40 s"; nothing where it is not known."""
    return "" if seconds is None else f": {cost.duration(seconds)}"


# ---- one picture ----------------------------------------------------------------------------------------------


def headed(
    cells: Mapping[tuple[int, int], Image.Image], rows: Sequence[str], columns: Sequence[str], corner: str, gap: int = 4
) -> Image.Image:
    """Pictures of one size by (row, column) under their headings, on white; cells that are missing stay grey."""
    side = next(iter(cells.values())).size
    font = ImageFont.load_default(14)
    left = int(max(font.getlength(text) for text in (corner, *rows))) + 16
    wide = max(side[0], int(max(font.getlength(text) for text in columns)) + 8)
    picture = Image.new("RGB", (left + len(columns) * (wide + gap), 28 + len(rows) * (side[1] + gap)), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((8, 14), corner, "#666c78", font, anchor="lm")
    for c, text in enumerate(columns):
        pen.text((left + c * (wide + gap) + wide // 2, 14), text, "#1b1d22", font, anchor="mm")
    for r, text in enumerate(rows):
        y = 28 + r * (side[1] + gap)
        pen.text((8, y + side[1] // 2), text, "#1b1d22", font, anchor="lm")
        for c in range(len(columns)):
            x = left + c * (wide + gap) + (wide - side[0]) // 2
            if (r, c) in cells:
                picture.paste(cells[r, c].convert("RGB"), (x, y))
            else:
                pen.rectangle((x, y, x + side[0] - 1, y + side[1] - 1), fill="#f3f3f1")
    return picture
