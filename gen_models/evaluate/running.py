"""Evaluating an entry: part after part, each saved when it is done, so that a killed run goes on where it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from gen_models import zoo
from gen_models.evaluate import record
from gen_models.evaluate.measures import classified, likelihood, measured, quantised, together
from gen_models.evaluate.subject import APART, FEW, SLOW, Judges, Subject, judges_of, settings, source_of
from gen_models.evaluate.translations import domain_judges, facts_of, translated
from gen_models.interface import BadInput, Classifies, Data, Quantises, Samples, Scores, Translates

CONTROLS = ("real", "copycat", "noise")
TEST = "test"
N, SEEDS = 10_000, 3


class Step(NamedTuple):
    """What an evaluation reports: the part at hand, how much of it is done (0..1), and whether it was done before."""

    part: str
    done: float
    kept: bool = False


def run(
    name: str,
    shelf: zoo.Shelf = zoo.BUNDLED,
    *,
    n: int = N,
    seeds: int = SEEDS,
    device: str = "cpu",
    restart: bool = False,
    source: Data | None = None,
    judges: Judges | None = None,
) -> Iterator[Step]:
    """Measures an entry and writes evaluation.json beside its checkpoint, anew after each part.

    Sample k of repeat r has seed r * 1,000,000 + k and class k mod their number; n samples each, fewer for a sampler
    slower than 50 ms a sample. BadInput where something is missing or the numbers make no sense.
    """
    entry, card = shelf.entry(name), shelf.card(name)
    source = source or source_of(entry)
    both = domain_judges(shelf, entry.data)
    judges = judges or (judges_of(shelf, entry.data) if entry.where.kind == "image" else None)
    model = zoo.load(name, shelf, device)
    subject = Subject(name, entry, model, source, judges, n, seeds)
    if n == N or entry.where.kind in ("text", "music"):  # a text has few windows; of a small test set all are taken
        subject.n = min(n, len(subject.source_x("test")))
    _check_judges(subject)
    subject.check()
    kept = None if restart else record.read(shelf, name)
    facts = judges.facts if judges and isinstance(model, Samples) else None
    if isinstance(model, Translates):
        facts = facts_of(both, entry.where.domains) or None
    fresh = record.begun(name, card, facts, n, seeds)
    if record.goes_on(kept, fresh):
        if kept["finished"]:
            yield Step("everything", 1.0, kept=True)
            return
        fresh |= {key: kept[key] for key in ("parts", "date", "commit", "version")}
    yield from _Run(subject, fresh, shelf, both).steps()


def _check_judges(subject: Subject) -> None:
    """BadInput where pictures are drawn, and nobody is there to judge them."""
    if isinstance(subject.model, Samples) and subject.pictures and subject.judges is None:
        data_name = subject.entry.data
        known = [name for name in zoo.JUDGES if name.startswith(f"judge-{data_name}-")]
        help_ = " and ".join(f"`python -m gen_models train {name}`" for name in known)
        raise BadInput(
            f"{subject.name} has no judge: distances and accuracy are measured by classifiers of its data set "
            f"({data_name}). " + (f"Train them first: {help_}." if known else "There are none for this one.")
        )


class _Run:
    """The parts of one evaluation in their order, and the record that they fill."""

    def __init__(
        self,
        subject: Subject,
        found: dict[str, Any],
        shelf: zoo.Shelf,
        domains: tuple[Judges | None, Judges | None] = (None, None),
    ):
        self.subject, self.record, self.domains = subject, found, domains
        self.folder = shelf.folder(subject.name)
        self.parts: dict[str, Any] = found["parts"]

    @property
    def controls(self) -> tuple[str, ...]:
        """Sets that no model drew; of music the test pieces too, which its statistics are to be like."""
        return (*CONTROLS, TEST) if self.subject.space.kind == "music" else CONTROLS

    def steps(self) -> Iterator[Step]:
        model = self.subject.model
        if isinstance(model, Classifies):
            yield from self._part("judge", self._judge())
        rows = settings(self.subject.entry) if isinstance(model, Samples) else {}
        for name, values in rows.items():
            yield from self._part(f"pace of {name}", self._pace(values))
        if rows:
            slowest = max(self.parts[f"pace of {name}"]["seconds_per_sample"] for name in rows)
            self.slow = slowest > SLOW and self.subject.n > FEW
            if self.slow:  # a new subject: what is real is cut to the same number
                self.subject = dataclasses.replace(self.subject, n=FEW)
            for name in self.controls:
                yield from self._part(name, self._control(name))
        for name, values in rows.items():
            for repeat in range(self.subject.seeds):
                yield from self._part(f"{name}, repeat {repeat}", self._repeat(repeat, values))
        if isinstance(model, Scores):
            yield from self._part("likelihood", self._whole(likelihood))
        if isinstance(model, Quantises):
            yield from self._part("codes", self._whole(quantised))
        if isinstance(model, Translates):
            yield from self._part("translation", self._whole(lambda subject: translated(subject, self.domains)))
        self._save(finished=True)

    def _part(self, key: str, work: Iterator[float | Mapping[str, Any]]) -> Iterator[Step]:
        """Does a part unless it was done before; its last value is what is kept."""
        if key in self.parts:
            yield Step(key, 1.0, kept=True)
            return
        yield Step(key, 0.0)
        for said in work:
            if not isinstance(said, float):
                self.parts[key] = said
            elif said < 1:
                yield Step(key, said)
        self._save()
        yield Step(key, 1.0)

    # ---- parts -----------------------------------------------------------------------------------------------------

    def _judge(self) -> Iterator[Mapping[str, Any]]:
        yield classified(self.subject)

    def _pace(self, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        seconds, calls = self.subject.pace(values)
        yield {"seconds_per_sample": seconds, "calls": calls}

    def _control(self, name: str) -> Iterator[Mapping[str, Any]]:
        yield measured(self.subject, *self.subject.control(name), slow=self.slow)

    def _repeat(self, repeat: int, values: Mapping[str, Any]) -> Iterator[float | Mapping[str, Any]]:
        subject, parts = self.subject, []
        for done, x in subject.draw(repeat, values):
            parts.append(x)
            yield done / subject.many
        yield measured(subject, subject.drawn(torch.cat(parts), subject.asked_labels), slow=self.slow)

    def _whole(
        self, work: Callable[[Subject], Iterator[tuple[float, dict[str, Any] | None]]]
    ) -> Iterator[float | Mapping[str, Any]]:
        """One pass over the test set."""
        for done, found in work(self.subject):
            yield done if found is None else found

    # ---- the record ------------------------------------------------------------------------------------------------

    def _save(self, finished: bool = False) -> None:
        """The file as it stands: rows of what is complete; the parts go when everything is."""
        subject, parts = self.subject, self.parts
        rows = []
        if "judge" in parts:
            rows.append(
                {"name": "test set", "kind": "judge", "n": parts["judge"]["error"]["n"], "figures": parts["judge"]}
            )
        for name, values in (settings(subject.entry) if isinstance(subject.model, Samples) else {}).items():
            repeats = [parts.get(f"{name}, repeat {repeat}") for repeat in range(subject.seeds)]
            if all(repeat is not None for repeat in repeats):
                facts = {"name": name, "kind": "model", "options": values, "n": subject.n}
                facts["seeds"] = [APART * repeat for repeat in range(subject.seeds)]
                rows.append(facts | parts[f"pace of {name}"] | {"figures": together(repeats)})
        for name in self.controls:
            if name in parts:
                figures = together([parts[name]])
                rows.append({"name": name, "kind": "control", "n": subject.n, "figures": figures})
        rows += parts.get("translation", {}).get("rows", [])
        found = self.record | {"rows": rows, "likelihood": parts.get("likelihood"), "finished": finished}
        if "codes" in parts:
            found["codes"] = parts["codes"]
        if finished:
            found.pop("parts")
        record.write(self.folder, found)
