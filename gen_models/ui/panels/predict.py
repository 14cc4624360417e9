"""One picture under the loupe: the probability of every pixel, what it can see, and what follows another choice."""

from __future__ import annotations

import base64
import math
import time
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, evaluate
from gen_models.interface import BadInput, Completes, Option, Predicts, Range
from gen_models.noise import Noise
from gen_models.ui import pad
from gen_models.ui.fields import Field, choice, number, seed
from gen_models.ui.live import live
from gen_models.ui.panels import raster
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask, Form, columns, side, stage

SOURCES = {"sample": "a sample, by its seed", "test": "a test picture", "drawing": "your drawing or file"}
BUDGET = 0.08  # seconds of computing in one live call; then the page shows what there is and asks again
LONGEST = 0.5  # seconds of one live call where the machine is busy with other things
HINT = "Click a pixel: how sure was the model of it? Choose the other value, and see what becomes of the picture."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-predict"
    with columns():
        with side():
            drawing = live(
                "pad",
                pad.serve(tab),
                tab.visits,
                value=None,
                name=f"{name}-pad",
                elem_classes="gm-pad-compact",
                **pad.props(tab.first),
            )
            form = Form(tab, "predict", _fields, hint=HINT)
        with stage():
            view = live(
                "predict",
                {"look": _look(form), "go": _go(form), "sight": _sight(tab)},
                tab.visits,
                value=None,
                pad=f"{name}-pad",
                form=form.id,
                elem_id=f"{name}-view",
                **_facts(tab.first),
            )
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])


def _fields(picked: Picked) -> list[Field]:
    start = choice("source", "Start from", tuple(SOURCES), shown=tuple(SOURCES.values()))
    return [start, number("test", "Test picture", 0, 1_000_000, 0), seed(), *raster.fields(picked)]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is asked."""
    suits = raster.suits(picked, Completes, Predicts)
    return {
        "entry": picked.name if suits else "",
        "size": list(raster.size_of(picked)),
        "title": data.title_of(picked.entry.data) if picked.entry.data in data.NAMES else "",
        "figure": _figure(picked) if suits else "",
    }


def _figure(picked: Picked) -> str:
    """What a test picture costs this entry on average, in words; "" where that was not measured."""
    try:
        found = evaluate.read(picked.shelf, picked.name)
        cell = ((found or {}).get("likelihood") or {}).get("figures", {}).get("nats")
        if not cell or evaluate.stale(picked.shelf, picked.name, found):
            return ""
        return f"{float(cell['value']):.1f} nats"
    except (BadInput, KeyError, TypeError, ValueError, AttributeError):
        return ""


# ---- live calls -----------------------------------------------------------------------------------------------------


def _look(form: Form):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """The picture to begin with and what each of its pixels costs; {"waiting"} while test pictures are read.

        A sample begins with nothing: the page lets it be written.
        """
        ask = form.asked(visit, asked.get("entry"), asked.get("settings"))
        model, source = raster.model_of(ask.picked, Completes, Predicts), ask.values["source"]
        drawn, test = asked.get("drawn") if source == "drawing" else None, None
        if source == "test":
            test = ask.values["test"]
            if not raster.ready(ask.picked, None, test):
                return {"waiting": True}
        found = raster.given(ask.picked, drawn, test)
        x = torch.zeros(1, *ask.picked.space.shape) if found.x is None else found.x
        name = f"sample, seed {ask.seed}" if source == "sample" else found.name
        count = 0 if found.x is None else ask.picked.space.size
        return {"name": name, **_sent(model, ask, x, count)}

    return look


def _go(form: Form):
    def go(visit: Visit, asked: dict) -> dict[str, Any]:
        """Goes on from the first `written` pixels to `until`, as far as BUDGET reaches, with the draws of the seed.

        pixels: base64 of H * W bytes. Every draw belongs to its pixel: what went before and how often it was asked
        for changes nothing.
        """
        ask = form.asked(visit, asked.get("entry"), asked.get("settings"))
        model, total = raster.model_of(ask.picked, Completes, Predicts), ask.picked.space.size
        count = Option("written", Range(0, total), 0, int).check(asked.get("written"))
        until = Option("until", Range(count, total), total, int).check(asked.get("until"))
        x = raster.arrived(asked.get("pixels"), ask.picked, count)
        x, count = onward(model, ask, x, count, until)
        return _sent(model, ask, x, count)

    return go


def onward(model: Any, ask: Ask, x: Tensor, count: int, until: int, budget: float = BUDGET) -> tuple[Tensor, int]:
    """x (1, 1, H, W) with its first `count` pixels, written on to `until`, or as far as the time reaches.

    Returns it with the number of pixels that stand; a row that is begun is ended.
    """
    x = torch.where(raster.known_until(x, count), x, 0.0)
    if count >= until:
        return x, count
    begun, worked, label = time.monotonic(), time.thread_time(), raster.rows(ask.picked, ask.label, 1, model.device)
    steps = raster.frames(model, x, count, Noise([ask.seed], model.device), label, ask.options)
    for frame in steps:
        done = min(until, raster.written(frame.x))
        over = time.thread_time() - worked > budget or time.monotonic() - begun > LONGEST
        if done >= until or (done > count and over):
            break
    steps.close()
    return torch.where(raster.known_until(frame.x, done), frame.x, 0.0), done


def _sent(model: Any, ask: Ask, x: Tensor, count: int) -> dict[str, Any]:
    """The first `count` pixels of x, and the nats of every pixel's value, float32: of black where none stands yet.

    Those after the next pixel mean nothing: they take the ones between for black.
    """
    with torch.inference_mode():
        label = raster.rows(ask.picked, ask.label, 1, model.device)
        black = torch.where(raster.known_until(x, count), x, -1.0)
        nats = -model.log_probs(black.to(model.device), label=label)[0].float().cpu()
    return {
        "pixels": raster.coded(x),
        "written": count,
        "nats": base64.b64encode(nats.numpy().astype("<f4").tobytes()).decode(),
    }


def _sight(tab: Tab):
    def sight(visit: Visit, asked: dict) -> dict[str, Any]:
        """Which pixels those of a row can see: per pixel base64 of H * W bits, padded to whole bytes."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model = raster.model_of(picked, Completes, Predicts)
        height, width = raster.size_of(picked)
        row = Option("row", Range(0, height - 1), 0, int).check(asked.get("row"))
        fields = [sight_of(model, n) for n in range(row * width, (row + 1) * width)]
        return {"row": row, "seen": [raster.packed(field) for field in fields]}

    return sight


def sight_of(model: Any, n: int) -> Tensor:
    """What pixel n sees, 1 or 0 in (H, W): a model that does not say sees all that came before."""
    if hasattr(model, "receptive_field"):
        return model.receptive_field(n).float()
    return (torch.arange(math.prod(model.space.shape)) < n).float().view(model.space.shape[1:])


PANEL = Panel("Predict", (Predicts, Completes), frozenset({"image"}), mount)
