"""Examples of an entry's data that it was not trained on, as far as they are at hand."""

from __future__ import annotations

from concurrent.futures import wait
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen_models import data
from gen_models.interface import BadInput, Batch
from gen_models.noise import mixed
from gen_models.ui.film import cells_of
from gen_models.ui.panels import sources
from gen_models.ui.visits import Picked, Visit

HELD = 2000  # examples of a data set that are kept in memory
GAP = 2  # pixels between the pictures of a preview
PATIENCE = 0.5  # seconds to wait for a data set that is being read; then the page asks again

VALID = sources.Readings()


class Held(NamedTuple):
    """Examples that the model was not trained on: pictures as bytes, points as they are; and their classes."""

    x: Tensor
    label: Tensor | None

    def rows(self, which: Tensor) -> Batch:
        """Some of them, in [-1, 1]."""
        x = self.x[which]
        x = data.in_range(x) if x.dtype == torch.uint8 else x
        return Batch(x, None if self.label is None else self.label[which])


def _valid(name: str) -> Held:
    """A fixed part of a data set's validation split."""
    batch = data.load(name).split("valid")
    order = torch.randperm(len(batch.x), generator=torch.Generator().manual_seed(mixed("forward", name)))[:HELD]
    x = batch.x[order]
    return Held(data.in_bytes(x) if x.dim() == 4 else x, None if batch.label is None else batch.label[order])


def held(picked: Picked, visit: Visit) -> Held | None:
    """Examples to judge by; None while they are being read. BadInput says what to do where there are none."""
    kept = visit.kept.get(sources.HELD + picked.name)
    if isinstance(kept, Tensor):
        return Held(kept, None)
    name = picked.entry.data
    if name not in data.NAMES:
        raise BadInput("The data of this entry is not kept here: draw or upload a picture, or train a model of yours.")
    future = VALID.of(name, lambda: _valid(name))
    wait([future], timeout=PATIENCE)
    return future.result() if future.done() else None


def stand_in(picked: Picked) -> Tensor | None:
    """Samples (16, C, H, W) cut out of the entry's preview, for when its data is not at hand; None without one."""
    path = picked.shelf.preview(picked.name) if picked.name in picked.shelf.names() else None
    if path is None or picked.space.kind != "image":
        return None
    cells, (height, width) = cells_of(picked, 16, gap=GAP), picked.space.shape[1:]
    places = [divmod(k, cells["columns"]) for k in range(cells["count"])]
    with Image.open(path) as image:
        grid = np.asarray(image.convert("L" if picked.space.shape[0] == 1 else "RGB"))
    parts = [
        grid[i * (height + 2) : i * (height + 2) + height, j * (width + 2) : j * (width + 2) + width] for i, j in places
    ]
    if any(part.shape[:2] != (height, width) for part in parts):
        return None
    return torch.stack([data.picture(part.reshape(height, width, -1), picked.space) for part in parts])
