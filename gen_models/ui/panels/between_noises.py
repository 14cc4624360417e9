"""From one seed's noise to another's, and from one class to another: every frame a full run of the sampler."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from gen_models import __version__, render
from gen_models.interface import BadInput, Denoises, Frame, Opens, Refines
from gen_models.noise import SEEDS
from gen_models.steering import evenly
from gen_models.ui import cost, film
from gen_models.ui.fields import Field, choice, number, option_fields, slider, words_first
from gen_models.ui.panels.sample import FIRST
from gen_models.ui.panels.steer_mix import kind
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.walk import NOISE
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage
from gen_models.zoo.between import between

FPS = 8
LIVE = 0.1  # seconds between two words, at least
HEIGHT = 280  # pixels of a frame in a file, about
THUMBS = 24  # frames of the strip, at most
SIZES = {64: (16, 64), 128: (8, 32)}  # pixels of a side: frames to begin with, and at most; of larger ones (5, 16)
HINT = "Each frame is drawn anew from noise between the two. The same seed twice: only the class moves."
INFO = "Of the great circle from one noise to the other. Solvers that add noise of their own jump at both ends."
NOTHING = "Nothing has been drawn yet: press Interpolate, then save."


class Way(NamedTuple):
    """Samples on the way as they were shown: enough to save them, with their recipe."""

    x: Tensor  # (frames, *shape) on the CPU
    noise: Tensor  # (frames, *shape): what each began with
    ask: Ask
    step: int
    total: int

    @property
    def picked(self) -> Picked:
        return self.ask.picked

    @property
    def frames(self) -> int:
        return self.ask.values["frames"]

    def pictures(self, scale: int = 1) -> list[Image.Image]:
        return [render.picture(x, self.picked.space, scale=scale) for x in self.x]

    @property
    def scale(self) -> int:
        """How often a pixel is repeated in a file."""
        return max(1, HEIGHT // self.picked.space.shape[-2])

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        stopped = {"stopped": self.step} if self.step < self.total else {}
        place = {"entry": self.picked.name, "panel": "between-noises"}
        return place | {**self.ask.values, "version": __version__} | stopped


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "between-noises", _fields, run="Interpolate", hint=HINT)
            cost.before_the_run(form, lambda ask: _price(ask, tab.device))
        with stage():
            files = {"Strip": _strip, "GIF": _gif, "ZIP": _zip}
            view = film.player(
                tab.visits,
                form.id,
                tuple(files),
                value=before(tab.first),
                empty="This entry has no checkpoint yet. Choose another one, or train it.",
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(form.id, NOTHING, _named, files))
    tab.on_pick(before, [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Samples on the way between two noises. settings: a, b (seeds), frames, from, to (classes), model options.

        Frame k is drawn from the noise at k / (frames - 1) of the great circle from seed a to seed b, and told the
        mixture of both classes at that place; the first and the last are the samples of the two seeds.
        """
        weights, rows = asked(ask)
        if issubclass(ask.picked.entry.model, Opens):
            yield "opening the model: the first time reads all its weights"
        began, told, noise = time.monotonic(), 0.0, torch.empty(0)
        run = between(
            ask.picked.model(tab.device), ask.values["a"], ask.values["b"], weights, label=rows, **ask.options
        )
        for frame in run:
            over, stop = frame.step >= frame.total, ask.stopped
            if frame.step and not over and not stop and time.monotonic() - told < LIVE:
                continue
            told = time.monotonic()
            noise = frame.x.detach().float().cpu() if frame.step == 0 else noise
            way = ask.visit.kept[form.id] = Way(_seen(frame), noise, ask, frame.step, frame.total)
            message = note(_words(way, told - began, run.said))
            yield {view: film_of(way) if over or stop else forming(way), form.message: message}
            if stop:
                return

    form.job(work, [view], api_name=f"{tab.family.key}_between")


# ---- what is asked --------------------------------------------------------------------------------------------


def _fields(picked: Picked) -> list[Field]:
    model = picked.entry.model  # another entry of the tab may not walk from noise: it has no panel then
    offered = option_fields(model.sample, picked.entry.limits(), FIRST[:2]) if issubclass(model, Refines) else []
    ends = [number("a", "From seed", 0, SEEDS - 1, 0), number("b", "To seed", 0, SEEDS - 1, 1)]
    names = picked.labels
    if names:
        what = "digit" if names == tuple("0123456789") else "class"
        b = names[1 % len(names)]
        ends.insert(1, choice("from", f"From {what}", names, names[0]))
        ends.append(choice("to", f"To {what}", names, b))
    usual, most = next((found for side, found in SIZES.items() if max(picked.space.shape) <= side), (5, 16))
    return words_first([*ends, slider("frames", "Frames", 2, most, usual, step=1, info=INFO)], offered)


def asked(ask: Ask) -> tuple[list[float], Tensor | None]:
    """Where each frame stands between the noises, and its label row (n, K); BadInput where nothing would move."""
    if why := PANEL.refusal(ask.picked.entry.model, ask.picked.space.kind):
        raise BadInput(why)
    weights, names = evenly(ask.values["frames"]), ask.picked.labels
    still = ask.values["a"] == ask.values["b"]
    if still and (not names or ask.values["from"] == ask.values["to"]):
        other = " or two classes" if names else ""
        raise BadInput(f"Both ends are the same, so every frame would be: choose two seeds{other}.")
    if not names:
        return weights, None
    first, last = (torch.eye(len(names))[names.index(ask.values[end])] for end in ("from", "to"))
    at = torch.tensor(weights).unsqueeze(1)
    return weights, (1 - at) * first + at * last  # exact at both ends


def _price(ask: Ask, device: str) -> str:
    weights, _ = asked(ask)
    each, pace = cost.calls(ask.options), cost.pace(ask.picked, device)
    passes = 1 if ask.options.get("guidance", 1.0) == 1 else 2
    took = "Will make" if pace is None else f"Will take {cost.duration(pace * len(weights) * each * passes)}:"
    return f"{took} {len(weights)} frames, each {each} network calls, all at once."


# ---- the film -------------------------------------------------------------------------------------------------


def _seen(frame: Frame) -> Tensor:
    """The samples, and before the end the clean guesses of them where the sampler makes any."""
    x = frame.x if frame.step == frame.total or frame.x0 is None else frame.x0
    return x.detach().float().cpu()


def _words(way: Way, seconds: float, said: str) -> str:
    if way.step == way.total:
        done = f"{way.frames} frames from seed {way.ask.values['a']} to seed {way.ask.values['b']} in {seconds:.2g} s"
    elif way.ask.stopped:
        done = f"stopped at step {way.step} of {way.total}; these are the clean guesses of that step"
    else:
        left = f", {seconds / way.step * (way.total - way.step):.1f} s left" if way.step else ""
        done = f"step {way.step} of {way.total}{left}"
    return f"{done}; {said}" if said else done


def forming(way: Way) -> dict[str, Any]:
    """All frames side by side while they form."""
    grid = render.grid(way.x, way.picked.space, gap=0)
    track = {"title": "all frames, the clean guess", "colour": "generated", "note": f"step {way.step} of {way.total}"}
    track |= film.pictures([grid], live=True) | {"cells": film.cells_of(way.picked, way.frames), "still": True}
    return {
        "id": f"{way.picked.name} between {id(way.ask)}",
        "about": f"{way.picked.name}, forming",
        "total": way.total,
        "steps": [way.step],
        "span": [0, way.total],
        "live": True,
        "tracks": [track, {"title": "the noise it began with", "colour": "latent", "empty": "Forming."}],
    }


def film_of(way: Way) -> dict[str, Any]:
    """The frames one after the other."""
    values = way.ask.values
    ends = [
        f"seed {values[seed]}" + (f", {kind(values[end])}" if way.picked.labels else "")
        for seed, end in (("a", "from"), ("b", "to"))
    ]
    places = evenly(way.frames)
    notes = [ends[0], *(f"{place:.0%} of the way" for place in places[1:-1]), ends[1]]
    spread = NOISE if issubclass(way.picked.entry.model, Denoises) else 1.0  # latents come as pictures
    begun = [render.picture(x, way.picked.space, spread=spread) for x in way.noise]
    noise = {"title": "the noise it began with", "colour": "latent"} | film.pictures(begun)
    title = "from noise to noise" if way.step == way.total else f"clean guesses, stopped at step {way.step}"
    return {
        "id": f"{way.picked.name} between {id(way)}",
        "about": f"{way.picked.name}, from {ends[0]} to {ends[1]}",
        "word": "frame",
        "total": way.frames,
        "steps": list(range(1, way.frames + 1)),
        "note": "both ends are those seeds' own samples" if way.step == way.total else "",
        "fps": FPS,
        "at": 0,
        "autoplay": True,
        "tracks": [{"title": title, "colour": "generated", "notes": notes} | film.pictures(way.pictures()), noise],
    }


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview, on screen before any weight is loaded; None where it has no checkpoint."""
    fits = issubclass(picked.entry.model, Refines) and picked.space.kind == "image"
    if not fits or not card_time(picked.shelf, picked.name):
        return None
    track = {"title": "samples of this entry", "colour": "generated", "note": "press Interpolate"}
    bare = {"title": "the way", "colour": "generated", "empty": "Press Interpolate to see it."}
    noise = {"title": "the noise it began with", "colour": "latent", "empty": "Press Interpolate to see it."}
    tracks = [track | still if (still := film.still(picked)) else bare, noise]
    return {"id": f"{picked.name} not yet", "about": picked.name, "total": 1, "steps": [1], "tracks": tracks}


# ---- files ----------------------------------------------------------------------------------------------------


def _named(way: Way) -> str:
    return f"{way.picked.name}-seed{way.ask.values['a']}-to-{way.ask.values['b']}."


def _strip(way: Way) -> tuple[str, bytes]:
    """Up to 24 evenly chosen frames side by side, as PNG with the recipe inside."""
    chosen = film.evenly(len(way.x), THUMBS)
    frames = [render.picture(way.x[k], way.picked.space, height=112) for k in chosen]
    recipe = way.recipe() | {"shown frames": [k + 1 for k in chosen]}
    return "png", render.png(render.strip(frames, 4, ground="#ffffff"), recipe)


def _gif(way: Way) -> tuple[str, bytes]:
    """There and back again, as an animated GIF."""
    frames = way.pictures(way.scale)
    return "gif", render.gif(frames + frames[-2:0:-1], FPS)


def _zip(way: Way) -> tuple[str, bytes]:
    """Every frame as PNG, and the recipe with the place of each."""
    recipe = way.recipe() | {"places": evenly(way.frames)}
    files = {f"frame{k:03d}.png": render.png(picture) for k, picture in enumerate(way.pictures(), 1)}
    return "zip", render.zip_of(files | {"recipe.json": json.dumps(recipe, indent=1).encode()})


PANEL = Panel("Between noises", (Refines,), frozenset({"image"}), mount)
