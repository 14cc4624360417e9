"""The training loop, on players whose gradients are known: each number that it applies can be written down by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gen_models import checkpoint, training
from gen_models.interface import BadInput, Batch, GenerativeModel, Loss, Maximises, Space, Turn
from gen_models.training import Recipe, Stage, Training

PLAIN = {"optimizer": "sgd", "lr": 1.0, "betas": (0.0, 0.0), "schedule": "constant", "batch_size": 2}


class Player(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))


class Slope(GenerativeModel):
    """Two players whose loss is `slope` times the sum of their weights; what they were asked is written down."""

    players = ("critic", "generator")
    slope, noisy, breaks_at = 1.0, False, None

    def __init__(self):
        super().__init__(Space("points", (2,)))
        self.critic, self.generator = Player(), Player()
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))
        self.asked: list[Turn] = []

    def begin(self, batch: Batch, rng: torch.Generator, teacher=None) -> None:
        self.begun_with = (batch.x.clone(), torch.rand(3, generator=rng))

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        self.asked.append(turn)
        self.turns += 1
        slope = self.slope
        if self.noisy:
            slope = slope * torch.rand(3, generator=turn.rng) + batch.x.mean()
        if self.breaks_at == turn.step:
            slope = math.nan
        both = (self.critic.weight + self.generator.weight) * slope
        return Loss(both.sum(), {"of " + turn.player: both.detach().sum(), "step": torch.full((4,), float(turn.step))})


class Halving(GenerativeModel, Maximises):
    """Each round takes half of the way to the mean of the batch; what it was given is written down."""

    def __init__(self):
        super().__init__(Space("points", (2,)))
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("over", torch.zeros((), dtype=torch.bool))
        self.given: list[Batch] = []

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        raise AssertionError("a closed-form step needs no loss")

    def begin(self, batch: Batch, rng: torch.Generator, teacher=None) -> None:
        self.given.append(batch)

    def update(self, batch: Batch, turn: Turn) -> dict[str, torch.Tensor]:
        assert not torch.is_grad_enabled()
        self.given.append(batch)
        self.weight.lerp_(batch.x.mean(0), 0.5 + 0.01 * torch.rand((), generator=turn.rng))
        away = (batch.x.mean(0) - self.weight).abs().max()
        self.over.copy_(away < 0.01)
        return {"away": away, "done": torch.tensor(turn.done)}

    @property
    def converged(self) -> bool:
        return bool(self.over)


class Cloud:
    """Standard normal points."""

    space, log_prob = Space("points", (2,)), None

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        return Batch(torch.randn(n, 2, generator=rng))

    def split(self, name: str) -> Batch:
        return Batch(10 + torch.randn(50, 2, generator=torch.Generator().manual_seed(len(name))))


@pytest.fixture
def every_step(monkeypatch):
    """A report after each step."""
    monkeypatch.setattr(training, "REPORT", 0.0)


def of(model: GenerativeModel | None = None, stages=None, seed: int = 0, **recipe) -> Training:
    stages = stages or {"training": Stage(4)}
    return Training(model or Slope(), Cloud(), Recipe(stages, **PLAIN | recipe), seed=seed)


def factors(run: Training) -> list[float]:
    """How far each step moved the generator down a slope of 1: with plain descent, the learning rate's factor."""
    weights = [0.0]
    for progress in run:
        if progress.step:
            weights.append(float(run.model.generator.weight[0].detach()))
    return [before - after for before, after in itertools.pairwise(weights)]


def noisy() -> Slope:
    model = Slope()
    model.noisy = True
    return model


# ---- the arithmetic of a step --------------------------------------------------------------------------------


def test_warm_up_and_cosine(every_step):
    quarter = math.sqrt(0.5)  # cos(pi / 4)
    expected = [0.5 * 1.0, 1.0 * (1 + quarter) / 2, 0.5, (1 - quarter) / 2]
    assert factors(of(warmup=2, schedule="cosine")) == pytest.approx(expected, abs=1e-6)
    assert factors(of(warmup=4)) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert factors(of()) == pytest.approx([1.0] * 4)


def test_a_learning_rate_for_each_player(every_step):
    run = of(lr={"critic": 0.25, "generator": 2.0})
    assert factors(run) == pytest.approx([2.0] * 4)
    assert_close(run.model.critic.weight, torch.full((3,), -1.0))


def test_clipping_bounds_the_norm_and_leaves_short_gradients_alone(every_step):
    steep = Slope()
    steep.slope = 100.0
    (step,) = set(factors(of(steep, stages={"training": Stage(1)}, clip=0.5)))
    assert step == pytest.approx(0.5 / math.sqrt(3), rel=1e-4)  # a norm of 0.5 shared by three equal weights
    assert factors(of(clip=10.0)) == pytest.approx([1.0] * 4)


def test_the_average_is_exponential_after_a_short_warm_up(every_step):
    run = of(ema=0.5)
    shown = 0.0
    for progress in run:
        if progress.step:
            decay = min(0.5, progress.step / (progress.step + 9))  # a young average forgets its random start
            shown = decay * shown + (1 - decay) * float(run.model.generator.weight[0].detach())
            assert float(run.shown.generator.weight[0]) == pytest.approx(shown, rel=1e-5)
    assert -4 < shown < -3, "the average lags behind"


def test_without_an_average_the_plain_weights_are_shown_and_buffers_always_are():
    for ema in (0.0, 0.9):
        run = of(ema=ema)
        list(run)
        assert run.shown.turns == 8
        assert not run.shown.training
        assert not any(p.requires_grad for p in run.shown.parameters())
    assert not torch.equal(run.shown.generator.weight, run.model.generator.weight)
    plain = of()
    list(plain)
    assert torch.equal(plain.shown.generator.weight, plain.model.generator.weight)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adams_first_step_is_the_learning_rate(every_step, optimizer):
    assert factors(of(optimizer=optimizer, betas=(0.9, 0.999), lr=0.01))[0] == pytest.approx(0.01, rel=1e-3)


# ---- players and stages --------------------------------------------------------------------------------------


def test_players_take_their_turns_in_order():
    run = of(stages={"training": Stage(2, turns={"critic": 5})})
    list(run)
    assert [turn.player for turn in run.model.asked] == 2 * (5 * ["critic"] + ["generator"])
    assert_close(run.model.critic.weight, torch.full((3,), -10.0))
    assert_close(run.model.generator.weight, torch.full((3,), -2.0))
    draws = {float(torch.rand((), generator=turn.rng)) for turn in run.model.asked}
    assert len(draws) == 12, "every turn has random numbers of its own"


def test_a_frozen_player_neither_moves_nor_is_asked():
    run = of(stages={"training": Stage(3, turns={"critic": 0})})
    list(run)
    assert {turn.player for turn in run.model.asked} == {"generator"}
    assert not run.model.critic.weight.any()


def test_a_stage_starts_with_fresh_optimizers(every_step):
    stages = {"first": Stage(3), "second": Stage(2)}
    moved = factors(of(stages=stages, betas=(0.9, 0.0)))  # momentum: 1, 1.9, 2.71, then none again
    assert moved == pytest.approx([1, 1.9, 2.71, 1, 1.9], rel=1e-5)


def test_turns_say_where_they_are():
    run = of(stages={"first": Stage(4, turns={"critic": 0}), "second": Stage(2, turns={"critic": 0})})
    list(run)
    where = [(turn.stage, turn.step, turn.done) for turn in run.model.asked]
    assert where == [
        ("first", 0, 0.0), ("first", 1, 0.25), ("first", 2, 0.5), ("first", 3, 0.75),
        ("second", 0, 0.0), ("second", 1, 0.5),
    ]  # fmt: skip


def test_a_stage_may_have_a_batch_size_of_its_own():
    run = of(stages={"first": Stage(2, batch_size=7), "second": Stage(3)})
    list(run)
    assert run.examples == 2 * (2 * 7 + 3 * 2)


def test_a_stage_ends_when_its_time_is_spent():
    run = of(stages={"short": Stage(10**9, seconds=0.2), "last": Stage(1)}, ema=0.9)
    reports = list(run)
    assert run.finished
    assert [report for report in reports if report.stage == "short"][-1].done == 1.0
    assert reports[-1].stage == "last"
    assert 0.2 <= reports[-1].seconds < 5


def test_the_clock_stops_while_nobody_asks(every_step, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training.clock.time, "perf_counter", lambda: now[0])
    run = of()
    for _ in run:
        now[0] += 100.0  # the page draws
    assert run.seconds == 0.0


# ---- reports -------------------------------------------------------------------------------------------------


def test_figures_are_means_since_the_last_report(monkeypatch):
    reports = list(of())
    assert [report.step for report in reports] == [0, 4]
    assert reports[0].show == {}
    assert reports[1].show["step"] == pytest.approx(1.5)
    monkeypatch.setattr(training, "REPORT", 0.0)
    assert [report.show["step"] for report in of() if report.step] == [0, 1, 2, 3]


def test_progress_counts_up_to_the_end(every_step):
    reports = list(of(stages={"a": Stage(2), "b": Stage(3)}))
    assert [(r.stage, r.step, r.total) for r in reports] == [
        ("a", 0, 2), ("a", 1, 2), ("a", 2, 2), ("b", 1, 3), ("b", 2, 3), ("b", 3, 3),
    ]  # fmt: skip
    assert [r.done for r in reports] == pytest.approx([0, 0.5, 1, 1 / 3, 2 / 3, 1])
    assert all(r.examples_per_second > 0 for r in reports if r.step)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(reports))


def test_look_sees_the_shown_model_at_the_start_and_at_each_stages_end():
    seen = []

    def look(model: GenerativeModel) -> int:
        seen.append((int(model.turns), model.training, torch.is_grad_enabled()))
        return len(seen)

    run = Training(Slope(), Cloud(), Recipe({"a": Stage(2), "b": Stage(3)}, **PLAIN), look=look)
    reports = list(run)
    assert seen[0] == (0, False, False)
    assert seen[-1] == (10, False, False)
    assert (4, False, False) in seen
    assert reports[0].seen == 1
    assert reports[-1].seen == len(seen)
    assert run.model.training, "looking leaves the trained model in training mode"


def test_begin_gets_a_batch_and_randomness_once(every_step):
    run = of()
    iterator = iter(run)
    assert next(iterator).step == 0
    x, draw = run.model.begun_with
    assert len(x) >= 512
    assert not run.model.asked
    list(iterator)
    assert torch.equal(run.model.begun_with[1], draw)
    again = of()
    next(iter(again))
    assert torch.equal(again.model.begun_with[0], x)


# ---- closed-form steps ---------------------------------------------------------------------------------------


def test_closed_form_steps_take_the_whole_set_and_end_when_nothing_is_gained():
    run = of(Halving(), {"rounds": Stage(100, batch_size=0)}, ema=0.99)
    reports = list(run)
    given, x = run.model.given, Cloud().split("train").x
    assert torch.equal(given[0].x, x)
    assert all(batch is given[0] for batch in given), "read once, for `begin` and every round"
    assert run.model.converged
    assert run.finished
    assert 9 <= reports[-1].step <= 11  # 10 / 2^n < 0.01
    assert [report.step for report in reports] == list(range(len(given))), "a report of each round"
    assert all(a.show["away"] > 1.9 * b.show["away"] for a, b in itertools.pairwise(reports[1:]))
    assert reports[-1].done == 1.0
    assert run.examples == 50 * reports[-1].step
    assert_close(run.shown.weight, run.model.weight.detach(), rtol=0, atol=0)
    assert_close(run.shown.weight, x.mean(0), rtol=0, atol=0.01)


def test_closed_form_steps_are_looked_at_one_by_one():
    run = Training(Halving(), Cloud(), Recipe({"rounds": Stage(5)}), look=lambda model: float(model.weight[0]))
    seen = [report.seen for report in run]
    assert len(seen) == 6
    assert all(a < b for a, b in itertools.pairwise(seen))


def test_closed_form_steps_on_a_fixed_draw():
    runs = [of(Halving(), {"a": Stage(2, batch_size=7), "b": Stage(1, batch_size=9)}, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        list(run)
    one, again, other = ([batch.x for batch in run.model.given] for run in runs)
    assert [len(x) for x in one] == [7, 7, 7, 9]
    assert torch.equal(one[0], one[2])
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0], other[0])


def test_a_whole_set_serves_gradient_steps_too():
    run = of(noisy(), {"training": Stage(3, batch_size=0)})
    list(run)
    assert run.examples == 3 * 2 * 50


@pytest.mark.parametrize("stop", [1, 4, 10])
def test_closed_form_steps_go_on_as_if_nothing_had_happened(tmp_path, stop):
    stages = {"rounds": Stage(100, batch_size=0)}
    whole = of(Halving(), stages)
    steps = len(list(whole)) - 1
    broken = of(Halving(), stages)
    iterator = iter(broken)
    while next(iterator).step < min(stop, steps):
        pass
    iterator.close()
    checkpoint.save_state(tmp_path / "state.safetensors", broken.state_dict())
    later = of(Halving(), stages)
    later.load_state_dict(checkpoint.load_state(tmp_path / "state.safetensors"))
    assert len(list(later)) == steps - min(stop, steps)
    assert later.finished
    assert torch.equal(later.model.weight, whole.model.weight)
    assert torch.equal(later.shown.weight, whole.model.weight)


# ---- the same again, and going on ----------------------------------------------------------------------------


def test_one_seed_gives_one_result_bit_for_bit():
    def weights(seed: int) -> torch.Tensor:
        run = of(noisy(), stages={"training": Stage(20, turns={"critic": 2})}, seed=seed, optimizer="adam", lr=0.1)
        list(run)
        return torch.cat([run.model.critic.weight, run.model.generator.weight]).detach()

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_training_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    list(of(noisy()))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_state_goes_on_as_if_nothing_had_happened(every_step, tmp_path, stop):
    recipe = {"ema": 0.9, "optimizer": "adam", "betas": (0.5, 0.9), "lr": 0.1, "schedule": "cosine", "warmup": 2}
    stages = {"a": Stage(4, turns={"critic": 2}), "b": Stage(3)}
    whole = of(noisy(), stages=stages, **recipe)
    list(whole)

    broken = of(noisy(), stages=stages, **recipe)
    iterator = iter(broken)
    steps = 0
    while steps < stop:
        steps += next(iterator).step > 0
    iterator.close()
    checkpoint.save_state(tmp_path / "state.safetensors", broken.state_dict())
    later = of(noisy(), stages=stages, **recipe)
    later.load_state_dict(checkpoint.load_state(tmp_path / "state.safetensors"))
    reports = list(later)

    assert len(reports) == 7 - stop, "no step is repeated or left out"
    assert later.examples == whole.examples
    for model, other in ((later.model, whole.model), (later.shown, whole.shown)):
        for name, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_a_foreign_state_is_refused():
    state = of().state_dict()
    with pytest.raises(BadInput, match="another model or recipe"):
        of().load_state_dict({**state, "model": {"weight": torch.zeros(3)}})
    with pytest.raises(BadInput, match="another model or recipe"):
        of().load_state_dict({**state, "optimizers": {}})


def test_a_finished_training_has_nothing_left():
    run = of()
    list(run)
    assert run.finished
    assert list(run) == []


def test_closing_early_keeps_what_was_learnt(every_step):
    run = of(stages={"training": Stage(100)})
    for progress in run:
        if progress.step == 3:
            break
    assert not run.finished
    assert_close(run.shown.generator.weight, torch.full((3,), -3.0))
    assert next(iter(run)).step == 4, "a new iterator goes on"


# ---- when it goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_a_loss_that_is_not_finite_says_so_and_spoils_nothing(every_step, player):
    model = Slope()
    model.breaks_at = 2
    other = "critic" if player == "generator" else "generator"
    run = of(model, stages={"training": Stage(5, turns={other: 0})}, optimizer="adam", betas=(0.9, 0.99), ema=0.9)
    with pytest.raises(BadInput, match=rf"loss of the {player} is no longer finite at step 2: lower the learning rate"):
        list(run)
    for part in (run.model, run.shown):
        assert all(value.isfinite().all() for value in part.state_dict().values())
    assert run.model.get_submodule(player).weight.any(), "two steps were taken"
    assert run.step == 2


def test_an_infinite_gradient_is_no_step_either(every_step):
    model = Slope()
    model.slope = math.inf
    with pytest.raises(BadInput, match="no longer finite"):
        list(of(model, clip=1.0))
    assert not model.critic.weight.any()


def test_a_teacher_is_frozen_and_handed_to_every_turn():
    teacher, student = Slope(), Slope()
    run = Training(student, Cloud(), Recipe({"training": Stage(2)}, **PLAIN), teacher=teacher)
    list(run)
    assert all(turn.teacher is teacher for turn in student.asked)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.training
    assert "teacher" not in dict(student.named_modules())


# ---- precision -------------------------------------------------------------------------------------------------


class Line(GenerativeModel):
    """One matrix product, whose type is written down."""

    def __init__(self):
        super().__init__(Space("points", (2,)))
        self.layer = nn.Linear(2, 1, bias=False)
        nn.init.constant_(self.layer.weight, 1 / 3)
        self.seen: list[torch.dtype] = []

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        y = self.layer(batch.x)
        self.seen.append(y.dtype)
        return Loss((y.float() - batch.x.sum(1, keepdim=True)).square().mean(), {})


def test_products_are_in_the_precision_of_the_recipe_and_weights_stay_as_they_are():
    weights = {}
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        run = of(Line(), {"a": Stage(40)}, optimizer="sgd", lr=0.1, batch_size=16, precision=precision)
        list(run)
        assert set(run.model.seen) == {kind}
        assert run.model.layer.weight.dtype == torch.float32
        weights[precision] = run.model.layer.weight.detach()
    assert not torch.equal(weights["float32"], weights["bfloat16"])
    assert_close(weights["bfloat16"], torch.ones(1, 2), atol=0.05, rtol=0)


class Picture(GenerativeModel):
    """A convolution, whose gradient has another layout than its weights where the data has."""

    def __init__(self, layout: torch.memory_format):
        super().__init__(Space("points", (2,)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Conv2d(4, 6, 3, padding=1)
        self.layout = layout

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        x = torch.randn(4, 4, 8, 8, generator=turn.rng).contiguous(memory_format=self.layout)
        return Loss((self.layer(x) - x.mean(1, keepdim=True)).square().mean(), {})


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_the_layout_of_pictures_changes_nothing(optimizer):
    runs = [
        of(Picture(layout), optimizer=optimizer, lr=0.01) for layout in (torch.contiguous_format, torch.channels_last)
    ]
    for run in runs:
        list(run)
    assert_close(runs[0].model.layer.weight, runs[1].model.layer.weight)
