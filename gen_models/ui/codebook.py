"""A codebook as a person sees it: every code as a small picture, in an order, and codes that come from a browser."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gen_models.interface import BadInput, GenerativeModel
from gen_models.ui.visits import Picked

AT_ONCE = 64  # pictures that are decoded together
AGAIN = "Take a picture of this entry again."


class Book(NamedTuple):
    """Every code as a patch, and an order in which neighbours look alike."""

    patches: Tensor  # (codes, C, h, w) in [-1, 1], h and w being those of a cell
    order: list[int]


@torch.no_grad()
def book(model: Any) -> Book:
    """Each code alone: the middle cell of a picture that is written with this code everywhere."""
    rows, columns = model.grid
    height, width = (size // cells for size, cells in zip(model.space.shape[1:], model.grid, strict=True))
    top, left = rows // 2 * height, columns // 2 * width
    found = []
    for some in torch.arange(model.codes, device=model.device).split(AT_ONCE):
        x = model.from_tokens(some.view(-1, 1, 1).expand(-1, rows, columns))
        found.append(x[:, :, top : top + height, left : left + width].float().cpu())
    patches = torch.cat(found)
    return Book(patches, chain(patches.flatten(1)))


def chain(x: Tensor) -> list[int]:
    """An order of the rows of x (N, D), the smallest sum first, in which neighbours are close.

    Rows join one after the other, those far from all others first, where the detour is the shortest.
    """
    distance = torch.cdist(x, x)
    order = [int(x.sum(1).argmin())]
    for row in distance.sum(1).argsort(descending=True).tolist():
        if row == order[0]:
            continue
        at = torch.tensor(order)
        detour = distance[at, row]  # behind the last one there is no way back
        detour[:-1] += distance[at[1:], row] - distance[at[:-1], at[1:]]
        order.insert(int(detour.argmin()) + 1, row)
    return order


def nats(model: Any, tokens: Tensor) -> list[list[float]]:
    """log p of every code (B, cells) under the prior, of no class."""
    with torch.inference_mode():
        return model.token_log_probs(tokens.to(model.device)).double().cpu().tolist()


def mean_squared(x: Tensor, y: Tensor) -> float:
    """Mean squared error, pixels from 0 (black) to 1 (white)."""
    return float(F.mse_loss(x.float().cpu(), y.float().cpu())) / 4


# ---- what a browser sends ----------------------------------------------------------------------------------------


def checked(codes: Any, picked: Picked, model: Any) -> Tensor:
    """Rows of codes as (1, rows, columns) int64; BadInput for another grid or a code that there is not."""
    values, (rows, columns) = _grid(codes, model.grid), model.grid
    if values is None:
        raise BadInput(f"Pictures of {picked.name} are {rows} x {columns} codes; these are others. {AGAIN}")
    if any(type(value) is not int or not 0 <= value < model.codes for row in values for value in row):
        raise BadInput(f"A code of {picked.name} is a whole number from 0 to {model.codes - 1}. {AGAIN}")
    return torch.tensor(values)[None]


def edit(sent: Any, picked: Picked, model: Any) -> tuple[Tensor, Tensor]:
    """An edit {"entry", "codes", "marked"} as codes and marks, both (1, rows, columns); BadInput says what to do."""
    if not isinstance(sent, Mapping):
        raise BadInput("Take a picture first: draw one, choose a test picture or a sample of the prior.")
    if sent.get("entry", picked.name) != picked.name:
        raise BadInput(f"These codes are of {str(sent['entry'])[:80]}, not of {picked.name}. {AGAIN}")
    tokens, marked = checked(sent.get("codes"), picked, model), _grid(sent.get("marked"), model.grid)
    if marked is None or any(type(value) not in (int, bool) for row in marked for value in row):
        rows, columns = model.grid
        raise BadInput(f"marked has {rows} rows of {columns}: 1 for a cell to rewrite, else 0.")
    marks = torch.tensor(marked).bool()[None]
    if not marks.any():
        raise BadInput("Nothing is marked: choose the brush Mark and drag over the cells that shall be rewritten.")
    return tokens, marks


def _grid(values: Any, grid: tuple[int, int]) -> list[list[Any]] | None:
    """The values if they are rows of the grid's size."""
    rows, columns = grid
    fits = isinstance(values, list) and len(values) == rows
    return values if fits and all(isinstance(row, list) and len(row) == columns for row in values) else None


# ---- made once --------------------------------------------------------------------------------------------------


class Made:
    """What takes a while and is asked for again: made in the background, kept as long as its model.

    Of each model the `most` that were asked for last are kept.
    """

    def __init__(self, most: int = 16):
        self._most, self._lock = most, threading.Lock()
        self._pool = ThreadPoolExecutor(1, "codes")
        self._known: weakref.WeakKeyDictionary[GenerativeModel, OrderedDict[Hashable, Future]]
        self._known = weakref.WeakKeyDictionary()

    def of(self, model: Any, key: Hashable, make: Callable[[Any], Any], patience: float) -> Any:
        """`make(model)`; None while it is being made and `patience` (seconds) is over."""
        with self._lock:
            known = self._known.setdefault(model, OrderedDict())
            if key not in known or (known[key].done() and known[key].exception() is not None):
                known[key] = self._pool.submit(make, model)
            known.move_to_end(key)
            while len(known) > self._most:
                known.popitem(last=False)
            future = known[key]
        wait([future], timeout=patience)
        return future.result() if future.done() else None
