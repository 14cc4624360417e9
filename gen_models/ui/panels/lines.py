"""Lines of text from a model that draws them from codes, each with its probability; the likeliest can come first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, zoo
from gen_models.interface import BadInput, Decodes, GenerativeModel, Samples, Scores
from gen_models.ui.fields import Field, number, option_fields, seed
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

LIVE = 0.05  # seconds between two looks, at least
HINT = "Each line comes from a seed of its own. The longer the bar, the less likely the model finds it."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "sample", _fields, run="Generate", hint=HINT)
        with stage():
            view = live(
                "lines", {}, tab.visits, value=None, form=form.id, elem_id=f"{form.id}-view", **_facts(tab.first)
            )
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Lines of text. settings: n, seed and the options of the entry's model; line k has seed + k.

        `nats` holds -log p of each line, its end included, at temperature 1; null for a model that does not say.
        """
        if not suits(ask.picked):
            raise BadInput(f"{ask.picked.name} has no lines of text to draw; choose another entry.")
        model, count, begun, shown = ask.picked.model(tab.device), ask.values["n"], time.monotonic(), 0.0
        for frame in zoo.sample(model, ask.seed, count, **ask.options):
            now, over = time.monotonic(), frame.step >= frame.total or ask.stopped
            if not over and now - shown < LIVE:
                continue
            shown = now
            nats = _nats(model, frame.x) if over else None
            line = f"{count} line{'s' * (count > 1)} in {now - begun:.2g} s" if over else "writing"
            line = f"stopped: {line}" if ask.stopped else line
            yield {view: sent(ask, frame.x.cpu(), nats), form.message: note(line)}
            if ask.stopped:
                return

    form.job(work, [view], api_name=f"{tab.family.key}_sample")


def suits(picked: Picked) -> bool:
    return PANEL.suits(picked.entry.model, picked.space.kind)


def _fields(picked: Picked) -> list[Field]:
    offered = []
    if suits(picked):
        offered = option_fields(picked.entry.model.sample, picked.entry.limits(), ("temperature", "length"))
        about = {"temperature": "1: as learnt; lower is safer."}
        offered = [field._replace(info=about.get(field.option.name, "")) for field in offered]
    return [number("n", "Lines", 1, 64, 24), seed(), *offered]


def _facts(picked: Picked) -> dict[str, Any]:
    return {"entry": picked.name if suits(picked) and card_time(picked.shelf, picked.name) > 0 else ""}


def _nats(model: GenerativeModel, x: Tensor) -> list[float] | None:
    if not isinstance(model, Scores) or not model.exact:
        return None
    with torch.inference_mode():
        return [round(value, 3) for value in (-model.log_prob(x)).cpu().tolist()]


def sent(ask: Ask, x: Tensor, nats: list[float] | None) -> dict[str, Any]:
    """What static/lines.js draws."""
    space = ask.picked.space
    texts = [data.decoded(row, space) for row in x]
    return {"entry": ask.picked.name, "seed": ask.seed, "texts": texts, "nats": nats}


PANEL = Panel("Sample", (Samples, Decodes), frozenset({"text"}), mount)
