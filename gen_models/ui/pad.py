"""The server's end of the drawing pad (static/pad.js): its props, the reading of files, and the picture it holds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from torch import Tensor

from gen_models import data, render
from gen_models.interface import BadInput, Space
from gen_models.ui.visits import Picked, Visit

if TYPE_CHECKING:
    from gen_models.ui.tabs import Tab

DIGITS = ("mnist", "stacked-mnist", "mnist-photo")
DIGIT_BOX = 20 / 28  # MNIST's digits fill 20 x 20 of 28 x 28 pixels, their centre of mass in the middle
INKS = (  # for pictures on white paper
    ("yellow", "#fcc21b"),
    ("black", "#1b1d22"),
    ("white", "#ffffff"),
    ("red", "#e0402f"),
    ("blue", "#2f7fe0"),
    ("green", "#4c9a3a"),
)
LONGEST = 34_000_000  # characters of a file in base64


def props(picked: Picked) -> dict[str, Any]:
    """What the pad needs to know of the entry it draws for."""
    size = list(picked.space.shape[1:]) if picked.space.kind == "image" else [28, 28]
    digits, colour = picked.entry.data in DIGITS, picked.space.shape[:1] == (3,)
    inks = [list(ink) for ink in INKS] if picked.space.domains and colour and not digits else []
    return {"entry": picked.name, "size": size, "box": DIGIT_BOX if digits else 0, "colours": inks}


def follow(picked: Picked) -> gr.HTML:
    """For `tab.on_pick(pad.follow, [view])`: the pad draws for the entry that was picked; a drawing stays."""
    return gr.HTML(**props(picked))


def serve(tab: Tab) -> dict[str, Callable[[Visit, dict], Any]]:
    """The server functions of a pad: `picture` fits a file to the entry's Space."""

    def picture(visit: Visit, asked: dict) -> dict[str, Any]:
        space = tab.visits.picked(asked.get("entry"), visit).space
        name = str(asked.get("name") or "The picture")[:80]
        try:
            x = data.picture(_bytes(asked.get("file")), space)
        except BadInput as error:
            raise BadInput(str(error).replace("The picture:", f"{name}:", 1)) from None
        pixels = np.asarray(render.picture(x, space).convert("RGB"))
        return {"pixels": base64.b64encode(pixels.tobytes()).decode(), "size": list(space.shape[1:])}

    return {"picture": picture}


def received(value: Any, space: Space) -> Tensor:
    """What the pad holds as (C, H, W) in [-1, 1]; BadInput when it is empty or not of this Space."""
    if not isinstance(value, Mapping):
        raise BadInput("Draw something first, or upload a picture.")
    pixels, (height, width) = _bytes(value.get("pixels")), space.shape[-2:]
    if len(pixels) not in (height * width, 3 * height * width):
        raise BadInput(f"A drawing for this entry has {height} x {width} pixels. Draw it again.")
    return data.picture(np.frombuffer(pixels, np.uint8).reshape(height, width, -1), space)


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or not text or len(text) > LONGEST:
        raise BadInput("Choose or draw a picture first; a file has 24 MB at most.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("The picture did not arrive whole. Send it again.") from None
