"""Training an entry into a folder: saved while it runs, gone on with after a kill, published at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gen_models import checkpoint, data, render
from gen_models.interface import BadInput, Data, GenerativeModel, Samples, Translates, checked_seed
from gen_models.noise import mixed
from gen_models.training import Group, Progress, Training
from gen_models.zoo.entries import Entry, build, card_of
from gen_models.zoo.sampling import both_ways, held_pairs, preview
from gen_models.zoo.shelf import BUNDLED, PREVIEW, Shelf, load

STATE = "training.safetensors"  # an unfinished training, beside the checkpoint it will become
SAVE_EVERY = 30.0  # seconds


def run(
    entry: Entry,
    source: Data,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    folder: str | Path | None = None,
    resume: bool = True,
    stop_publishes: bool = False,
    look: Callable[[GenerativeModel], Any] | None = None,
    teacher: GenerativeModel | None = None,
    group: Group | None = None,
) -> Iterator[Progress]:
    """Trains the entry on `source` and saves into `folder`, atomically, every 30 seconds and at the end.

    An unfinished training is kept beside the checkpoint and gone on with; closing the iterator saves it too, as a
    checkpoint of its own where `stop_publishes`. BadInput when the state belongs to another entry, or the disk is full.
    `group`: the processes that train together; each calls this, and process 0 reads and writes the files.
    `teacher`: what an entry that has one learns from, where it is not the one of that name beside `folder` or, without
    one there, the bundled one; BadInput where there is none.
    """
    group = group or Group()
    entry = dataclasses.replace(entry, space=source.space)
    seed = checked_seed(seed)
    teacher = teacher or teacher_of(entry, Path(folder).parent if folder is not None else None, device)
    training = Training(
        build(entry, seed), source, entry.recipe, seed=seed, device=device, look=look, teacher=teacher, group=group
    )
    card = card_of(entry)
    store = _Store(Path(folder), card, seed) if folder is not None else None
    figures = store.resume(training, group) if store and resume else {}
    store = store if group.rank == 0 else None
    saved = time.monotonic()
    try:
        for progress in training:
            figures = dict(progress.show) or figures
            yield progress
            if store and time.monotonic() - saved > SAVE_EVERY:
                store.save(training, figures)
                saved = time.monotonic()
    finally:
        if store and training.begun:
            if training.finished or (stop_publishes and training.examples):
                store.publish(training, entry, figures)
            elif training.examples:
                store.save(training, figures)


def teacher_of(entry: Entry, beside: Path | None, device: str | torch.device) -> GenerativeModel | None:
    """The trained model that the entry learns from, in the folder `beside` or bundled; None for one without."""
    if entry.teacher is None:
        return None
    shelves = [Shelf(beside), BUNDLED] if beside is not None else [BUNDLED]
    for shelf in shelves:
        if entry.teacher in shelf.names():
            return load(entry.teacher, shelf, str(device))
    raise BadInput(
        f"It learns from {entry.teacher}, which is not trained yet: python -m gen_models train {entry.teacher}"
    )


class _Store:
    """Where a training is kept: its state while it runs, the checkpoint when it ends."""

    def __init__(self, folder: Path, card: Mapping[str, Any], seed: int):
        self.folder, self.card, self.seed = folder, card, seed
        self.identity = str(mixed(json.dumps(card, sort_keys=True, default=str), seed))

    @property
    def path(self) -> Path:
        return self.folder / STATE

    def resume(self, training: Training, group: Group) -> dict[str, float]:
        """Brings the training to where it was, with any number of processes; the figures last reported."""
        state = group.led(self._read)
        if not state:
            return {}
        training.load_state_dict(state["training"])
        return state.get("figures", {})

    def _read(self) -> dict[str, Any]:
        """The unfinished training, {} where there is none."""
        if not self.path.exists():
            return {}
        state = checkpoint.load_state(self.path)
        if state.get("identity") != self.identity:
            raise BadInput(
                f"{self.path} is an unfinished training with another recipe, data set or seed; "
                "go on with those, or start anew (on the command line: --restart)."
            )
        return state

    def save(self, training: Training, figures: Mapping[str, float]) -> None:
        state = {"identity": self.identity, "figures": figures, "training": training.state_dict()}
        checkpoint.save_state(self.path, state)

    def publish(self, training: Training, entry: Entry, figures: Mapping[str, float]) -> None:
        """card.json, weights and preview; the state goes when they are in place."""
        model = training.shown
        name = entry.data if entry.data in data.NAMES else None
        facts = {
            "seed": self.seed,
            "seconds": round(training.seconds, 1),
            "device": str(training.device),
            "threads": torch.get_num_threads(),
            "examples": training.examples,
            "steps": training.steps,
            **({"processes": training.group.size} if training.group.size > 1 else {}),
            "finished": training.finished,
            "terms": {name: round(value, 5) for name, value in figures.items()},
        }
        source = data.source_of(name) if name else "a visitor's own data"
        card = dict(self.card) | {"source": source, "licence": "Apache-2.0 (weights)", "training": facts}
        checkpoint.save(self.folder, card, model, half=entry.where.kind != "points")
        if isinstance(model, Samples | Translates):
            seen = preview(model) if isinstance(model, Samples) else _translations(model, training.data)
            picture = render.png(seen, {"entry": self.folder.name, "seed": 0})
            part = self.folder / f".{PREVIEW}.part"
            with contextlib.suppress(OSError):  # the checkpoint is safe; a preview's failure never kills a run
                part.write_bytes(picture)
                os.replace(part, self.folder / PREVIEW)
        self.path.unlink(missing_ok=True)


def _translations(model: GenerativeModel, source: Data) -> Any:
    """The picture of an entry that translates: four held-out pictures of each domain, and what becomes of them."""
    return render.grid(both_ways(model, *held_pairs(source)), model.space, columns=4)
