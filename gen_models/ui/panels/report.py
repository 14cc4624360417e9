"""What a training has shown so far, and the line of those who wait for a place."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

from gen_models.interface import Data
from gen_models.training import Progress
from gen_models.ui.panels import sources

CURVE = 300  # points of a curve: beyond, neighbours are averaged
PATIENCE = 10.0  # seconds that the end of a training waits for its yardsticks
FILM = 120  # previews kept: beyond, every other one goes


class Line:
    """Who may train: the first AT_ONCE in line; the others see their place."""

    def __init__(self, places: int):
        self.places, self._lock, self._line = places, threading.Lock(), []

    def join(self) -> str:
        """A ticket, to be given back with `leave`."""
        with self._lock:
            self._line.append(ticket := secrets.token_hex(8))
        return ticket

    def ahead(self, ticket: str) -> int:
        """How many have to end before this one begins; 0: begin."""
        with self._lock:
            return max(0, self._line.index(ticket) + 1 - self.places)

    def leave(self, ticket: str) -> None:
        with self._lock:
            self._line.remove(ticket)


class Curves:
    """Named terms over steps, thinned so that every point is the mean of as many reports."""

    def __init__(self):
        self.steps: list[int] = []
        self.terms: dict[str, list[float | None]] = {}
        self._width = 1  # reports in a point
        self._fresh: list[tuple[int, Mapping[str, float]]] = []

    def add(self, step: int, show: Mapping[str, float]) -> None:
        self._fresh.append((step, show))
        if len(self._fresh) == self._width:
            self.steps, self.terms = self._with_fresh()
            self._fresh = []
        if len(self.steps) > CURVE:
            self._width *= 2
            whole = len(self.steps) // 2 * 2
            left = self.steps[whole:]
            self._fresh = [(step, {n: v[-1] for n, v in self.terms.items() if v[-1] is not None}) for step in left]
            self.steps = self.steps[1:whole:2]
            self.terms = {n: [_mean(v[k : k + 2]) for k in range(0, whole, 2)] for n, v in self.terms.items()}

    def sent(self) -> dict[str, Any]:
        steps, terms = self._with_fresh() if self._fresh else (self.steps, self.terms)
        return {"steps": steps, "terms": terms}

    def _with_fresh(self) -> tuple[list[int], dict[str, list[float | None]]]:
        """All points and the mean of the reports since the last one."""
        names = list(self.terms) + [n for _, show in self._fresh for n in show if n not in self.terms]
        terms = {}
        for name in dict.fromkeys(names):
            before = self.terms.get(name, [None] * len(self.steps))
            terms[name] = [*before, _mean([show.get(name) for _, show in self._fresh])]
        return [*self.steps, self._fresh[-1][0]], terms


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 6) if known else None


class Report:
    """What a training has shown so far: curves, previews, and where it stands."""

    def __init__(self, title: str, source: Data, run: str):
        self.head = {"run": run, "kind": source.space.kind, "title": title, "real": sources.real(source)}
        self.head["said"] = sources.said(source)
        self.film: list[dict[str, Any]] = []
        self._yardsticks: Future | None = None
        self.curves = Curves()
        self.at, self.total, self.rate, self.seconds, self.done = 0, 1, 0.0, 0.0, 0.0

    def add(self, progress: Progress) -> None:
        if progress.total:
            self.at, self.total = progress.step, progress.total
        self.rate, self.seconds, self.done = progress.examples_per_second or self.rate, progress.seconds, progress.done
        seen = dict(progress.seen or {})
        held = {"held out": seen.pop("held")} if "held" in seen else {}
        if progress.seen is not None:
            self.look(seen)
        if progress.show:
            self.curves.add(self.at, {**progress.show, **held})

    def look(self, seen: dict[str, Any]) -> None:
        """A preview; a later one of the same step takes its place."""
        if self.film and self.film[-1]["at"] == self.at:
            self.film.pop()
        self.film.append({"at": self.at} | seen)
        if len(self.film) > FILM:
            self.film = self.film[:-1:2] + self.film[-1:]

    def beat(self, yardsticks: Future) -> None:
        """Lines to stand behind the curves as soon as they are known: {name: value}."""
        self._yardsticks = yardsticks

    def sent(self, phase: str, *, film: bool = False) -> dict[str, Any]:
        """What static/train.js draws: the newest preview, or the whole film when it is over."""
        sent = {"phase": phase, "step": self.at, "total": self.total, "curves": self.curves.sent()}
        sent |= {"rate": self.rate, "left": self.left, "seconds": self.seconds}
        if film and self._yardsticks is not None:
            wait([self._yardsticks], PATIENCE)
        known = self._yardsticks is not None and self._yardsticks.done() and self._yardsticks.exception() is None
        sent["yardsticks"] = self._yardsticks.result() if known else {}
        return self.head | sent | ({"film": self.film} if film else {"look": self.film[-1] if self.film else None})

    @property
    def left(self) -> float | None:
        """Seconds to go; None before that can be told."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else None

    def line(self) -> str:
        left = "" if self.left is None else f", {spoken(self.left)} left"
        return f"step {self.at} of {self.total}{left}"


def spoken(seconds: float) -> str:
    """Seconds as people say them: "0.8 s", "12 s", "3 min"."""
    return f"{seconds:.1f} s" if seconds < 3 else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
