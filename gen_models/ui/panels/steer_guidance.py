"""A sweep over guidance: the same noise at every value, how many samples are right, and how much they leave out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import __version__, render, zoo
from gen_models.interface import BadInput, Option, Refines, options
from gen_models.interface.lists import listed
from gen_models.ui import cost
from gen_models.ui.fields import Field, label, option_fields, seed, slider, text, words_first
from gen_models.ui.live import live
from gen_models.ui.panels.judging import Bench, written
from gen_models.ui.tabs import Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

VALUES = 16  # of guidance in one sweep, at most
SHOWN = 10  # samples of each value on the page
AT_ONCE = 64  # samples of one batch: Stop waits for one of its calls at most
LARGE = 2**20  # numbers in such a batch, at most
MEASURES = ("accuracy", "coverage", "density")
LIVE = 0.1  # seconds between two words, at least
HINT = "One row for each value, one column for each seed. More guidance makes each sample surer, and all more alike."
INFO = "1 is none. A list, or 1, 1.5, .., 4."
NOTHING = "Nothing has been swept yet: press Sweep, then save."
WITHOUT = "{0} has no guidance: it leads away from what a model draws without its class or words. Choose another entry."


@dataclass
class Row:
    """What was drawn at one value of guidance."""

    guidance: float
    x: list[Tensor] = field(default_factory=list)  # chunks (m, *shape) of the samples that are shown
    seen: list[Any] = field(default_factory=list)  # what the judges say of every chunk
    done: int = 0
    seconds: float = 0.0
    cells: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sweep:
    """A sweep as it is kept: its rows so far, and what they are held against."""

    ask: Ask
    values: list[float]
    bench: Bench
    rows: list[Row] = field(default_factory=list)

    @property
    def n(self) -> int:
        return self.ask.values["n"]

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        place = {"entry": self.ask.picked.name, "panel": "steer", "form": "steer-guidance"}
        return place | {**self.ask.values, "guidance": self.values, "version": __version__}


def mount(tab: Tab) -> None:
    """Builds this way of steering into the panel."""
    with columns():
        with side():
            form = Form(tab, "steer-guidance", _fields, run="Sweep", hint=HINT)
            cost.before_the_run(form, lambda ask: _price(ask, tab.device))
        with stage():
            view = live("guidance", {}, tab.visits, form=form.id, elem_id=f"{form.id}-view", **_facts(tab.first))
            downloads(form, kept_files(form.id, NOTHING, _named, {"PNG": _png, "ZIP": _zip}))
    tab.on_pick(lambda picked: gr.HTML(**_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """A sweep over guidance from the same noise. settings: values (a list such as "1, 1.5, .., 4"), n, seed, label.

        Further settings are the other options of the entry's model. Each row has the accuracy by the data's second
        judge, with its 95 % interval, and coverage and density among held-out pictures in features of the first.
        """
        values, began = _values(ask), time.monotonic()
        sweep = Sweep(ask, values, Bench(ask.picked, ask.values["n"], ask.label))
        model = ask.picked.model(tab.device)
        yield from sweep.bench.read()
        ask.visit.kept[form.id] = sweep
        yield {view: sent(sweep)}
        for row in _drawn(sweep, model):
            left = _left(sweep, time.monotonic() - began)
            if row is not None:
                yield {view: sent(sweep), form.message: note(f"guidance {row.guidance:g}: {_count(row, sweep)}{left}")}
            else:
                yield f"guidance {sweep.rows[-1].guidance:g}: {_count(sweep.rows[-1], sweep)}{left}"
        yield {view: sent(sweep, over=True), form.message: note(_done(sweep, time.monotonic() - began))}

    form.job(work, [view], api_name=f"{tab.family.key}_steer_guidance")


# ---- what is asked --------------------------------------------------------------------------------------------


def guided(picked: Picked) -> Option | None:
    """The entry's option of guidance; None where it has none to choose."""
    if not issubclass(picked.entry.model, Refines):
        return None
    option = options(picked.entry.model.sample, picked.entry.limits()).get("guidance")
    return None if option is None or option.fixed else option


def _fields(picked: Picked) -> list[Field]:
    option = guided(picked)
    usual = "1, 3, 5, 7.5, 10" if option and option.default > 3 else "1, 1.5, 2, 3, 5"
    offered = []
    if option is not None:
        offered = option_fields(picked.entry.model.sample, picked.entry.limits(), ("prompt", "negative_prompt"))
        offered = [field for field in offered if field.option.name != "guidance"]
    judged = bool(picked.labels)
    most, few = (1000, 200) if judged else (16, 4)
    info = "The interval of a share is about 1 / √n wide." if judged else "The same noise at every value."
    count = slider("n", "Samples of each value", 4, most, few, step=1, info=info)
    return words_first([text("values", "Guidance", usual, 200, info=INFO), count, seed(), *label(picked)], offered)


def _values(ask: Ask) -> list[float]:
    option = guided(ask.picked)
    if option is None:
        raise BadInput(WITHOUT.format(ask.picked.name))
    return listed(ask.values["values"], option, VALUES)


def _price(ask: Ask, device: str) -> str:
    """ "5 values × 200 samples × 15 calls: about 30 s": guidance other than 1 doubles the work of a call."""
    values, n, each = _values(ask), ask.values["n"], cost.calls(ask.options)
    pace = cost.pace(ask.picked, device)
    said = f"{len(values)} value{'s' * (len(values) > 1)} × {n} samples × {each} network calls"
    if pace is None:
        return f"Will draw {len(values) * n:,} samples: {said}."
    passes = sum(1 if value == 1 else 2 for value in values)
    return f"Will take {cost.duration(pace * passes * n * each)}: {said}."


# ---- the sweep ------------------------------------------------------------------------------------------------


def _drawn(sweep: Sweep, model: Any) -> Iterator[Row | None]:
    """Draws and judges row by row: the row whenever it has news, None now and then between; ends where Stop asks."""
    ask, bench = sweep.ask, sweep.bench
    size = max(1, min(AT_ONCE, LARGE // ask.picked.space.size))
    for value in sweep.values:
        row = Row(value)
        sweep.rows.append(row)
        while row.done < sweep.n and not ask.stopped:
            some, begun = min(size, sweep.n - row.done), time.monotonic()
            run = zoo.sample(
                model, ask.seed + row.done, some, label=ask.label, first=row.done, **ask.options, guidance=value
            )
            x, told = None, begun
            for frame in run:
                if ask.stopped and frame.step < frame.total:
                    break
                x = frame.x if frame.step == frame.total else None
                if time.monotonic() - told > LIVE:
                    told = time.monotonic()
                    yield None
            run.close()
            row.seconds += time.monotonic() - begun
            if x is None:
                break
            _taken(row, x.detach().cpu(), bench)
            if row.done == some:
                yield row
        if not row.done:
            sweep.rows.pop()
        else:
            _measured(sweep, row)
            yield row
        if ask.stopped:
            return


def _taken(row: Row, x: Tensor, bench: Bench) -> None:
    """Keeps what is shown of a chunk, and what the judges say of all of it."""
    if row.done < SHOWN:
        row.x.append(x[: SHOWN - row.done].clone())
    if bench.judges is not None:
        row.seen.append(bench.seen(x))
    row.done += len(x)


def _measured(sweep: Sweep, row: Row) -> None:
    if not row.seen:
        return
    seen = type(row.seen[0])(*(torch.cat(part) for part in zip(*row.seen, strict=True)))
    asked = torch.tensor(sweep.ask.labels(row.done))
    row.cells = sweep.bench.marks(seen, asked, whole=row.done == sweep.n)


def _count(row: Row, sweep: Sweep) -> str:
    return f"{row.done} of {sweep.n} samples"


def _left(sweep: Sweep, seconds: float) -> str:
    """What is left at the pace so far, by passes of the network: guidance other than 1 takes two."""
    weigh = lambda value: 1 if value == 1 else 2  # noqa: E731
    done = sum(weigh(row.guidance) * row.done for row in sweep.rows)
    total = sum(weigh(value) * sweep.n for value in sweep.values)
    return f", {cost.duration(seconds / done * (total - done))} left" if 0 < done < total else ""


def _done(sweep: Sweep, seconds: float) -> str:
    whole = [row for row in sweep.rows if row.done == sweep.n]
    if len(whole) == len(sweep.values):
        return f"{len(whole)} values × {sweep.n} samples in {seconds:.2g} s"
    return f"stopped after {len(whole)} of {len(sweep.values)} values; they are kept, and what was drawn of the next"


# ---- what the browser draws -------------------------------------------------------------------------------------


def _facts(picked: Picked) -> dict[str, Any]:
    """The view before a run; `why` where the entry has no guidance."""
    why = "" if guided(picked) or not issubclass(picked.entry.model, Refines) else WITHOUT.format(picked.name)
    empty = "Press Sweep: a row for each value, and what it gains and loses."
    if not card_time(picked.shelf, picked.name):
        empty = "This entry has no checkpoint yet. Choose another one, or train it."
    return {"value": None, "why": why, "entry": picked.name, "empty": empty}


def sent(sweep: Sweep, over: bool = False) -> dict[str, Any]:
    """The rows, drawn or still to come, and the row of real pictures."""
    picked, bench = sweep.ask.picked, sweep.bench
    shown = min(SHOWN, sweep.n)
    there = {row.guidance: row for row in sweep.rows}
    rows = []
    for value in sweep.values:
        row = there.get(value)
        rows.append({"guidance": value, "done": row.done if row else 0} | (_row(row, picked, shown) if row else {}))
    height, width = picked.space.shape[1:]
    return {
        "entry": picked.name,
        "seed": sweep.ask.seed,
        "n": sweep.n,
        "shown": shown,
        "aspect": shown * width / height,
        "rows": rows,
        "measures": [name for name in MEASURES if any(name in row.cells for row in sweep.rows)],
        "judged": bench.judges is not None,
        "held": 0 if bench.reference is None else len(bench.reference),
        "real": _cells(bench.real) if bench.real else None,
        "why": bench.why,
        "over": over,
    }


def _row(row: Row, picked: Picked, shown: int) -> dict[str, Any]:
    strip = render.grid(_first(row, shown), picked.space, columns=shown, gap=0)
    return {"picture": render.data_url(strip), "cells": _cells(row.cells), "seconds": row.seconds}


def _first(row: Row, shown: int) -> Tensor:
    """The first samples of a row, (shown, *shape); black where one is not drawn yet."""
    x = torch.cat(row.x)
    return torch.cat([x, x.new_full((shown - len(x), *x.shape[1:]), -1.0)])


def _cells(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: cell | {"text": written(cell)} for name, cell in cells.items()}


# ---- files ------------------------------------------------------------------------------------------------------


def _named(sweep: Sweep) -> str:
    if not sweep.rows:
        raise BadInput(NOTHING)
    return f"{sweep.ask.picked.name}-seed{sweep.ask.seed}-guidance."


def _png(sweep: Sweep) -> tuple[str, bytes]:
    """A row for each value of guidance, a column for each seed, as PNG with its recipe and figures."""
    picked, shown = sweep.ask.picked, min(SHOWN, sweep.n)
    x, scale = torch.cat([_first(row, shown) for row in sweep.rows]), max(1, 112 // picked.space.shape[-1])
    picture = render.grid(x, picked.space, columns=shown, gap=4, scale=scale, ground="#ffffff")
    figures = {f"{row.guidance:g}": {name: written(cell) for name, cell in row.cells.items()} for row in sweep.rows}
    return "png", render.png(picture, sweep.recipe() | {"figures": figures})


def _zip(sweep: Sweep) -> tuple[str, bytes]:
    """The picture, and every figure with its interval as CSV."""
    head = "guidance,n,seconds," + ",".join(f"{name},{name} low,{name} high,{name} se" for name in MEASURES)
    lines = [head, *(_line(f"{row.guidance:g}", row.done, f"{row.seconds:.3f}", row.cells) for row in sweep.rows)]
    if sweep.bench.real:
        lines.append(_line("real pictures", sweep.bench.real["accuracy"]["n"], "", sweep.bench.real))
    name, picture = f"{sweep.ask.picked.name}-guidance", _png(sweep)[1]
    return "zip", render.zip_of({f"{name}.png": picture, f"{name}.csv": ("\n".join(lines) + "\n").encode()})


def _line(name: str, n: int, seconds: str, cells: dict[str, Any]) -> str:
    parts = [name, str(n), seconds]
    for measure in MEASURES:
        cell = cells.get(measure, {})
        parts += ["" if cell.get(key) is None else f"{cell[key]:.5g}" for key in ("value", "low", "high", "se")]
    return ",".join(parts)
