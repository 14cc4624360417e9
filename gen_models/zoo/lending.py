"""Sampling models of the Hub on a GPU that is lent for the time of one call (ZeroGPU).

The call runs in a forked process, perhaps one that was forked at an earlier call: a model is named by its shelf and
found or loaded there, and frames come back as arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen_models import device
from gen_models.interface import BadInput, Frame, Opens, State, options
from gen_models.zoo.shelf import Shelf, load

LOADING = 15.0  # seconds: the process, the weights on their way to the GPU
CALL = 0.03, 0.001  # seconds of a call of the network, and of each sample of 64 x 64 pixels in it: a generous guess
MOST = 120.0  # seconds asked for: more is refused to people without an account


def place(shelf: Shelf) -> list[str]:
    """Loads the shelf's models of the Hub to where they will sample: at start, on the main thread, on ZeroGPU alone.

    A GPU is only pretended then, and a process that gets one finds the models on it. The names of those placed.
    """
    placed = []
    for name in shelf.names() if device.lends() else []:
        try:
            if issubclass(shelf.entry(name).model, Opens):
                load(name, shelf, device.LENT)
                placed.append(name)
        except BadInput:
            continue  # the picker says what is wrong with it
    return placed


def seconds(root: str, name: str, asked: Mapping[str, Any]) -> float:
    """How long the GPU is asked for: the call is ended after that."""
    entry = Shelf(root).entry(name)
    known = options(entry.model.sample, entry.limits())
    steps = asked.get("steps", known["steps"].default if "steps" in known else 1)
    call, sample = CALL
    each = call + sample * asked["n"] * entry.where.size / (3 * 64 * 64)
    return min(MOST, LOADING + each * max(1, int(steps)))


def packed(value: Any) -> Any:
    """Tensors as arrays, within tuples and mappings."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    if isinstance(value, Frame | State):
        return type(value)(*map(packed, value))
    if isinstance(value, tuple):
        return tuple(map(packed, value))
    return {name: packed(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def landed(value: Any) -> Any:
    """Arrays as tensors again."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Frame | State):
        return type(value)(*map(landed, value))
    if isinstance(value, tuple):
        return tuple(map(landed, value))
    return {name: landed(one) for name, one in value.items()} if isinstance(value, Mapping) else value
