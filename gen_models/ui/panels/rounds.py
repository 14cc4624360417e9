"""Expectation maximisation half a round at a time: points take the colours of the components, ellipses move."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, render, zoo
from gen_models.interface import BadInput, Clusters, GenerativeModel, Maximises, Range, Scores
from gen_models.ui import film
from gen_models.ui.climb import PALETTE, SURE, Fit, Ground, Run, entry_of, ground_of, picture
from gen_models.ui.fields import Field, choice, number, option_fields, seed, text
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

ROUNDS = 200  # at most
KS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # tried by Choose K, as long as there are PER points for each component
PER = 5
STARTS = 4  # of each K, at least
TELL = 0.1  # seconds between two messages
FRAMES, SIDE = 91, 420  # of the GIF: most frames, pixels
HINT = "Watch the halves of each round. Then start from random points: where does it get stuck?"
NOTHING = "No round has been made yet: press Run EM, then save."
WORDS = {  # an option's name -> its label and what to know about it
    "components": ("Components K", ""),
    "init": ("Start", ""),
    "covariance": ("Covariance", "Diagonal ellipses cannot tilt."),
    "restarts": ("Restarts", "EM runs from each; the likeliest is shown, the others are thin lines."),
    "floor": ("Least variance", "Keeps a component from closing in on a single point."),
    "tolerance": ("Tolerance", "Nats of gain below which a round counts as none; three of those end it."),
}


class RoundsForm(Form):
    """A form whose fields follow from the data chosen in it, whatever entry is picked."""

    def wanted(self, picked: Picked, settings: Mapping[str, Any]) -> list[Field]:
        return fields(self.tab.family, settings)


# ---- the panel ------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = RoundsForm(tab, "rounds", lambda picked: fields(tab.family, {}), "Run EM", HINT, follow=False)
            chooser = Form(tab, "choose-k", lambda picked: [], "Choose K", follow=False)
            bic = live("bic", {}, tab.visits, value=None, form=form.id, elem_id=f"{chooser.id}-view")
        with stage():
            files = {"GIF": _gif, "PNG": _png}
            view = live(
                "rounds",
                {"place": lambda visit, asked: _place(visit, form.id, asked)},
                tab.visits,
                events=("choose",),
                value=None,
                source=_source({}),
                form=form.id,
                palette=PALETTE,
                sure=SURE,
                saves={title: f"{form.id}-{title.lower()}" for title in files},
                elem_id=f"{form.id}-view",
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(form.id, NOTHING, _named, files))

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    view.choose(_chooser(tab), [form.view], [form.view, view], **quiet)

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Expectation maximisation on points, every round kept. settings: data, components, init, seed, rounds and the
        other options of the family's model; data "own-points" takes csv (one x, y per line).

        The answer holds 600 points, the components before and after each round (weight, mean and covariance) and the
        two components that explain each point best, as base64, besides the mean log-likelihood of every round.
        """
        ground = yield from _ground(ask)
        run = yield from _rounds(tab.family, ask, ground)
        ask.visit.kept[form.id] = run
        yield {view: film_of(run), form.message: note(_done(run))}

    def compare(ask: Ask, rounds: Any) -> Iterator[dict[Any, Any] | str]:
        """The Bayesian information criterion for 1 to 32 components; lower is better. settings: nothing.

        rounds: the settings of the panel's EM. Each K is fitted from the best of at least 4 starts by k-means++.
        """
        taken, values = form.checked(ask.picked, rounds, "n")
        passed = {field.option.name: values[field.option.name] for field in taken if field.passed}
        ground = yield from _ground(ask := ask._replace(values=values, options=passed))
        for found in _compared(tab.family, ask, ground):
            yield {bic: found, chooser.message: note(_chosen(found))}

    form.job(work, [view], api_name=f"{tab.family.key}_rounds")
    chooser.job(compare, [bic], [form.view], api_name=f"{tab.family.key}_choose_k")


def _chooser(tab: Tab):
    def choose(settings: Any) -> tuple[gr.HTML, gr.HTML]:
        settings = settings if isinstance(settings, Mapping) else {}
        try:
            found = [field.sent() for field in fields(tab.family, settings)]
            return gr.HTML(fields=found), gr.HTML(source=_source(settings))
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from None

    return choose


def fields(family: zoo.Family, settings: Mapping[str, Any]) -> list[Field]:
    """Data, the options of the family's model for points, and the most rounds."""
    names = [name for name in data.NAMES if data.space_of(name).kind == "points"]
    titles = [data.title_of(name) for name in names] + [sources.TITLES[sources.POINTS]]
    source = choice("data", "Data", (*names, sources.POINTS), shown=tuple(titles))
    own = source.option.check(settings.get("data", source.option.default)) == sources.POINTS
    info = "One x, y per line: draw, paste, or bring a file."
    csv = [text("csv", "Points as CSV", limit=sources.CSV_LIMIT, info=info)] if own else []
    first, more = [], []
    for field in option_fields(model_of(family).__init__, {"components": Range(1, 64)}, ("components", "init")):
        option = field.option
        if option.name in WORDS:
            option = dataclasses.replace(option, default=1) if option.name == "restarts" else option
            label, about = WORDS[option.name]
            shape = "number" if option.type is float else field.kind
            offered = more if field.more else first
            offered.append(field._replace(option=option, kind=shape, label=label, info=about))
    return [source, *csv, *first, seed(), *more, number("rounds", "Rounds at most", 1, ROUNDS, 100, more=True)]


def model_of(family: zoo.Family) -> type[GenerativeModel]:
    """The family's first model with clusters that learns in rounds."""
    return next(model for model in family.models if PANEL.suits(model, "points"))


def _source(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage shows before a run: the very points that EM will work on."""
    name = settings.get("data", data.NAMES[0])
    sent = {"name": name, "title": sources.title_of(name), "points": None}
    if name in data.NAMES:
        ground = ground_of(sources.title_of(name), data.load(name))
        sent |= {"points": _packed(ground.shown), "view": ground.view}
    return sent


# ---- running --------------------------------------------------------------------------------------------------


def _ground(ask: Ask) -> Iterator[str]:
    """The points of a checked request, while saying that they are read."""
    name = ask.values["data"]
    future, begun = sources.reading(name, ask.values, ask.visit), time.monotonic()
    while not future.done():
        wait([future], timeout=0.25)
        if not future.done():
            yield f"reading {sources.title_of(name)}, {time.monotonic() - begun:.0f} s"
    return ground_of(sources.title_of(name), future.result())


def _rounds(family: zoo.Family, ask: Ask, ground: Ground) -> Iterator[str]:
    """The run of a checked request, while saying how far it is; at least one round even when it is stopped."""
    begun = told = time.monotonic()
    values, starts, fits = ask.values, ask.values.get("restarts", 1), []
    entry = entry_of(family, model_of(family), ask.options | {"restarts": 1}, values["rounds"])
    for k in range(starts):
        fits.append(fit := Fit(entry, ground, ask.seed + k))
        while (fit.rounds < 1 or not ask.stopped) and fit.advance():
            if time.monotonic() - told >= TELL:
                told = time.monotonic()
                yield (f"start {k + 1} of {starts}, " if starts > 1 else "") + f"round {fit.rounds}"
        if ask.stopped:
            break
    best = max(fits, key=lambda fit: fit.looks[-1].nats)
    others = [[look.nats for look in fit.looks] for fit in fits if fit is not best]
    stopped = not best.model.converged and best.rounds < values["rounds"]
    done = time.monotonic() - begun
    return Run(ask.run, ground, best.looks, others, values, ask.picked.name, done, best.model.converged, stopped)


def _done(run: Run) -> str:
    tried, asked = len(run.others) + 1, run.values.get("restarts", 1)
    rounds = f"{run.rounds} round{'s' * (run.rounds > 1)}"
    starts = f", the best of {tried} starts" if tried > 1 else ""
    if run.stopped:
        return f"stopped at round {run.rounds}{starts}; the rounds until then are kept"
    if tried < asked:
        return f"stopped in start {tried} of {asked}; the likeliest is shown: {rounds}"
    end = "converged" if run.converged else "the limit, and it still gains"
    return f"{rounds} in {run.seconds:.2g} s{starts}: {end}"


def film_of(run: Run) -> dict[str, Any]:
    """The run as static/rounds.js plays it."""
    return {
        "run": run.name,
        "title": run.ground.title,
        "init": run.values.get("init", ""),
        "view": run.ground.view,
        "points": _packed(run.ground.shown),
        "learnt": len(run.ground.train),
        "k": len(run.looks[0].components),
        "rounds": run.rounds,
        "allowed": run.values["rounds"],
        "converged": run.converged,
        "stopped": run.stopped,
        "components": _packed(torch.stack([look.components for look in run.looks])),
        "owners": _packed(torch.stack([look.owners for look in run.looks[:-1]])),
        "nats": [round(look.nats, 6) for look in run.looks],
        "held": [round(look.held, 6) for look in run.looks] if run.looks[0].held is not None else None,
        "others": [[round(nats, 4) for nats in other] for other in run.others],
        "truth": run.ground.truth,
    }


def _packed(x: Tensor) -> str:
    """float32 or uint8 as base64, little-endian."""
    return base64.b64encode(x.contiguous().cpu().numpy().tobytes()).decode()


# ---- how many components --------------------------------------------------------------------------------------


def _compared(family: zoo.Family, ask: Ask, ground: Ground) -> Iterator[dict[str, Any]]:
    """BIC for one K after the other, growing; each from the best of several starts of the model's usual kind."""
    ks = [k for k in KS if k <= len(ground.train) / PER]
    sent = {"title": ground.title, "all": ks, "k": [], "bic": [], "at": ks[0], "over": False}
    options = {name: value for name, value in ask.options.items() if name != "init"}  # models are compared, not starts
    options["restarts"] = max(STARTS, options.get("restarts", 1))
    told = time.monotonic()
    for k in ks:
        entry = entry_of(family, model_of(family), options | {"components": k}, ask.values["rounds"])
        fit = Fit(entry, ground, ask.seed, seen=False)
        while not ask.stopped and fit.advance():
            if time.monotonic() - told >= TELL:
                told = time.monotonic()
                yield sent | {"at": k}
        if ask.stopped:
            break
        with torch.no_grad():
            found = fit.model.bic(ground.train) + 2 * len(ground.train) * ground.nats
        sent["k"].append(k)
        sent["bic"].append(round(found, 2))
    yield sent | {"over": True}


def _chosen(found: Mapping[str, Any]) -> str:
    if not found["over"]:
        return f"K = {found['at']}, {len(found['k'])} of {len(found['all'])} fitted"
    if not found["k"]:
        return "stopped before the first K was fitted"
    best = found["k"][min(range(len(found["k"])), key=found["bic"].__getitem__)]
    kept = "" if len(found["k"]) == len(found["all"]) else f"stopped after K = {found['k'][-1]}; "
    return f"{kept}lowest BIC at K = {best}. Press a dot to use its K."


# ---- files ----------------------------------------------------------------------------------------------------


def _named(run: Run) -> str:
    return f"em-{run.values['data']}-seed{run.values['seed']}-"


def _place(visit: Visit, key: str, asked: dict) -> int:
    """Which half round the PNG shows."""
    run, half = visit.kept.get(key), asked.get("half")
    if run is None or not isinstance(half, int) or not 0 <= half < run.halves:
        raise BadInput("There is no such half round: press Run EM first.")
    run.half = half
    return half


def _png(run: Run) -> tuple[str, bytes]:
    """The half round on screen as PNG with its recipe."""
    return f"half{run.half}.png", render.png(picture(run, run.half, 2 * SIDE), run.recipe())


def _gif(run: Run) -> tuple[str, bytes]:
    """All half rounds; the last one stays for a while."""
    frames = [picture(run, half, SIDE) for half in film.evenly(run.halves, FRAMES)]
    fps = max(2.0, min(12.0, len(frames) / 10))
    return "rounds.gif", render.gif(frames + frames[-1:] * round(1.5 * fps), fps)


PANEL = Panel("Rounds", (Clusters, Maximises, Scores), frozenset({"points"}), mount)
