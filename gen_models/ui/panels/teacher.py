"""Teacher and student side by side: the same noise through both, what each makes of few calls, and in what time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from gen_models import __version__, render, zoo
from gen_models.interface import BadInput, Frame, GenerativeModel, Imitates, options
from gen_models.ui import film
from gen_models.ui.fields import Field, label, number, seed
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

HINT = "Drag over the calls: the student jumps, and the teacher has to walk as far in as few steps."
NOTHING = "Nothing has been drawn yet: press Compare, then save."
TITLES = ("Student", "Teacher, as many calls", "Teacher, whole walk")
WAITING = "Press Compare to see it."
FPS = 1.5


@dataclass
class Pair:
    """Both models' samples of the same noise, in [-1, 1] on the CPU, and the seconds that they took."""

    picked: Picked
    teacher: str
    seed: int
    asked: str | None
    count: int
    target: dict[str, Any]
    whole: Tensor
    seconds: float
    calls: int
    student: dict[int, tuple[Tensor, float]] = field(default_factory=dict)  # by calls
    hurried: dict[int, tuple[Tensor, float]] = field(default_factory=dict)  # the teacher in as many calls

    def recipe(self) -> dict[str, Any]:
        classes = {"label": self.asked} if self.picked.labels else {}
        made = {"entry": self.picked.name, "panel": "teacher", "seed": self.seed, "n": self.count, **classes}
        walk = {"teacher": self.teacher, "the teacher's walk": self.target}
        return made | {"calls": list(self.student), **walk, "version": __version__}


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "teacher", _fields, run="Compare", hint=HINT)
        with stage():
            files = {"PNG": _png, "GIF": _gif}
            empty = "This entry has no checkpoint yet. Choose another one, or train it."
            view = film.player(tab.visits, form.id, tuple(files), value=before(tab.first), empty=empty)
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(form.id, NOTHING, _named, files))
    tab.on_pick(before, [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """The student's samples in 1, 2, 4 and 8 calls beside its teacher's, of one noise. settings: n, seed, label.

        The teacher walks twice: in as many calls, by Euler's method, and all the way, as the student was taught.
        """
        yield "opening both models"
        name, teacher = _teacher(ask.picked, tab.device)
        student = ask.picked.model(tab.device)
        pair = None
        for update in _drawn(ask, student, name, teacher):
            if isinstance(update, str):
                yield update
            else:
                pair = update
                yield {view: film_of(pair), form.message: note(_said(pair))}
            if ask.stopped:
                break
        if pair is None:
            yield "stopped before the teacher had finished its walk"
            return
        ask.visit.kept[form.id] = pair
        left = len(_numbers(student)) - len(pair.hurried)
        yield {view: film_of(pair), form.message: note(f"stopped; {_said(pair)}" if left else _said(pair))}

    form.job(work, [view], api_name=f"{tab.family.key}_teacher")


def _fields(picked: Picked) -> list[Field]:
    return [seed(), *label(picked), number("n", "Samples", 1, 16, 16)]


def _teacher(picked: Picked, device: str) -> tuple[str, GenerativeModel]:
    """The entry's teacher by name, from its own shelf or the bundled one; BadInput where it is on neither."""
    name = picked.entry.teacher
    for shelf in (picked.shelf, zoo.BUNDLED):
        if name in shelf.names():
            return name, zoo.load(name, shelf, device)
    raise BadInput(f"The teacher of {picked.name}, {name}, is not here: python -m gen_models train {name}")


def _numbers(student: GenerativeModel) -> tuple[int, ...]:
    """The numbers of calls that the student can be asked for."""
    return options(type(student).sample, zoo.limits(student))["steps"].allowed.values


# ---- drawing --------------------------------------------------------------------------------------------------


def _drawn(ask: Ask, student: Imitates, name: str, teacher: GenerativeModel) -> Iterator[str | Pair]:
    """Words while the teacher walks, then the pair, with one number of calls more each time."""
    count, target = ask.values["n"], dict(student.target())
    asked = None if ask.label is None else ask.picked.labels[ask.label]
    frame, seconds = None, 0.0
    for frame, seconds in _timed(teacher, ask, target):
        if frame.step < frame.total:
            yield f"{name}: step {frame.step} of {frame.total}, {_took(seconds)}"
    pair = Pair(ask.picked, name, ask.seed, asked, count, target, frame.x.cpu(), seconds, frame.calls)
    hurried = target | {"solver": "euler"}
    _last(student, ask, {"steps": 1})  # the first call of a model takes longer
    for steps in _numbers(student):
        pair.student[steps] = _last(student, ask, {"steps": steps})
        pair.hurried[steps] = _last(teacher, ask, hurried | {"steps": steps})
        yield pair


def _timed(model: GenerativeModel, ask: Ask, values: Mapping[str, Any]) -> Iterator[tuple[Frame, float]]:
    """The frames of a run, and the seconds that the sampler has worked until then."""
    frames, seconds = zoo.sample(model, ask.seed, ask.values["n"], label=ask.label, **values), 0.0
    while True:
        begun = time.perf_counter()
        frame = next(frames, None)
        if frame is None:
            return
        if model.device.type != "cpu":
            frame.x.cpu()  # a GPU answers before it has worked
        seconds += time.perf_counter() - begun
        yield frame, seconds


def _last(model: GenerativeModel, ask: Ask, values: Mapping[str, Any]) -> tuple[Tensor, float]:
    *_, (frame, seconds) = _timed(model, ask, values)
    return frame.x.cpu(), seconds


# ---- showing --------------------------------------------------------------------------------------------------


def _apart(x: Tensor, other: Tensor) -> float:
    """The root of the mean squared difference of a pixel, of which white and black are 2 apart."""
    return float((x - other).square().mean().sqrt())


def _took(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _said(pair: Pair) -> str:
    steps = max((k for k in pair.student if k <= 2), default=min(pair.student))
    took = pair.student[steps][1]
    calls = f"{steps} call{'s' * (steps > 1)}"
    faster = f"{pair.seconds / took:.3g} times faster than the teacher's {pair.calls} calls in {_took(pair.seconds)}"
    return f"{pair.count} samples in {calls}: {_took(took)}, {faster}"


def film_of(pair: Pair) -> dict[str, Any]:
    """A frame for each number of calls."""
    steps, space = list(pair.hurried), pair.picked.space

    def notes(made: Mapping[int, tuple[Tensor, float]]) -> list[str]:
        return [f"{_took(made[k][1])}, RMSE {_apart(made[k][0], pair.whole):.2g}" for k in steps]

    stacks = ([pair.student[k][0] for k in steps], [pair.hurried[k][0] for k in steps], [pair.whole] * len(steps))
    walk = [f"{pair.calls} calls, {_took(pair.seconds)}"] * len(steps)
    tracks = []
    for k, said in enumerate((notes(pair.student), notes(pair.hurried), walk)):
        frames = [render.grid(x, space, gap=0) for x in stacks[k]]
        track = {"title": TITLES[k], "colour": "generated", "notes": said} | film.pictures(frames)
        tracks.append(track | {"cells": film.cells_of(pair.picked, pair.count)})
    return {
        "id": f"{pair.picked.name} {pair.seed} {id(pair)}",
        "about": f"{pair.picked.name} and {pair.teacher}, seed {pair.seed}",
        "word": "call",
        "total": steps[-1],
        "steps": steps,
        "at": min(1, len(steps) - 1),
        "note": f"the teacher takes its classes with guidance {pair.target['guidance']:g}",
        "fps": FPS,
        "tracks": tracks,
        "plot": [],
    }


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview and its teacher's, before any weight is loaded; None where it has no checkpoint."""
    if not issubclass(picked.entry.model, Imitates) or not card_time(picked.shelf, picked.name):
        return None
    stills = [film.still(picked), None, None]
    shelf = next((s for s in (picked.shelf, zoo.BUNDLED) if picked.entry.teacher in s.names()), None)
    if shelf is not None:
        stills[2] = film.still(Picked(picked.entry.teacher, shelf.entry(picked.entry.teacher), shelf))
    tracks = [
        {"title": title, "colour": "generated", "empty": WAITING}
        | ({"note": "seeds 0 to 15", **still} if still else {})
        for title, still in zip(TITLES, stills, strict=True)
    ]
    return {"id": f"{picked.name} before", "about": picked.name, "total": 1, "steps": [1], "tracks": tracks, "plot": []}


# ---- files ----------------------------------------------------------------------------------------------------


def _named(pair: Pair) -> str:
    return f"{pair.picked.name}-seed{pair.seed}-"


def _beside(pair: Pair, steps: int) -> Image.Image:
    """Student, hurried teacher and the whole walk, left to right."""
    made = (pair.student[steps][0], pair.hurried[steps][0], pair.whole)
    grids = [render.grid(x, pair.picked.space, scale=2, gap=2, ground="#ffffff") for x in made]
    return render.strip(grids, 12, ground="#ffffff")


def _png(pair: Pair) -> tuple[str, bytes]:
    """A row for each number of calls: the student, the teacher in as many, and its whole walk."""
    rows = [_beside(pair, steps) for steps in pair.hurried]
    sheet = Image.new(rows[0].mode, (rows[0].width, sum(row.height + 12 for row in rows) - 12), "white")
    for k, row in enumerate(rows):
        sheet.paste(row, (0, k * (row.height + 12)))
    return "teacher-student.png", render.png(sheet, pair.recipe())


def _gif(pair: Pair) -> tuple[str, bytes]:
    """The same, one number of calls after the other."""
    frames = [_beside(pair, steps) for steps in pair.hurried]
    return "teacher-student.gif", render.gif(frames, FPS)


PANEL = Panel("Teacher", (Imitates,), frozenset({"image"}), mount)
