"""The files of a tree: all tracks as one picture, a GIF of each; of the chosen one a strip, a GIF and its frames."""

from __future__ import annotations

import json
import re
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from gen_models import render
from gen_models.ui import film
from gen_models.ui.tree import FIRST, Track, Tree
from gen_models.ui.tree_film import COLOURS, fps
from gen_models.ui.walk import Moment, Walk, values

COLUMNS = 24  # steps in a picture, at most
TILE, GAP, EDGE, TEXT = 64, 6, 20, 26  # pixels of the tree's picture: a sample, between them, around, a line of words
INK = render.COLOURS["light"]


# ---- the chosen track -----------------------------------------------------------------------------------------


def strip(tree: Tree) -> tuple[str, bytes]:
    """x_t of the chosen sample (of all points) at up to 24 steps, side by side, as PNG with its recipe."""
    path = _path(tree, tree.chosen)
    moments = [path[k] for k in film.evenly(len(path), COLUMNS)]
    frames = [_sample(tree, moment, 320, 112) for moment in moments]
    recipe = _recipe(tree, tree.chosen) | {"sample": tree.cell, "shown steps": [moment.step for moment in moments]}
    return f"{_named(tree)}sample{tree.cell}-strip.png", render.png(render.strip(frames, 4, ground="#ffffff"), recipe)


def gif(tree: Tree) -> tuple[str, bytes]:
    """x_t beside the clean guess, all shown steps of the chosen track; the last one stays for a second."""
    return f"{_named(tree)}steps.gif", _gif(tree, tree.chosen)


def frames(tree: Tree) -> tuple[str, bytes]:
    """Every shown step of the chosen track as PNG, of all three views, and the recipe."""
    files, walk, path = {}, tree.track(tree.chosen).walk, _path(tree, tree.chosen)
    for moment in path:
        for k, (name, x) in enumerate((("x_t", moment.x), ("x0", moment.x0), ("eps", moment.eps))):
            if x is not None:
                files[f"{name}/step{moment.step:04d}.png"] = render.png(_picture(walk, k, x))
    times = [{"step": m.step, "t": round(m.t, 6), "guessed_at": round(m.guessed, 6)} for m in path]
    facts = {"steps_shown": times, "total": walk.total, "network_calls": walk.calls, "seconds": round(walk.seconds, 3)}
    files["recipe.json"] = json.dumps(_recipe(tree, tree.chosen) | facts, indent=1).encode()
    return f"{_named(tree)}steps.zip", render.zip_of(files)


# ---- all tracks -----------------------------------------------------------------------------------------------


def gifs(tree: Tree) -> tuple[str, bytes]:
    """A GIF per track from the noise to its end, and the recipe of them all."""
    files = {
        f"{k}-{re.sub(r'[^A-Za-z0-9.]+', '-', plain(track.name)).strip('-')}.gif": _gif(tree, track.key)
        for k, track in enumerate(tree.order())
        if track.own
    }
    return "branches.zip", render.zip_of(files | {"recipe.json": json.dumps(_recipe(tree), indent=1).encode()})


def picture(tree: Tree) -> tuple[str, bytes]:
    """The chosen sample (all points) on every track, the common past once, as one PNG with the recipe of them all."""
    tracks = [track for track in tree.order() if track.own]
    rows = {track.key: k for k, track in enumerate(tracks)}
    steps = [*range(max(track.own[-1].step for track in tracks) + 1)]
    steps = [steps[k] for k in film.evenly(len(steps), COLUMNS)]
    left = {track.key: _column(steps, track.start) for track in tracks}
    size = (2 * EDGE + max(len(steps), 7) * (TILE + GAP) - GAP, 2 * EDGE + TEXT + len(tracks) * (TILE + TEXT + GAP))
    sheet = Image.new("RGB", size, INK["card"])
    pen, bold, small = ImageDraw.Draw(sheet), ImageFont.load_default(14), ImageFont.load_default(12)
    walk = tree.trunk
    of = f", sample {tree.cell + 1}" if walk.picked.space.kind == "image" else ""
    pen.text((EDGE, EDGE - 6), f"{walk.picked.name}, seed {tree.recipe()['seed']}{of}", INK["ink"], bold)
    for track in tracks:
        if track.parent in rows:
            _fork(pen, track, steps, rows)
    for track in tracks:
        top = _top(rows[track.key])
        for column, step in enumerate(steps):
            if column >= left[track.key] and (moment := _nearest(track, step, steps)):
                tile = _sample(tree, moment, TILE, TILE).convert("RGB")
                sheet.paste(tile.resize((TILE, TILE), Image.Resampling.NEAREST), (_x(column), top))
        beside = TILE // 2 + 8 if track.parent in rows else 0
        _words(pen, track, _x(left[track.key]) + beside, top - TEXT + 6, size[0] - EDGE, (bold, small))
    return "tree.png", render.png(sheet, _recipe(tree) | {"panel": "steps", "sample": tree.cell})


def _x(column: int) -> int:
    return EDGE + column * (TILE + GAP)


def _top(row: int) -> int:
    return EDGE + 2 * TEXT - 6 + row * (TILE + TEXT + GAP)


def _column(steps: list[int], step: int) -> int:
    """The column that is nearest to a step."""
    return min(range(len(steps)), key=lambda k: abs(steps[k] - step))


def _nearest(track: Track, step: int, steps: list[int]) -> Moment | None:
    """The track's own moment nearest to a step that stands in a column; None beyond its end."""
    reach = (steps[1] - steps[0]) / 2 if len(steps) > 1 else 0
    found = min(track.own, key=lambda moment: abs(moment.step - step))
    return found if abs(found.step - step) <= reach else None


def _fork(pen: ImageDraw.ImageDraw, track: Track, steps: list[int], rows: dict[str, int]) -> None:
    """The line from where a track leaves its parent down to its first picture."""
    to = _column(steps, track.start)
    since = _column(steps, max(moment.step for moment in _past(track)))
    x, down = _x(since) + TILE // 2, _top(rows[track.key]) + TILE // 2
    pen.line([(x, _top(rows[track.parent]) + TILE), (x, down), (_x(to), down)], INK["latent"], 3)


def _past(track: Track) -> list[Moment]:
    """The first moment of a track, as a place on the axis of steps: noise put back begins a step after the fork."""
    first = track.own[0]
    back = 1 if track.change.get("back") and not track.before else 0
    return [first._replace(step=first.step - back)]


def _words(pen: ImageDraw.ImageDraw, track: Track, x: int, y: int, right: int, fonts: tuple[Any, Any]) -> None:
    """Name, calls and times of a track above its pictures, within the sheet."""
    first, last = track.own[0], track.own[-1]
    name, more = plain(track.name), f"{track.walk.calls} network calls, t = {first.t:.2g} to {last.t:.2g}"
    wide, wider = pen.textlength(name, fonts[0]), pen.textlength(more, fonts[1])
    x = max(EDGE, min(x, right - wide - wider - 12))
    pen.text((x, y), name, INK["ink"], fonts[0])
    pen.text((x + wide + 12, y + 2), more, INK["muted"], fonts[1])


def plain(words: str) -> str:
    """Words in letters that every font has."""
    return words.replace("→", "to").replace("x̂0", "x0").encode("ascii", "ignore").decode()


# ---- what all share -------------------------------------------------------------------------------------------


def _path(tree: Tree, key: str) -> list[Moment]:
    return [moment for _, moment in tree.path(key)]


def _named(tree: Tree) -> str:
    return "" if tree.chosen == FIRST else f"branch{tree.chosen}-"


def _recipe(tree: Tree, key: str | None = None) -> dict[str, Any]:
    recipe = tree.recipe(key)
    return recipe if recipe["branches"] else {k: v for k, v in recipe.items() if k not in ("branches", "tracks")}


def _sample(tree: Tree, moment: Moment, side: int, height: int) -> Image.Image:
    """x_t of the chosen sample, or the cloud of all points."""
    walk = tree.trunk
    if walk.picked.space.kind == "points":
        return _picture(walk, 0, moment.x, side=side)
    return render.picture(values(moment.x[min(tree.cell, walk.count - 1)]), walk.picked.space, height=height)


def _picture(walk: Walk, k: int, x: torch.Tensor | None, scale: int = 2, side: int = 320) -> Image.Image:
    """View k (x_t, guess, noise) at one moment; white where there is none."""
    if walk.picked.space.kind == "points":
        real = film.real_points(walk.picked) if k < 2 else None
        colour = INK[COLOURS[k]]
        shown = torch.empty(0, 2) if x is None else x
        return render.points(shown, real=real, size=side, ground="#ffffff", colour=colour)
    return render.grid(values(x), walk.picked.space, scale=scale, gap=2, ground="#ffffff")


def _gif(tree: Tree, key: str) -> bytes:
    path, walk = _path(tree, key), tree.track(key).walk
    rate, pairs = fps(len(path)), []
    for moment in path:
        first = _picture(walk, 0, moment.x)
        guess = walk.picked.space.kind == "points" or moment.x0 is not None
        second = _picture(walk, 1, moment.x0) if guess else Image.new(first.mode, first.size, "white")
        pairs.append(render.strip([first, second], 12, ground="#ffffff").convert("L" if walk.grey else "RGB"))
    return render.gif(pairs + pairs[-1:] * round(rate), rate)
