"""The forward process: data noised along a schedule, other schedules, the loss at each time, the field of the plane."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, forward
from gen_models.interface import BadInput, Denoises, Guess, Option, Range, checked_seed
from gen_models.noise import Noise, mixed
from gen_models.schedules import SCHEDULES
from gen_models.ui import held_out, pad
from gen_models.ui.fields import SOLVERS, Field, check, number, seed, several, slider
from gen_models.ui.live import live
from gen_models.ui.panels import plane_field, sources
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

CLOUD = 1000  # points that are noised
PICTURES = 4  # pictures that are noised
LARGE = 60_000  # numbers that are noised at once: of larger pictures only one is
CALL = 1 << 20  # numbers of x in one call of the network, at most
FIRST = Range(0, 1_000_000)
HINT = "Drag t: the data drowns in noise. At which t is the model's work hardest?"
MEASURES = {"velocity": "velocity v = ε − x_0", "eps": "noise ε", "x0": "clean guess x_0"}

# ---- what is noised -----------------------------------------------------------------------------------------------


def _given(tab: Tab):
    def given(visit: Visit, asked: dict) -> dict[str, Any]:
        """x0 and one eps for each of its rows: drawn, held out of the data from `first` on, or points."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        if not suits(picked):
            raise BadInput(f"{picked.name} has no forward process of its own; choose another entry.")
        found = _chosen(picked, visit, asked)
        if found is None:
            return {"waiting": True, "words": f"reading {data.title_of(picked.entry.data)}"}
        x0, words = found
        lowest = checked_seed(asked.get("seed"), len(x0))
        eps = Noise(range(lowest, lowest + len(x0))).normal(*picked.space.shape)
        sent = {"count": len(x0), "shape": list(picked.space.shape), "words": words, "eps": _int16(eps)}
        if picked.space.kind == "points":
            return sent | {"x0": sources.coded(x0)}
        return sent | {"x0": base64.b64encode(data.in_bytes(x0).numpy().tobytes()).decode()}

    return given


def _chosen(picked: Picked, visit: Visit, asked: dict) -> tuple[Tensor, str] | None:
    """What is to be noised (n, *shape), and what it is; None while it is being read."""
    if picked.space.kind == "image" and asked.get("drawn"):
        drawn = asked["drawn"]
        brought = isinstance(drawn, Mapping) and drawn.get("kind") == "file"
        x0 = pad.received(drawn, picked.space)[None]
        return x0, str(drawn.get("name"))[:80] if brought else "your drawing"
    first = Option("first", FIRST, 0, int).check(asked.get("first") or 0)
    count = CLOUD if picked.space.kind == "points" else max(1, min(PICTURES, LARGE // picked.space.size))
    try:
        known = held_out.held(picked, visit)
    except BadInput as error:
        samples = held_out.stand_in(picked)
        if samples is None:
            raise
        which = (first + torch.arange(count)) % len(samples)
        return samples[which], f"samples of {picked.name}, since its data is not at hand ({error})"
    if known is None:
        return None
    which = (first + torch.arange(min(count, len(known.x)))) % len(known.x)
    kind = "points" if picked.space.kind == "points" else "pictures"
    return known.rows(which).x, f"{len(which)} held-out {kind}"


def _int16(x: Tensor) -> str:
    """Numbers as base64 of int16, 3000 being 1."""
    return base64.b64encode((x * 3000).round().clamp(-32767, 32767).to(torch.int16).numpy().tobytes()).decode()


# ---- schedules ----------------------------------------------------------------------------------------------------


def _schedules(tab: Tab):
    def schedules(visit: Visit, asked: dict) -> dict[str, Any]:
        """Each schedule as base64 of float32, 5 x 1001 (forward.table), and the name of the entry's own."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        if not suits(picked):
            raise BadInput(f"{picked.name} has no forward process of its own; choose another entry.")
        schedule = picked.nearby(tab.device).schedule
        own = forward.own(schedule)
        tables = {name: _float32(forward.table(other)) for name, other in SCHEDULES.items()}
        if not own:
            tables["its own"] = _float32(forward.table(schedule))
        return {"tables": tables, "own": own or "its own"}

    return schedules


def _float32(x: Tensor) -> str:
    return base64.b64encode(x.float().numpy().astype("<f4").tobytes()).decode()


# ---- the loss at each time ----------------------------------------------------------------------------------------


def _losses(ask: Ask, device: str) -> Iterator[str | dict[str, Any]]:
    """Words while the data is read; then what static/forward_loss.js draws, after each call of the network."""
    picked, values = ask.picked, ask.values
    if not suits(picked):
        raise BadInput(f"{picked.name} has no forward process of its own; choose another entry.")
    model = picked.model(device)
    while (known := held_out.held(picked, ask.visit)) is None:
        if ask.stopped:
            return
        yield f"reading {data.title_of(picked.entry.data)}"
    order = torch.randperm(len(known.x), generator=torch.Generator().manual_seed(mixed("rows", ask.seed)))
    batch = known.rows(order[: values["n"]])
    x0 = batch.x.to(model.device)
    eps = Noise(range(ask.seed, ask.seed + len(x0)), model.device).normal(*picked.space.shape)
    classes = batch.label if values.get("classes") and model.labels else None
    rows = None if classes is None else model.label_rows(classes, len(x0))

    def denoise(x_t: Tensor, t: float, which: slice) -> Guess:
        return model.denoise(x_t, t, label=None if rows is None else rows[which])

    times = forward.even(values["times"])
    size = min(32 if picked.space.kind == "image" else 500, max(2, CALL // picked.space.size))
    best = _best(picked, model, x0, eps, times)
    own = forward.target(model.schedule)
    facts = {"entry": picked.name, "own": own, "wanted": len(x0), "seed": ask.seed, "least": best}
    facts |= {"trivial": forward.trivial(known.rows(torch.arange(len(known.x))).x), "times": times}
    for losses in forward.measured(denoise, model, x0, eps, times, size):
        yield facts | sent(losses, own)


def _best(picked: Picked, model: Any, x0: Tensor, eps: Tensor, times: list[float]) -> dict[str, list[float]] | None:
    """The errors of the exact posterior mean on the same noised points; None where it is not known."""
    known = plane_field.exact_of(picked)
    if known is None:
        return None
    best = plane_field.bayes(known, model)
    *_, losses = forward.measured(lambda x, t, _: best(x, t), model, x0.cpu(), eps.cpu(), times, len(x0))
    return {name: [pair[0] for pair in losses.curve(name)] for name in MEASURES}


def sent(losses: forward.Losses, own: str) -> dict[str, Any]:
    """The curves by measure, the entry's own first: at each time mean and standard error, or null."""
    names = [own, *(name for name in ("x0", "eps") if name != own)]
    return {"measures": {name: losses.curve(name) for name in names}, "counts": losses.counts()}


# ---- the panel ----------------------------------------------------------------------------------------------------


def suits(picked: Picked) -> bool:
    return PANEL.suits(picked.entry.model, picked.space.kind) and card_time(picked.shelf, picked.name) > 0


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-forward-process"
    with columns():
        with side():
            form = Form(tab, "forward-process", _fields, run="Measure the loss", hint=HINT)
            drawing = live(
                "pad",
                pad.serve(tab),
                tab.visits,
                value=None,
                name=f"{name}-pad",
                elem_id=f"{name}-pad",
                elem_classes="gm-forward-pad",
                **pad.props(tab.first),
            )
        with stage():
            serve = {"given": _given(tab), "schedules": _schedules(tab)}
            serve |= {"field": plane_field.serve_field(tab), "paths": plane_field.serve_paths(tab)}
            view = live(
                "forward",
                serve,
                tab.visits,
                value=None,
                pad=f"{name}-pad",
                form=form.id,
                elem_id=f"{name}-view",
                words=MEASURES,
                **_facts(tab.first),
            )
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """The model's error at each time, on held-out data. settings: seed, n (examples), times, and classes.

        The answer holds, by measure, mean and standard error at each of `times`: of the velocity eps - x0 or the noise,
        whichever the model predicts, and of the guesses of x0 and eps, each squared and per number of x. `trivial` is
        what the data's mean and no noise at all would give, `least` the exact posterior mean where it is known.
        """
        last = None
        for part in _losses(ask, tab.device):
            if isinstance(part, str):
                yield part
                continue
            last = part
            yield {view: last, form.message: note(_progress(last, ask.stopped))}
            if ask.stopped:
                return

    form.job(work, [view], api_name=f"{tab.family.key}_forward_loss")


def _progress(found: dict[str, Any], stopped: bool) -> str:
    counts, wanted = found["counts"], found["wanted"]
    if min(counts) == wanted:
        return f"{wanted} examples at each of {len(counts)} times"
    so_far = f"{sum(counts) / (wanted * len(counts)):.0%}"
    return f"stopped at {so_far}; what is measured stays" if stopped else f"measured {so_far}"


def _fields(picked: Picked) -> list[Field]:
    if picked.space.kind == "points":
        known = plane_field.solvers(picked) if issubclass(picked.entry.model, Denoises) else ()
        shown = tuple(SOLVERS.get(name, name) for name in known)
        usual: list[Field] = [several("solvers", "Paths of the solvers", known, known, shown=shown)] if known else []
        usual += [slider("steps", "Steps of each path", 1, 50, 10, step=1)]
        more = [number("particles", "Paths of each solver", 1, 200, 24, more=True)]
        counted = number("n", "Points for the loss", 100, 5000, 2000, more=True)
    else:
        usual = [number("first", "First held-out picture, while nothing is drawn", FIRST.low, FIRST.high, 0)]
        more = [check("classes", "Tell the model the class", True, more=True)] if picked.labels else []
        counted = number("n", "Pictures for the loss", 4, held_out.HELD, 128, more=True)
    return [seed(), *usual, counted, number("times", "Times for the loss", 2, 200, 30, more=True), *more]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is asked."""
    title = data.title_of(picked.entry.data) if picked.entry.data in data.NAMES else ""
    return {"entry": picked.name if suits(picked) else "", "kind": picked.space.kind, "title": title}


PANEL = Panel("Forward process", (Denoises,), frozenset({"image", "points"}), mount)
