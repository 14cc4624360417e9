"""A picture of which the lower part is rubbed out, finished by the model in several ways at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import torch
from torch import Tensor

from gen_models import __version__, data, render
from gen_models.interface import BadInput, Completes, Frame, Range
from gen_models.noise import Noise
from gen_models.ui import pad
from gen_models.ui.fields import Field, number, seed, slider
from gen_models.ui.live import live
from gen_models.ui.panels import raster
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

MOST = 16  # variants at once
LIVE = 0.05  # seconds between two frames of a run, at least
HINT = "Drag the line: what is below it is rubbed out, and the model finishes it in several ways."
WHOLE = "Nothing is left to complete: all pixels are kept. Move the line up."


class Variants(NamedTuple):
    """What stands on the panel: enough to save it, with its recipe."""

    x: Tensor  # (n, 1, H, W), 0 where nothing is written yet
    ask: Ask
    given: raster.Given
    known: int  # pixels that were kept

    @property
    def recipe(self) -> dict[str, Any]:
        picked, values = self.ask.picked, self.ask.values
        rows, pixels = divmod(self.known, picked.space.shape[2])
        asked = {"label": values["label"]} if picked.labels else {}
        chosen = {"entry": picked.name, "panel": "complete", "seed": self.ask.seed, "n": len(self.x), **asked}
        kept = {"rows": rows, "pixels": pixels, **self.given.recipe}
        return {**chosen, **self.ask.options, **kept, "version": __version__}

    def sent(self, frame: Frame, seconds: float) -> dict[str, Any]:
        """What static/complete.js draws."""
        picked = self.ask.picked
        return {
            "entry": picked.name,
            "seed": self.ask.seed,
            "count": len(self.x),
            "size": list(picked.space.shape[1:]),
            "known": self.known,
            "written": raster.written(self.x),
            "pixels": raster.coded(self.x),
            "name": self.given.name,
            "seconds": seconds,
            "done": frame.step >= frame.total,
        }


# ---- the panel ------------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-complete"
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
            form = Form(tab, "complete", _fields, run="Complete", hint=HINT)
        with stage():
            view = live(
                "complete",
                {"look": _look(tab, form), "again": _again(tab, form)},
                tab.visits,
                value=None,
                pad=f"{name}-pad",
                form=form.id,
                elem_id=f"{name}-view",
                **_facts(tab.first),
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, {"PNG": partial(_png, form.id)})
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask, drawn: Any) -> Iterator[dict[Any, Any] | str]:
        """Keeps the first rows (and pixels of the next row) of a picture and writes the rest, n variants at once.

        drawn: {"pixels": base64 of H * W grey bytes}, or null for test picture `test` of settings, or for nothing at
        all where that is null too. settings: test, rows, pixels, n, seed, label and the options of the entry's model.
        Variant k has seed + k. The answer's pixels are base64 of n * H * W bytes, 128 where nothing is written.
        """
        begun, shown = time.monotonic(), 0.0
        yield from _read(ask, drawn)
        for frame, found in _completed(ask, drawn, tab.device):
            over, stop, now = frame.step >= frame.total, ask.stopped, time.monotonic()
            if not over and not stop and now - shown < LIVE:
                continue
            shown = now
            ask.visit.kept[form.id] = found
            line = note(_progress(frame, now - begun, found, stop))
            yield {view: found.sent(frame, now - begun), form.message: line}
            if stop:
                return

    form.job(work, [view], [drawing], api_name=f"{tab.family.key}_complete")


def _fields(picked: Picked) -> list[Field]:
    height, width = raster.size_of(picked)
    test = Field(raster.Perhaps("test", Range(0, 1_000_000), 0, int), "number", "Test picture, while nothing is drawn")
    kept = [
        number("rows", "Rows kept", 0, height, height // 2),
        number("pixels", "Pixels kept of the next row", 0, width - 1, 0),
    ]
    variants = slider("n", "Variants", 1, MOST, MOST)
    return [test, *(field._replace(kind="hidden") for field in kept), variants, seed(), *raster.fields(picked)]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is completed."""
    return {
        "entry": picked.name if raster.suits(picked, Completes) else "",
        "size": list(raster.size_of(picked)),
        "title": data.title_of(picked.entry.data) if picked.entry.data in data.NAMES else "",
    }


# ---- completing -----------------------------------------------------------------------------------------------------


def _read(ask: Ask, drawn: Any) -> Iterator[str]:
    """Waits for the test pictures where one is asked for, while saying so."""
    if drawn or ask.values["test"] is None:
        return
    future = raster.reading(ask.picked)
    while not future.done() and not ask.stopped:
        wait([future], timeout=raster.PATIENCE)
        yield f"reading {data.title_of(ask.picked.entry.data)}"


def _completed(ask: Ask, drawn: Any, device: str) -> Iterator[tuple[Frame, Variants]]:
    """Frame after frame, with what is known by then; BadInput when there is nothing to complete."""
    model, count = raster.model_of(ask.picked, Completes, device=device), ask.values["n"]
    height, width = raster.size_of(ask.picked)
    known = ask.values["rows"] * width + ask.values["pixels"]
    given = raster.given(ask.picked, drawn, ask.values["test"])
    if given.x is None:
        known = 0  # rows of nothing
    elif known >= height * width:
        raise BadInput(WHOLE)
    x = torch.zeros(1, 1, height, width) if given.x is None else given.x
    noise = Noise(range(ask.seed, ask.seed + count), model.device)
    label = raster.rows(ask.picked, ask.label, count, model.device)
    for frame in raster.frames(model, x.expand(count, -1, -1, -1), known, noise, label, ask.options):
        yield frame, Variants(frame.x, ask, given, known)


def _progress(frame: Frame, seconds: float, found: Variants, stopped: bool) -> str:
    rows = found.ask.picked.space.shape[1]
    row, count = rows - frame.total + frame.step, len(found.x)
    if frame.step >= frame.total:
        seeds = f"seeds {found.ask.seed} to {found.ask.seed + count - 1}" if count > 1 else f"seed {found.ask.seed}"
        what = f"{count} variant{'s' * (count > 1)} of {found.given.name}"
        if found.given.x is None:
            what = f"{count} picture{'s' * (count > 1)} from nothing"
        return f"{what} in {seconds:.2g} s, {seeds}"
    if stopped:
        return f"stopped at row {row} of {rows}; what is written stays"
    left = f", {seconds / frame.step * (frame.total - frame.step):.1f} s left" if frame.step else ""
    return f"row {row} of {rows}{left}"


def _png(key: str, visit: Visit) -> Path:
    """All variants as one PNG with the recipe inside."""
    if key not in visit.kept:
        raise BadInput("Nothing has been completed yet: press Complete, then save.")
    found: Variants = visit.kept[key]
    picture = render.grid(found.x, found.ask.picked.space, scale=4, gap=8, ground="#ffffff")
    path = visit.file(f"{found.ask.picked.name}-complete-seed{found.ask.seed}.png")
    path.write_bytes(render.png(picture, found.recipe))
    return path


# ---- live calls -----------------------------------------------------------------------------------------------------


def _asked(form: Form, visit: Visit, asked: dict) -> Ask:
    return form.asked(visit, asked.get("entry"), asked.get("settings"))


def _look(tab: Tab, form: Form):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """The picture to begin with, in black and white; {"waiting"} while the test pictures are being read."""
        ask, drawn = _asked(form, visit, asked), asked.get("drawn")
        if not raster.ready(ask.picked, drawn, ask.values["test"]):
            return {"waiting": True}
        found = raster.given(ask.picked, drawn, ask.values["test"])
        return {"name": found.name, "pixels": "" if found.x is None else raster.coded(found.x)}

    return look


def _again(tab: Tab, form: Form):
    def again(visit: Visit, asked: dict) -> dict[str, Any]:
        """All variants at once, for models that are quick: they follow the line while it is dragged."""
        begun, ask, drawn = time.monotonic(), _asked(form, visit, asked), asked.get("drawn")
        if not raster.ready(ask.picked, drawn, ask.values["test"]):
            return {"waiting": True}
        *_, (frame, found) = _completed(ask, drawn, "cpu")
        visit.kept[form.id] = found
        return found.sent(frame, time.monotonic() - begun)

    return again


PANEL = Panel("Complete", (Completes,), frozenset({"image"}), mount)
