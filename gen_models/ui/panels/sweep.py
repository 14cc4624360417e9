"""A sweep: one option along the rows, another along the columns, and a sample in every cell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from gen_models import __version__, render, zoo
from gen_models.interface import BadInput, Samples
from gen_models.ui import cost, film, sweep
from gen_models.ui.fields import Field, choice, label, number, option_fields, seed, text, words_first
from gen_models.ui.live import live
from gen_models.ui.sweep import NOTHING, Axis
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

LIVE = 0.25  # seconds between two updates, at least: the browser takes its time for each
SHARP, SHOWN = 64, 128  # pixels: smaller pictures are enlarged in the file, larger ones are shrunk on the page
USUAL = (("steps", "guidance"), ("truncation", "label"), ("temperature", "label"), ("label", "seed"))
HINT = "Two options against each other. Write 1, 2, .., 10."
EMPTY = "Press Sweep: every cell is a sample with its row's and its column's value."
NOTHING_YET = "Nothing has been swept yet: press Sweep, then save."


@dataclass
class Sweep:
    """A sweep as it is kept: its cells so far."""

    ask: Ask
    rows: Axis
    columns: Axis
    fixed: dict[str, Any]
    n: int
    cells: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(r, c) for r in range(len(self.rows.values)) for c in range(len(self.columns.values))]

    def settings(self, row: int, column: int) -> dict[str, Any]:
        return sweep.settings(self.rows, self.columns, row, column, self.fixed)

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        stopped = {} if len(self.cells) == len(self.places) else {"stopped": len(self.cells)}
        return {"entry": self.ask.picked.name, "panel": "sweep", **self.ask.values, "version": __version__, **stopped}


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "sweep", _fields, run="Sweep", hint=HINT)
            cost.before_the_run(form, lambda ask: _price(ask, tab.device))
        with stage():
            real = film.real_points(tab.first)
            view = live(
                "sweep",
                {},
                tab.visits,
                value=None,
                form=form.id,
                family=tab.family.key,
                suggest=_suggested(tab.first),
                empty=EMPTY,
                real=film.packed(real) if real is not None else None,
                elem_id=f"{form.id}-view",
            )
            downloads(form, kept_files(form.id, NOTHING_YET, _named, {"PNG": _png}))
    tab.on_pick(_picked, [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """A sample for every pair of values of two options. settings: rows, row_values, columns, column_values.

        Values are a list such as "1, 2, .., 10". Further settings: seed, label and the options of the entry's model,
        which hold where no row or column says otherwise; n, the points of a cell. At most 144 cells.
        """
        began, kept = time.monotonic(), _begun(ask)
        yield f"before it starts: {_price(ask, tab.device)}"
        model, told, fresh = ask.picked.model(tab.device), 0.0, []
        yield {view: sent(kept, [])}
        for r, c in kept.places:
            asked = kept.settings(r, c)
            for frame in zoo.sample(model, asked.pop("seed"), kept.n, **asked):
                if ask.stopped:
                    break
                x = frame.x
                if time.monotonic() - told > LIVE:
                    told = time.monotonic()
                    words = {form.message: note(_progress(kept, told - began))}
                    yield words | ({view: sent(kept, fresh)} if fresh else {})
                    fresh = []
            if ask.stopped:
                break
            kept.cells[r, c] = x.detach().float().cpu()
            fresh.append((r, c))
        if kept.cells:
            ask.visit.kept[form.id] = kept
        yield {view: sent(kept, list(kept.cells), over=True), form.message: note(_done(kept, time.monotonic() - began))}

    form.job(work, [view], api_name=f"{tab.family.key}_sweep")


# ---- what is asked --------------------------------------------------------------------------------------------


def _usual(picked: Picked) -> tuple[str, str]:
    """The rows and the columns to begin with."""
    known = sweep.axes(picked)
    for across, down in USUAL:
        if across in known:
            return (down if down in known else "seed"), across
    names = [name for name in known if name != "seed"]
    return ("seed", names[0]) if names else (NOTHING, "seed")


def _fields(picked: Picked) -> list[Field]:
    known, (down, across) = sweep.axes(picked), _usual(picked)
    names = tuple(known)
    two = [
        choice("columns", "Columns", names, across, shown=tuple(map(sweep.titled, names))),
        text("column_values", "Their values", sweep.suggested(known[across]), 400),
        choice("rows", "Rows", (NOTHING, *names), down, shown=tuple(map(sweep.titled, (NOTHING, *names)))),
        text("row_values", "Their values", "" if down == NOTHING else sweep.suggested(known[down]), 400),
    ]
    model = picked.entry.model  # another entry of the tab may not sample: it has no panel then
    offered = option_fields(model.sample, picked.entry.limits()) if issubclass(model, Samples) else []
    offered = [one if one.kind == "text" else one._replace(more=True) for one in offered]
    points = [number("n", "Points of a cell", 50, 500, 200, more=True)] if picked.space.kind == "points" else []
    return words_first([*two, seed(), *label(picked, any_too=False)], [*offered, *points])


def _begun(ask: Ask) -> Sweep:
    rows, across = sweep.grid(ask.picked, ask.values)
    fixed = {"seed": ask.seed, **ask.options}
    if ask.picked.labels:
        fixed["label"] = ask.values["label"]
    n = ask.values.get("n", 1)
    for axis in (rows, across):
        if axis.name == "seed" and max(axis.values) + n > sweep.SEEDS:
            raise BadInput(f"The last seed leaves no room for {n} points: seeds end at {sweep.SEEDS - 1}.")
    return Sweep(ask, rows, across, fixed, n)


def _price(ask: Ask, device: str) -> str:
    """ "5 × 5 cells, 155 network calls: about 3 s"."""
    kept = _begun(ask)
    calls, seconds = sweep.price(ask.picked, device, kept.n, [kept.settings(r, c) for r, c in kept.places])
    count = f"{len(kept.rows.values)} × {len(kept.columns.values)} = {len(kept.places)} cells"
    return count + ("" if calls is None else f", {calls:,} network calls") + sweep.lasting(seconds)


def _suggested(picked: Picked) -> dict[str, str]:
    return {NOTHING: ""} | {name: sweep.suggested(option) for name, option in sweep.axes(picked).items()}


def _picked(picked: Picked) -> gr.HTML:
    real = film.real_points(picked)
    return gr.HTML(value=None, suggest=_suggested(picked), real=film.packed(real) if real is not None else None)


# ---- what is shown --------------------------------------------------------------------------------------------


def sent(kept: Sweep, which: list[tuple[int, int]], over: bool = False) -> dict[str, Any]:
    """The cells `which`, for static/sweep.js to add to those of the same run; all of them when it is over."""
    space = kept.ask.picked.space
    found = []
    for r, c in which:
        x = kept.cells[r, c]
        what = film.packed(x) if space.kind == "points" else render.data_url(_shrunk(render.picture(x[0], space)))
        found.append({"at": [r, c], "x": what, "settings": kept.settings(r, c)})
    return {
        "run": f"{kept.ask.run} {id(kept)}",
        "entry": kept.ask.picked.name,
        "kind": space.kind,
        "size": list(space.shape[:0:-1]) if space.kind == "image" else [1, 1],
        "rows": {"title": "" if kept.rows.name == NOTHING else kept.rows.title, "values": _headings(kept.rows)},
        "columns": {"title": kept.columns.title, "values": _headings(kept.columns)},
        "cells": found,
        "over": over,
    }


def _headings(axis: Axis) -> list[str]:
    return [axis.heading(value) for value in axis.values]


def _shrunk(picture: Image.Image) -> Image.Image:
    return picture.reduce(-(-max(picture.size) // SHOWN)) if max(picture.size) > SHOWN else picture


def _progress(kept: Sweep, seconds: float) -> str:
    done, count = len(kept.cells), len(kept.places)
    left = f", {cost.duration(seconds / done * (count - done))} left" if done else ""
    return f"cell {done + 1} of {count}{left}"


def _done(kept: Sweep, seconds: float) -> str:
    done, count = len(kept.cells), len(kept.places)
    if done < count:
        return f"stopped after {done} of {count} cells" + ("; those are kept" if done else "")
    return f"{count} cells in {seconds:.2g} s"


def _named(kept: Sweep) -> str:
    return f"{kept.ask.picked.name}-"


def _png(kept: Sweep) -> tuple[str, bytes]:
    """All cells under their headings as one PNG with the recipe."""
    space = kept.ask.picked.space
    points, scale = space.kind == "points", max(1, round(SHARP / space.shape[-1]))
    drawn = {
        place: render.points(x, size=140, ground="#ffffff") if points else render.picture(x[0], space, scale=scale)
        for place, x in kept.cells.items()
    }
    corner = kept.columns.title if kept.rows.name == NOTHING else f"{kept.rows.title} \\ {kept.columns.title}"
    picture = sweep.headed(drawn, _headings(kept.rows), _headings(kept.columns), corner)
    return "sweep.png", render.png(picture, kept.recipe())


PANEL = Panel("Sweep", (Samples,), frozenset({"image", "points"}), mount)
