"""A tree of tracks as the page takes it: the film of a track's own moments, and what is told of each track."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen_models import render
from gen_models.interface import Refines
from gen_models.ui import film
from gen_models.ui.tree import MOST, Track, Tree
from gen_models.ui.visits import Picked
from gen_models.ui.walk import Moment, Walk, values

CURVE = 64  # pieces of the schedule's curves
LEVELS = 257  # times at which the schedule is known
GREYS = 17  # between the levels of noise that travel: 16 are enough for the eye, and half the size
NO_GUESS = "No guess yet:\nit is made in the step that follows."
TITLES = ("x_t, what the sampler holds", "x̂_0, the clean guess", "ε̂, the predicted noise")
COLOURS = ("generated", "generated", "latent")
NAMES = (("α, signal", "real"), ("σ, noise", "latent"))


def levels(model: Refines) -> Tensor:
    """alpha and sigma at LEVELS times from 0 to 1, (2, LEVELS)."""
    pairs = [model.schedule(k / (LEVELS - 1)) for k in range(LEVELS)]
    return torch.tensor([[float(pair[which]) for pair in pairs] for which in range(2)])


def fps(frames: int) -> float:
    """Frames per second at which a film takes about four seconds."""
    return max(4.0, min(24.0, frames / 4))


# ---- films ----------------------------------------------------------------------------------------------------


def film_of(walk: Walk, moments: list[Moment] | None = None, live: bool = False) -> dict[str, Any]:
    """Moments of a walk, all that are shown unless given, as the player takes them; live: to be replaced soon."""
    moments = walk.shown() if moments is None else moments
    guessed = [moment.x0 is not None for moment in moments]
    notes = (
        [f"t = {moment.t:.3g}" for moment in moments],
        [f"at t = {m.guessed:.3g}" if there else "" for m, there in zip(moments, guessed, strict=True)],
        [f"‖ε̂‖ = {m.norm:.3g}" if m.eps is not None else "" for m in moments],
    )
    stacks = ([m.x for m in moments], [m.x0 for m in moments], [m.eps for m in moments])
    tracks = []
    for k, stack in enumerate(stacks):
        track = {"title": TITLES[k], "colour": COLOURS[k], "notes": notes[k], "empty": NO_GUESS, "real": k < 2}
        track |= {"gaps": [j for j, x in enumerate(stack) if x is None]}
        tracks.append(track | _media(walk, [x for x in stack if x is not None], coarse=k == 2, live=live))
    real = film.real_points(walk.picked)
    return {
        "id": f"{walk.picked.name} {walk.seed} {id(walk)}",
        "about": f"{walk.picked.name}, seed {walk.seed}",
        "word": "step",
        "total": walk.total,
        "steps": [moment.step for moment in moments],
        "span": [0, walk.total if live else walk.last],
        "note": "" if live else note(walk),
        "fps": fps(len(moments)),
        "live": live,
        "tracks": tracks,
        "real": film.packed(real) if real is not None else None,
        "plot": [],
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


def before(picked: Picked) -> dict[str, Any]:
    """The entry's preview, on screen before any weight is loaded."""
    still = film.still(picked)
    tracks = [
        {"title": title, "colour": colour, "empty": "Press Denoise to see it."}
        for title, colour in zip(TITLES, COLOURS, strict=True)
    ]
    tracks[0] |= {"note": "finished", **still} if still else {}
    return {"id": f"{picked.name} before", "about": picked.name, "total": 1, "steps": [1], "tracks": tracks, "plot": []}


# ---- what is told of the tracks -------------------------------------------------------------------------------


def each(walk: Walk) -> str:
    """How long a step takes."""
    return f"{1000 * walk.seconds / max(1, walk.last - walk.start):.3g} ms each"


def note(walk: Walk) -> str:
    """What stands behind the counter."""
    steps, shown = walk.last - walk.start, len(walk.shown()) - 1
    parts = [f"showing {shown} of {steps} steps"] if shown < steps else []
    parts += [f"stopped at step {walk.last}"] if walk.last < walk.total else []
    return " · ".join([*parts, f"{walk.calls} calls", each(walk)])


def told(tree: Tree) -> dict[str, Any]:
    """The tree without its pictures: what the page draws the rows from, in their order."""
    with tree.lock:
        return _all_told(tree)


def _all_told(tree: Tree) -> dict[str, Any]:
    return {
        "id": f"{tree.trunk.picked.name} {id(tree)}",
        "version": tree.version,
        "chosen": tree.chosen,
        "cell": tree.cell,
        "why": tree.why,
        "undo": tree.can_undo(),
        "most": MOST,
        "span": [0, max(1, *(track.last for track in tree.order()))],
        "tracks": [_told(tree, track) for track in tree.order()],
    }


def _told(tree: Tree, track: Track) -> dict[str, Any]:
    path = tree.path(track.key)
    own = track.own
    return {
        "key": track.key,
        "edition": f"{track.key}.{track.edition}" + (" live" if track.running else ""),
        "name": track.name,
        "parent": track.parent,
        "start": track.start,
        "back": bool(track.change.get("back")) and not track.before,  # it begins a step after the one it left
        "total": track.walk.total,
        "steps": [moment.step for moment in own],
        "t": [moment.t for moment in own],
        "kept": [moment.state is not None for moment in own],
        "calls": track.walk.calls,
        "note": "" if track.running else note(track.walk),
        "running": track.running,
        "settings": [[moments[0].step, walk.chosen()] for walk, moments in track.parts if moments],
        "plot": plot(tree, [moment for _, moment in path], track),
    }


def plot(tree: Tree, path: list[Moment], track: Track) -> dict[str, Any]:
    """alpha and sigma along a track, evenly spaced over its steps, up to the step `upto`."""
    if tree.levels is None or not path:
        return {"upto": 0, "curves": []}
    steps, times = [moment.step for moment in path], [moment.t for moment in path]
    if track.running:  # the way that is left, down to the data
        steps, times = [*steps, max(track.walk.total, steps[-1] + 1)], [*times, 0.0]
    at = np.interp(np.linspace(0, steps[-1], CURVE + 1), steps, times)
    known = np.linspace(0, 1, LEVELS)
    curves = [
        {"name": name, "colour": colour, "y": np.interp(at, known, level.numpy()).round(4).tolist()}
        for (name, colour), level in zip(NAMES, tree.levels, strict=True)
    ]
    return {"upto": steps[-1], "curves": curves}


def view_of(tree: Tree, key: str | None = None, live: bool = False) -> dict[str, Any]:
    """The value of the page's timeline: a track's own film (live: its last moment), and what is told of all."""
    with tree.lock:
        track = tree.tracks.get(key or "") or tree.track(tree.chosen)  # a running one may have been removed meanwhile
        return _view(tree, track, live and track.running)


def _view(tree: Tree, track: Track, live: bool) -> dict[str, Any]:
    moments = track.walk.shown()[-1:] if live else track.own
    found = told(tree)
    mine = next(one for one in found["tracks"] if one["key"] == track.key)
    plot_of = {"plot": mine["plot"]["curves"], "upto": mine["plot"]["upto"], "span": found["span"]}
    return film_of(track.walk, moments, live) | plot_of | {"track": track.key, "tree": found}
