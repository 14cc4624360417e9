"""Trainings that take turns: several models on one data set, under one budget, from one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from gen_models.interface import BadInput, Data, GenerativeModel, Maximises
from gen_models.training import Progress, Recipe, Training
from gen_models.zoo.entries import Entry, build
from gen_models.zoo.table import live

ENDLESS = 10**7  # steps: more than any budget in seconds reaches
SLICE = 0.012  # seconds of training between two looks at a contestant


class Setting(NamedTuple):
    """A model as it enters the Arena: what differs from the live recipe."""

    model: type[GenerativeModel]
    config: Mapping[str, Any] = {}
    recipe: Mapping[str, Any] = {}  # fields of Recipe; `turns` is that of its stage
    sampling: Mapping[str, Any] = {}  # options of `sample`
    name: str = ""  # beside the model's own, where two of one model compete


class Contestant:
    """One model in training; `trouble` says why it ended early, "" where it did not."""

    def __init__(self, setting: Setting, entry: Entry, source: Data, seed: int, device: str | torch.device):
        self.setting, self.entry = setting, entry
        self.training = Training(build(entry, seed), source, entry.recipe, seed=seed, device=device, report=SLICE)
        self.progress = Progress("", 0, 1, {}, 0.0)
        self.trouble, self.rounds, self.over, self.seconds = "", 0, False, 0.0
        self._steps: Iterator[Progress] = iter(self.training)

    @property
    def model(self) -> GenerativeModel:
        """The averaged copy, as it is now."""
        return self.training.shown

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.training.model.parameters())

    @property
    def rate(self) -> float:
        """Examples per second of training, its own time alone."""
        return self.training.examples / self.training.seconds if self.training.seconds else 0.0

    def advance(self, *, single: bool = False) -> bool:
        """A slice of training, or a single step of it; whether anything was left to do."""
        if self.over:
            return False
        self.training.report = 0.0 if single else SLICE
        try:
            progress = next(self._steps, None)
        except BadInput as error:
            self.trouble, progress = str(error), None
        if progress is None:
            self.over = True
            return False
        if progress.total:
            self.rounds = progress.step
        self.progress = progress
        return True

    def close(self) -> None:
        self._steps.close()
        self.over = True


class Contest:
    """Contestants on one data set, each with `seconds` of training of its own, or with `steps` of its recipe.

    The same seed, data and budget for all; they take turns in one thread, so that none is favoured. `advance` gives
    each one slice. A mixture's steps are rounds over all the data, so a budget of steps bounds its rounds as well.
    """

    def __init__(
        self,
        settings: Mapping[str, Setting],
        source: Data,
        *,
        data_name: str | None = None,
        seed: int = 0,
        seconds: float | None = None,
        steps: int | None = None,
        device: str | torch.device = "cpu",
    ):
        if (seconds is None) == (steps is None):
            raise BadInput("A contest needs a budget: either seconds or steps.")
        self.source, self.seed, self.seconds, self.steps = source, seed, seconds, steps
        self.contestants: dict[str, Contestant] = {}
        for key, setting in settings.items():
            entry = live(setting.model, source.space, data_name, **setting.config)
            entry = dataclasses.replace(entry, recipe=self._budgeted(entry.recipe, setting))
            self.contestants[key] = Contestant(setting, entry, source, seed, device)

    def _budgeted(self, recipe: Recipe, setting: Setting) -> Recipe:
        """The live recipe with what the setting changes, in a stage that ends with the budget."""
        (name, stage), *_ = recipe.stages.items()
        changes = dict(setting.recipe)
        turns = changes.pop("turns", stage.turns)
        steps = self.steps if self.steps is not None else ENDLESS
        if issubclass(setting.model, Maximises):
            steps = min(steps, stage.steps)  # it converges, or ends after as many rounds as its recipe has
        budgeted = dataclasses.replace(stage, steps=steps, seconds=self.seconds, turns=turns)
        return dataclasses.replace(recipe, stages={name: budgeted}, **changes)

    def advance(self, *, single: bool = False) -> bool:
        """A slice, or a single step, for each that is not done; whether any had something left."""
        return sum(contestant.advance(single=single) for contestant in self.contestants.values()) > 0

    @property
    def at(self) -> float:
        """How much of the budget the slowest has used: seconds, or steps."""
        going = [c for c in self.contestants.values() if not c.over]
        if not going:
            return self.total
        used = [c.training.seconds if self.seconds is not None else c.rounds for c in going]
        return min(self.total, min(used))

    @property
    def total(self) -> float:
        return self.seconds if self.seconds is not None else float(self.steps)

    def close(self) -> None:
        for contestant in self.contestants.values():
            contestant.close()
