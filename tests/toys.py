"""What several tests share: pictures out of thin air, entries made small, models with nothing at zero."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from gen_models import checkpoint, data, music, zoo
from gen_models.interface import Batch, Data, GenerativeModel, Space, options
from gen_models.noise import mixed

NARROW = {
    "image": {"channels": 8, "hidden": 16, "components": 3, "factors": 2, "codes": 64},
    "text": {"width": 16, "layers": 1, "heads": 2, "window": 8},
    "music": {"width": 16, "layers": 1, "heads": 2, "window": 8},
}


class FakePictures:
    """Noise with a class-dependent brightness, in any image space: what a model trains on when only the way counts."""

    log_prob = None

    def __init__(self, space: Space, n: int = 16):
        self.space = space
        rng = torch.Generator().manual_seed(mixed("pictures", *space.shape))
        self.label = torch.arange(n) % len(space.labels) if space.labels else None
        bright = 0 if self.label is None else (self.label / len(space.labels)).view(-1, 1, 1, 1)
        self.x = (torch.rand(n, *space.shape, generator=rng) + bright).clamp(0, 1) * 2 - 1

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        rows = torch.randint(len(self.x), (n,), generator=rng)
        return Batch(self.x[rows], None if self.label is None else self.label[rows])

    def split(self, name: str) -> Batch:
        return Batch(self.x, self.label)


def source_for(entry: zoo.Entry) -> Data:
    """The entry's own data where it is drawn on the spot, else pictures, text or music of the same space."""
    if entry.where.kind in ("text", "music"):
        return fake_text(entry.where) if entry.where.kind == "text" else fake_chorales(entry.where)
    if entry.where.domains:
        return fake_domains(entry.where)
    return data.load(entry.data) if entry.where.kind == "points" else FakePictures(entry.where)


def fake_text(space: Space, windows: int = 20) -> Data:
    """Random letters as running text, or lines of them, in any space of text."""
    rng = torch.Generator().manual_seed(mixed("text", *space.shape))
    if space.encoding == "plain":
        symbols = torch.randint(len(space.alphabet), (windows * space.size,), generator=rng)
        return data.text.Text(space, symbols, 3 * space.size, 3 * space.size)
    letters, most = space.alphabet[1:], space.size - 1
    drawn = torch.randint(len(letters), (10 * windows, most), generator=rng).tolist()
    lines = ["".join(letters[k] for k in row[: 1 + i % most]) for i, row in enumerate(drawn)]
    return data.text.Lines(space, lines, windows, windows)


def fake_domains(space: Space, n: int = 16) -> Data:
    """Noise in one domain, and the same upside down in the other: row for row, so that true twins exist."""
    x = data.in_bytes(FakePictures(space, n).x)
    splits = dict.fromkeys(("train", "valid", "test"), (x, x.flip(2)))
    return data.Domains(space, splits, paired=True)


def fake_chorales(space: Space, count: int = 4, steps: int = 400) -> Data:
    """Pieces of four voices that walk up and down at random, each within its own range."""
    rng = torch.Generator().manual_seed(mixed("chorales", count, steps))
    pieces = []
    for _ in range(count):
        walk = torch.randint(-2, 3, (steps // 2, music.VOICES), generator=rng).cumsum(0) % 12
        pieces.append((walk + torch.tensor([66, 58, 50, 42])).repeat_interleave(2, 0))
    return data.chorales.Chorales(space, {"train": pieces, "valid": pieces[:3], "test": pieces[1:]})


def small(entry: zoo.Entry, steps: int = 6, **recipe: Any) -> zoo.Entry:
    """The entry with narrow layers and a few steps: everything else, turns included, is its own."""
    narrow = NARROW.get(entry.where.kind, {})
    narrow = {name: value for name, value in narrow.items() if name in options(entry.model.__init__)}
    stages = {name: dataclasses.replace(stage, steps=steps) for name, stage in entry.recipe.stages.items()}
    changed = dataclasses.replace(entry.recipe, stages=stages, **{"batch_size": 4, "warmup": 0} | recipe)
    return dataclasses.replace(entry, recipe=changed, config={**entry.config, **narrow})


def lively(entry: zoo.Entry, seed: int = 0) -> GenerativeModel:
    """A fresh model in eval mode whose every parameter counts: layers that start at 0 would hide mistakes."""
    model = zoo.build(entry, seed).eval()
    rng = torch.Generator().manual_seed(mixed(seed, "lively"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return model


def put_on_shelf(folder: Path, entry: zoo.Entry) -> None:
    """A checkpoint of the entry in `folder`, as if it had been trained."""
    checkpoint.save(folder, zoo.card_of(entry) | {"training": {"steps": 1, "seconds": 0.1}}, lively(entry))
