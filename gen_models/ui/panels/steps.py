"""The walk from noise to data, step by step: what the sampler holds, the clean guess and the predicted noise."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from gen_models import render, zoo
from gen_models.interface import BadInput, Refines
from gen_models.ui import film
from gen_models.ui.fields import Field, label, number, option_fields, seed, words_first
from gen_models.ui.panels.sample import FIRST, usual
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.walk import Walk, values
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

LIVE = 0.05  # seconds between two frames of a run, at least
MOST = 120  # steps that travel to the browser, besides the start
NUMBERS = 4_000_000  # of one track that travel, at most
CURVE = 64  # pieces of the schedule's curves
GREYS = 17  # between the levels of noise that travel: 16 are enough for the eye, and half the size
HINT = "Press Denoise, then drag the slider: the clean guess knows what it will be long before the noise is gone."
NOTHING = "Nothing has been denoised yet: press Denoise, then save."
NO_GUESS = "The start is pure noise.\nThe first guess is made in step 1."
TITLES = ("x_t, what the sampler holds", "x̂_0, the clean guess", "ε̂, the predicted noise")
COLOURS = ("generated", "generated", "latent")


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "steps", _fields, run="Denoise", hint=HINT)
        with stage():
            files = {"Strip": _strip, "GIF": _gif, "ZIP": _zip}
            view = film.player(
                tab.visits,
                form.id,
                tuple(files),
                serve={"cell": lambda visit, asked: _choose(visit, form.id, asked)},
                value=before(tab.first),
                empty="This entry has no checkpoint yet. Choose another one, or train it.",
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, {title: _maker(form.id, make) for title, make in files.items()})
    tab.on_pick(before, [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Denoises and keeps the steps. settings: n, seed, label and the options of the entry's model.

        The answer is a film: up to 120 evenly chosen steps of x_t, the clean guess and the predicted noise.
        """
        walk, model = _begun(ask), ask.picked.model(tab.device)
        walk.curves = _curves(model)
        frames, drawn = zoo.sample(model, ask.seed, walk.count, label=ask.label, **ask.options), 0.0
        while not ask.stopped or not walk.moments:
            begun = time.monotonic()
            frame = next(frames, None)
            walk.seconds += time.monotonic() - begun
            if frame is None:
                break
            walk.add(frame)
            if frame.step < frame.total and time.monotonic() - drawn >= LIVE:
                drawn = time.monotonic()
                yield {view: film_of(walk, live=True), form.message: note(_with(_progress(walk), frames.said))}
        ask.visit.kept[form.id] = walk
        yield {view: film_of(walk), form.message: note(_with(_done(walk), frames.said))}

    form.job(work, [view], api_name=f"{tab.family.key}_steps")


def _fields(picked: Picked) -> list[Field]:
    points = picked.space.kind == "points"
    count = number("n", "Points", 100, 1000, 500) if points else number("n", "Samples", 1, 16, usual(picked))
    model = picked.entry.model  # another entry of the tab may not denoise: it has no panel then
    offered = option_fields(model.sample, picked.entry.limits(), FIRST) if issubclass(model, Refines) else []
    return words_first([seed(), *label(picked)], [*offered, count._replace(more=True)])


def _begun(ask: Ask) -> Walk:
    count, space = ask.values["n"], ask.picked.space
    asked = None if ask.label is None else ask.picked.labels[ask.label]
    most = max(12, min(MOST, NUMBERS // (count * space.size)))
    return Walk(ask.picked, ask.seed, ask.labels(count), asked, ask.options, count, most)


# ---- words ----------------------------------------------------------------------------------------------------


def _each(walk: Walk) -> str:
    steps = walk.moments[-1].step
    return f"{1000 * walk.seconds / max(1, steps):.3g} ms each"


def _progress(walk: Walk) -> str:
    step = walk.moments[-1].step
    left = f", {walk.seconds / step * (walk.total - step):.1f} s left" if step else ""
    return f"step {step} of {walk.total}{left}"


def _with(words: str, said: str) -> str:
    """The words, and what the sampler had to do otherwise than asked."""
    return f"{words}; {said}" if said else words


def _done(walk: Walk) -> str:
    last, what = walk.moments[-1].step, "points" if walk.picked.space.kind == "points" else "samples"
    if last < walk.total:
        return f"stopped at step {last} of {walk.total}; the steps until then are kept"
    return f"{walk.count} {what} in {walk.seconds:.2g} s: {walk.total} steps, {_each(walk)}, {walk.calls} network calls"


def _note(walk: Walk) -> str:
    """What stands behind the counter."""
    steps, shown = walk.moments[-1].step, len(walk.shown()) - 1
    parts = [f"showing {shown} of {steps} steps"] if shown < steps else []
    parts += [f"stopped at step {steps}"] if steps < walk.total else []
    return " · ".join([*parts, _each(walk), f"{walk.calls} network calls"])


# ---- films ----------------------------------------------------------------------------------------------------


def _fps(frames: int) -> float:
    """Frames per second at which a film takes about four seconds."""
    return max(4.0, min(24.0, frames / 4))


def film_of(walk: Walk, live: bool = False) -> dict[str, Any]:
    """The run as the player takes it; live: its last moment alone, to be replaced by the next."""
    moments = walk.moments[-1:] if live else walk.shown()
    guesses = [moment for moment in moments if moment.x0 is not None]
    notes = (
        [f"t = {moment.t:.3g}" for moment in moments],
        [f"guessed at t = {moment.guessed:.3g}" if moment.x0 is not None else "" for moment in moments],
        [f"‖ε̂‖ = {moment.norm:.3g}" if moment.x0 is not None else "" for moment in moments],
    )
    stacks = ([m.x for m in moments], [m.x0 for m in guesses], [m.eps for m in guesses])
    tracks = []
    for k, stack in enumerate(stacks):
        track = {"title": TITLES[k], "colour": COLOURS[k], "notes": notes[k], "first": len(moments) - len(stack)}
        track |= {"empty": NO_GUESS, "real": k < 2}
        tracks.append(track | _media(walk, stack, coarse=k == 2, live=live))
    real = film.real_points(walk.picked)
    return {
        "id": f"{walk.picked.name} {walk.seed} {id(walk)}",
        "about": f"{walk.picked.name}, seed {walk.seed}",
        "word": "step",
        "total": walk.total,
        "steps": [moment.step for moment in moments],
        "span": [0, walk.total if live else moments[-1].step],
        "note": "" if live else _note(walk),
        "fps": _fps(len(moments)),
        "live": live,
        "tracks": tracks,
        "real": film.packed(real) if real is not None else None,
        "plot": _walked(walk) if not live else walk.curves,
    }


def _media(walk: Walk, stack: list[Tensor], *, coarse: bool, live: bool) -> dict[str, Any]:
    """The frames of one track, and the grid of samples that each of them is."""
    if not stack:
        return {}
    space = walk.picked.space
    if space.kind == "points":
        return film.cloud(stack)
    if coarse:
        stack = [((x.int() + GREYS // 2) // GREYS * GREYS).clamp(max=255) for x in stack]
    frames = [render.grid(values(x), space, gap=0) for x in stack]
    return film.pictures(frames, live=live) | {"cells": film.cells_of(walk.picked, walk.count)}


def _curves(model: Refines) -> list[dict[str, Any]]:
    """alpha and sigma along the walk, from t = 1 to t = 0."""
    pairs = [model.schedule(1 - k / CURVE) for k in range(CURVE + 1)]
    alpha, sigma = ([round(float(pair[k]), 4) for pair in pairs] for k in range(2))
    return [{"name": "α, signal", "colour": "real", "y": alpha}, {"name": "σ, noise", "colour": "latent", "y": sigma}]


def _walked(walk: Walk) -> list[dict[str, Any]]:
    """The part of the schedule that was walked."""
    part = max(2, round(CURVE * walk.moments[-1].step / max(1, walk.total)) + 1)
    return [curve | {"y": curve["y"][:part]} for curve in walk.curves]


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview, on screen before any weight is loaded; None where it has no checkpoint."""
    if not issubclass(picked.entry.model, Refines) or not card_time(picked.shelf, picked.name):
        return None
    still = film.still(picked)
    tracks = [
        {"title": title, "colour": colour, "empty": "Press Denoise to see it."}
        for title, colour in zip(TITLES, COLOURS, strict=True)
    ]
    tracks[0] |= {"note": "finished", **still} if still else {}
    return {"id": f"{picked.name} before", "about": picked.name, "total": 1, "steps": [1], "tracks": tracks, "plot": []}


# ---- files ----------------------------------------------------------------------------------------------------


def _choose(visit: Visit, key: str, asked: dict) -> int:
    """Which sample the strip shows."""
    walk, cell = visit.kept.get(key), asked.get("cell")
    if walk is None or not isinstance(cell, int) or not 0 <= cell < walk.count:
        raise BadInput("There is no such sample: press Denoise first.")
    walk.cell = cell
    return cell


def _maker(key: str, make):
    """A download of what the visit keeps; BadInput before the first run."""

    def made(visit: Visit) -> Path:
        walk = visit.kept.get(key)
        if walk is None:
            raise BadInput(NOTHING)
        name, content = make(walk)
        path = visit.file(f"{walk.picked.name}-seed{walk.seed}-{name}")
        path.write_bytes(content)
        return path

    made.__doc__ = make.__doc__
    return made


def _picture(walk: Walk, k: int, x: Tensor | None, scale: int = 2) -> Image.Image:
    """Track k at one moment; white where there is no guess yet."""
    points = walk.picked.space.kind == "points"
    if points:
        real = film.real_points(walk.picked) if k < 2 else None
        colour = render.COLOURS["light"][COLOURS[k]]
        return render.points(
            torch.empty(0, 2) if x is None else x, real=real, size=320, ground="#ffffff", colour=colour
        )
    if x is not None:
        return render.grid(values(x), walk.picked.space, scale=scale, gap=2, ground="#ffffff")
    like = _picture(walk, k, walk.moments[0].x, scale)
    return Image.new(like.mode, like.size, "white")


def _strip(walk: Walk) -> tuple[str, bytes]:
    """x_t of the chosen sample (of all points) at up to 24 steps, side by side, as PNG with its recipe."""
    shown = walk.shown()
    moments = [shown[k] for k in film.evenly(len(shown), 24)]
    cell = min(walk.cell, walk.count - 1)
    if walk.picked.space.kind == "points":
        frames = [_picture(walk, 0, moment.x) for moment in moments]
    else:
        frames = [render.picture(values(moment.x[cell]), walk.picked.space, height=112) for moment in moments]
    recipe = walk.recipe() | {"sample": cell, "shown steps": [moment.step for moment in moments]}
    return f"sample{cell}-strip.png", render.png(render.strip(frames, 4, ground="#ffffff"), recipe)


def _gif(walk: Walk) -> tuple[str, bytes]:
    """x_t beside the clean guess, all shown steps; the last one stays for a second."""
    shown = walk.shown()
    fps = _fps(len(shown))
    pairs = ([_picture(walk, 0, moment.x), _picture(walk, 1, moment.x0)] for moment in shown)
    frames = [render.strip(pair, 12, ground="#ffffff").convert("L" if walk.grey else "RGB") for pair in pairs]
    return "steps.gif", render.gif(frames + frames[-1:] * round(fps), fps)


def _zip(walk: Walk) -> tuple[str, bytes]:
    """Every shown step of all three tracks as PNG, and the recipe."""
    files = {}
    for moment in walk.shown():
        for k, (name, x) in enumerate((("x_t", moment.x), ("x0", moment.x0), ("eps", moment.eps))):
            if x is not None:
                files[f"{name}/step{moment.step:04d}.png"] = render.png(_picture(walk, k, x))
    times = [{"step": m.step, "t": round(m.t, 6), "guessed_at": round(m.guessed, 6)} for m in walk.shown()]
    facts = {"steps_shown": times, "total": walk.total, "network_calls": walk.calls, "seconds": round(walk.seconds, 3)}
    files["recipe.json"] = json.dumps(walk.recipe() | facts, indent=1).encode()
    return "steps.zip", render.zip_of(files)


PANEL = Panel("Steps", (Refines,), frozenset({"image", "points"}), mount)
