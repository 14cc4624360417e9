"""What a change of labels leaves behind: three walks from one noise, as a film and as files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gen_models import render
from gen_models.interface import BadInput
from gen_models.steering import Mixing
from gen_models.ui import film
from gen_models.ui.visits import Visit
from gen_models.ui.walk import Moment, Walk, values
from gen_models.ui.widgets import Ask

NOTHING = "Nothing has been mixed yet: press Mix, then save."
TITLES = ("{0}, then {1}", "{0} throughout", "{1} throughout")
COLOURS = ("ink", "latent", "generated")
STEERED, FIRST, SECOND = range(3)


@dataclass
class Mix:
    """Three walks from the same noise as they are kept: the change, one class, the other class."""

    ask: Ask
    mixing: Mixing
    walks: tuple[Walk, Walk, Walk]
    calls: list[int] = field(default_factory=lambda: [0, 0, 0])

    @property
    def names(self) -> tuple[str, str]:
        labels = self.ask.picked.labels
        return labels[self.mixing.a], labels[self.mixing.b]

    @property
    def whole(self) -> bool:
        """All three walks have come to their end."""
        return all(walk.moments and walk.moments[-1].step == walk.total for walk in self.walks)

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again: the settings of this panel."""
        steered = self.walks[STEERED].recipe()
        place = {"entry": steered["entry"], "panel": "steer", "form": "steer-labels"}
        return place | {**self.ask.values, "version": steered["version"]}


def titled(mix: Mix, which: int) -> str:
    return TITLES[which].format(*(kind(name) for name in mix.names))


def kind(name: str) -> str:
    """A class as a person says it."""
    return f"digit {name}" if len(name) == 1 and name.isdigit() else name


def done(mix: Mix) -> str:
    calls = f"{sum(mix.calls)} network calls: {' + '.join(map(str, mix.calls))}"
    if mix.whole:
        return f"three walks of {mix.ask.values['n']} samples, {calls}"
    reached = [walk.moments[-1].step if walk.moments else 0 for walk in mix.walks]
    return f"stopped at steps {', '.join(map(str, reached))} of {mix.walks[FIRST].total}; {calls}"


# ---- the film -------------------------------------------------------------------------------------------------


def _seen(moment: Moment, total: int) -> Tensor | None:
    """The clean guess, and at the end the sample itself."""
    return moment.x if moment.step == total else moment.x0


def film_of(mix: Mix) -> dict[str, Any]:
    """The three walks side by side as the player takes them; a walk that has not come so far stays where it is."""
    longest = max(mix.walks, key=lambda walk: walk.moments[-1].step if walk.moments else -1)
    moments = longest.shown()
    tracks = [_track(mix, which, moments) for which in range(3)]
    picked, total = mix.ask.picked, longest.total
    return {
        "id": f"{picked.name} {id(mix)}",
        "about": f"{picked.name}, seed {mix.ask.seed}",
        "word": "step",
        "total": total,
        "steps": [moment.step for moment in moments],
        "note": done(mix) if mix.whole else "",
        "fps": max(4.0, min(24.0, len(moments) / 4)),
        "tracks": tracks,
    }


def _track(mix: Mix, which: int, moments: list[Moment]) -> dict[str, Any]:
    walk, colour = mix.walks[which], COLOURS[which]
    track = {
        "title": titled(mix, which),
        "colour": colour,
        "gaps": [0],
        "empty": "The start is pure noise.\nIt is the same in all three.",
    }
    own = {moment.step: moment for moment in walk.moments}
    last = walk.moments[-1] if walk.moments else None
    stack, notes = [], [""]
    for moment in moments[1:]:
        mine = own.get(moment.step) or last
        x = _seen(mine, walk.total) if mine is not None else None
        if x is None:
            return track | {"empty": "Not walked yet."}
        stack.append(x)
        behind = mine.step < moment.step
        notes.append(f"came to step {mine.step}" if behind else _note(mix, which, mine))
    if not stack:
        return track
    frames = [render.grid(values(x), mix.ask.picked.space, gap=0) for x in stack]
    return track | {"notes": notes} | film.pictures(frames) | {"cells": film.cells_of(mix.ask.picked, walk.count)}


def _note(mix: Mix, which: int, moment: Moment) -> str:
    """What the guess was made for."""
    if which != STEERED:
        return f"t = {moment.t:.2g}"
    share = mix.mixing.share(moment.guessed)
    return f"{100 * share:.0f} % {kind(mix.names[1])}"


# ---- files ----------------------------------------------------------------------------------------------------


def choose(visit: Visit, key: str, asked: dict) -> int:
    """Which sample the strip shows."""
    mix, cell = visit.kept.get(key), asked.get("cell")
    if mix is None or not isinstance(cell, int) or not 0 <= cell < mix.walks[FIRST].count:
        raise BadInput("There is no such sample: press Mix first.")
    mix.walks[STEERED].cell = cell
    return cell


def named(mix: Mix) -> str:
    """How the names of its files begin."""
    return f"{mix.ask.picked.name}-seed{mix.ask.seed}-"


def _moments(mix: Mix) -> list[tuple[Moment, ...]]:
    """The moments that all walks have come to, without the start."""
    by_step = [{moment.step: moment for moment in walk.moments if moment.x0 is not None} for walk in mix.walks]
    common = [step for step in by_step[FIRST] if all(step in own for own in by_step)]
    if not common:
        raise BadInput("It was stopped before all three walks began: press Mix, and let it come to its end.")
    return [tuple(own[step] for own in by_step) for step in common]


def strip(mix: Mix) -> tuple[str, bytes]:
    """The chosen sample at up to 24 steps, a row for each of the three walks, as PNG with its recipe."""
    moments, cell, picked = _moments(mix), mix.walks[STEERED].cell, mix.ask.picked
    chosen = [moments[k] for k in film.evenly(len(moments), 24)]
    total = mix.walks[FIRST].total
    x = torch.stack([values(_seen(column[which], total)[cell]) for which in range(3) for column in chosen])
    scale = max(1, 112 // picked.space.shape[-1])
    picture = render.grid(x, picked.space, columns=len(chosen), scale=scale, gap=4, ground="#ffffff")
    shown = {"sample": cell, "shown steps": [column[0].step for column in chosen]}
    return f"sample{cell}-labels.png", render.png(picture, mix.recipe() | shown)


def _side_by_side(mix: Mix, column: tuple[Moment, ...]) -> Image.Image:
    total, space = mix.walks[FIRST].total, mix.ask.picked.space
    grids = [render.grid(values(_seen(m, total)), space, scale=2, gap=2, ground="#ffffff") for m in column]
    return render.strip(grids, 12, ground="#ffffff")


def gif(mix: Mix) -> tuple[str, bytes]:
    """The three walks side by side; the last frame stays for a second."""
    frames = [_side_by_side(mix, column) for column in _moments(mix)]
    fps = max(4.0, min(24.0, len(frames) / 4))
    return "labels.gif", render.gif(frames + frames[-1:] * round(fps), fps)


def zipped(mix: Mix) -> tuple[str, bytes]:
    """What each walk ended in, sample by sample, all side by side, and the recipe with the label of every step."""
    moments, picked, total = _moments(mix), mix.ask.picked, mix.walks[FIRST].total
    files = {"all.png": render.png(_side_by_side(mix, moments[-1]), mix.recipe())}
    for which, name in enumerate(("mixed", "first", "second")):
        for k, x in enumerate(values(_seen(moments[-1][which], total))):
            files[f"{name}/seed{mix.ask.seed + k}.png"] = render.png(render.picture(x, picked.space))
    told = [{"t": round(m.guessed, 6), "share": round(mix.mixing.share(m.guessed), 6)} for m, _, _ in moments]
    facts = {"label of each step": told, "network calls": mix.calls}
    files["recipe.json"] = json.dumps(mix.recipe() | facts, indent=1).encode()
    return "labels.zip", render.zip_of(files)
