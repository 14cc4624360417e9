"""Music that is heard while it is seen: the roll grows as it is written, then plays in any tempo and key."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, evaluate, music, zoo
from gen_models.interface import BadInput, Completes, Frame, Space
from gen_models.metrics.music import Statistics, statistics
from gen_models.ui import pieces
from gen_models.ui.fields import Field, number, option_fields, seed
from gen_models.ui.live import live
from gen_models.ui.panels import opening, sources
from gen_models.ui.pieces import Kept, Piece
from gen_models.ui.tabs import Panel, Tab, picture_of
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

LIVE = 0.1  # seconds between two looks at a piece, at least
PATIENCE = 0.3  # seconds a live call waits for the corpus; then the page asks again
MOST = 4  # pieces
HINT = "Press Generate and listen. Tempo and key change the sound alone: the piece stays."
WORDS = {  # an option's name -> its label and what to know about it
    "temperature": ("Temperature", "1: as learnt; lower is safer."),
    "bars": ("Bars", ""),
    "top_k": ("Top-k", "Draw from the k likeliest; 0: from all."),
    "top_p": ("Top-p", "From the fewest that reach p; 1: from all."),
}


# ---- the panel ----------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-listen"
    with columns():
        with side():
            given = live(
                "opening",
                {"opening": opening.look},
                tab.visits,
                value=None,
                name=f"{name}-opening",
                elem_id=f"{name}-opening",
                **_facts(tab.first),
            )
            form = Form(tab, "listen", _fields, run="Generate", hint=HINT)
        with stage():
            view = live(
                "listen",
                pieces.serve(form.id) | {"corpus": _corpus(tab)},
                tab.visits,
                value=None,
                form=form.id,
                opening=f"{name}-opening",
                elem_id=f"{name}-view",
                **_facts(tab.first),
            )
    tab.on_pick(lambda picked: (gr.HTML(**_facts(picked)), gr.HTML(value=None, **_facts(picked))), [given, view])

    def work(ask: Ask, given: Any) -> Iterator[dict[Any, Any] | str]:
        """Pieces of music. settings: n, bars, seed, the options of the entry's model; tempo and key concern the sound.

        given: null, or an opening to go on from: {"kind": "chorale", "piece": number of a test chorale, "bars": 1 to 8}
        or {"kind": "file", "midi": a MIDI file in base64, "bars"}. Piece k has seed + k. In the answer's pieces a note
        is [start, length, MIDI number, voice], in sixteenths.
        """
        for frame, made in written(ask, given, tab):
            ask.visit.kept[form.id] = made
            over = frame.step >= frame.total
            yield {view: sent(ask, made, frame), form.message: note(_line(ask, made, frame, over))}

    form.job(work, [view], [given], api_name=f"{tab.family.key}_listen")


def suits(picked: Picked) -> bool:
    return PANEL.suits(picked.entry.model, picked.space.kind)


def _fields(picked: Picked) -> list[Field]:
    found = [number("n", "Pieces", 1, MOST, 1)]
    if suits(picked):
        for field in option_fields(picked.entry.model.complete, picked.entry.limits(), ("bars", "temperature")):
            label, info = WORDS.get(field.option.name, (field.label, field.info))
            field = field._replace(label=label, info=info)
            found.append(field._replace(kind="number") if field.option.name == "bars" else field)
    return [*found, *pieces.sound_fields(), seed()]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is written; entry "" where it makes no music."""
    known = suits(picked) and card_time(picked.shelf, picked.name) > 0
    return {"entry": picked.name if known else "", "picture": picture_of(picked.shelf, picked.name) if known else ""}


# ---- writing ------------------------------------------------------------------------------------------------------


def written(ask: Ask, given: Any, tab: Tab) -> Iterator[tuple[Frame, Kept]]:
    """The pieces as far as they are written, every 0.1 s, and in the end; BadInput says what to change."""
    if not suits(ask.picked):
        raise BadInput(f"{ask.picked.name} makes no music; choose another entry.")
    begun = opening.read(given)
    bars = ask.values["bars"]
    if begun is not None and len(begun.grid) >= bars * music.BAR:
        raise BadInput(f"The opening fills {bars} bars already: ask for more bars, or give a shorter opening.")
    model, shown = ask.picked.model(tab.device), 0.0
    x = None if begun is None else _symbols(begun.grid, model.space)
    steps = 0 if x is None else len(music.grid(x, model.space))
    for frame in _frames(model, ask, x):
        now, over = time.monotonic(), frame.step >= frame.total
        if not over and not ask.stopped and now - shown < LIVE:
            continue
        shown = now
        yield frame, _kept(ask, frame.x.cpu(), steps, begun.words if begun else "")
        if ask.stopped:
            return


def _symbols(grid: Tensor, space: Space) -> Tensor:
    return music.tokens(grid) if space.encoding == "tokens" else music.events(grid)


def _frames(model: Any, ask: Ask, x: Tensor | None) -> Iterator[Frame]:
    count = ask.values["n"]
    if x is None:
        return zoo.sample(model, ask.seed, count, **ask.options)
    x = x.expand(count, *x.shape)
    return zoo.complete(model, x, torch.ones_like(x, dtype=torch.bool), ask.seed, **ask.options)


def _kept(ask: Ask, x: Tensor, given: int, opened: str) -> Kept:
    found = [Piece(music.grid(row, ask.picked.space), given) for row in x]
    recipe = {"entry": ask.picked.name, "panel": "listen", "n": 1, **ask.options}
    recipe |= {"opening": opened} if opened else {}
    recipes = [recipe | {"seed": ask.seed + k} for k in range(len(found))]
    run = ask.run or f"{ask.picked.name} {ask.seed}"
    return Kept(run, ask.picked.name, found, recipes, [f"seed{ask.seed + k}" for k in range(len(found))])


def sent(ask: Ask, made: Kept, frame: Frame) -> dict[str, Any]:
    """What static/listen.js draws: the rolls, and what they measure once they stand."""
    steps, over = ask.values["bars"] * music.BAR, frame.step >= frame.total or ask.stopped
    return {
        "run": made.run,
        "entry": made.name,
        "seed": ask.seed,
        "bars": ask.values["bars"],
        "over": over,
        "pieces": [piece.sent(steps) for piece in made.pieces],
        "keys": [piece.key for piece in made.pieces] if over else [],
        "figures": [figures(piece.grid) for piece in made.pieces] if over else [],
    }


def _line(ask: Ask, made: Kept, frame: Frame, over: bool) -> str:
    count = len(made.pieces)
    what = f"{count} piece{'s' * (count > 1)} of {ask.values['bars']} bars"
    if over:
        return f"{what}, {f'seeds {ask.seed} to {ask.seed + count - 1}' if count > 1 else f'seed {ask.seed}'}"
    share = f"{100 * frame.step / max(1, frame.total):.0f} %"
    return f"stopped: {share} of {what}" if ask.stopped else f"writing {what}, {share}"


# ---- statistics -----------------------------------------------------------------------------------------------------


def figures(grid: Tensor) -> dict[str, float] | None:
    """What a piece measures, by name; None of silence."""
    sounds = (grid != music.REST).any()
    return {name: round(value, 4) for name, value in statistics(grid)._asdict().items()} if sounds else None


def _corpus(tab: Tab):
    def corpus(visit: Visit, asked: dict) -> dict[str, Any]:
        """Mean and standard deviation of each statistic over the test chorales; {"waiting"} while they are measured."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        sources.OWN.submit(picked.model, tab.device)  # it is at hand when Generate is pressed
        if picked.entry.data not in data.NAMES:
            return {"figures": {}, "words": "own music: there is no test split to compare with"}
        future = sources.SETS.of(("music figures", picked.entry.data), lambda: _measured(picked.entry.data))
        wait([future], timeout=PATIENCE)
        if not future.done():
            return {"waiting": True}
        try:
            return future.result()
        except BadInput as error:
            found = _evaluated(picked)
            if not found:
                raise
            return {"figures": found, "words": f"from the evaluation of {picked.name}", "why": str(error)}

    return corpus


def _measured(name: str) -> dict[str, Any]:
    tests = data.load(name).pieces("test")
    rows = torch.tensor([statistics(grid) for grid in tests], dtype=torch.float64)
    both = zip(rows.mean(0).tolist(), rows.std(0).tolist(), strict=True)
    found = dict(zip(Statistics._fields, map(list, both), strict=True))
    return {"figures": found, "words": f"{len(tests)} test chorales"}


def _evaluated(picked: Picked) -> dict[str, list[float]]:
    """Mean and standard deviation over test pieces as the entry's evaluation has them; {} where it has none."""
    try:
        evaluation: Mapping[str, Any] = evaluate.read(picked.shelf, picked.name) or {}
        row = next((row for row in evaluation.get("rows", ()) if row["name"] == "test"), None)
        cells = row["figures"] if row else {}
        return {
            name: [cells[name]["value"], cells[name]["se"] * math.sqrt(row["n"])]
            for name in Statistics._fields
            if name in cells
        }
    except (BadInput, KeyError, TypeError, AttributeError):
        return {}


PANEL = Panel("Listen", (Completes,), frozenset({"music"}), mount)
