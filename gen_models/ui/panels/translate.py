"""A picture redrawn in the other domain and back again, what noise in between uncovers, and held-out examples.

CycleGAN, a Master of Steganography (Chu, Zhmoginov and Sandler, 2017), arXiv 1712.02950: where a domain lacks what the
other shows, the generators learn to hide it in a pattern too faint to see, which a little noise wipes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, render, zoo
from gen_models.interface import BadInput, GenerativeModel, Option, Range, Translates
from gen_models.noise import SEEDS
from gen_models.ui import pad, trips
from gen_models.ui.fields import Field, choice, number
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

PAGE = 8  # held-out examples in the grid
NOISE = Range(0.0, 0.5)  # standard deviation, of pixels from 0 to 1
LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # of the curve
PATIENCE = 0.5  # seconds a live call waits for a data set that is being read; then the page asks again
HINT = "Take a held-out picture, or draw or upload one here. Then disturb its translation on the right."
OWN = "The held-out pictures of this training are not kept any more. Draw or upload a picture."


TWINS = sources.Readings()


# ---- which picture ------------------------------------------------------------------------------------------------


def test_pairs(name: str) -> trips.Held:
    """The test split of a data set of two domains."""
    source = data.load(name)
    test = source.split("test")
    return trips.Held(data.in_bytes(test.x), data.in_bytes(test.other), getattr(source, "paired", False))


def _held(picked: Picked, visit: Visit) -> Future:
    """The held-out pictures, being read."""
    if picked.entry.data in data.NAMES:
        name = picked.entry.data
        return TWINS.of(name, lambda: test_pairs(name))
    kept = visit.kept.get(sources.HELD + picked.name)
    if kept is None:
        raise BadInput(OWN)
    found: Future = Future()
    found.set_result(trips.Held(*kept, paired=False))
    return found


def _model(picked: Picked, device: str = "cpu") -> GenerativeModel:
    if not _suits(picked):
        raise BadInput(f"{picked.name} does not translate pictures. Choose another entry.")
    return picked.model(device)


def _suits(picked: Picked) -> bool:
    return issubclass(picked.entry.model, Translates) and picked.space.kind == "image"


def _given(picked: Picked, visit: Visit, drawn: Any, to: str, example: Any) -> tuple[Tensor, Tensor | None, str]:
    """The picture (1, C, H, W) that was drawn or brought, else the held-out one of that number; its twin; its name."""
    if drawn:
        x = pad.received(drawn, picked.space)[None]
        return x, None, str(drawn.get("name"))[:80] if drawn.get("kind") == "file" else "your drawing"
    held = _held(picked, visit).result()
    row = Option("example", Range(0, held.count(to) - 1), 0, int).check(example)
    return *held.rows(to, slice(row, row + 1)), f"example {row}"


# ---- the panel ----------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    key = f"{tab.family.key}-translate"
    with columns():
        with side():
            form = Form(tab, "translate", _fields, hint=HINT)
            drawing = live("pad", pad.serve(tab), tab.visits, value=None, name=f"{key}-pad", **pad.props(tab.first))
        with stage():
            view = live(
                "translate",
                {"look": _look(tab, form.id), "examples": _examples(tab, form.id)},
                tab.visits,
                value=None,
                pad=f"{key}-pad",
                form=form.id,
                elem_id=f"{key}-view",
                **_facts(tab.first),
            )
            files = {"PNG": trips.row_png, "Grid PNG": trips.grid_png}
            downloads(form, {title: partial(make, form.id) for title, make in files.items()})
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask, drawn: Any) -> Iterator[dict[Any, Any] | str]:
        """A picture translated and back, also with noise in between. settings: to ("A" or "B"), example, noise.

        drawn: {"pixels": base64 of H * W grey or H * W * 3 colour bytes}, or null for held-out picture `example` of the
        other domain. noise: standard deviation, pixels from 0 to 1. Errors are mean absolute ones. seed and page choose
        the examples of the grid, which this does not draw.
        """
        model = _model(ask.picked, tab.device)
        if not drawn:
            yield from _read(ask)
        if not ask.stopped:
            asked = {**ask.values, "drawn": drawn, "curve": True}
            found = _looked(model, ask.picked, ask.visit, asked, form.id)
            yield {view: found, form.message: note(f"{found['name']} is translated")}

    form.job(work, [view], [drawing], api_name=f"{tab.family.key}_translate")


def _fields(picked: Picked) -> list[Field]:
    """What the panel's own controls set; hidden here, so that a recipe can restore them."""
    a, b = picked.space.domains or ("A", "B")
    fields = [
        choice("to", "Direction", ("B", "A"), shown=(f"{a} → {b}", f"{b} → {a}")),
        number("example", "Held-out example", 0, 1_000_000, 0),
        number("noise", "Noise", NOISE.low, NOISE.high, 0.0),
        number("seed", "Seed of the order", 0, SEEDS - 1, 0),
        number("page", "Page of examples", 0, 1_000_000, 0),
    ]
    return [field._replace(kind="hidden") for field in fields]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry."""
    suits = _suits(picked) and card_time(picked.shelf, picked.name) > 0
    return {
        "entry": picked.name if suits else "",
        "domains": list(picked.space.domains),
        "title": data.title_of(picked.entry.data) if picked.entry.data in data.NAMES else "your own pictures",
    }


def _read(ask: Ask) -> Iterator[str]:
    """Waits for the held-out pictures, while saying so."""
    future = _held(ask.picked, ask.visit)
    while not future.done() and not ask.stopped:
        wait([future], timeout=PATIENCE)
        yield "reading the held-out pictures"


# ---- live calls -----------------------------------------------------------------------------------------------------


def _look(tab: Tab, form: str) -> Callable[[Visit, dict], dict[str, Any]]:
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """A picture there and back; {"waiting"} while the held-out pictures are being read."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model = _model(picked)
        if not asked.get("drawn"):
            future = _held(picked, visit)
            wait([future], timeout=PATIENCE)
            if not future.done():
                return {"waiting": True}
        return _looked(model, picked, visit, asked, form)

    return look


def _looked(
    model: GenerativeModel, picked: Picked, visit: Visit, asked: Mapping[str, Any], form: str
) -> dict[str, Any]:
    """What static/translate.js draws above the grid; kept with the visit to be saved, unless a later one is.

    Asked for a picture under the same `key` again, the answer holds only what follows the noise.
    """
    to = zoo.domain(picked.space, asked.get("to", "B"))
    noise = Option("noise", NOISE, 0.0, float).check(asked.get("noise", 0.0))
    named = asked.get("key") if isinstance(asked.get("key"), str) else ""
    key = (picked.name, card_time(picked.shelf, picked.name), to, named)
    kept: trips.Row | None = visit.kept.get(form)
    dragged = kept is not None and named and kept.key == key and not asked.get("curve")
    if dragged:
        trip, name = trips.disturbed_again(model, kept.trip, to, noise), kept.name
    else:
        x, twin, name = _given(picked, visit, asked.get("drawn"), to, asked.get("example", 0))
        trip = trips.there_and_back(model, x, to, noise, twin, LEVELS if asked.get("curve") else ())
    recipe = {"entry": picked.name, "panel": "translate", "to": to, "noise": noise}
    recipe |= {"picture": name} if asked.get("drawn") else {"example": asked.get("example", 0)}
    at = float(asked["at"]) if isinstance(asked.get("at"), int | float) else 0.0
    if kept is None or visit.kept[form].at <= at:
        visit.kept[form] = trips.Row(at, key, name, trip, picked, recipe)
    sent = _disturbed(trip, picked) if dragged else _undisturbed(trip, picked) | _disturbed(trip, picked)
    return sent | {"entry": picked.name, "name": name, "to": to, "noise": noise}


def _undisturbed(trip: trips.Trip, picked: Picked) -> dict[str, Any]:
    """What stays while the noise is dragged."""
    pictures = {"source": trip.x, "translation": trip.y, "back": trip.back}
    found: dict[str, Any] = {name: _url(x, picked) for name, x in pictures.items()}
    found |= {"twin": None if trip.twin is None else _url(trip.twin, picked), "map": _missed(trip, trip.back, picked)}
    found |= {"cycle": trip.cycle, "from_twin": trip.from_twin}
    return found | {"curve": trip.curve or None, "likeness": trips.likeness(trip)}


def _disturbed(trip: trips.Trip, picked: Picked) -> dict[str, Any]:
    """What follows the noise."""
    found: dict[str, Any] = {"noisy": _url(trip.noisy, picked), "again": _url(trip.again, picked)}
    found |= {"again_map": _missed(trip, trip.again, picked)}
    return found | {"again_cycle": trip.noisy_cycle, "added": trip.added}


def _examples(tab: Tab, form: str) -> Callable[[Visit, dict], dict[str, Any]]:
    def examples(visit: Visit, asked: dict) -> dict[str, Any]:
        """A page of held-out examples in an order that follows from the seed; {"waiting"} while they are read."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model, to = _model(picked), zoo.domain(picked.space, asked.get("to", "B"))
        seed = Option("seed", Range(0, SEEDS - 1), 0, int).check(asked.get("seed", 0))
        future = _held(picked, visit)
        wait([future], timeout=PATIENCE)
        if not future.done():
            return {"waiting": True}
        held = future.result()
        total = held.count(to)
        pages = -(-total // PAGE)
        number = Option("page", Range(0, pages - 1), 0, int).check(asked.get("page", 0))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        rows = order[number * PAGE : (number + 1) * PAGE]
        x, twins = held.rows(to, rows)
        y = zoo.translated(model, x, to)
        recipe = {"entry": picked.name, "panel": "translate", "to": to, "seed": seed, "page": number}
        visit.kept[f"{form}-grid"] = trips.Grid(x, y, twins, picked, recipe)
        items = [
            {
                "index": int(row),
                "source": _url(x[k : k + 1], picked),
                "translation": _url(y[k : k + 1], picked),
                "twin": None if twins is None else _url(twins[k : k + 1], picked),
            }
            for k, row in enumerate(rows)
        ]
        return {"items": items, "total": total, "pages": pages, "page": number, "paired": held.paired, "to": to}

    return examples


def _url(x: Tensor, picked: Picked) -> str:
    return render.data_url(render.picture(x[0], picked.space))


def _missed(trip: trips.Trip, back: Tensor, picked: Picked) -> str:
    return render.data_url(render.difference(trip.x[0], back[0], picked.space, spread=trips.SPREAD))


PANEL = Panel("Translate", (Translates,), frozenset({"image"}), mount)
