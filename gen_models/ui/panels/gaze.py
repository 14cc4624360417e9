"""Where a generator looks while it draws a place of its picture: the attention of every layer, from any place.

Self-Attention Generative Adversarial Networks (Zhang, Goodfellow, Metaxas and Odena, 2018), arXiv 1805.08318.
"""

from __future__ import annotations

import base64
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import render, zoo
from gen_models.interface import AttendsWithin, BadInput, Option, Range, checked_seed
from gen_models.noise import Noise
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time

MOST = 1 << 20  # weights of one layer that are sent: where its heads are more, their mean is
SCALE = Option("scale", Range(0.0, 10.0), 1.0, float)  # of z: the temperature or truncation of a taken sample


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    view = live(
        "gaze",
        {"look": _look(tab)},
        tab.visits,
        elem_id=f"{tab.family.key}-gaze-view",
        family=tab.family.key,
        **_facts(tab.first),
    )
    tab.on_pick(lambda picked: gr.HTML(**_facts(picked)), [view])


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry; entry "" where nothing attends within pictures."""
    space = picked.space
    suits = PANEL.suits(picked.entry.model, space.kind) and card_time(picked.shelf, picked.name) > 0
    size = list(space.shape[1:]) if space.kind == "image" else [28, 28]
    return {"entry": picked.name if suits else "", "labels": list(picked.labels), "size": size}


def _look(tab: Tab):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """The picture of a seed, and where each place of each layer looked while it was drawn.

        layers: name, heads (1 where only their mean is sent), at (h, w), to (h', w') and weights as `packed` has them;
        [] for a model without attention.
        """
        picked = tab.visits.picked(asked.get("entry"), visit)
        if refusal := PANEL.refusal(picked.entry.model, picked.space.kind):
            raise BadInput(refusal)
        model: Any = picked.model()
        seed, scale = checked_seed(asked.get("seed", 0)), SCALE.check(asked.get("scale", 1.0))
        label = zoo.label_rows(model.labels, 1, asked.get("label") if not model.labels else asked.get("label") or 0)
        z = scale * Noise([seed], model.device).normal(*model.latent_shape)
        with torch.inference_mode():
            maps = model.attention_maps(z, label=label)
        x = zoo.decoded(model, z, label)[0]
        return {
            "picture": render.data_url(render.picture(x, picked.space)),
            "layers": [sent(name, weights[0].float()) for name, weights in maps.items()],
        }

    return look


def sent(name: str, weights: Tensor) -> dict[str, Any]:
    """One layer's weights (heads, h, w, h', w') for the browser."""
    if weights.numel() > MOST:
        weights = weights.mean(0, keepdim=True)
    heads, *places = weights.shape
    return {"name": name, "heads": heads, "at": places[:2], "to": places[2:], "weights": packed(weights)}


def packed(weights: Tensor) -> str:
    """Each place's row as bytes, 255 times the square root of weight by the row's largest, all as base64.

    The weights of a place are then its squared bytes, divided by their sum.
    """
    rows = weights.flatten(3)  # (heads, h, w, h' w')
    whole = ((rows / rows.amax(-1, keepdim=True).clamp_min(1e-12)).sqrt() * 255).round().to(torch.uint8)
    return base64.b64encode(whole.cpu().numpy().tobytes()).decode()


PANEL = Panel("Attention", (AttendsWithin,), frozenset({"image"}), mount)
