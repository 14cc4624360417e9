"""The way from one piece of music, or one name, to another through latent space: every stop is seen and heard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, latent, music, zoo
from gen_models.interface import BadInput, Decodes
from gen_models.noise import SEEDS, Noise
from gen_models.ui import pieces
from gen_models.ui.fields import Field, number, slider
from gen_models.ui.live import live
from gen_models.ui.pieces import Kept, Piece
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

HINT = "Two seeds, and what lies between them. Press Interpolate, then walk from stop to stop."
INFO = "Of the great circle from one code to the other, both ends among them."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "interpolate", _fields, run="Interpolate", hint=HINT)
        with stage():
            view = live(
                "between",
                pieces.serve(form.id),
                tab.visits,
                value=None,
                form=form.id,
                elem_id=f"{form.id}-view",
                **_facts(tab.first),
            )
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Stops along the great circle (slerp) between the codes of seeds a and b. settings: a, b, stops, tempo, key.

        Music comes as pieces whose notes are [start, length, MIDI number, voice] in sixteenths, text as words. `equal`
        counts the events, or letters, that a stop has in common with the one before it, place by place.
        """
        if not suits(ask.picked):
            raise BadInput(f"{ask.picked.name} has no latent space of music or text; choose another entry.")
        x = stops(ask.picked.model(tab.device), ask.values["a"], ask.values["b"], ask.values["stops"])
        made = _kept(ask, x)
        ask.visit.kept[form.id] = made
        line = f"{len(x)} stops from seed {ask.values['a']} to seed {ask.values['b']}"
        yield {view: sent(ask, x, made), form.message: note(line)}

    form.job(work, [view], api_name=f"{tab.family.key}_interpolate")


def suits(picked: Picked) -> bool:
    return PANEL.suits(picked.entry.model, picked.space.kind)


def _fields(picked: Picked) -> list[Field]:
    ends = [number("a", "From seed", 0, SEEDS - 1, 0), number("b", "To seed", 0, SEEDS - 1, 1)]
    sound = pieces.sound_fields() if picked.space.kind == "music" else []
    return [*ends, slider("stops", "Stops", 5, 11, 7, step=1, info=INFO), *sound]


def _facts(picked: Picked) -> dict[str, Any]:
    known = suits(picked) and card_time(picked.shelf, picked.name) > 0
    return {"entry": picked.name if known else "", "kind": picked.space.kind}


def codes(model: Any, seeds: list[int]) -> Tensor:
    """What `sample` draws from these seeds, (B, *latent_shape): place i of a code comes from noise.at(i)."""
    places, *rest = model.latent_shape
    noise = Noise(seeds)
    return torch.stack([noise.at(i).normal(*rest) for i in range(places)], 1)


def stops(model: Any, a: int, b: int, count: int) -> Tensor:
    """What lies at `count` stops of the great circle from seed a to seed b: (count, *shape)."""
    return zoo.decoded(model, latent.walk(codes(model, [a, b]), count)).cpu()


def equal(x: Tensor, space: Any) -> list[dict[str, int] | None]:
    """For each stop but the first, how many events (letters of text) equal the last stop's, and of how many."""
    found: list[dict[str, int] | None] = [None]
    for before, now in itertools.pairwise(x):
        if space.kind == "music":
            there, same = (now[:, 1] > 0) | (before[:, 1] > 0), (now == before).all(1)
        else:
            long = max(len(data.decoded(before, space)), len(data.decoded(now, space)))
            there, same = torch.arange(len(now)) < long, now == before
        found.append({"same": int((there & same).sum()), "of": int(there.sum())})
    return found


def _kept(ask: Ask, x: Tensor) -> Kept:
    space, values = ask.picked.space, ask.values
    found = [Piece(music.grid(row, space)) for row in x] if space.kind == "music" else []
    recipe = {"entry": ask.picked.name, "panel": "interpolate", **{name: values[name] for name in ("a", "b", "stops")}}
    recipes = [recipe | {"stop": k + 1} for k in range(len(x))]
    name = f"{ask.picked.name}-seed{values['a']}-to-{values['b']}"
    run = ask.run or f"{name} {len(x)}"
    return Kept(run, name, found, recipes, [f"stop{k + 1}" for k in range(len(x))])


def sent(ask: Ask, x: Tensor, made: Kept) -> dict[str, Any]:
    """What static/between.js draws."""
    space = ask.picked.space
    known = {"run": made.run, "entry": ask.picked.name, "kind": space.kind, "name": made.name, "equal": equal(x, space)}
    known |= {"a": ask.values["a"], "b": ask.values["b"]}
    if space.kind == "text":
        return known | {"words": [data.decoded(row, space) for row in x]}
    longest = max(len(piece.grid) for piece in made.pieces)
    steps = -(-longest // music.BAR) * music.BAR
    rolls = [piece.sent(steps) for piece in made.pieces]
    return known | {"steps": steps, "pieces": rolls, "keys": [piece.key for piece in made.pieces]}


PANEL = Panel("Interpolate", (Decodes,), frozenset({"music", "text"}), mount, normal=True)
