"""The Compare tab: every entry of a data set side by side, from the same seeds and by the same figures."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr
from torch import Tensor

from gen_models import data, render, zoo
from gen_models.interface import BadInput, Samples, Space, checked_seed
from gen_models.ui import figures
from gen_models.ui.fields import Field, seed
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.tabs import picture_of
from gen_models.ui.visits import Picked, Visit, Visits
from gen_models.ui.widgets import Ask, Form, columns, note, run_of, side, stage

KEY, TITLE = "compare", "Compare"
COUNT = {"image": 16, "points": 1000}  # samples of each entry; the preview of a checkpoint has as many
SPREAD = 3.0  # standard deviations from grey to white
TELL = 0.15  # seconds between two messages of a run, at least
HINT = "The same seeds for every entry. Draw new ones, or click a point to find its samples."

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where the form stands: what it needs of a Tab, whose chosen entry is a data set here."""

    family: zoo.Family
    visits: Visits
    first: Picked
    chosen: gr.HTML


class DrawForm(Form):
    """A seed and a button; it asks for a data set where other forms ask for an entry."""

    def asked(self, visit: Visit, entry: Any, settings: Any, *, count: str = "n") -> Ask:
        members = entries_of(self.tab.visits, visit).get(entry if isinstance(entry, str) else None, [])
        if not members:
            known = ", ".join(entries_of(self.tab.visits, visit)) or "none yet: train an entry first"
            raise BadInput(f"There is no data set {entry!r} with a trained entry; choose one of {known}.")
        _, values = self.checked(members[0], settings, count)
        checked_seed(values["seed"], COUNT.get(members[0].space.kind, 1))
        return Ask(members[0], visit, values | {"data": entry, "entries": members}, {}, run_of(settings))


def build(visits: Visits, device: str) -> None:
    """Builds the tab's contents inside its gr.Tab; `device` computes the samples."""
    sets = _sets(entries_of(visits))
    with gr.Column(elem_classes="gm-body", elem_id=f"{KEY}-body"), columns():
        with side():
            chosen = live(
                "dataSets", {}, visits, events=("pick",), value=sets[0]["key"] if sets else None, sets=sets,
                elem_id=f"{KEY}-data",
            )  # fmt: skip
            place = Place(zoo.Family(KEY, TITLE, ()), visits, visits.picked(next(iter(zoo.ZOO))), chosen)
            form = DrawForm(place, "draw", _fields, run="Draw", hint=HINT, follow=False)
        with stage():
            ask = {"entries": lambda visit, asked: _shown(visits, visit, asked.get("data"))}
            view = live("compare", ask, visits, value=None, form=form.id, elem_id=f"{KEY}-view")
    live("compareFigures", {}, visits, value=None, elem_id=f"{KEY}-figures")

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Draws 16 pictures, or 1000 points, of every entry of a data set. settings: seed.

        Sample k has seed + k and, where an entry has classes, class k mod (number of classes).
        """
        for update in _drawn(ask, device):
            yield {view: update, form.message: note(update["said"])} if isinstance(update, dict) else update

    form.job(work, [view], api_name=f"{KEY}_draw")


def _fields(picked: Picked) -> list[Field]:
    return [seed()]


# ---- which entries ----------------------------------------------------------------------------------------------


def entries_of(visits: Visits, visit: Visit | None = None) -> dict[str, list[Picked]]:
    """Entries of points or of pictures of one domain that have a checkpoint, by data set, MNIST first; visits' last."""
    own = visit.shelf.names() if visit else []
    names = [*(name for name in visits.bundled.names() if name not in own), *own]
    found: dict[str, list[Picked]] = {}
    for name in names:
        try:
            picked = visits.picked(name, visit)
            known = picked.entry.family in zoo.FAMILIES and picked.entry.data in data.NAMES
            if known and picked.space.kind in COUNT and not picked.space.domains:
                found.setdefault(picked.entry.data, []).append(picked)
        except (BadInput, OSError) as error:
            log.warning("The entry %s cannot be compared: %s", name, error)
    order = sorted(found, key=lambda name: (name != "mnist", found[name][0].space.kind != "image", name))
    return {name: found[name] for name in order}


def _sets(found: Mapping[str, list[Picked]]) -> list[dict[str, Any]]:
    return [{"key": name, "title": data.title_of(name), "count": len(found[name])} for name in found]


def _shown(visits: Visits, visit: Visit, name: Any) -> dict[str, Any]:
    """What static/compare.js draws of a data set before anything is computed."""
    found = entries_of(visits, visit)
    if name not in found:
        name = next(iter(found), None)
    members = found.get(name, [])
    return {
        "data": name,
        "sets": _sets(found),
        "kind": members[0].space.kind if members else "",
        "real": _real(name) if members else None,
        "entries": [_entry(picked, visit) for picked in members],
        "table": figures.table([figures.group(picked, visit) for picked in members]),
    }


def _entry(picked: Picked, visit: Visit) -> dict[str, Any]:
    family, kind = zoo.FAMILIES[picked.entry.family], picked.space.kind
    shown = {
        "entry": picked.name,
        "family": family.key,
        "title": family.title,
        "shape": list(zoo.FAMILIES).index(family.key),
        "yours": picked.shelf is visit.shelf,
        "labels": list(picked.labels),
        "size": list(picked.space.shape[:0:-1]) if kind == "image" else [],
        "picture": "",
    }
    if kind in COUNT and issubclass(picked.entry.model, Samples):
        shown["picture"] = picture_of(picked.shelf, picked.name)
    return shown


def _real(name: str) -> str | None:
    """Points of the data set to stand behind all others; None for pictures."""
    return sources.real(data.load(name))["points"] if data.space_of(name).kind == "points" else None


# ---- drawing ----------------------------------------------------------------------------------------------------


def _drawn(ask: Ask, device: str) -> Iterator[dict[str, Any] | str]:
    """One entry after another: messages while it is sampled, then all that was drawn so far."""
    start, members, begun = ask.seed, ask.values["entries"], time.monotonic()
    members = [picked for picked in members if issubclass(picked.entry.model, Samples)]
    if not members:
        raise BadInput("No entry of this data set draws samples.")
    drawn: dict[str, Any] = {}
    first: dict[str, Tensor | None] = {}  # the noise that each begins with
    for at, picked in enumerate(members):
        place, told = f"{picked.name}, {at + 1} of {len(members)}", 0.0
        try:
            model = picked.model(device)
            for frame in zoo.sample(model, start, COUNT[picked.space.kind]):
                if ask.stopped:
                    yield f"stopped after {at} of {len(members)} entries; the others keep their seeds"
                    return
                if time.monotonic() - told > TELL:
                    told = time.monotonic()
                    yield place + (f": step {frame.step} of {frame.total}" if frame.total > 1 else "")
            drawn[picked.name] = sources.shown(frame.x, picked.space) | {"seed": start}
            if picked.space.kind == "image":
                first[picked.name] = zoo.beginnings(model, range(start, start + COUNT["image"]))
                drawn[picked.name] |= {"noise": _noise(first[picked.name])}
        except BadInput as error:
            drawn[picked.name] = {"error": str(error), "seed": start}
        said = f"{place}: done" if at + 1 < len(members) else _ended(drawn, start, picked, time.monotonic() - begun)
        groups = zoo.shared(first)
        yield {"data": ask.values["data"], "seed": start, "drawn": dict(drawn), "groups": groups, "said": said}


def _noise(begun: Tensor | None) -> dict[str, Any] | None:
    """How many numbers each sample begins with, and a picture of them, near-square; None where there are none."""
    if begun is None:
        return None
    numbers = begun.flatten(1)
    count = numbers.shape[1]
    across = next(k for k in range(math.ceil(math.sqrt(count)), count + 1) if count % k == 0)
    x = numbers.view(len(numbers), 1, count // across, across)
    sheet, columns = render.sheet([render.picture(row, Space("image", x.shape[1:]), spread=SPREAD) for row in x])
    return {"count": count, "picture": render.data_url(sheet), "columns": columns, "size": [across, count // across]}


def _ended(drawn: Mapping[str, Any], start: int, last: Picked, seconds: float) -> str:
    good, seeds = sum("error" not in one for one in drawn.values()), f"{start} to {start + COUNT[last.space.kind] - 1}"
    many = f"{len(drawn)} entr{'ies' if len(drawn) > 1 else 'y'}"
    return f"{many if good == len(drawn) else f'{good} of {many}'} in {figures.duration(seconds)}, seeds {seeds}"
