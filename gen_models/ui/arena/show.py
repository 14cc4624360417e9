"""One redraw of the Arena after the other: every contestant as the browser draws it, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gen_models.interface import BadInput, Data, Denoises, Scores
from gen_models.ui.arena import looks, results
from gen_models.ui.film import LIMIT
from gen_models.ui.panels import sources
from gen_models.zoo import Contest, Contestant

DEAR = 3  # redraws between two that renew a density and a likelihood


class Show:
    """What has been drawn of a contest; densities and likelihoods, which are dear, are renewed one model at a time."""

    def __init__(
        self,
        contest: Contest,
        source: Data,
        name: Mapping[str, str],
        run: str,
        lesson: Mapping[str, Any] | None,
    ):
        self.contest, self.run, self.lesson, self.tick = contest, run, lesson, 0
        self.truth = results.Truth(source)
        self.data = dict(name) | {"floor": self.truth.floor}
        self.real = {"points": sources.coded(source.batch(looks.COUNT, torch.Generator().manual_seed(0)).x)}
        self._dear: dict[str, tuple[dict[str, Any] | None, Tensor | None]] = {}
        self._begun = time.monotonic()

    def update(self, phase: str, speed: float = 1.0) -> dict[str, Any]:
        """What static/arena.js draws of this moment."""
        keys = [k for k, c in self.contest.contestants.items() if self._cheap(c)]
        if keys and phase != "measuring" and self.tick % DEAR == 0:
            self._renew(keys[self.tick // DEAR % len(keys)], results.BRIEF)
        self.tick += 1
        cells = [self._cell(key, contestant) for key, contestant in self.contest.contestants.items()]
        return self._sent(phase, cells, speed) | {"table": None, "said": self._line()}

    def ending(self, phase: str) -> Iterator[dict[str, Any]]:
        """The figures of one contestant after the other, then all of them as a table."""
        rows: list[dict[str, Any]] = []
        going = list(self.contest.contestants.items())
        for at, (key, contestant) in enumerate(going):
            yield self.update("measuring") | {"said": f"measuring {self._title(contestant)}, {at + 1} of {len(going)}"}
            self._renew(key, len(self.truth.held))
            if contestant.training.examples:
                measured = results.cells(contestant, self.truth, self._dear.get(key, (None, None))[1])
                rows.append({"key": key, "title": self._title(contestant), "control": False, "cells": measured})
        self.tick += 1
        cells = [self._cell(key, contestant) for key, contestant in going]
        table = results.table(rows, self.truth) if rows else None
        took = time.monotonic() - self._begun
        said = f"{'stopped' if phase == 'stopped' else f'{len(going)} trained and measured'} after {took:.0f} s"
        yield self._sent(phase, cells, 1.0) | {"table": table, "said": said}

    # ---- parts -------------------------------------------------------------------------------------------------

    @staticmethod
    def _cheap(contestant: Contestant) -> bool:
        """Its density can be drawn while it trains: an ordinary differential equation per point cannot."""
        model = contestant.entry.model
        return issubclass(model, Scores) and not issubclass(model, Denoises) and not contestant.trouble

    def _renew(self, key: str, points: int) -> None:
        contestant = self.contest.contestants[key]
        if contestant.trouble or not isinstance(contestant.model, Scores):
            return
        model = contestant.model
        draws = looks.DRAWS if points == results.BRIEF else results.DRAWS
        costs = results.cost(model, self.truth.held[:points], draws)
        self._dear[key] = looks.density(model, self.truth.highest), costs

    def _cell(self, key: str, contestant: Contestant) -> dict[str, Any]:
        head = {
            "key": key,
            "title": self._title(contestant),
            "family": contestant.entry.family,
            "parameters": contestant.parameters,
            "rate": contestant.rate,
            "step": contestant.rounds,
            "state": "failed" if contestant.trouble else "done" if contestant.over else "training",
            "message": contestant.trouble,
            "likelihood": "",
        }
        empty = dict.fromkeys(("points", "density", "field", "paths", "ellipses")) | {"brief": []}
        if contestant.trouble or (not contestant.progress.stage and not contestant.over):
            return head | empty
        model = contestant.model
        try:
            found = looks.frames(model, looks.COUNT, dict(contestant.setting.sampling))
        except BadInput as error:
            return head | empty | {"state": "failed", "message": str(error)}
        density, costs = self._dear.get(key, (None, None))
        x = found[-1].x.cpu()
        return head | {
            "points": sources.coded(x),
            "density": density,
            "field": looks.field(model, x),
            "paths": looks.paths(found),
            "ellipses": looks.ellipses(model),
            "likelihood": ("exact" if model.exact else "bound") if isinstance(model, Scores) else "",
            "brief": results.brief(contestant, self.truth, x, costs),
        }

    def _sent(self, phase: str, cells: list[dict[str, Any]], speed: float) -> dict[str, Any]:
        contest = self.contest
        unit = "s" if contest.seconds is not None else "steps"
        return {
            "run": self.run, "phase": phase, "data": self.data, "seed": contest.seed, "lesson": self.lesson,
            "at": contest.at, "total": contest.total, "unit": unit, "tick": self.tick, "speed": speed,
            "limit": LIMIT, "real": self.real, "cells": cells,
        }  # fmt: skip

    def _line(self) -> str:
        contest = self.contest
        if contest.seconds is not None:
            return f"{contest.at:.1f} s of {contest.total:g} s of training each"
        return f"step {contest.at:.0f} of {contest.total:.0f}"

    @staticmethod
    def _title(contestant: Contestant) -> str:
        title = sources.model_title(contestant.entry.model)
        return f"{title}, {contestant.setting.name}" if contestant.setting.name else title
