"""The only training loop: players take turns, figures are averaged, an averaged copy of the weights is shown.

Averaging weights: Acceleration of Stochastic Approximation by Averaging (Polyak and Juditsky, 1992); the exponential
form as in Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv 2006.11239.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gen_models.interface import BadInput, Batch, Data, GenerativeModel, Loss, Maximises, Turn
from gen_models.noise import mixed
from gen_models.training.clock import Clock
from gen_models.training.group import Elsewhere, Group, Ranks, Rows, kept_buffers
from gen_models.training.muon import Muon
from gen_models.training.recipe import Progress, Recipe, Stage

__all__ = ["REPORT", "Elsewhere", "Group", "Progress", "Ranks", "Recipe", "Stage", "Training"]

REPORT = 0.1  # seconds between two reports, at least


class Training:
    """An iterable of Progress. It reads no file and writes none; closing the iterator keeps what was learnt.

    Bit-identical for one seed on one device, thread count and version, unless a stage has a time limit.
    """

    def __init__(
        self,
        model: GenerativeModel,
        data: Data,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
        look: Callable[[GenerativeModel], Any] | None = None,
        teacher: GenerativeModel | None = None,
        report: float | None = None,
        group: Group | None = None,
    ):
        """`report`: seconds between two reports, at least; short where trainings take turns.

        `group`: the processes that train together; each has a Training of its own and runs it to the end. Only
        process 0 looks, and its clock is everyone's.
        """
        self.group = group or Group()
        self._check_shares(model, recipe)
        self.model = model.to(device).train()
        self.data, self.recipe, self.seed = data, recipe, seed
        self.look = look if self.group.rank == 0 else None
        self.report = REPORT if report is None else report
        self.device = torch.device(device)
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher is not None else None
        self._shown = copy.deepcopy(self.model).eval().requires_grad_(False)
        self._optimizers: dict[str, torch.optim.Optimizer | Muon] = {}
        self._maximises = isinstance(model, Maximises)
        self._kept_buffers = kept_buffers(self.model) if self.group.size > 1 else []
        self.begun = False
        self.position, self.step, self.elapsed = 0, 0, 0.0  # stage, steps and seconds within it
        self.seconds, self.examples, self.steps = 0.0, 0, 0  # of all stages
        self._own = 0.0  # seconds of this process within the stage; `elapsed` is what all have agreed upon
        self._enter()

    def _check_shares(self, model: GenerativeModel, recipe: Recipe) -> None:
        """BadInput where this cannot be learnt by several processes."""
        if self.group.size == 1:
            return
        if isinstance(model, Maximises):
            raise BadInput(
                f"{type(model).__name__} learns in closed form: it has no gradients that several processes could "
                "share. Train it on one, without accelerate."
            )
        least = min(stage.batch_size or recipe.batch_size for stage in recipe.stages.values())
        if least < self.group.size:
            raise BadInput(
                f"A batch of {least} cannot be shared by {self.group.size} processes: start {least} or fewer."
            )

    # ---- what is looked at and saved ---------------------------------------------------------------------------

    @property
    def shown(self) -> GenerativeModel:
        """The averaged copy (the plain weights without an average), buffers included, in eval mode."""
        with torch.no_grad():
            if not self.recipe.ema or self._maximises:
                for mine, theirs in zip(self._shown.parameters(), self.model.parameters(), strict=True):
                    mine.copy_(theirs)
            for mine, theirs in zip(self._shown.buffers(), self.model.buffers(), strict=True):
                mine.copy_(theirs)
        return self._shown

    @property
    def finished(self) -> bool:
        return self.position >= len(self.recipe.stages)

    def state_dict(self) -> dict[str, Any]:
        """All that a later Training of the same model, data, recipe and seed needs to go on from here."""
        return {
            "begun": self.begun,
            "position": self.position,
            "step": self.step,
            "elapsed": self.elapsed,
            "seconds": self.seconds,
            "examples": self.examples,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "shown": self.shown.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`; BadInput when it belongs to another model or recipe."""
        try:
            self.model.load_state_dict(state["model"])
            self._shown.load_state_dict(state["shown"])
            for name in ("begun", "position", "step", "elapsed", "seconds", "examples", "steps"):
                setattr(self, name, state[name])
            self._own = self.elapsed
            self._enter()
            for name, optimizer in self._optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise BadInput(
                f"This unfinished training belongs to another model or recipe; start anew. ({error})"
            ) from None

    # ---- the loop ----------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Progress]:
        clock = Clock()
        if not self.begun:
            self._begin()
            self._spend(clock)
            yield self._report({}, 0.0, self._seen(clock))
            clock.resume()
        while not self.finished:
            name, stage = self._stage
            sums: dict[str, list] = {}
            counted = clock.reset()
            over = self._over(stage)
            while not (over or self.group.stopped):
                counted += self._play(name, stage, sums)
                self._spend(clock)
                over = self._over(stage)
                every = over or self._maximises  # its rounds are few, and each is worth looking at
                if every or clock.report_due(self.report) or (clock.look_due and self.look):
                    seen = self._seen(clock) if every or clock.look_due else None
                    report = self._report(sums, clock.rate(counted), seen)
                    sums, counted = {}, clock.reset()
                    yield report
                    clock.resume()
            if not over:
                return
            self.position, self.step, self.elapsed, self._own = self.position + 1, 0, 0.0, 0.0
            self._enter()

    @property
    def _stage(self) -> tuple[str, Stage]:
        return list(self.recipe.stages.items())[self.position]

    def _over(self, stage: Stage) -> bool:
        """Whether the stage ends here, by the clock of process 0; asked once a step, of all processes."""
        self.elapsed = self.group.agreed(self._own)
        if self.step >= stage.steps or (stage.seconds is not None and self.elapsed >= stage.seconds):
            return True
        return self._maximises and self.model.converged

    def _done(self, stage: Stage) -> float:
        if self._maximises and self.model.converged:
            return 1.0
        done = self.step / max(stage.steps, 1)
        return min(1.0, max(done, self.elapsed / stage.seconds) if stage.seconds else done)

    def _parameters(self, player: str) -> list[nn.Parameter]:
        return [p for p in self.model.get_submodule(player).parameters() if p.requires_grad]

    def _enter(self) -> None:
        """Fresh optimizers for the stage at hand, if its model needs any."""
        self._optimizers, self._kept = {}, None
        if self.finished or self._maximises:
            return
        for player in self.model.players:
            if self._stage[1].turns.get(player, 1):
                self._optimizers[player] = self._optimizer(player)

    def _optimizer(self, player: str) -> torch.optim.Optimizer | Muon:
        recipe, parameters = self.recipe, self._parameters(player)
        lr = recipe.lr[player] if isinstance(recipe.lr, Mapping) else recipe.lr
        if recipe.optimizer == "muon":
            return Muon(self.model.get_submodule(player), parameters, lr, recipe.betas, recipe.weight_decay)
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr, momentum=recipe.betas[0], weight_decay=recipe.weight_decay)
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        return kind(parameters, lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True)

    def _rng(self, *what: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(mixed(self.seed, *what))

    def _batch(self, n: int, rng: torch.Generator, *, whole: bool = False) -> Batch:
        """n examples, of which this process gets its share, or all where `whole`."""
        batch = self.data.batch(n, rng)
        return self._moved(batch if whole else self.group.part(batch))

    def _moved(self, batch: Batch) -> Batch:
        return Batch(*(None if t is None else t.to(self.device) for t in batch))

    def _fixed(self, name: str, stage: Stage) -> tuple[Batch, int]:
        """The batch that serves every step of the stage, read and moved once, and how many rows the whole of it has."""
        if self._kept is None:
            size = stage.batch_size
            whole = self.data.batch(size, self._rng(name, "batch")) if size else self.data.split("train")
            self._kept = self._moved(self.group.part(whole)), len(whole.x)
        return self._kept

    def _begin(self) -> None:
        with torch.no_grad():
            if self._maximises:
                batch, _ = self._fixed(*self._stage)
            else:
                batch = self._batch(max(self.recipe.batch_size, 512), self._rng("begin", "batch"), whole=True)
            self.model.begin(batch, self._rng("begin"), self.teacher)
            self.group.spread([*self.model.parameters(), *map(self.model.get_buffer, self._kept_buffers)])
            self._shown.load_state_dict(self.model.state_dict())
        self.begun = True

    def _play(self, name: str, stage: Stage, sums: dict[str, list]) -> int:
        """One step: every player's turns, in the order of `players`; the number of examples seen."""
        if self._maximises:
            return self._maximise(name, stage, sums)
        examples, done, size = 0, self._done(stage), stage.batch_size or self.recipe.batch_size
        for player, optimizer in self._optimizers.items():
            for i in range(stage.turns.get(player, 1)):
                where = (name, self.step, player, i)
                batch, whole = self._fixed(name, stage) if stage.batch_size == 0 else (None, size)
                batch = self._batch(size, self._rng(*where, "batch")) if batch is None else batch
                rows = self.group.rows(whole)
                turn = Turn(player, name, self.step, done, self._rng(*where), self.teacher)
                precision = torch.autocast(
                    self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
                )
                with precision, self.group.draws(turn.rng, rows):
                    loss = self.model.loss(batch, turn)
                show = self._descend(player, optimizer, loss, rows, done)
                _add(sums, show)
                examples += whole
        self.group.spread([self.model.get_buffer(name) for name in self._kept_buffers])
        self.step, self.steps = self.step + 1, self.steps + 1
        self.examples += examples
        if self.recipe.ema:
            self._average(min(self.recipe.ema, self.step / (self.step + 9)))
        return examples

    @torch.no_grad()
    def _maximise(self, name: str, stage: Stage, sums: dict[str, list]) -> int:
        """One closed-form step; the number of examples seen."""
        batch, whole = self._fixed(name, stage)
        turn = Turn("", name, self.step, self._done(stage), self._rng(name, self.step, "", 0), self.teacher)
        _add(sums, self.model.update(batch, turn))
        self.step, self.steps = self.step + 1, self.steps + 1
        self.examples += whole
        return whole

    def _descend(
        self, player: str, optimizer: torch.optim.Optimizer | Muon, loss: Loss, rows: Rows, done: float
    ) -> dict[str, Tensor]:
        """A gradient step of this player's parameters alone; a loss that is not finite changes nothing.

        Gives the mean of each figure over the whole batch.
        """
        parameters = self._parameters(player)
        gradients = torch.autograd.grad(loss.minimise, parameters, allow_unused=True)
        figures = [value.detach().float().mean() for value in loss.show.values()]
        found = self.group.mean([*gradients, *figures], rows)
        for p, gradient in zip(parameters, found, strict=False):  # the figures come after them
            p.grad = _laid_out(gradient, p)
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.clip or math.inf)
        if not math.isfinite(norm):
            raise BadInput(
                f"The loss of the {player or 'model'} is no longer finite at step {self.step}: lower the learning rate "
                "or raise the batch size, then train again. What was learnt before is kept."
            )
        factor = min(1.0, (self.step + 1) / self.recipe.warmup) if self.recipe.warmup else 1.0
        if self.recipe.schedule == "cosine":
            factor *= 0.5 + 0.5 * math.cos(math.pi * done)
        for group in optimizer.param_groups:
            group["lr"] = factor * (self.recipe.lr[player] if isinstance(self.recipe.lr, Mapping) else self.recipe.lr)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return dict(zip(loss.show, found[len(parameters) :], strict=True))

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        mine, theirs = list(self._shown.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    # ---- reports -----------------------------------------------------------------------------------------------

    def _spend(self, clock: Clock) -> None:
        seconds = clock.lap()
        self._own += seconds
        self.seconds += seconds

    def _seen(self, clock: Clock) -> Any:
        if self.look is None:
            return None
        with torch.no_grad():
            seen = self.look(self.shown)
        clock.looked()
        self._spend(clock)
        return seen

    def _report(self, sums: Mapping[str, list], rate: float, seen: Any) -> Progress:
        show = {figure: float(total) / count for figure, (total, count) in sums.items()}
        if self.finished:
            return Progress("", 0, 0, show, rate, seen, 1.0, self.seconds)
        name, stage = self._stage
        return Progress(name, self.step, stage.steps, show, rate, seen, self._done(stage), self.seconds)


def _add(sums: dict[str, list], show: Mapping[str, Tensor]) -> None:
    """Adds each figure's mean to its sum and count."""
    for figure, value in show.items():
        total = sums.setdefault(figure, [0.0, 0])
        total[0], total[1] = total[0] + value.detach().float().mean(), total[1] + 1


def _laid_out(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """The gradient with the strides of its parameter: fused optimizers walk through both as through plain memory."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
