"""Latent sliders and the latent plane: the picture follows the hand."""

from __future__ import annotations

import math
import threading
import weakref
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import latent, render, zoo
from gen_models.interface import BadInput, Decodes, Encodes, GenerativeModel, checked_seed
from gen_models.noise import Noise
from gen_models.ui import directions as named
from gen_models.ui import pad
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time

SLIDERS = 8
CELLS, REACH = 21, 3.0  # the plane's grid of decoded codes, from -REACH to REACH standard deviations each way
FARTHEST = 20.0  # standard deviations; codes beyond say nothing
CLASSES = 4  # classes looked at when a conditional decoder's directions are measured

_axes: weakref.WeakKeyDictionary[GenerativeModel, dict[str, Any]] = weakref.WeakKeyDictionary()
_planes: weakref.WeakKeyDictionary[GenerativeModel, dict[Any, str]] = weakref.WeakKeyDictionary()
_measuring = threading.Lock()


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    serve = _Serve(tab)
    view = live(
        "latent",
        pad.serve(tab)
        | {name: getattr(serve, name) for name in ("open", "start", "decode", "plane", "encode", "rename")},
        tab.visits,
        elem_id=f"{tab.family.key}-latent-view",
        family=tab.family.key,
        **_facts(tab.first),
    )
    tab.on_pick(lambda picked: gr.HTML(**_facts(picked)), [view])


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before it asks."""
    model, space = picked.entry.model, picked.space
    suits = PANEL.suits(model, space.kind) and card_time(picked.shelf, picked.name) > 0
    return {
        "entry": picked.name if suits else "",
        "labels": list(picked.labels),
        "encodes": issubclass(model, Encodes),
        "size": pad.props(picked)["size"],
        "box": pad.props(picked)["box"],
    }


class _Serve:
    """The panel's live calls; each checks what it is given, since they bypass Gradio's queue and its checks."""

    def __init__(self, tab: Tab):
        self.tab = tab

    def _model(self, visit: Visit, asked: dict) -> tuple[Picked, Any]:
        picked = self.tab.visits.picked(asked.get("entry"), visit)
        model = picked.model()
        if not PANEL.suits(type(model), picked.space.kind):
            raise BadInput(f"{picked.name} has no latent space of pictures to draw from; choose another entry.")
        return picked, model

    def open(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The directions that matter most, the names that people gave them, and the start of a seed."""
        picked, model = self._model(visit, asked)
        return directions(model) | {"given": named.names(picked, visit)} | self.start(visit, asked)

    def start(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The code of a seed, its deviation scaled as the sample's temperature or truncation was."""
        _, model = self._model(visit, asked)
        scale = _number(asked.get("scale", 1.0), "scale", 0.0, 10.0)
        z = scale * Noise([checked_seed(asked.get("seed", 0))]).normal(*model.latent_shape)
        return {"z": z.flatten().tolist()}

    def decode(self, visit: Visit, asked: dict) -> str:
        """A code as a picture."""
        picked, model = self._model(visit, asked)
        z = _code(asked.get("z"), model)
        x = zoo.decoded(model, z, zoo.label_rows(model.labels, 1, asked.get("label")))
        return render.data_url(render.picture(x[0], picked.space))

    def plane(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The decoded grid of a two-dimensional latent, as one picture: x to the right, y upwards."""
        picked, model = self._model(visit, asked)
        if math.prod(model.latent_shape) != 2:
            raise BadInput(f"The latent space of {picked.name} is no plane; use its sliders.")
        known, label = _planes.setdefault(model, {}), asked.get("label")
        if label is None and model.labels:
            label = 0
        rows = zoo.label_rows(model.labels, CELLS * CELLS, label)
        if label not in known:
            line = torch.linspace(-REACH, REACH, CELLS)
            z = torch.cartesian_prod(line.flip(0), line).flip(1)  # row by row from the top
            x = zoo.decoded(model, z.view(-1, *model.latent_shape), rows)
            known[label] = render.data_url(render.grid(x, picked.space, columns=CELLS, gap=0))
        return {"picture": known[label], "cells": CELLS, "reach": REACH}

    def encode(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The code of a drawn or uploaded picture, as the pad holds it."""
        picked, model = self._model(visit, asked)
        if not isinstance(model, Encodes):
            raise BadInput(f"{picked.name} cannot encode pictures; start from a seed.")
        x = pad.received(asked.get("drawn"), picked.space)[None]
        with torch.inference_mode():
            z = model.encode(x, label=zoo.label_rows(model.labels, 1, asked.get("label")))
        return {"z": z.flatten().tolist()}

    def rename(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """Gives a direction a name, "" for none: all names given, and in words where they are kept."""
        picked, model = self._model(visit, asked)
        count = len(directions(model)["names"])
        given, words = named.rename(self.tab.visits, picked, visit, asked.get("index"), asked.get("name"), count)
        return {"given": given, "words": words}


def directions(model: Any) -> dict[str, Any]:
    """Up to eight unit directions of z, the most telling first: {"axes": [[...]], "names": [...], "facts": [...]}.

    A VAE's are the dimensions with most KL, any other decoder's those that move its output most.
    """
    with _measuring:
        if model not in _axes:
            _axes[model] = _by_kl(model) if hasattr(model, "kl_per_dimension") else _by_decoder(model)
    return _axes[model]


def _by_kl(model: Any) -> dict[str, Any]:
    kl = model.kl_per_dimension.flatten()
    order = kl.argsort(descending=True)[:SLIDERS].tolist()
    axes = torch.eye(len(kl))[order]
    return {"axes": axes.tolist(), "names": [f"z{k + 1}" for k in order], "facts": [f"{kl[k]:.2f} nats" for k in order]}


def _by_decoder(model: Any) -> dict[str, Any]:
    count = len(model.labels)
    classes = sorted({round(k * (count - 1) / (CLASSES - 1)) for k in range(CLASSES)}) if count else [None]

    def decode(z: Tensor) -> Tensor:
        return torch.cat(
            [zoo.decoded(model, z, zoo.label_rows(model.labels, len(z), k)).flatten(1) for k in classes], 1
        )

    size = math.prod(model.latent_shape)
    axes, scales = latent.principal_directions(decode, model.latent_shape, min(SLIDERS, size), samples=2 * size)
    share = scales / scales[0].clamp_min(1e-9)
    names = [f"direction {k + 1}" for k in range(len(axes))]
    return {"axes": axes.flatten(1).tolist(), "names": names, "facts": [f"moves {s:.0%}" for s in share.tolist()]}


# ---- checks -------------------------------------------------------------------------------------------------------


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{name} is a number from {low:g} to {high:g}; got {value!r}.")
    return float(value)


def _code(values: Any, model: Any) -> Tensor:
    size = math.prod(model.latent_shape)
    if not isinstance(values, list) or len(values) != size:
        raise BadInput(f"z is a list of {size} numbers.")
    return torch.tensor([_number(v, "each number of z", -FARTHEST, FARTHEST) for v in values]).view(
        1, *model.latent_shape
    )


PANEL = Panel("Latent", (Decodes,), frozenset({"image"}), mount, normal=True)
