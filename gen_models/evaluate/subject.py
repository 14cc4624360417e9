"""What is judged: an entry's model, the data it learnt, its judges, and sets of pictures or points in one form."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import data, music, zoo
from gen_models.interface import BadInput, Classifies, Data, GenerativeModel, Imitates, Samples, Space, options
from gen_models.noise import mixed

SLOW = 0.05  # seconds a sample: slower samplers are judged on fewer
FEW = 2000  # samples of a slow sampler
APART = 1_000_000  # between the first seeds of two repeats
PER_MODE = 2.6  # samples that modes are counted in, times n: 26,000 for n = 10,000, as in the literature
CHUNK = {"image": 256, "points": 4096, "text": 256, "music": 128}
SIXTEENTHS = 16 * music.BAR  # of a piece that is measured; what is drawn has as many
STACKS = {"stacked-mnist": "mnist"}  # sets whose channels are pictures of another set: that set's judges see each


class Judges(NamedTuple):
    """Two classifiers of one data set: features come from the first, classes from the second."""

    features: Classifies
    classes: Classifies
    facts: Mapping[str, Mapping[str, str]]  # "features" and "accuracy": name and sha256 of each


class Drawn(NamedTuple):
    """A set to measure: x as it would be saved (pictures as bytes), features, the classes asked for, modes' codes."""

    x: Tensor  # (n, *shape): uint8 for pictures, float32 for points, int64 for text; of music grids (n, 256, 4)
    rows: Tensor  # (n, D) features; points are their own
    label: Tensor | None = None  # (n,) classes asked for
    seen: Tensor | None = None  # (n,) classes that the second judge sees; for stacks (2.6 n,) codes 0 .. K^3 - 1


def judges_of(shelf: zoo.Shelf, data_name: str | None) -> Judges | None:
    """The judges for a data set, from this shelf or the bundled one; None where none are trained."""
    subject = STACKS.get(data_name or "", data_name)
    names = {part: f"judge-{subject}-{letter}" for part, letter in (("features", "a"), ("accuracy", "b"))}
    found, facts = {}, {}
    for part, name in names.items():
        home = next((s for s in (shelf, zoo.BUNDLED) if name in s.names()), None)
        if home is None:
            return None
        found[part] = zoo.load(name, home)
        facts[part] = {"name": name, "sha256": home.card(name)["weights"]["sha256"]}
    return Judges(found["features"], found["accuracy"], facts)


def settings(entry: zoo.Entry) -> dict[str, dict[str, Any]]:
    """Options of sampling by the name of their row: the defaults, and without guidance where there is any.

    A model that has learnt to take few steps has a row for each number of them, its default first.
    """
    known = options(entry.model.sample, entry.limits())
    chosen = {name: option.default for name, option in known.items() if not option.fixed}
    if issubclass(entry.model, Imitates):
        values = dict.fromkeys((chosen["steps"], *known["steps"].allowed.values))
        return {f"steps {value}": chosen | {"steps": value} for value in values}
    if "guidance" not in chosen:
        name, value = next(iter(chosen.items()), ("samples", ""))
        return {f"{name} {value}".strip() if isinstance(value, str) else f"{name} {value:g}": chosen}
    values = dict.fromkeys((1.0, chosen["guidance"]))
    return {f"guidance {value:g}": chosen | {"guidance": value} for value in values}


@dataclass
class Subject:
    """An entry under judgement."""

    name: str
    entry: zoo.Entry
    model: GenerativeModel
    source: Data
    judges: Judges | None
    n: int
    seeds: int
    _sets: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        return self.entry.where

    @property
    def pictures(self) -> bool:
        return self.space.kind == "image"

    @property
    def stacked(self) -> bool:
        """Each channel is a picture that the judges know by itself."""
        return self.entry.data in STACKS

    def check(self) -> None:
        """BadInput where the numbers asked for cannot be measured."""
        if self.seeds < 1:
            raise BadInput(f"--seeds is 1 or more; got {self.seeds}.")
        if not isinstance(self.model, Samples):
            return
        width = 0 if self.space.kind in ("text", "music") else self.rows(self.reference_x[:2]).shape[1]
        if self.n <= width:
            raise BadInput(
                f"{self.n} samples are too few: distances compare the covariances of {width} features, which are "
                f"singular unless there are more samples than features. Take --n {max(1000, 10 * width)} or more."
            )
        test = len(self.source_x("test"))
        if self.n > test:
            raise BadInput(
                f"The test set has {test} examples, and as many are drawn at most: take --n {test} or fewer."
            )

    # ---- real sets -----------------------------------------------------------------------------------------------

    def source_x(self, split: str) -> Tensor:
        return self._split(split)[0]

    def source_label(self, split: str) -> Tensor | None:
        return self._split(split)[1]

    def _split(self, split: str) -> tuple[Tensor, Tensor | None]:
        if split not in self._sets and self.space.kind == "music":
            self._sets[split] = torch.stack([_filled(piece) for piece in self.source.pieces(split)]), None
        if split not in self._sets:
            batch = self.source.split(split)
            self._sets[split] = (data.in_bytes(batch.x) if self.pictures else batch.x, batch.label)
        return self._sets[split]

    def some(self, what: str, count: int, out_of: int) -> Tensor:
        """`count` different indices below `out_of`, the same every time."""
        rng = torch.Generator().manual_seed(mixed(self.entry.data or "", what))
        return torch.randperm(out_of, generator=rng)[:count]

    @functools.cached_property
    def _order(self) -> Tensor:
        """The training examples in one random order: first those that memorisation is looked for in, then others."""
        return self.some("train", len(self.source_x("train")), len(self.source_x("train")))

    @functools.cached_property
    def reference_x(self) -> Tensor:
        """n test examples."""
        test = self.source_x("test")
        return test[self.some("test", self.n, len(test))]

    @functools.cached_property
    def reference(self) -> Tensor:
        """Their features (n, D)."""
        return self.rows(self.reference_x)

    @property
    def _remembered(self) -> int:
        """Training examples, at most half of them, that memorisation is looked for in: as many as are held out."""
        return min(len(self.source_x("train")) // 2, len(self.source_x("test")))

    @functools.cached_property
    def memory(self) -> tuple[Tensor, Tensor]:
        """Features of training examples, and of as many held-out ones."""
        size = self._remembered
        return self.rows(self.source_x("train")[self._order[:size]]), self.rows(self.source_x("test")[:size])

    # ---- sets in the form that measures take -----------------------------------------------------------------------

    def rows(self, x: Tensor) -> Tensor:
        """Features (n, D) of pictures as bytes; of a stack those of all its channels; points are their own."""
        if not self.pictures or self.judges is None:
            return x.flatten(1).float()
        return self._judged(self.judges.features.features, x)

    def seen(self, x: Tensor) -> Tensor | None:
        """The class (n,) that the second judge sees in each; of a stack the number that its digits spell."""
        if not self.pictures or self.judges is None:
            return None
        logits = self._judged(self.judges.classes.classify, x)
        if not self.stacked:
            return logits.argmax(1)
        kinds = self.judges.classes.space.labels
        digits = logits.view(len(x), x.shape[1], len(kinds)).argmax(2)
        return (digits * len(kinds) ** torch.arange(x.shape[1])).sum(1)

    def _judged(self, answer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        found = []
        with torch.inference_mode():
            for part in x.split(500):
                part = data.in_range(part)
                if self.stacked:
                    found.append(answer(part.flatten(0, 1).unsqueeze(1)).view(len(part), -1))
                else:
                    found.append(answer(part))
        return torch.cat(found)

    def as_bytes(self, x: Tensor) -> Tensor:
        """Symbols (B, T) as two bytes each, (B, 2 T) uint8."""
        return x.to(torch.int16).contiguous().view(torch.uint8)

    def drawn(self, x: Tensor, label: Tensor | None = None) -> Drawn:
        return Drawn(x[: self.n], self.rows(x[: self.n]), label, self.seen(x))

    @property
    def many(self) -> int:
        """Samples to draw."""
        return int(PER_MODE * self.n) if self.stacked else self.n

    def draw(self, repeat: int, values: Mapping[str, Any], count: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Samples with seeds repeat * 1,000,000 and up, in chunks: how many so far, and the chunk on the CPU."""
        count, done = count or self.many, 0
        step = CHUNK[self.space.kind]
        while done < count:
            some = min(step, count - done)
            *_, last = zoo.sample(self.model, APART * repeat + done, some, first=done, **values)
            done += some
            x = last.x.cpu()
            if self.space.kind == "music":
                x = torch.stack([_filled(music.grid(row, self.space)) for row in x])
            yield done, data.in_bytes(x) if self.pictures else x.clone()

    def pace(self, values: Mapping[str, Any]) -> tuple[float, int]:
        """Seconds a sample, the median of five batches of 32 after a small one, and the network's calls for each.

        On the CPU that is processor time, of all cores together: other work on the machine does not count.
        """
        took, calls = [], 0
        clock = time.process_time if self.model.device.type == "cpu" else time.perf_counter
        for batch in (4, 32, 32, 32, 32, 32):
            started = clock()
            for frame in zoo.sample(self.model, 0, batch, **values):
                calls = frame.calls
            frame.x.cpu()  # on a GPU the work is done only now
            took.append((clock() - started) / batch)
        return sorted(took[1:])[2], calls

    @property
    def asked_labels(self) -> Tensor | None:
        """The class that sample k is asked for: k mod K."""
        return torch.arange(self.n) % len(self.entry.labels) if self.entry.labels else None

    # ---- controls ----------------------------------------------------------------------------------------------------

    def control(self, name: str) -> tuple[Drawn, Drawn | None]:
        """A set that no model drew, and, for "real", validation examples for what training has touched."""
        train, rng = self.source_x("train"), torch.Generator().manual_seed(mixed(name))
        if name == "noise":
            return self.drawn(self._noise(rng)), None
        if name == "test":
            return self.drawn(self.reference_x), None
        size = self._remembered
        if name == "copycat":
            chosen = self._order[:size].repeat(-(-self.many // size))[: self.many]
            return self.drawn(train[chosen], self._labels("train", chosen)), None
        others = self._order[size:].repeat(-(-self.many // (len(train) - size)))[: self.many]
        valid = self.source_x("valid")[: self.n]
        held = self.drawn(valid, self._labels("valid", torch.arange(len(valid))))
        return self.drawn(train[others], self._labels("train", others)), held

    def _labels(self, split: str, chosen: Tensor) -> Tensor | None:
        label = self.source_label(split)
        return None if label is None or self.asked_labels is None else label[chosen[: self.n]]

    def _noise(self, rng: torch.Generator) -> Tensor:
        """Uniform bytes, symbols, or pitches; for points one Gaussian with the data's mean and deviation."""
        if self.pictures:
            return torch.randint(256, (self.many, *self.space.shape), generator=rng).byte()
        if self.space.kind == "text":
            return torch.randint(len(self.space.alphabet), (self.many, *self.space.shape), generator=rng)
        if self.space.kind == "music":  # eighths, on any pitch of the chorales
            size = (self.many, SIXTEENTHS // 2, music.VOICES)
            return torch.randint(music.LOWEST + 6, music.HIGHEST - 5, size, generator=rng).repeat_interleave(2, 1)
        real = self.reference_x
        return real.mean(0) + real.std(0) * torch.randn(self.n, *self.space.shape, generator=rng)


def _filled(pitches: Tensor) -> Tensor:
    """The grid's first 256 sixteenths, filled up with silence."""
    found = torch.full((SIXTEENTHS, music.VOICES), music.REST)
    found[: len(pitches)] = pitches[:SIXTEENTHS]
    return found


def source_of(entry: zoo.Entry) -> Data:
    """The data that an entry learnt; BadInput where it is a visitor's own, which is not kept."""
    if entry.data not in data.NAMES:
        raise BadInput(
            "This entry was trained on data of its own, which is not kept: there is nothing to compare with."
        )
    return data.load(entry.data)
