"""A label that changes while the sampler walks: one class early, another late, from the same noise as either alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
from torch import Tensor

from gen_models import zoo
from gen_models.interface import BadInput, Denoises, Frame, State
from gen_models.steering import Mixing, relabelled, turn
from gen_models.ui import cost, film
from gen_models.ui.fields import Field, choice, number, option_fields, seed, slider
from gen_models.ui.live import live
from gen_models.ui.panels.steer_mix import (
    COLOURS,
    FIRST,
    NOTHING,
    SECOND,
    STEERED,
    Mix,
    choose,
    done,
    film_of,
    gif,
    named,
    strip,
    titled,
    zipped,
)
from gen_models.ui.tabs import Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.walk import Walk
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

MOST = 100  # steps that travel to the browser
NUMBERS = 4_000_000  # of one track that travel, at most
LIVE = 0.1  # seconds between two words, at least
HINT = "Early steps decide the outline, late ones the strokes. Drag the two handles, and see who wins."
MULTI = (
    "Solvers that look back (DPM-Solver++, UniPC) begin anew at every change of the label: those steps are of order 1."
)


def mount(tab: Tab) -> None:
    """Builds this way of steering into the panel."""
    with columns():
        with side():
            form = Form(tab, "steer-labels", _fields, run="Mix", hint=HINT)
            cost.before_the_run(form, lambda ask: _price(ask, tab.device))
        with stage():
            mixer = live("mixer", {}, tab.visits, form=form.id, elem_id=f"{form.id}-mixer", **_facts(tab.first))
            files = {"Strip": strip, "GIF": gif, "ZIP": zipped}
            view = film.player(
                tab.visits,
                form.id,
                tuple(files),
                serve={"cell": lambda visit, asked: choose(visit, form.id, asked)},
                value=before(tab.first),
                empty="There is nothing to mix here: see why on the left, or choose an entry with a checkpoint.",
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(form.id, NOTHING, named, files))
    tab.on_pick(lambda picked: (gr.HTML(**_facts(picked)), before(picked)), [mixer, view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """A label that changes on the way. settings: a, b (classes), begin, end (t), n, seed and the model's options.

        From t = 1 to `begin` the label is a, from `end` to t = 0 it is b, and between them a mixture. The answer is a
        film of clean guesses: a throughout, the change, b throughout, all from the same noise.
        """
        mix, model = _begun(ask), ask.picked.model(tab.device)
        for which, walk in _walked(mix, model):
            words = f"{titled(mix, which)}: step {walk.moments[-1].step} of {walk.total}"
            yield words if walk.moments[-1].step < walk.total else {view: film_of(mix), form.message: note(words)}
        ask.visit.kept[form.id] = mix
        yield {view: film_of(mix), form.message: note(done(mix))}

    form.job(work, [view], api_name=f"{tab.family.key}_steer_labels")


# ---- what is asked --------------------------------------------------------------------------------------------


def suits(picked: Picked) -> bool:
    """Whether the entry can be told another label midway."""
    return issubclass(picked.entry.model, Denoises) and len(picked.labels) > 1 and picked.space.kind == "image"


def _fields(picked: Picked) -> list[Field]:
    if not suits(picked):
        return []
    names = picked.labels
    a, b = ("3", "8") if {"3", "8"} <= set(names) else names[:2]
    what = "digit" if names == tuple("0123456789") else "class"
    classes = [choice("a", f"First {what}", names, a), choice("b", f"Then {what}", names, b)]
    times = [
        slider("begin", "Mixture begins at t", 0.0, 1.0, 0.9, step=0.01, info="1 is noise, 0 is data.", more=True),
        slider("end", "Mixture ends at t", 0.0, 1.0, 0.6, step=0.01, info=MULTI, more=True),
    ]
    offered = option_fields(picked.entry.model.sample, picked.entry.limits(), ("steps", "guidance"))
    offered = [_finer(field) for field in offered]
    shown = [field for field in offered if field.option.name == "steps"]
    rest = [field._replace(more=True) for field in offered if field.option.name != "steps"]
    return [*classes, seed(), *shown, *times, *rest, number("n", "Samples", 1, 16, 9, more=True)]


def _finer(field: Field) -> Field:
    """Enough steps to see the change."""
    option = field.option
    if option.name != "steps" or option.default >= 20:
        return field
    return field._replace(
        option=type(option)(option.name, option.allowed, min(20, int(option.allowed.high)), option.type)
    )


def _mixing(ask: Ask) -> Mixing:
    if not suits(ask.picked):
        raise BadInput(_why(ask.picked))
    index = ask.picked.labels.index
    return Mixing(index(ask.values["a"]), index(ask.values["b"]), ask.values["begin"], ask.values["end"]).checked()


def _why(picked: Picked) -> str:
    """Why the entry has no labels to mix; "" where it has."""
    if suits(picked):
        return ""
    if not picked.labels:
        return f"{picked.name} was trained without classes, so there is no label to change. Choose another entry."
    return f"{picked.name} cannot go on from one of its steps with another label. Choose another entry."


def _price(ask: Ask, device: str) -> str:
    """Two walks, and of the third what lies behind the first change."""
    mixing, steps, n = _mixing(ask), int(ask.options["steps"]), ask.values["n"]
    own = sum(1 for k in range(steps) if 1 - k / steps > _turning(mixing, steps))
    rest = cost.calls({**ask.options, "steps": steps - own}) if own < steps else 0
    total = 2 * cost.calls(ask.options) + rest
    passes = 1 if ask.options.get("guidance", 1.0) == 1 else 2
    pace = cost.pace(ask.picked, device)
    took = "" if pace is None else f"Will take {cost.duration(pace * total * n * passes)}: "
    shared = f", {own} of {steps} steps are shared" if own else ""
    return f"{took}three walks of {n} samples, {total} network calls{shared}."


def _turning(mixing: Mixing, steps: int) -> float:
    """The first time of a step whose label is not the first class alone; -1 where there is none."""
    times = [1 - k / steps for k in range(steps)]
    return next((t for t in times if mixing.share(t) > 0 and mixing.a != mixing.b), -1.0)


# ---- the walks ------------------------------------------------------------------------------------------------


def _begun(ask: Ask) -> Mix:
    mixing, count, picked = _mixing(ask), ask.values["n"], ask.picked
    most = max(12, min(MOST, NUMBERS // (count * picked.space.size)))
    walks = (
        Walk(picked, ask.seed, None, name, ask.options, count, most)
        for name in (f"{ask.values['a']} to {ask.values['b']}", ask.values["a"], ask.values["b"])
    )
    return Mix(ask, mixing, tuple(walks))


def _walked(mix: Mix, model: Any) -> Iterator[tuple[int, Walk]]:
    """The three walks in turn, each told of now and then and at its end; ends early where Stop asks."""
    ask, count, classes = mix.ask, mix.ask.values["n"], len(mix.ask.picked.labels)

    def begin(rows: Tensor, start: State | None) -> Iterator[Frame]:
        return zoo.sample(model, ask.seed, count, label=rows, start=start, **ask.options)

    def label(t: float) -> Tensor:
        return mix.mixing.rows(t, count, classes)

    a, b = (Mixing(k, k, 1.0, 0.0).rows(1.0, count, classes) for k in (mix.mixing.a, mix.mixing.b))
    leaves: list[Frame] = []

    def first() -> Iterator[Frame]:
        for frame in begin(a, None):
            if not leaves:  # until then the changing walk is this one
                mix.walks[STEERED].add(frame)
                if turn(frame, label, a):
                    leaves.append(frame)
            yield frame

    def steered() -> Iterator[Frame]:
        if leaves:
            (trunk,) = leaves
            own = relabelled(begin, label, trunk.state._replace(history=()))
            next(own)  # the state that both share
            yield from own

    for which, frames in ((FIRST, first()), (STEERED, steered()), (SECOND, begin(b, None))):
        walk, told = mix.walks[which], time.monotonic()
        with contextlib.closing(frames):
            for frame in frames:
                walk.add(frame)
                mix.calls[which] = frame.calls
                if time.monotonic() - told > LIVE and frame.step < frame.total:
                    told = time.monotonic()
                    yield which, walk
                if ask.stopped:
                    return
        yield which, walk


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview, on screen before any weight is loaded; None where it has no labels or no checkpoint."""
    if not suits(picked) or not card_time(picked.shelf, picked.name):
        return None
    still = film.still(picked)
    titles = ("first one, then the other", "the first class throughout", "the second class throughout")
    empty = {"empty": "Press Mix to see it."}
    tracks = [{"title": title, "colour": c, **empty} for title, c in zip(titles, COLOURS, strict=True)]
    tracks[0] |= {"title": "samples of this entry", "colour": "generated", **still} if still else {}
    return {
        "id": f"{picked.name} unmixed",
        "about": picked.name,
        "total": 1,
        "steps": [1],
        "tracks": tracks,
        "plot": [],
    }


def _facts(picked: Picked) -> dict[str, Any]:
    return {"why": _why(picked) if issubclass(picked.entry.model, Denoises) else "", "entry": picked.name}
