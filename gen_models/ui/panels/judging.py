"""Samples on the page against held-out data: how many are seen as their class, how much of the data they cover."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import data, evaluate, metrics
from gen_models.interface import BadInput
from gen_models.noise import mixed
from gen_models.ui.panels.sources import SETS
from gen_models.ui.visits import Picked

K = 5  # the neighbour that reaches a ball's surface
GROUPS = 10  # of samples whose densities differ: from them its error
PATIENCE = 0.2  # seconds between two words while a data set is read


class Seen(NamedTuple):
    """What the judges say of samples: features of the one, classes of the other."""

    features: Tensor  # (n, D)
    classes: Tensor  # (n,)


class Bench:
    """What samples of an entry are held against; `why` says what is missing, "" where all is there.

    Judge A gives features, judge B classes, as in the evaluation. The held-out pictures are of the test split, the row
    of real ones of the validation split; both of the class asked for, where one is.
    """

    def __init__(self, picked: Picked, n: int, label: int | None):
        self.why, self.reference, self.real = "", None, None
        name = picked.entry.data
        known = name in data.NAMES and picked.space.kind == "image"
        judges = evaluate.judges_of(picked.shelf, name) if known else None
        fits = judges is not None and judges.classes.space.shape == picked.space.shape
        self.judges = judges if fits else None
        if self.judges is None:
            own = "of its own data" if name not in data.NAMES else f"of {data.title_of(name)}"
            self.why = f"Pictures only: there is no judge {own}, so nothing says how right or how varied they are."
        self._picked, self._n, self._label = picked, n, label

    def read(self) -> Iterator[str]:
        """Reads and judges the held-out data; words while it takes time. Without the data accuracy alone is left."""
        if self.judges is None:
            return
        name = self._picked.entry.data
        future = SETS.of(name, lambda: data.load(name))
        while not future.done():
            yield "reading the held-out pictures"
            wait([future], timeout=PATIENCE)
        try:
            source = future.result()
        except BadInput as error:
            self.why = f"No coverage without the data: {error}"
            return
        yield "judging the held-out pictures"
        self.reference = self.seen(self._some(source.split("test"), "test")[0]).features
        x, label = self._some(source.split("valid"), "valid")
        self.real = self.marks(self.seen(x), label)

    def _some(self, batch: Any, what: str) -> tuple[Tensor, Tensor]:
        """Up to n rows of a split, the same every time, and their classes."""
        pool = torch.arange(len(batch.x)) if self._label is None else (batch.label == self._label).nonzero().flatten()
        rng = torch.Generator().manual_seed(mixed("held out", self._picked.entry.data or "", what))
        rows = pool[torch.randperm(len(pool), generator=rng)[: self._n]]
        return batch.x[rows], batch.label[rows]

    def seen(self, x: Tensor) -> Seen:
        """The judges' words on pictures (n, *shape), as they would be saved."""
        x = data.in_range(data.in_bytes(x))
        with torch.inference_mode():
            return Seen(self.judges.features.features(x), self.judges.classes.classify(x).argmax(1))

    def marks(self, seen: Seen, label: Tensor, whole: bool = True) -> dict[str, Any]:
        """Cells by name; coverage and density for a whole set alone, since they depend on how many there are."""
        right = int((seen.classes == label).sum())
        low, high = metrics.wilson(right, len(label))
        found: dict[str, Any] = {"accuracy": {"value": right / len(label), "low": low, "high": high, "n": len(label)}}
        if self.reference is None or not whole or min(len(self.reference), len(label)) <= K:
            return found
        density, coverage = metrics.density_coverage(self.reference, seen.features, k=K)
        low, high = metrics.wilson(round(coverage * len(self.reference)), len(self.reference))
        found["coverage"] = {"value": coverage, "low": low, "high": high, "n": len(self.reference)}
        found["density"] = {"value": density, "se": self._density_error(seen.features)}
        return found

    def _density_error(self, features: Tensor) -> float | None:
        """The standard error of the density, a mean over samples, from equal groups of them; None for few."""
        size = len(features) // GROUPS
        if size < 5:
            return None
        groups = features[: GROUPS * size].split(size)
        values = torch.tensor([metrics.density_coverage(self.reference, group, k=K)[0] for group in groups])
        return float(values.std()) / math.sqrt(len(values))


def written(cell: Mapping[str, Any] | None) -> str:
    """A cell as a person reads it: "0.985 (0.957 to 0.995)", "1.04 ± 0.05"; a dash where nothing was measured."""
    if cell is None:
        return "–"
    if "low" in cell:
        return f"{cell['value']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})"
    return f"{cell['value']:.2f}" + (f" ± {cell['se']:.2f}" if cell.get("se") is not None else "")
