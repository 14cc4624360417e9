"""Shelves: folders of checkpoints, and the models loaded from them, kept up to a number of bytes."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from gen_models import checkpoint
from gen_models import device as hardware
from gen_models.interface import BadInput, GenerativeModel, Opens
from gen_models.zoo.entries import Entry, build, entry_of
from gen_models.zoo.table import ZOO

BUNDLED_ROOT = Path(__file__).resolve().parent.parent.parent / "checkpoints"
PREVIEW = "preview.png"
FILES = "files.json"  # of an entry in another format: the folder that its files lie in, and those with weights
CACHE_BYTES = int(os.environ.get("GEN_MODELS_CACHE_BYTES") or 0)  # on each device; 0: half of what the device has
HEADER = 100 << 20  # bytes of a safetensors header, at most


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


class Loaded(NamedTuple):
    """A model in memory: its entry's name, its bytes on the device, and the folder that it was loaded from."""

    name: str
    bytes: int
    device: str
    folder: Path


class _Kept(NamedTuple):
    model: GenerativeModel
    bytes: int


_Key = tuple[str, str, str]  # folder, weights, device
_cache: OrderedDict[_Key, _Kept] = OrderedDict()
_cache_lock = threading.Lock()
_loading: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)  # two who ask at once get one model
_stands: WeakKeyDictionary[GenerativeModel, tuple[str, str]] = WeakKeyDictionary()


def load(name: str, shelf: Shelf = BUNDLED, device: str | torch.device = "cpu") -> GenerativeModel:
    """The model of a checkpoint in eval mode; kept, newest use last, up to CACHE_BYTES on each device.

    On CUDA in a half precision that it allows. BadInput where it does not fit into what memory is free.
    """
    folder = shelf.folder(name)
    card = checkpoint.read_card(folder)
    key = (str(folder), str(card.get("weights") or card.get("origin")), str(device))
    with _cache_lock:
        waiting = _loading[key]
    with waiting:
        with _cache_lock:
            if key in _cache:
                _cache.move_to_end(key)
                return _cache[key].model
        model = _loaded(folder, card, device)
        _stands[model] = str(shelf.root), name
        with _cache_lock:
            _cache[key] = _Kept(model, _bytes(model))
            _trim(str(device))
    return model


def _loaded(folder: Path, card: dict[str, Any], device: str | torch.device) -> GenerativeModel:
    """The model built, its weights read, and placed; without the cache."""
    entry = entry_of(card)
    kind = hardware.precision(device, entry.model)
    numbers = sum(map(_numbers, _weights(folder)))
    _make_room(folder.name, 4 * numbers, "cpu")  # it is built there, in float32
    if torch.device(device).type != "cpu":
        _make_room(folder.name, kind.itemsize * numbers, device)
    model = _opened(entry, folder)
    model = model.to(device) if kind == torch.float32 else model.to(device, kind)
    return model.eval().requires_grad_(False)


def _opened(entry: Entry, folder: Path) -> GenerativeModel:
    """The model with its weights: the checkpoint's own, or those in the folder of another format that it names."""
    if issubclass(entry.model, Opens):
        return build(entry, files=_elsewhere(folder)[0])
    model = build(entry)
    checkpoint.restore(model, folder)
    return model


def _elsewhere(folder: Path) -> tuple[Path, list[Path]]:
    """The folder that files.json names, and the weights in it; BadInput where they are gone."""
    try:
        said = json.loads((folder / FILES).read_bytes())
        place = Path(said["folder"])
        weights = [place / name for name in said["weights"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{folder.name} does not say where its files lie; fetch it again.") from None
    if not all(path.is_file() for path in weights):
        raise BadInput(f"The files of {folder.name} are no longer in {place}; fetch it again.")
    return place, weights


def standing(model: GenerativeModel) -> tuple[str, str] | None:
    """The root of the shelf and the name that the model was loaded by; None for one that was not."""
    return _stands.get(model)


def loaded() -> list[Loaded]:
    """What is in memory, the latest use first."""
    with _cache_lock:
        kept = list(reversed(_cache.items()))
    return [Loaded(Path(folder).name, one.bytes, device, Path(folder)) for (folder, _, device), one in kept]


def unload(name: str | None = None, shelf: Shelf | None = None, device: str | None = None) -> int:
    """Drops models from memory, all or those that are named; the bytes that they took. They load again when needed."""
    with _cache_lock:
        going = [
            key
            for key in _cache
            if name in (None, Path(key[0]).name)
            and (shelf is None or Path(key[0]).is_relative_to(shelf.root))
            and device in (None, key[2])
        ]
        taken = sum(_cache.pop(key).bytes for key in going)
        for key in going:
            _loading.pop(key, None)
    for where in {key[2] for key in going}:
        hardware.release(where)
    return taken


def forget(shelf: Shelf) -> None:
    """Drops the shelf's models from memory."""
    unload(shelf=shelf)


# ---- bytes ------------------------------------------------------------------------------------------------------


def _limit(device: str) -> int:
    return CACHE_BYTES or hardware.capacity(device) // 2


def _trim(device: str) -> None:
    """Drops what was used longest ago until the device's models fit the limit; the newest stays, however large."""
    here = [key for key in _cache if key[2] == device]
    while len(here) > 1 and sum(_cache[key].bytes for key in here) > _limit(device):
        del _cache[here.pop(0)]


def _make_room(name: str, need: int, device: str | torch.device) -> None:
    """Drops what was used longest ago until `need` bytes are free; BadInput where that is not enough."""
    if need <= hardware.room(device):
        return
    with _cache_lock:
        older = [key for key in _cache if key[2] == str(device)]
    for key in older:
        with _cache_lock:
            _cache.pop(key, None)
        hardware.release(device)
        if need <= hardware.room(device):
            return
    free = max(0, hardware.room(device))
    if need > free:
        raise BadInput(
            f"{name} needs {hardware.amount(need)} of memory on {device}, and {hardware.amount(free)} are free. "
            "Close other programs, choose a smaller model, or start with another --device."
        )


def _weights(folder: Path) -> list[Path]:
    """The files that an entry's weights lie in."""
    if (folder / FILES).exists():
        return _elsewhere(folder)[1]
    path = folder / checkpoint.WEIGHTS
    return [path] if path.exists() else []


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header; 0 for another file: reading it will refuse it."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, HEADER)))
        return sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _bytes(model: GenerativeModel) -> int:
    """Bytes of all parameters and buffers, saved or not; what two modules share is counted once."""
    return sum(t.numel() * t.element_size() for t in {*model.parameters(), *model.buffers()})
