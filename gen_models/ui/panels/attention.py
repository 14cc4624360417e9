"""What each symbol of a text looked at while it was written: every layer and head as a map, and over the text itself.

Attention Is All You Need (Vaswani et al., 2017), arXiv 1706.03762.
"""

from __future__ import annotations

import base64
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, zoo
from gen_models.interface import Attends, GenerativeModel, Samples
from gen_models.ui.fields import Field, text
from gen_models.ui.live import live
from gen_models.ui.panels.writing import LONGEST, symbols_of
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Form, columns, side, stage

MOST = 128  # symbols of a map
EXAMPLE = 64  # symbols that the model writes where no text is given
HINT = "Point at a symbol: the shades show what the model looked at to write it. Some heads look one place back."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "attention", _fields, hint=HINT)
        with stage():
            view = live(
                "attention",
                {"look": _look(tab)},
                tab.visits,
                value=None,
                form=form.id,
                writing=f"{tab.family.key}-write",
                elem_id=f"{form.id}-view",
                **_facts(tab.first),
            )
    tab.on_pick(lambda picked: gr.HTML(**_facts(picked)), [view])


def _fields(picked: Picked) -> list[Field]:
    most = longest(picked)
    last = "Longer ones are refused." if picked.space.encoding == "lines" else "Of a longer one the end is read."
    return [text("text", "Text", info=f"{most} symbols at most. {last} Empty: the model writes one.")]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry; entry "" where there is no attention over text."""
    suits = PANEL.suits(picked.entry.model, picked.space.kind) and card_time(picked.shelf, picked.name) > 0
    return {"entry": picked.name if suits else "", "lines": picked.space.encoding == "lines"}


def longest(picked: Picked) -> int:
    """Symbols of a text at most: as the context, and the map, have room for."""
    return min(MOST, picked.space.size)


def _look(tab: Tab):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """The attention over a text's end of at most 128 symbols, read as if it began there; and that text.

        weights: layers * heads lower triangles one after the other, row by row, the square root of each weight times
        255, as base64 of uint8. Row i writes symbol i; column 0 is the start, column j symbol j - 1.
        """
        picked = tab.visits.picked(asked.get("entry"), visit)
        model, most = attending(picked), longest(picked)
        given = asked.get("text") or ""
        x = symbols_of(given, picked, most if picked.space.encoding == "lines" else LONGEST, "text")
        whole = len(x)
        x = example(model) if not whole else x[-most:]
        with torch.inference_mode():
            weights = model.attention(x[None])[0].float()
        return {
            "text": "".join(picked.space.alphabet[k] for k in x.tolist()),
            "whole": whole,
            "layers": weights.shape[0],
            "heads": weights.shape[1],
            "weights": packed(weights),
        }

    return look


def attending(picked: Picked) -> GenerativeModel:
    """The entry's model, which attends to text; BadInput otherwise."""
    refusal = PANEL.refusal(picked.entry.model, picked.space.kind)
    if refusal:
        raise data.BadInput(refusal)
    return picked.model()


def example(model: GenerativeModel) -> Tensor:
    """What the model writes of seed 0, (n,), without the end of a line."""
    length = {} if model.space.encoding == "lines" else {"length": min(EXAMPLE, model.space.size)}
    if not isinstance(model, Samples):
        return torch.zeros(0, dtype=torch.int64)
    for frame in zoo.sample(model, 0, 1, **length):
        x = frame.x[0].cpu()
    ends = (x == 0).nonzero() if model.space.encoding == "lines" else []
    return x[: int(ends[0])] if len(ends) else x


def packed(weights: Tensor) -> str:
    """Weights (layers, heads, T, T) with nothing above the diagonal, as `look` sends them."""
    rows, columns = torch.tril_indices(*weights.shape[2:])
    whole = (weights[..., rows, columns].sqrt() * 255).round().to(torch.uint8)
    return base64.b64encode(whole.cpu().numpy().tobytes()).decode()


PANEL = Panel("Attention", (Attends,), frozenset({"text"}), mount)
