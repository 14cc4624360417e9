"""The Arena's figures: the same held-out points, the same number of samples, and real points measured as a model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import metrics
from gen_models.interface import Data, Denoises, GenerativeModel, Scores
from gen_models.ui.arena import looks
from gen_models.zoo import Contestant

N = 2000  # samples and held-out points behind each figure of the table, where the data has as many
BRIEF = 500  # held-out points behind the likelihood beside a picture
FEW = 500  # held-out points that are too few to set others aside
DRAWS = 64  # of a bound, in the table
BLOCKS, ROWS = 20, 500  # of the energy distance


class Column(NamedTuple):
    """A column of the table; `digits` after the point."""

    key: str
    title: str
    unit: str
    better: str
    words: str
    digits: int = 0


COLUMNS = (
    Column("nll", "NLL", "nats", "lower", "Negative log-likelihood of held-out points; ≤ marks a bound", 3),
    Column("gap", "gap", "nats", "lower", "NLL above the true density's on the same points: 0 is perfect", 3),
    Column("energy", "energy distance", "", "lower", "Distance between samples and held-out points, unbiased", 4),
    Column("modes", "modes", "", "higher", "Parts of the data that get at least a tenth of their share of samples"),
    Column("inside", "high quality", "%", "higher", "Samples where 99 of 100 real points lie", 1),
    Column("parameters", "parameters", "", "", "Numbers that were learnt"),
    Column("rate", "examples", "per s", "higher", "Examples per second of training, its own time alone"),
    Column("steps", "steps", "", "", "Steps of training; a mixture's are rounds over all points"),
    Column("seconds", "time", "s", "", "Seconds of training, its own time alone", 1),
)


class Truth:
    """Held-out points, another draw of as many to compare with, and what is known of the density."""

    def __init__(self, source: Data):
        self.source = source
        test, valid = source.split("test").x, source.split("valid").x
        if len(test) < FEW:  # of few points both splits are held out, and real points are those of the training
            test, valid = torch.cat([test, valid]), source.split("train").x
        self.held, self.again = test[:N], valid[: min(N, len(test))]
        self.log_prob = self.floor = self.highest = self.least = None
        if source.log_prob is not None:
            self.log_prob = source.log_prob(self.held)
            self.floor = -float(self.log_prob.mean())
            self.least = float(self.log_prob.quantile(0.01))
            self.highest = float(source.log_prob(looks.plane(looks.DENSITY)).max())
        self.modes = getattr(source, "modes", 0)

    def good(self, x: Tensor) -> Tensor:
        """Which samples lie where 99 of 100 real points do: (B,) bool."""
        return self.source.log_prob(x.cpu()) >= self.least

    def covered(self, x: Tensor) -> tuple[int, float]:
        """Modes that the good ones among the samples cover, and the share of good ones."""
        good = self.good(x)
        return metrics.modes_covered(self.source.mode_of(x[good]), self.modes), float(good.float().mean())


def cost(model: GenerativeModel, x: Tensor, draws: int) -> Tensor | None:
    """-log p of points, (B,) nats, or its bound; None for a model without likelihood."""
    return -looks.log_prob(model, x, draws).double() if isinstance(model, Scores) else None


def brief(contestant: Contestant, truth: Truth, x: Tensor, likelihood: Tensor | None) -> list[dict[str, Any]]:
    """The line beside a picture: the likelihood as far as it is known, and the modes that the samples cover."""
    model = contestant.model
    if not isinstance(model, Scores):
        said = {"label": "NLL", "text": "no likelihood", "note": ""}
    elif likelihood is None:
        said = {"label": "NLL", "text": "at the end" if isinstance(model, Denoises) else "…", "note": ""}
    else:
        known = truth.log_prob
        note = "" if known is None else f"{float((likelihood + known[: len(likelihood)].double()).mean()):+.3f}"
        said = {"label": "NLL", "text": f"{'' if model.exact else '≤ '}{float(likelihood.mean()):.3f}", "note": note}
    found = [said | {"warn": False}]
    if truth.modes > 1:
        modes, _ = truth.covered(x)
        found.append({"label": "modes", "text": f"{modes}/{truth.modes}", "note": "", "warn": modes < truth.modes})
    return found


def cells(contestant: Contestant, truth: Truth, costs: Tensor | None) -> dict[str, dict[str, Any]]:
    """One row of the table: everything of a contestant that can be measured; `costs` of all held-out points."""
    model = contestant.model
    x = looks.frames(model, len(truth.held), dict(contestant.setting.sampling))[-1].x.cpu()
    found = _of_samples(x, truth)
    if costs is not None:
        found |= _of_likelihood(costs, truth, "" if model.exact else "≤ ")
    facts = {
        "parameters": contestant.parameters,
        "rate": contestant.rate,
        "steps": contestant.rounds,
        "seconds": contestant.training.seconds,
    }
    return found | {key: _cell(key, value) for key, value in facts.items()}


def controls(truth: Truth) -> list[dict[str, Any]]:
    """Real points, measured as a model's samples are; their likelihood is the entropy floor."""
    found = _of_samples(truth.again, truth)
    if truth.log_prob is not None:
        found |= _of_likelihood(-truth.log_prob.double(), truth, "")
    return [{"key": "real", "title": "real points", "control": True, "cells": found}]


def table(rows: Sequence[dict[str, Any]], truth: Truth) -> dict[str, Any]:
    """What the browser draws as a table: the best of each column marked, the control rows last."""
    used = [column for column in COLUMNS if any(column.key in row["cells"] for row in rows)]
    for column in used:
        values = [row["cells"][column.key]["value"] for row in rows if column.key in row["cells"]]
        values = [value for value in values if value is not None]
        if column.better and len(values) > 1:
            best = min(values) if column.better == "lower" else max(values)
            for row in rows:
                if column.key in row["cells"]:
                    row["cells"][column.key]["best"] = row["cells"][column.key]["value"] == best
    columns = [{name: getattr(c, name) for name in ("key", "title", "unit", "better", "words")} for c in used]
    return {"n": len(truth.held), "columns": columns, "rows": [*rows, *controls(truth)]}


def _of_samples(x: Tensor, truth: Truth) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if len(x) >= 4 and torch.isfinite(x).all():
        value, error = metrics.energy_distance(x, truth.held, blocks=BLOCKS, size=ROWS)
        found["energy"] = _cell("energy", value, error)
    if truth.log_prob is not None:
        modes, good = truth.covered(x)
        found["inside"] = _cell("inside", 100 * good)
        if truth.modes > 1:
            found["modes"] = _cell("modes", modes) | {"text": f"{modes} of {truth.modes}"}
    return found


def _of_likelihood(costs: Tensor, truth: Truth, mark: str) -> dict[str, dict[str, Any]]:
    value, error = metrics.mean_error(costs)
    found = {"nll": _cell("nll", value, error, mark)}
    if truth.log_prob is not None:
        gap, gap_error = metrics.mean_error(costs + truth.log_prob.double())
        found["gap"] = _cell("gap", gap, gap_error, mark)
    return found


def _cell(key: str, value: float, error: float | None = None, mark: str = "") -> dict[str, Any]:
    digits = next(column.digits for column in COLUMNS if column.key == key)
    text = f"{mark}{value:,.{digits}f}".replace("-", "−") + ("" if error is None else f" ± {error:.{digits}f}")
    return {"value": value, "text": text, "best": False}
