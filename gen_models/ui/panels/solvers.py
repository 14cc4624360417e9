"""Solvers side by side: identical noise, equal numbers of network calls, and the distance to where the ODE ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import __version__, render
from gen_models.interface import Denoises, GenerativeModel, Option, Range
from gen_models.interface.lists import listed
from gen_models.solvers import SOLVERS
from gen_models.ui import cost, film, sweep
from gen_models.ui.fields import SOLVERS as TITLES
from gen_models.ui.fields import Field, check, label, number, option_fields, seed, several, text
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage
from gen_models.zoo import comparing
from gen_models.zoo.comparing import Cell, Moment

LIVE = 0.25  # seconds between two updates, at least: the browser takes its time for each
COLUMNS = 8  # numbers of calls, at most
MOMENTS = 32  # of one cell that travel to the browser, at most
NUMBERS = 6_000_000  # of all cells that travel, at most
ORDER = ("ddpm", "ddim", "euler", "heun", "dpm++2m", "unipc")
HINT = "The same noise for all. Which solver arrives with the fewest network calls?"
INFO = "One column each: a list, or 2, 4, .., 16."
EMPTY = "Press Compare: a row for each solver, a column for each number of network calls."
NOTHING = "Nothing has been compared yet: press Compare, then save."


@dataclass
class Comparison:
    """A comparison as it is kept: what has been drawn so far."""

    ask: Ask
    plan: list[Cell]
    n: int
    drawn: dict[Cell, list[Moment]] = field(default_factory=dict)
    end: Tensor | None = None  # where the ODE ends, (n, *shape)
    steps: int = 0  # of the reference

    @property
    def numbers(self) -> list[int]:
        return list(dict.fromkeys(cell.asked for cell in self.plan))

    @property
    def solvers(self) -> list[str]:
        return list(dict.fromkeys(cell.solver for cell in self.plan))

    def place(self, cell: Cell) -> tuple[int, int]:
        return self.solvers.index(cell.solver), self.numbers.index(cell.asked)

    def off(self, cell: Cell) -> float | None:
        """The cell's distance to the end of the ODE; None where one of them is missing."""
        return None if self.end is None else comparing.distance(self.drawn[cell][-1].x, self.end)

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        stopped = {} if len(self.drawn) == len(self.plan) else {"stopped": len(self.drawn)}
        return {"entry": self.ask.picked.name, "panel": "solvers", **self.ask.values, "version": __version__, **stopped}


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "solvers", _fields, run="Compare", hint=HINT)
            cost.before_the_run(form, lambda ask: _price(ask, tab.device, form.id))
        with stage():
            view = live("solvers", {}, tab.visits, value=None, empty=EMPTY, form=form.id, elem_id=f"{form.id}-view")
            files = {"PNG": _png, "CSV": _csv}
            downloads(form, kept_files(form.id, NOTHING, _named, files))
    tab.on_pick(lambda picked: gr.HTML(value=None), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Solvers from identical noise at equal numbers of network calls. settings: solvers, calls, reference, n, seed.

        calls is a list such as "2, 4, 8, 16". Further settings: label, guidance, eta. The answer holds the guesses of
        x0 after each call and, with reference, each result's root mean square distance to the end of the
        probability-flow ODE. "ddpm", and "ddim" with eta above 0, draw fresh noise and do not converge to it.
        """
        began, kept = time.monotonic(), _begun(ask)
        yield f"before it starts: {_price(ask, tab.device, form.id)}"
        model = ask.picked.model(tab.device)
        kept.end, kept.steps = ask.visit.kept.get(f"{form.id}-end", {}).get(_key(ask), (None, 0))
        yield {view: sent(kept, [])}
        for fresh, words in _walked(kept, model):
            yield {form.message: note(words)} | ({view: sent(kept, fresh)} if fresh else {})
        if ask.values["reference"] and kept.end is None and not ask.stopped:
            yield from _reference(kept, model, form.id)
        if kept.drawn:
            ask.visit.kept[form.id] = kept
        said = note(_done(kept, time.monotonic() - began))
        yield {view: sent(kept, list(kept.drawn), over=True), form.message: said}

    form.job(work, [view], api_name=f"{tab.family.key}_solvers")


# ---- what is asked --------------------------------------------------------------------------------------------


def _fields(picked: Picked) -> list[Field]:
    model, points = picked.entry.model, picked.space.kind == "points"
    walks = issubclass(model, Denoises)  # another entry of the tab may not denoise: it has no panel then
    limits = picked.entry.limits()
    offered = option_fields(model.sample, limits) if walks else []
    offered = [one for one in offered if one.option.name not in ("steps", "solver")]
    most = comparing.most_steps(model, limits) if walks else 1
    known = [solver for solver in ORDER if solver in SOLVERS]
    count = number("n", "Points", 50, 1000, 300, more=True) if points else number("n", "Samples", 1, 8, 4, more=True)
    return [
        several("solvers", "Solvers", known, known, shown=tuple(TITLES[solver] for solver in known)),
        text("calls", "Network calls", "2, 4, 8, 16, 32", 200, info=INFO),
        seed(),
        *label(picked),
        *offered,
        check("reference", f"Distance to the ODE's end ({most} steps)", True),
        count,
    ]


def _begun(ask: Ask) -> Comparison:
    most = comparing.most_steps(ask.picked.entry.model, ask.picked.entry.limits())
    numbers = listed(ask.values["calls"], Option("calls", Range(1, most), 1, int), COLUMNS)
    return Comparison(ask, comparing.cells(ask.values["solvers"], sorted(numbers), most), ask.values["n"])


def _asked(ask: Ask, solver: str) -> dict[str, Any]:
    """The options of a run; fresh noise is DDIM's alone."""
    options = {name: value for name, value in ask.options.items() if name != "eta" or solver == "ddim"}
    return options | ({"label": ask.label} if ask.picked.labels else {})


def _key(ask: Ask) -> tuple:
    """What the reference depends on."""
    options = sorted((name, value) for name, value in ask.options.items() if name != "eta")
    return (str(ask.picked.shelf.root), ask.picked.name, ask.seed, ask.label, ask.values["n"], *options)


def _price(ask: Ask, device: str, key: str) -> str:
    """ "6 solvers × 5 numbers: 365 calls, and 200 for the ODE's end: about 20 s"."""
    kept = _begun(ask)
    runs = [{"solver": cell.solver, "steps": cell.steps, **ask.options} for cell in kept.plan]
    said = f"{_many(len(kept.solvers), 'solver')} × {_many(len(kept.numbers), 'number')} of calls"
    calls, _ = sweep.price(ask.picked, device, kept.n, runs)
    said = f"{said} = {calls:,} network calls"
    if ask.values["reference"]:
        if _key(ask) in ask.visit.kept.get(f"{key}-end", {}):
            said += ", and the ODE's end is known"
        else:
            most = comparing.most_steps(ask.picked.entry.model, ask.picked.entry.limits())
            runs.append({"solver": comparing.REFERENCE, "steps": most, **ask.options})
            said += f", and {most:,} for the ODE's end"
    return said + sweep.lasting(sweep.price(ask.picked, device, kept.n, runs)[1])


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


# ---- running --------------------------------------------------------------------------------------------------


def _walked(kept: Comparison, model: GenerativeModel) -> Iterator[tuple[list[Cell], str]]:
    """Walks every cell until it is stopped; now and then the cells that are new, and how far it is."""
    ask, told, fresh = kept.ask, 0.0, []
    for cell in kept.plan:
        walked: list[Moment] = []
        for moment in comparing.moments(comparing.solved(model, cell, ask.seed, kept.n, **_asked(ask, cell.solver))):
            if ask.stopped:
                return
            walked.append(moment)
            if time.monotonic() - told > LIVE:
                told = time.monotonic()
                yield fresh, _progress(kept, cell, moment.calls)
                fresh = []
        kept.drawn[cell] = walked
        fresh.append(cell)
    yield fresh, "every solver has arrived"


def _reference(kept: Comparison, model: GenerativeModel, key: str) -> Iterator[str]:
    """Finds where the ODE ends from the kept noise, and keeps the last one of the visit; nothing when it is stopped."""
    ask, begun, told = kept.ask, time.monotonic(), 0.0
    options = _asked(ask, comparing.REFERENCE)
    for frame in comparing.reference(model, ask.seed, kept.n, **options):
        if ask.stopped:
            return
        now = time.monotonic()
        if now - told > LIVE and frame.step:
            told = now
            left = cost.duration((now - begun) / frame.step * (frame.total - frame.step))
            yield f"the ODE's end: step {frame.step} of {frame.total}, {left} left"
    kept.end, kept.steps = frame.x.detach().cpu(), frame.total
    ask.visit.kept[f"{key}-end"] = {_key(ask): (kept.end, kept.steps)}


def _progress(kept: Comparison, cell: Cell, calls: int) -> str:
    return f"{TITLES[cell.solver]}, call {calls} of {cell.calls}; {len(kept.drawn)} of {len(kept.plan)} cells done"


def _done(kept: Comparison, seconds: float) -> str:
    done, count = len(kept.drawn), len(kept.plan)
    if done < count:
        return f"stopped after {done} of {count} cells" + ("; those are kept" if done else "")
    calls = sum(cell.calls for cell in kept.plan)
    if kept.ask.values["reference"] and kept.end is None:
        return f"{calls:,} network calls in {seconds:.2g} s; stopped before the ODE's end was found"
    return f"{calls:,} network calls, {count} cells in {seconds:.2g} s"


# ---- what is shown --------------------------------------------------------------------------------------------


def sent(kept: Comparison, which: list[Cell], over: bool = False) -> dict[str, Any]:
    """The cells `which`, for static/solvers.js to add to those of the same run; all of them when it is over."""
    space, eta = kept.ask.picked.space, kept.ask.options.get("eta", 0.0)
    most = max(2, min(MOMENTS, NUMBERS // (kept.n * space.size * len(kept.plan))))
    real = film.real_points(kept.ask.picked)
    return {
        "run": f"{kept.ask.run} {id(kept)}",
        "about": f"{kept.ask.picked.name}, seed {kept.ask.seed}",
        "kind": space.kind,
        "count": kept.n,
        "size": list(space.shape[:0:-1]) if space.kind == "image" else [1, 1],
        "rows": [_row(solver, eta) for solver in kept.solvers],
        "numbers": kept.numbers,
        "cells": [_cell(kept, cell, most) for cell in which],
        "end": _media(kept, [kept.end]) | {"steps": kept.steps} if kept.end is not None else None,
        "real": film.packed(real) if real is not None else None,
        "over": over,
    }


def _row(solver: str, eta: float) -> dict[str, Any]:
    follows = comparing.follows(solver, eta if solver == "ddim" else 0.0)
    notes = {"heun": "2 calls a step", "ddim": f"eta {eta:g}" + (", as Euler" if not eta else "")}
    return {"name": TITLES[solver], "follows": follows, "note": notes.get(solver, "" if follows else "fresh noise")}


def _cell(kept: Comparison, cell: Cell, most: int) -> dict[str, Any]:
    moments = kept.drawn[cell]
    shown = [moments[k] for k in film.evenly(len(moments), most)]
    off = kept.off(cell)
    found = {"at": kept.place(cell), "steps": cell.steps, "spent": cell.calls, "calls": [m.calls for m in shown]}
    return found | {"off": off if off is None or off < float("inf") else None} | _media(kept, [m.x for m in shown])


def _media(kept: Comparison, stack: list[Tensor]) -> dict[str, Any]:
    """Moments (K) of n samples: a sheet with a row per moment and a column per sample, or packed points."""
    space = kept.ask.picked.space
    if space.kind == "points":
        return {"points": film.cloud(stack)["points"]["data"]}
    return {"sheet": render.data_url(render.grid(torch.cat(stack), space, columns=kept.n, gap=0))}


# ---- files ----------------------------------------------------------------------------------------------------


def _named(kept: Comparison) -> str:
    return f"{kept.ask.picked.name}-seed{kept.ask.seed}-"


def _png(kept: Comparison) -> tuple[str, bytes]:
    """The results of the first sample, or of all points, under their headings as PNG with the recipe."""
    space = kept.ask.picked.space
    pictures = {kept.place(cell): moments[-1].x for cell, moments in kept.drawn.items()}
    numbers = [f"{calls} calls" for calls in kept.numbers]
    if kept.end is not None:
        numbers.append("ODE's end")
        pictures |= {(row, len(kept.numbers)): kept.end for row in range(len(kept.solvers))}
    points, scale = space.kind == "points", max(1, round(64 / space.shape[-1]))
    drawn = {
        place: render.points(x, size=140, ground="#ffffff") if points else render.picture(x[0], space, scale=scale)
        for place, x in pictures.items()
    }
    picture = sweep.headed(drawn, [TITLES[solver] for solver in kept.solvers], numbers, kept.ask.picked.name)
    return "solvers.png", render.png(picture, kept.recipe())


def _csv(kept: Comparison) -> tuple[str, bytes]:
    """Solver, calls asked for, steps, calls used, distance to the ODE's end."""
    rows = ["solver,calls,steps,used,distance"]
    for cell in kept.drawn:
        off = kept.off(cell)
        rows.append(f"{cell.solver},{cell.asked},{cell.steps},{cell.calls},{'' if off is None else f'{off:.6g}'}")
    return "solvers.csv", ("\n".join(rows) + "\n").encode()


PANEL = Panel("Solvers", (Denoises,), frozenset({"image", "points"}), mount)
