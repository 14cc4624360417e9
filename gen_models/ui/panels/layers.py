"""Through the layers of an invertible model, both ways: points that can be followed, a mesh that bends, pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gen_models import __version__, data, metrics, render, zoo
from gen_models.interface import BadInput, Decodes, Encodes, Samples, Scores, Transforms
from gen_models.noise import Noise
from gen_models.ui import film
from gen_models.ui.fields import Field, label, number, option_fields, seed
from gen_models.ui.live import live
from gen_models.ui.panels import density, reconstruct, sources
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

LINES, LENGTH = 15, 57  # of the mesh: lines each way, places along a line
REACH = 3.5  # where the mesh of the noise ends; that of the data fills the view
LIVE = 0.1  # seconds between two messages of a run, at least
SPREAD = 3.0  # pictures are shown from -1 to 1, noise from -3 to 3
BETWEEN = 4  # frames of a GIF for each layer of points
HINT = "Press Follow: noise flows into data, and data back into noise. Colours keep to where a point lies in the noise."
NOTHING = "Nothing has been followed yet: press Follow, then save."
TITLES = ("noise → data", "data → noise")
ABOUT = ("samples", "held-out data, encoded")


def _wheel(count: int = 48) -> tuple[str, ...]:
    """Colours round the circle, alike in strength and darkest downwards, so that they differ without hue too.

    They are computed in Oklab (Björn Ottosson, 2020): lightness, and two axes of colour.
    """
    found = []
    for k in range(count):
        angle = math.tau * k / count
        light, a, b = 0.62 + 0.12 * math.sin(angle), 0.15 * math.cos(angle + 0.5), 0.15 * math.sin(angle + 0.5)
        long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
        middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        )
        shares = (min(1.0, max(0.0, v)) for v in linear)
        levels = (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in shares)
        found.append("#" + "".join(f"{round(255 * v):02x}" for v in levels))
    return tuple(found)


WHEEL = _wheel()


@dataclass
class Way:
    """One direction: what went in, after every layer, and where the mesh was meanwhile."""

    from_noise: bool
    stations: list[Tensor] = field(default_factory=list)  # (N, *shape) each, on the CPU
    mesh: list[Tensor] = field(default_factory=list)  # (2 * LINES * LENGTH, 2) each; none for pictures

    @property
    def noise(self) -> Tensor:
        """The station that is nearest to the noise: the noise itself, unless the run was stopped."""
        return self.stations[0 if self.from_noise else -1]


@dataclass
class Through:
    """A run through all layers, forth and back, with what is needed to make it again."""

    picked: Picked
    seed: int
    asked: str | None  # the label asked for
    options: dict[str, Any]
    count: int
    forth: Way = field(default_factory=lambda: Way(from_noise=True))
    back: Way = field(default_factory=lambda: Way(from_noise=False))
    error: float | None = None  # the largest, of data that went there and back
    stopped: bool = False

    @property
    def ways(self) -> tuple[Way, Way]:
        return self.forth, self.back

    @property
    def points(self) -> bool:
        return self.picked.space.kind == "points"

    @property
    def total(self) -> int:
        """Layers, as far as they are known."""
        return max(len(way.stations) for way in self.ways) - 1

    def recipe(self) -> dict[str, Any]:
        classes = {"label": self.asked} if self.picked.labels else {}
        made = {"entry": self.picked.name, "seed": self.seed, "n": self.count, **classes, **self.options}
        return made | {"layers": self.total, "version": __version__}


# ---- running --------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "layers", _fields, run="Follow", hint=HINT)
        with stage():
            view = live(
                "layers",
                {},
                tab.visits,
                value=None,
                lines=LINES,
                length=LENGTH,
                limit=film.LIMIT,
                wheel=WHEEL,
                saves={"GIF": f"{form.id}-gif"},
                elem_id=f"{form.id}-view",
                **_facts(tab.first),
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, {"GIF": lambda visit: _saved(visit, form.id)})
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Samples through the layers of an invertible model from noise to data, and held-out data back into noise.

        settings: n, seed, label and temperature where the model has them. The answer is what every layer made of them.
        """
        begun, told, run = time.monotonic(), 0.0, _begun(ask)
        for words in _followed(run, ask, tab.device):
            if ask.stopped:
                run.stopped = True
                break
            if time.monotonic() - told > LIVE:
                told = time.monotonic()
                yield words
        if not run.forth.stations:
            yield "stopped before the first layer"
            return
        ask.visit.kept[form.id] = run
        yield {view: sent(run), form.message: note(_done(run, time.monotonic() - begun))}

    form.job(work, [view], api_name=f"{tab.family.key}_layers")


def _fields(picked: Picked) -> list[Field]:
    points = picked.space.kind == "points"
    count = number("n", "Points", 100, 2000, 800) if points else number("n", "Samples", 1, 16, 16)
    offered = option_fields(picked.entry.model.sample, picked.entry.limits()) if _suits(picked) else []
    return [seed(), *label(picked), count, *(one for one in offered if one.option.name == "temperature")]


def _suits(picked: Picked) -> bool:
    return picked.space.kind in PANEL.kinds and all(issubclass(picked.entry.model, need) for need in PANEL.needs)


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before a run."""
    suits = _suits(picked) and card_time(picked.shelf, picked.name) > 0
    return {"entry": picked.name if suits else "", "before": film.still(picked) if suits else None}


def _begun(ask: Ask) -> Through:
    if not _suits(ask.picked):
        raise BadInput(f"{ask.picked.name} has no layers that can be undone; choose another entry.")
    asked = None if ask.label is None else ask.picked.labels[ask.label]
    return Through(ask.picked, ask.seed, asked, ask.options, ask.values["n"])


def _followed(run: Through, ask: Ask, device: str) -> Iterator[str]:
    """Fills both ways of the run, layer by layer; says what it is at."""
    model: Any = ask.picked.model(device)
    rows = zoo.label_rows(model.labels, run.count, ask.label)
    z = Noise(range(run.seed, run.seed + run.count), device).normal(*model.latent_shape)
    z = z.to(device) * run.options.get("temperature", 1.0)
    for k, x in enumerate(zoo.stepped(model.path(_with_mesh(z, run.points, REACH), label=_moved(rows, device)))):
        _keep(run.forth, x, run)
        yield f"layer {k}, towards data"
    x, rows = _held_out(run, ask, model)
    if x is None:
        return
    x = x.to(device)
    for k, y in enumerate(
        zoo.stepped(model.path_back(_with_mesh(x, run.points, film.LIMIT), label=_moved(rows, device)))
    ):
        _keep(run.back, y, run)
        yield f"layer {k}, towards noise"
    z = run.back.stations[-1].view(len(x), *model.latent_shape).to(device)
    *_, again = zoo.stepped(model.path(z, label=_moved(rows, device)))
    run.error = float((again - x).abs().max())


def _moved(rows: Tensor | None, device: str) -> Tensor | None:
    return rows if rows is None else rows.to(device)


def _with_mesh(x: Tensor, points: bool, reach: float) -> Tensor:
    return torch.cat([x, mesh(reach).to(x)]) if points else x


def mesh(reach: float) -> Tensor:
    """LINES upright, then LINES level lines over [-reach, reach]^2, LENGTH places each: (2 * LINES * LENGTH, 2)."""
    across, along = torch.linspace(-reach, reach, LINES), torch.linspace(-reach, reach, LENGTH)
    upright = torch.stack(torch.meshgrid(across, along, indexing="ij"), -1)
    return torch.cat([upright, upright.flip(-1)]).view(-1, 2)


def _keep(way: Way, x: Tensor, run: Through) -> None:
    x = x.float().cpu()
    if run.points:
        x, lines = x.split([len(x) - 2 * LINES * LENGTH, 2 * LINES * LENGTH])
        way.mesh.append(lines)
    way.stations.append(x)


def _held_out(run: Through, ask: Ask, model: Any) -> tuple[Tensor | None, Tensor | None]:
    """Data that the model was not trained on, and its label rows; None where there is none at hand."""
    if run.points:
        x = density.held_out(run.picked, ask.visit)
        return (None if x is None else x[: run.count]), None
    if run.picked.entry.data not in data.NAMES:
        return None, None
    try:
        x, labels = reconstruct.TESTS.of(
            run.picked.entry.data, lambda: reconstruct.test_pictures(run.picked.entry.data)
        ).result()
    except BadInput:
        return None, None
    if labels is not None and ask.label is not None:
        x, labels = x[labels == ask.label], labels[labels == ask.label]
    some = data.in_range(x[: run.count])
    if model.measure(run.picked.space, run.picked.entry.config) == "density":  # of bytes spread over their levels
        some = some + (Noise(range(len(some))).uniform(*run.picked.space.shape) - 0.5) / metrics.LEVELS
    return some, model.label_rows(labels[: run.count], len(some)) if labels is not None and model.labels else None


# ---- words and films --------------------------------------------------------------------------------------------


def _done(run: Through, seconds: float) -> str:
    if run.stopped:
        return f"stopped after layer {run.total}; the layers until then are kept"
    what = f"{run.count} {'points' if run.points else 'samples'} through {run.total} layers in {seconds:.2g} s"
    if run.error is None:
        return what
    return f"{what}; held-out data comes back from the noise to within {_small(run.error)}"


def _small(value: float) -> str:
    """One digit and its power of ten: 3·10⁻⁶."""
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}·10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) if value else "0"


def _missing(run: Through) -> str:
    """Why there is nothing of a direction."""
    return "Stopped before this direction was through." if run.stopped else "No held-out data is at hand."


def sent(run: Through) -> dict[str, Any]:
    """What static/layers.js draws: the points and meshes of both ways, or a film of pictures."""
    about = {"id": f"{run.picked.name} {run.seed} {id(run)}", "about": f"{run.picked.name}, seed {run.seed}"}
    if not run.points:
        return about | {"kind": "film", "film": about | _film(run)}
    ways = [
        {
            "title": title,
            "note": words,
            "empty": _missing(run),
            "stations": len(way.stations),
            "count": len(way.stations[0]) if way.stations else 0,
            "points": sources.coded(torch.cat(way.stations)) if way.stations else "",
            "mesh": sources.coded(torch.cat(way.mesh)) if way.mesh else "",
        }
        for title, words, way in zip(TITLES, ABOUT, run.ways, strict=True)
    ]
    return about | {"kind": "points", "total": run.total, "ways": ways}


def _film(run: Through) -> dict[str, Any]:
    """Pictures after every layer as the player takes them; a direction that was stopped on the way is left out."""
    tracks = []
    for title, words, colour, way in zip(TITLES, ABOUT, ("generated", "real"), run.ways, strict=True):
        track: dict[str, Any] = {"title": title, "colour": colour, "note": words, "empty": _missing(run)}
        if len(way.stations) == run.total + 1:
            frames = [_picture(x, run) for x in way.stations]
            track |= film.pictures(frames) | {"cells": film.cells_of(run.picked, len(way.stations[0]))}
        tracks.append(track)
    words = "" if run.error is None else f"there and back: {_small(run.error)}"
    timing = {"steps": list(range(run.total + 1)), "total": run.total, "fps": max(4.0, run.total / 5), "autoplay": True}
    return {"word": "layer", "note": words, "tracks": tracks, **timing}


def _picture(x: Tensor, run: Through) -> Image.Image:
    """All pictures of a station as a grid, the contrast of noise lowered until it fits."""
    return render.grid(x, run.picked.space, gap=0, spread=min(SPREAD, max(1.0, float(x.abs().quantile(0.995)))))


# ---- the file ---------------------------------------------------------------------------------------------------


def _saved(visit: Visit, key: str) -> Path:
    """Both directions side by side as a GIF; the last layer stays for a second."""
    run: Through | None = visit.kept.get(key)
    if run is None:
        raise BadInput(NOTHING)
    draw: Callable[[Way, float], Image.Image] = _drawn if run.points else _pictured(run)
    ways = [way for way in run.ways if len(way.stations) == run.total + 1]
    parts = BETWEEN if run.points else 1
    frames = [render.strip([draw(way, k / parts) for way in ways], 12) for k in range(run.total * parts + 1)]
    fps = 12.0 if run.points else 4.0
    path = visit.file(f"{run.picked.name}-seed{run.seed}-layers.gif")
    path.write_bytes(render.gif(frames + frames[-1:] * round(fps), fps))
    return path


def _pictured(run: Through) -> Callable[[Way, float], Image.Image]:
    return lambda way, at: render.grid(
        way.stations[int(at)].clamp(-1, 1), run.picked.space, scale=3, gap=2, ground="#ffffff"
    )


def _between(stations: list[Tensor], at: float) -> Tensor:
    """Where points are `at` layers after the start: on the straight line between two stations."""
    low = min(int(at), len(stations) - 2)
    return torch.lerp(stations[low], stations[low + 1], at - low)


def _drawn(way: Way, at: float, size: int = 400) -> Image.Image:
    """Points in the colours of their angle in the noise over the bent mesh, on white."""
    fine = 2 * size
    image = Image.new("RGB", (fine, fine), "white")
    pen = ImageDraw.Draw(image)
    places = (_between(way.mesh, at) * torch.tensor([1.0, -1.0]) / film.LIMIT + 1) * fine / 2
    for line in places.clamp(-fine, 2 * fine).view(-1, LENGTH, 2).tolist():
        pen.line([tuple(place) for place in line], "#b9cfdf", 2)
    radius = fine / 230
    dots = (_between(way.stations, at) * torch.tensor([1.0, -1.0]) / film.LIMIT + 1) * fine / 2
    sector = (torch.atan2(*way.noise.T.flip(0)) * (len(WHEEL) / math.tau)).round().long() % len(WHEEL)
    for (x, y), k in zip(dots.clamp(-fine, 2 * fine).tolist(), sector.tolist(), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), WHEEL[k])
    return image.resize((size, size), Image.Resampling.BOX)


PANEL = Panel("Layers", (Transforms, Decodes, Encodes, Samples, Scores), frozenset({"image", "points"}), mount)
