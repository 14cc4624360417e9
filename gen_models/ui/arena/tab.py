"""The Arena tab: choose or draw points, choose families, train them all at once, compare."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any, NamedTuple

import gradio as gr

from gen_models import data, zoo
from gen_models.interface import BadInput, Clusters, Data
from gen_models.ui.arena import matrix
from gen_models.ui.arena.lessons import FIXED, LESSONS
from gen_models.ui.arena.show import Show
from gen_models.ui.fields import Field, choice, hidden, number, seed, several
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.panels.train import LANE, LINE, wait_for_place
from gen_models.ui.visits import Picked, Visit, Visits
from gen_models.ui.widgets import Ask, Form, columns, note, run_of, side, stage

KEY, TITLE = "arena", "Arena"
FEWEST = 50  # points that a person brings
EACH = 12  # points per component, at least
MODELS = {model.__name__: model for model in zoo.live_models("points")}
DATA = [name for name in data.NAMES if data.space_of(name).kind == "points"]
SETS = [{"key": name, "title": data.title_of(name)} for name in DATA]
SETS += [{"key": sources.POINTS, "title": "Your own points"}]
UNITS = ("seconds", "steps")
PATIENCE = 600.0  # seconds that a pause may last
HINT = "One data set, one budget, one seed. Watch who finds every part of it."


class Place(NamedTuple):
    """Where the form stands: what it needs of a Tab, whose chosen entry is the data here."""

    family: zoo.Family
    visits: Visits
    first: Picked
    chosen: gr.HTML


class Control:
    """How a person steers the contest under way: paused or not, one step asked for, how fast."""

    def __init__(self, run: str):
        self.run, self.paused, self.steps, self.speed = run, False, 0, 1.0


class ArenaForm(Form):
    """Families, budget and seed; it asks for points where other forms ask for an entry."""

    def asked(self, visit: Visit, entry: Any, settings: Any, *, count: str = "n") -> Ask:
        chosen = entry if isinstance(entry, Mapping) else {"data": entry or DATA[0]}
        _, values = self.checked(self.tab.first, settings, count)
        if values["unit"] == "steps" and values["budget"] != int(values["budget"]):
            raise BadInput(f"A budget of steps is a whole number; got {values['budget']:g}.")
        if lesson := LESSONS.get(values["lesson"].removesuffix(FIXED)):
            chosen = {"data": lesson.data}
        return Ask(self.tab.first, visit, values | {"points": _wanted(chosen)}, {}, run_of(settings))


def build(visits: Visits, device: str) -> None:
    """Builds the tab's contents inside its gr.Tab; `device` trains."""
    with gr.Column(elem_classes="gm-body", elem_id=f"{KEY}-body"), columns():
        with side():
            look = {"look": lambda visit, asked: _looked(asked)}
            first = {"data": DATA[0], "csv": ""}
            chosen = live("arenaData", look, visits, value=first, sets=SETS, elem_id=f"{KEY}-data")
            place = Place(zoo.Family(KEY, TITLE, ()), visits, visits.picked(next(iter(zoo.ZOO))), chosen)
            form = ArenaForm(place, "run", _fields, run="Train all", hint=HINT, follow=False)
        with stage():
            lessons = [{n: getattr(x, n) for n in ("key", "title", "words", "fix")} for x in LESSONS.values()]
            view = live(
                "arena", {"control": _control}, visits,
                value=None, form=form.id, contenders=_contenders(), lessons=lessons, elem_id=f"{KEY}-view",
            )  # fmt: skip
    live("arenaMatrix", {}, visits, value=matrix.table(visits), elem_id=f"{KEY}-matrix")

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Trains models on the same points. entry: {data, csv}; settings: families, budget, unit, seed.

        data is one of the densities, or "own-points" with csv (one x, y per line). Every model gets the same budget,
        of seconds or of steps, and the same seed; the last answer holds the table of figures.
        """
        ticket = LINE.join()
        try:
            yield from wait_for_place(ask, ticket)
            source = yield from _read(ask)
            if source is not None:
                for update in _contest(ask, source, device):
                    yield {view: update, form.message: note(update["said"])}
        finally:
            LINE.leave(ticket)

    form.job(work, [view], api_name=f"{KEY}_train", lane="training", most=LANE)


# ---- the form ---------------------------------------------------------------------------------------------------


def _fields(picked: Picked) -> list[Field]:
    first = [name for name in MODELS if name not in ("BetaVAE", "R3GAN")]
    lessons = ("", *LESSONS, *(key + FIXED for key in LESSONS))
    return [
        several("families", "Families", tuple(MODELS), first, shown=tuple(map(sources.model_title, MODELS.values()))),
        number("budget", "Budget for each", 0.2, 1_000_000.0, 8.0),
        choice("unit", "Budget in", UNITS, shown=("seconds", "steps")),
        seed(),
        hidden("lesson", lessons, ""),
    ]


def _contenders() -> list[dict[str, str]]:
    def of(model: type) -> zoo.Family:
        return next(family for family in zoo.FAMILIES.values() if model in family.models)

    return [{"key": k, "title": sources.model_title(m), "family": of(m).key} for k, m in MODELS.items()]


def _wanted(chosen: Mapping[str, Any]) -> dict[str, str]:
    """The name of the data and the points as CSV, checked."""
    name, csv = chosen.get("data", DATA[0]), chosen.get("csv") or ""
    if name not in [one["key"] for one in SETS]:
        raise BadInput(f"There is no data set {name!r} of points; choose one of {', '.join(DATA)}, {sources.POINTS}.")
    if not isinstance(csv, str) or len(csv) > sources.CSV_LIMIT:
        raise BadInput(f"csv is a text of at most {sources.CSV_LIMIT:,} characters: keep a part of the rows.")
    return {"data": name, "csv": csv}


def _source(wanted: Mapping[str, str]) -> Data:
    if wanted["data"] != sources.POINTS:
        return data.load(wanted["data"])
    x = data.points_from_csv(wanted["csv"]) if wanted["csv"].strip() else []
    if len(x) < FEWEST:
        raise BadInput(f"At least {FEWEST} points are needed here; there are {len(x)}. Draw or paste more.")
    return data.from_points(x)


def _looked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the data looks like: 1000 points of it."""
    wanted = _wanted(asked)
    source = _source(wanted)
    count = sum(len(source.split(name).x) for name in ("train", "valid", "test"))
    return sources.real(source) | {"title": sources.title_of(wanted["data"]), "count": count}


def _read(ask: Ask) -> Iterator[str]:
    """The points, while saying so; None when Stop was pressed meanwhile."""
    future = sources.OWN.submit(_source, ask.values["points"])
    while not future.done() and not ask.stopped:
        wait([future], timeout=0.25)
        if not future.done():
            yield "reading the points"
    if ask.stopped:
        yield "stopped before the training began"
        return None
    return future.result()


def _control(visit: Visit, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Pause, play, one step, or another speed, for the contest that runs in this visit."""
    control: Control | None = visit.kept.get(KEY)
    if control is None or (asked.get("run") and asked["run"] != control.run):
        return {"over": True}
    act = asked.get("act")
    if act == "step":
        control.paused, control.steps = True, control.steps + 1
    elif act in ("pause", "play"):
        control.paused = act == "pause"
    elif act == "speed" and asked.get("speed") in (1, 0.5, 0.25, 0.1):
        control.speed = float(asked["speed"])
    else:
        raise BadInput("act is one of play, pause, step and speed; speed is 1, 0.5, 0.25 or 0.1.")
    return {"paused": control.paused, "speed": control.speed}


# ---- the contest ------------------------------------------------------------------------------------------------


def _settings(ask: Ask, source: Data) -> tuple[dict[str, zoo.Setting], dict[str, Any] | None]:
    """Who competes: the chosen families, or those of a lesson, with the lesson in words."""
    key = ask.values["lesson"].removesuffix(FIXED)
    if not key:
        return {name: _setting(MODELS[name], source) for name in ask.values["families"]}, None
    lesson, fixed = LESSONS[key], ask.values["lesson"].endswith(FIXED)
    said = {name: getattr(lesson, name) for name in ("key", "title", "words", "fix")} | {"fixed": fixed}
    return ({"broken": lesson.broken, "fixed": lesson.fixed} if fixed else {"broken": lesson.broken}), said


def _setting(model: type, source: Data) -> zoo.Setting:
    """The live recipe; a mixture takes fewer components where the points are few."""
    if not issubclass(model, Clusters):
        return zoo.Setting(model)
    most = zoo.live(model, source.space).config["components"]
    return zoo.Setting(model, {"components": max(1, min(most, len(source.split("train").x) // EACH))})


def _contest(ask: Ask, source: Data, device: str) -> Iterator[dict[str, Any]]:
    """Redraws while it trains, then the figures; however it ends, what was learnt is measured and shown."""
    settings, lesson = _settings(ask, source)
    name = ask.values["points"]["data"]
    budget = ask.values["budget"]
    limit = {"seconds": budget} if ask.values["unit"] == "seconds" else {"steps": int(budget)}
    named = name if name in DATA else None
    contest = zoo.Contest(settings, source, data_name=named, seed=ask.seed, device=device, **limit)
    control = ask.visit.kept[KEY] = Control(ask.run)
    show = Show(contest, source, {"key": name, "title": sources.title_of(name)}, ask.run, lesson)
    try:
        for phase in _turns(ask, contest, control):
            yield show.update(phase, control.speed)
        if "*" not in ask.visit.stopped:
            yield from show.ending("stopped" if ask.stopped else "done")
    finally:
        contest.close()
        if ask.visit.kept.get(KEY) is control:
            del ask.visit.kept[KEY]


def _turns(ask: Ask, contest: zoo.Contest, control: Control) -> Iterator[str]:
    """Trains for a moment, says so, and again, until the budget is used, Stop is pressed or a pause lasts too long."""
    told, since = "", time.monotonic()
    while not ask.stopped and time.monotonic() - since < PATIENCE:
        if control.paused and not control.steps:
            if told != "paused":
                yield (told := "paused")
            time.sleep(0.03)
            continue
        begun = time.monotonic()
        single = bool(control.steps)
        if single:
            control.steps -= 1
        if not contest.advance(single=single):
            return
        took = time.monotonic() - begun
        since, told = time.monotonic(), "paused" if single else "training"
        yield told
        if control.speed < 1:
            _rest(ask, control, took * (1 / control.speed - 1))


def _rest(ask: Ask, control: Control, seconds: float) -> None:
    """Slow motion: waits, but not through a Stop or another choice."""
    end, speed = time.monotonic() + seconds, control.speed
    while time.monotonic() < end and not ask.stopped and control.speed == speed:
        time.sleep(0.02)
