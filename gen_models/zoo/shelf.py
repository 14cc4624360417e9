"""Shelves: folders of checkpoints, and the models loaded from them, kept up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from gen_models import checkpoint
from gen_models.interface import GenerativeModel
from gen_models.zoo.entries import Entry, build, entry_of
from gen_models.zoo.table import ZOO

BUNDLED_ROOT = Path(__file__).resolve().parent.parent.parent / "checkpoints"
PREVIEW = "preview.png"
CACHE_BYTES = 1 << 30


class Shelf:
    """A folder of checkpoints: the bundled one, or what a visitor trained."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def names(self) -> list[str]:
        """Finished checkpoints: the zoo's first and in its order, then the others, oldest first."""
        found = {card.parent.name: card.stat().st_mtime for card in self.root.glob(f"*/{checkpoint.CARD}")}
        known = [name for name in ZOO if name in found]
        return known + sorted((name for name in found if name not in ZOO), key=found.get)

    def folder(self, name: str) -> Path:
        """The checkpoint's folder; BadInput for a name that is not on the shelf."""
        return checkpoint.locate(str(name), [self.root])

    def card(self, name: str) -> dict[str, Any]:
        return checkpoint.read_card(self.folder(name))

    def entry(self, name: str) -> Entry:
        return entry_of(self.card(name))

    def preview(self, name: str) -> Path | None:
        path = self.folder(name) / PREVIEW
        return path if path.exists() else None


BUNDLED = Shelf(BUNDLED_ROOT)

_cache: OrderedDict[tuple[str, str, str], GenerativeModel] = OrderedDict()
_cache_lock = threading.Lock()


def load(name: str, shelf: Shelf = BUNDLED, device: str | torch.device = "cpu") -> GenerativeModel:
    """The model of a checkpoint in eval mode; kept, newest use last, up to CACHE_BYTES."""
    folder = shelf.folder(name)
    card = checkpoint.read_card(folder)
    key = (str(folder), str(card.get("weights")), str(device))
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    model = build(entry_of(card))
    checkpoint.restore(model, folder)
    model.to(device).eval().requires_grad_(False)
    with _cache_lock:
        _cache[key] = model
        while len(_cache) > 1 and sum(map(_bytes, _cache.values())) > CACHE_BYTES:
            _cache.popitem(last=False)
    return model


def forget(shelf: Shelf) -> None:
    """Drops the shelf's models from memory."""
    with _cache_lock:
        for key in [key for key in _cache if Path(key[0]).is_relative_to(shelf.root)]:
            del _cache[key]


def _bytes(model: GenerativeModel) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())
