"""Samples as a grid of pictures or a cloud of points: watch them form, click one to take it to the other panels."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from gen_models import __version__, data, render, zoo
from gen_models.interface import BadInput, Decodes, Frame, Opens, Samples, options
from gen_models.ui.fields import Field, label, number, option_fields, seed, words_first
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab, picture_of
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

LIVE = 0.05  # seconds between two frames of a run, at least
FIRST = ("prompt", "negative_prompt", "temperature", "truncation", "steps", "guidance")
SIZES = {128: 16, 256: 4}  # pixels of a side, and how many samples to begin with; of larger ones it is one
HINTS = {
    "vae": "Codes are drawn from a normal distribution and decoded.",
    "gan": "The generator turns noise into samples in one go.",
    "diffusion": "Watch noise become samples, step by step.",
    "hub": "The same seed draws the same picture; change one thing at a time.",
}


class Shown(NamedTuple):
    """What stands on the panel: enough to save it, with its recipe."""

    x: Tensor  # (B, *shape) on the CPU
    picked: Picked
    seed: int
    labels: list[int] | None
    options: dict[str, Any]
    asked: str | None  # the label asked for, None for every class in turn

    def recipe(self, k: int | None = None) -> dict[str, Any]:
        """The recipe of all samples, or of sample k alone."""
        name = self.asked if k is None or self.labels is None else self.picked.labels[self.labels[k]]
        start, count = (self.seed, len(self.x)) if k is None else (self.seed + k, 1)
        classes = {"label": name} if self.picked.labels else {}
        return {"entry": self.picked.name, "seed": start, "n": count, **classes, **self.options, "version": __version__}

    def sent(self, frame: Frame | None = None) -> dict[str, Any]:
        """What the browser draws."""
        space = self.picked.space
        sent = {
            "kind": space.kind,
            "entry": self.picked.name,
            "seed": self.seed,
            "labels": self.labels,
            "names": list(self.picked.labels),
            "options": self.options,
            "count": len(self.x),
            "step": [frame.step, frame.total] if frame else None,
        }
        if space.kind == "points":
            return sent | {"points": _plain(self.x)}
        sheet, across = render.sheet([render.picture(x, space) for x in self.x])
        return sent | {"picture": render.data_url(sheet), "columns": across, "gap": 0, "size": list(space.shape[:0:-1])}


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "sample", _fields, run="Generate", hint=HINTS.get(tab.family.key, ""))
        with stage():
            view = live(
                "samples",
                {},
                tab.visits,
                value=before(tab.first),
                real=_real(tab.first),
                empty=_empty(tab.first),
                family=tab.family.key,
                takes=any(issubclass(model, Decodes) and issubclass(model, Samples) for model in tab.family.models),
                elem_id=f"{form.id}-view",
            )
            downloads(form, {name: partial(_saved, form, make) for name, make in {"PNG": _png, "ZIP": _zip}.items()})
    tab.on_pick(lambda picked: gr.HTML(value=before(picked), real=_real(picked), empty=_empty(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Samples of an entry. settings: n, seed, label (a class name or "any") and the options of the entry's model.

        Sample k has seed + k; without a label, sample k of a conditional entry has class k mod (number of classes).
        """
        count, begun, shown = ask.values["n"], time.monotonic(), 0.0
        asked = None if ask.label is None else ask.picked.labels[ask.label]
        if issubclass(ask.picked.entry.model, Opens):
            yield "opening the model: the first time reads all its weights"
        model = ask.picked.model(tab.device)
        run = zoo.sample(model, ask.seed, count, label=ask.label, **ask.options)
        for frame in run:
            over, stop, now = frame.step >= frame.total, ask.stopped, time.monotonic()
            if (not over and not stop and now - shown < LIVE) or (frame.step == 0 and frame.total == 1):
                continue
            shown = now
            x = frame.x.detach().cpu()
            kept = ask.visit.kept[form.id] = Shown(x, ask.picked, ask.seed, ask.labels(count), ask.options, asked)
            yield {view: kept.sent(frame), form.message: note(_progress(frame, now - begun, kept, stop, run.said))}
            if stop:
                return

    form.job(work, [view], api_name=f"{tab.family.key}_sample")


def usual(picked: Picked) -> int:
    """How many samples to begin with."""
    if picked.space.kind == "points":
        return 1000
    return next((n for most, n in SIZES.items() if max(picked.space.shape) <= most), 1)


def _fields(picked: Picked) -> list[Field]:
    points = picked.space.kind == "points"
    count = number("n", "Points" if points else "Samples", 1, 2000 if points else 64, usual(picked))
    model = picked.entry.model  # another entry of the tab may not sample: it has no panel then
    offered = option_fields(model.sample, picked.entry.limits(), FIRST) if issubclass(model, Samples) else []
    return words_first([count, seed(), *label(picked)], offered)


def _progress(frame: Frame, seconds: float, kept: Shown, stopped: bool, said: str = "") -> str:
    """What is done, and `said`, what the sampler had to do otherwise than asked."""
    done = _done(frame, seconds, kept, stopped)
    return f"{done}; {said}" if said else done


def _done(frame: Frame, seconds: float, kept: Shown, stopped: bool) -> str:
    what = f"{len(kept.x)} {'point' if kept.picked.space.kind == 'points' else 'sample'}{'s' * (len(kept.x) > 1)}"
    if frame.step >= frame.total:
        seeds = f"seeds {kept.seed} to {kept.seed + len(kept.x) - 1}" if len(kept.x) > 1 else f"seed {kept.seed}"
        return f"{what} in {_seconds(seconds)}, {seeds}"
    if stopped:
        return f"stopped at step {frame.step} of {frame.total}; this is what the sampler held then"
    left = seconds / frame.step * (frame.total - frame.step) if frame.step else None
    return f"step {frame.step} of {frame.total}" + (f", {left:.1f} s left" if left is not None else "")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"


# ---- before anything runs -----------------------------------------------------------------------------------------


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview: its samples of seeds 0 .. 15 with default options, as `zoo.preview` made them."""
    if not card_time(picked.shelf, picked.name) or not issubclass(picked.entry.model, Samples):
        return None
    defaults = {
        name: option.default for name, option in options(picked.entry.model.sample, picked.entry.limits()).items()
    }
    count = 16 if picked.space.kind == "image" else 1000
    labels = [k % len(picked.labels) for k in range(count)] if picked.labels else None
    shown = Shown(torch.empty(count, 0), picked, 0, labels, defaults, None)
    sent = {"kind": picked.space.kind, "entry": picked.name, "seed": 0, "labels": labels, "names": list(picked.labels)}
    sent |= {"options": shown.options, "count": count, "step": None, "picture": picture_of(picked.shelf, picked.name)}
    if picked.space.kind == "image":
        sent |= {"columns": render.columns_for(count), "gap": 2, "size": list(picked.space.shape[:0:-1])}
    return sent if sent["picture"] else None


def _empty(picked: Picked) -> str:
    """What stands where nothing is drawn yet."""
    if card_time(picked.shelf, picked.name):
        return "Press Generate: what it draws appears here."
    return "Nothing to show yet: this entry has no checkpoint. Choose another one, or train it."


def _real(picked: Picked) -> list[list[float]]:
    """Real points to stand behind the generated ones; [] where there are none at hand."""
    if picked.space.kind != "points" or picked.entry.data not in data.NAMES:
        return []
    return _plain(data.load(picked.entry.data).batch(1000, torch.Generator().manual_seed(0)).x)


def _plain(x: Tensor) -> list[list[float]]:
    return [[round(a, 3), round(b, 3)] for a, b in torch.nan_to_num(x).tolist()]


# ---- files --------------------------------------------------------------------------------------------------------


def _saved(form: Form, make: Callable[[Visit, Shown], Path], visit: Visit) -> Path:
    if form.id not in visit.kept:
        raise BadInput("Nothing has been generated yet: press Generate, then save.")
    return make(visit, visit.kept[form.id])


def _name(shown: Shown) -> str:
    return f"{shown.picked.name}-seed{shown.seed}"


def _png(visit: Visit, shown: Shown) -> Path:
    """All samples as one PNG with the recipe inside."""
    path = visit.file(f"{_name(shown)}.png")
    path.write_bytes(render.png(_picture(shown), shown.recipe()))
    return path


def _picture(shown: Shown) -> Image.Image:
    if shown.picked.space.kind == "points":
        real = torch.tensor(_real(shown.picked)).view(-1, 2)
        return render.points(shown.x, real=real if len(real) else None, size=960, ground="#ffffff")
    return render.grid(shown.x, shown.picked.space, scale=4, gap=8, ground="#ffffff")


def _zip(visit: Visit, shown: Shown) -> Path:
    """Every sample as a PNG of its own with its recipe; all points as CSV beside their picture."""
    space, name = shown.picked.space, shown.picked.name
    if space.kind == "points":
        rows = "\n".join(f"{x:.6g},{y:.6g}" for x, y in shown.x.tolist())
        picture = render.png(_picture(shown), shown.recipe())
        files = {f"{_name(shown)}.csv": f"x,y\n{rows}\n".encode(), f"{_name(shown)}.png": picture}
    else:
        files = {}
        for k, x in enumerate(shown.x):
            kind = f"-{shown.picked.labels[shown.labels[k]]}" if shown.labels else ""
            kind = re.sub(r"[^\w-]+", "-", kind)  # a class's name may hold what a file's name may not
            files[f"{name}-seed{shown.seed + k}{kind}.png"] = render.png(render.picture(x, space), shown.recipe(k))
    path = visit.file(f"{_name(shown)}.zip")
    path.write_bytes(render.zip_of(files))
    return path


PANEL = Panel("Sample", (Samples,), frozenset({"image", "points"}), mount)
