"""The log-density of a model of the plane, beside the true one at the same levels, drawn from coarse to fine."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from gen_models import __version__, data, metrics, render
from gen_models.interface import BadInput, Option, Range, Scores
from gen_models.noise import Noise
from gen_models.ui.fields import Field, number
from gen_models.ui.film import LIMIT
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.tabs import Panel, Tab, picture_of
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

STRIDES = (4, 2, 1)  # of the passes: every fourth node of the grid, then every second, then all
SIDE = 81  # nodes along a side of the view, its edges included
BANDS = 9  # levels of one nat each, the highest density of the truth in the topmost
UNIT = 500  # of what travels: a nat is 500
LOWEST = -65.0  # nats; less than that is nothing
DRAWS = Range(1, 1000, log=True)  # of a bound
LIVE = 0.12  # seconds between two drawings of a run, at least
CHUNK = (32, 2048)  # places at once: so many that Stop is heard soon
SHOWN = 1000  # held-out points where there is no true density to show
HINT = "Press Draw, then move over the pictures: each band is one nat, so a model that is off by a colour is off by e."
NOTHING = "Nothing has been drawn yet: press Draw, then save."


# ---- what is known of a density, node by node -------------------------------------------------------------------


def nodes() -> Tensor:
    """The places of the grid, row by row from the top: (SIDE^2, 2)."""
    line = torch.linspace(-LIMIT, LIMIT, SIDE)
    y, x = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def passes() -> list[Tensor]:
    """The numbers of the nodes in the order in which they are computed, each once: 21 x 21, 41 x 41, 81 x 81."""
    number = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
    found, known = [], torch.zeros(SIDE * SIDE, dtype=torch.bool)
    for stride in STRIDES:
        some = number[::stride, ::stride].flatten()
        found.append(some[~known[some]])
        known[some] = True
    return found


def between(values: Tensor, stride: int) -> Tensor:
    """All nodes from every stride-th of them, (SIDE^2,), straight lines between them."""
    coarse = values.view(1, 1, SIDE, SIDE)[..., ::stride, ::stride]
    return F.interpolate(coarse, (SIDE, SIDE), mode="bilinear", align_corners=True).flatten()


def mass(values: Tensor) -> float:
    """The probability within the view, from log-densities at the nodes (trapezoids: exact for what is smooth)."""
    weight = torch.ones(SIDE)
    weight[[0, -1]] = 0.5
    cell = (2 * LIMIT / (SIDE - 1)) ** 2
    return float((values.view(SIDE, SIDE).double().exp() * weight[:, None] * weight).sum() * cell)


@dataclass
class Surface:
    """A model's log-density at the nodes, as far as it is known, and what it costs held-out points."""

    picked: Picked
    draws: int  # of a bound; 1 where the likelihood is exact
    exact: bool
    true: Tensor | None  # the truth at the nodes
    total: int  # places to compute: nodes and held-out points
    values: Tensor = field(default_factory=lambda: torch.full((SIDE * SIDE,), math.nan))
    side: int = 0  # nodes along a side of the finest pass that is complete
    done: int = 0
    held: tuple[Tensor, Tensor | None] | None = None  # costs (N,) in nats of held-out points: the model's, the truth's

    def recipe(self) -> dict[str, Any]:
        draws = {} if self.exact else {"draws": self.draws}
        n = {} if self.held is None else {"n": len(self.held[0])}
        return {"entry": self.picked.name, **draws, **n, "resolution": self.side, "version": __version__}

    def figures(self) -> dict[str, Any] | None:
        """Mean costs with their standard errors; the gap is that of the same points, so its own is the smallest."""
        if self.held is None or len(self.held[0]) < 2:
            return None
        costs, true = self.held
        found = {"n": len(costs), "nll": metrics.mean_error(costs)}
        if true is not None:
            found |= {"truth": metrics.mean_error(true), "gap": metrics.mean_error(costs - true)}
        return found

    def sent(self) -> dict[str, Any]:
        """What static/density.js draws."""
        complete = self.side == SIDE
        return {
            "entry": self.picked.name,
            "model": _coded(self.values),
            "top": top(self.values if self.true is None else self.true),
            "exact": self.exact,
            "draws": self.draws,
            "side": self.side,
            "share": self.done / self.total,
            "figures": self.figures(),
            "mass": mass(self.values) if complete and self.exact else None,  # estimates of a bound need not sum to 1
        }


def top(values: Tensor) -> int:
    """The highest level in whole nats."""
    known = values[values > LOWEST]
    return math.ceil(float(known.max()) - 1e-3) if len(known) else 0


def _coded(values: Tensor) -> str:
    """Log-densities as base64 of int16: a nat is UNIT, -32768 is not known yet."""
    whole = (torch.nan_to_num(values, LOWEST, -LOWEST, LOWEST).clamp(LOWEST, -LOWEST) * UNIT).round()
    whole = torch.where(values.isnan(), -32768.0, whole).to(torch.int16)
    return base64.b64encode(whole.numpy().tobytes()).decode()


# ---- the model and the truth --------------------------------------------------------------------------------------


def log_prob(model: Any, x: Tensor, draws: int, seeds: range | None = None) -> Tensor:
    """(B,) nats on the CPU; all places draw the same noise, so that the picture is smooth, unless `seeds` are given."""
    noise = None if model.exact else Noise([0] * len(x) if seeds is None else seeds, model.device)
    with torch.no_grad():
        found = model.log_prob(x.to(model.device), noise, samples=draws)
    return torch.nan_to_num(found.float().cpu(), LOWEST, -LOWEST, LOWEST)


def _model(picked: Picked, device: str = "cpu") -> Any:
    model = picked.model(device)
    if not isinstance(model, Scores) or picked.space.kind != "points":
        raise BadInput(f"{picked.name} has no density over the plane; choose another entry.")
    return model


@lru_cache(maxsize=16)
def truth(name: str) -> Tensor | None:
    """The true log-density of a data set at the nodes; None where it is not known."""
    source = data.load(name)
    return None if source.log_prob is None else source.log_prob(nodes()).float()


def _true(picked: Picked) -> Tensor | None:
    return truth(picked.entry.data) if picked.entry.data in data.NAMES else None


def held_out(picked: Picked, visit: Visit) -> Tensor | None:
    """Points that the model was not trained on; None where there are none at hand."""
    if picked.entry.data in data.NAMES:
        return data.load(picked.entry.data).split("test").x
    return visit.kept.get(sources.HELD + picked.name)


# ---- the panel ----------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "density", _fields, run="Draw", hint=HINT)
        with stage():
            view = live(
                "density",
                {"truth": _serve_truth(tab), "at": _serve_at(tab)},
                tab.visits,
                value=None,
                elem_id=f"{form.id}-view",
                side=SIDE,
                limit=LIMIT,
                bands=BANDS,
                unit=UNIT,
                saves={"PNG": f"{form.id}-png"},
                **_facts(tab.first),
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, {"PNG": lambda visit: _saved(visit, form.id)})
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """The log-density of a model of points over the view, and its cost on held-out points beside the truth's.

        settings: n (held-out points) and, for a model whose likelihood is a bound, draws. The answer holds the values
        at 81 x 81 nodes from (-4.5, 4.5) row by row, as base64 of int16 with 500 to a nat.
        """
        begun, drawn = time.monotonic(), 0.0
        for surface in _refined(ask, tab.device):
            ask.visit.kept[form.id] = surface
            over = surface.done == surface.total
            stop, now = ask.stopped, time.monotonic()
            if over or stop or now - drawn > LIVE:
                drawn = now
                yield {view: surface.sent(), form.message: note(_progress(surface, now - begun, stop))}
            if stop:
                return

    form.job(work, [view], api_name=f"{tab.family.key}_density")


def _fields(picked: Picked) -> list[Field]:
    bound = issubclass(picked.entry.model, Scores) and not picked.entry.model.exact
    info = "Of the code, for each place: more make the bound tighter and slower."
    draws = [Field(Option("draws", DRAWS, 200, int), "slider", "Draws", info)] if bound else []
    return [*draws, number("n", "Held-out points", 100, 20_000, 2000, more=True)]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is drawn."""
    model, known = picked.entry.model, picked.entry.data in data.NAMES
    suits = issubclass(model, Scores) and picked.space.kind == "points" and card_time(picked.shelf, picked.name) > 0
    return {
        "entry": picked.name if suits else "",
        "data": data.title_of(picked.entry.data) if known else "",
        "preview": picture_of(picked.shelf, picked.name) if suits else "",
    }


def _refined(ask: Ask, device: str) -> Iterator[Surface]:
    """The surface after each few places: two coarse passes, then the held-out points, then the finest."""
    model, places, order = _model(ask.picked, device), nodes(), passes()
    draws = ask.values.get("draws", 1)
    held = held_out(ask.picked, ask.visit)
    held = held if held is None else held[: ask.values["n"]]
    total = len(places) + (0 if held is None else len(held))
    surface = Surface(ask.picked, draws, model.exact, _true(ask.picked), total)
    for stride, some in zip(STRIDES, order, strict=True):
        if stride == STRIDES[-1] and held is not None:
            yield from _measured(surface, model, held)
        for part, found in _in_chunks(model, places[some], draws):
            surface.values[some[part]] = found
            surface.done += len(found)
            if part.stop == len(some):
                surface.side = (SIDE - 1) // stride + 1
                surface.values = between(surface.values, stride)
            yield surface


def _measured(surface: Surface, model: Any, held: Tensor) -> Iterator[Surface]:
    """The costs of held-out points, a few more each time."""
    true = None
    if surface.true is not None:
        true = -data.load(surface.picked.entry.data).log_prob(held).double()
    costs = torch.empty(0, dtype=torch.float64)
    for part, found in _in_chunks(model, held, surface.draws, alone=True):
        costs = torch.cat([costs, -found.double()])
        surface.done += len(found)
        surface.held = costs, None if true is None else true[: part.stop]
        yield surface


def _in_chunks(model: Any, x: Tensor, draws: int, alone: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Log-densities of rows of x, so many at once as take about a tenth of a second; `alone`: a noise for each row."""
    at, size = 0, CHUNK[0]
    while at < len(x):
        part, begun = slice(at, min(at + size, len(x))), time.monotonic()
        yield part, log_prob(model, x[part], draws, range(part.start, part.stop) if alone else None)
        took = max(1e-3, time.monotonic() - begun)
        at, size = part.stop, int(min(max(size * min(2.0, 0.1 / took), CHUNK[0]), CHUNK[1]))


def _progress(surface: Surface, seconds: float, stopped: bool) -> str:
    n = surface.side
    if surface.done == surface.total:
        return f"{n} × {n} places in {seconds:.1f} s"
    so_far = f"{n} × {n} places" if n else "the first pass"
    if stopped:
        what = f"what is known of {so_far} stays" if n else "the part that is known stays"
        return f"stopped at {surface.done / surface.total:.0%}; {what}"
    left = seconds * (surface.total / surface.done - 1)
    return f"{so_far}{' are there' if n else ''}, {left:.0f} s left"


# ---- live calls ---------------------------------------------------------------------------------------------------


def _serve_truth(tab: Tab):
    def serve(visit: Visit, asked: dict) -> dict[str, Any]:
        """The true density, or held-out points where it is not known; neither of what a person brought long ago."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        values, held = _true(picked), None
        if values is None:
            held = held_out(picked, visit)
        return {
            "values": None if values is None else _coded(values),
            "top": None if values is None else top(values),
            "mass": None if values is None else mass(values),
            "points": None if held is None else sources.coded(held[:SHOWN]),
        }

    return serve


def _serve_at(tab: Tab):
    def serve(visit: Visit, asked: dict) -> dict[str, Any]:
        """log p of model and truth at a place, None for minus infinity."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        place = [Option(name, Range(-LIMIT, LIMIT), 0.0, float).check(asked.get(name)) for name in "xy"]
        x = torch.tensor([place])
        model = _model(picked)
        draws = Option("draws", DRAWS, 200, int).check(asked.get("draws", 200))
        found = {"model": float(log_prob(model, x, 1 if model.exact else draws)), "truth": None}
        if picked.entry.data in data.NAMES and data.load(picked.entry.data).log_prob is not None:
            value = float(data.load(picked.entry.data).log_prob(x))
            found["truth"] = value if math.isfinite(value) else None
        return found

    return serve


# ---- the file -----------------------------------------------------------------------------------------------------


def _saved(visit: Visit, key: str) -> Path:
    """The density beside the true one, as PNG with its recipe."""
    surface: Surface | None = visit.kept.get(key)
    if surface is None:
        raise BadInput(NOTHING)
    path = visit.file(f"{surface.picked.name}-density.png")
    path.write_bytes(render.png(_picture(surface, held_out(surface.picked, visit)), surface.recipe()))
    return path


def _picture(surface: Surface, held: Tensor | None) -> Image.Image:
    """Model and truth side by side on white, each under its name and with what it costs held-out points."""
    size, head, gap = 640, 64, 24
    highest = top(surface.values if surface.true is None else surface.true)
    colours, figures = render.COLOURS["light"], surface.figures() or {}
    words = {key: "{:.3f} ± {:.3f}".format(*figures[key]) for key in ("nll", "truth", "gap") if key in figures}
    said = f"NLL {'' if surface.exact else 'at most '}{words['nll']} nats" if words else "log-density"
    said += f", {words['gap']} above the truth" if "gap" in words else ""
    views = [(surface.picked.name, said, contour(surface.values, highest, colours["generated"], size))]
    if surface.true is not None:
        told = f"NLL {words['truth']} nats" if "truth" in words else "log-density"
        views.append(("the true density", told, contour(surface.true, highest, colours["real"], size)))
    elif held is not None:
        dots = render.points(held[:SHOWN], size=size, ground="#ffffff", colour=colours["real"]).convert("RGB")
        views.append(("held-out points", f"{min(SHOWN, len(held))} of them", dots))
    sheet = Image.new("RGB", (len(views) * (size + gap) - gap + 2 * gap, size + head + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (title, line, image) in enumerate(views):
        left = gap + k * (size + gap)
        sheet.paste(image, (left, head))
        pen.rectangle((left, head, left + size - 1, head + size - 1), outline=colours["line"])
        pen.text((left, 12), title, colours["ink"], ImageFont.load_default(20))
        pen.text((left, 38), line, colours["muted"], ImageFont.load_default(15))
    return sheet


def contour(values: Tensor, highest: int, colour: str, size: int) -> Image.Image:
    """Log-densities at the nodes as filled bands of one nat, `highest` nats at the top of the last one, on white."""
    fine = torch.nan_to_num(values, LOWEST).clamp(min=LOWEST).view(1, 1, SIDE, SIDE)
    fine = F.interpolate(fine, (2 * size, 2 * size), mode="bilinear", align_corners=True)[0, 0]
    band = (fine - (highest - BANDS)).floor().add(1).clamp(0, BANDS).long()
    share = np.linspace(0, 1, BANDS + 1)[:, None] ** 0.9
    ramp = 255 * (1 - share) + np.array(ImageColor.getrgb(colour)) * share
    image = Image.fromarray(ramp.round().astype(np.uint8)[band.numpy()])
    return image.resize((size, size), Image.Resampling.BOX)


PANEL = Panel("Density", (Scores,), frozenset({"points"}), mount)
