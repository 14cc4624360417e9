"""Options come from signatures and are checked in one place; spaces, labels and noised pictures mean what they say."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gen_models.interface import (
    BadInput,
    Batch,
    Choices,
    GenerativeModel,
    Loss,
    Option,
    Range,
    Space,
    at_once,
    checked,
    checked_seed,
    listed,
    options,
)
from gen_models.noise import SEEDS


def method(
    noise,
    *,
    label: Annotated[int, Range(0, 9)] = 0,
    start: bool = False,
    steps: Annotated[int, Range(1, 200)] = 20,
    strength: Annotated[float, Range(0.0, 2.0, 0.1)] = 1.0,
    solver: Literal["euler", "heun"] = "heun",
    exact: bool = False,
    levels: Annotated[int, Choices((2, 4, 8))] = 4,
    unannotated=3,
    plain: float = 2.0,
):
    """What the page would ask for: five options; label, start and what has no bounds are none."""


# ---- reading -------------------------------------------------------------------------------------------------


def test_options_are_read_from_the_signature():
    assert options(method) == {
        "steps": Option("steps", Range(1, 200), 20, int),
        "strength": Option("strength", Range(0.0, 2.0, 0.1), 1.0, float),
        "solver": Option("solver", Choices(("euler", "heun")), "heun", str),
        "exact": Option("exact", Choices((False, True)), False, bool),
        "levels": Option("levels", Choices((2, 4, 8)), 4, int),
    }


def test_limits_narrow_an_option_and_its_default_follows():
    limits = {"steps": Range(1, 10), "strength": Range(1.5, 1.5), "solver": Choices(("euler",)), "unknown": Range(0, 1)}
    narrowed = options(method, limits)
    assert narrowed["steps"] == Option("steps", Range(1, 10), 10, int)
    assert narrowed["strength"].default == 1.5
    assert narrowed["solver"].default == "euler"
    assert narrowed["strength"].fixed
    assert narrowed["solver"].fixed
    assert not narrowed["steps"].fixed
    assert "unknown" not in narrowed


# ---- checking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("steps", "20", 20),
        ("steps", 20.0, 20),
        ("steps", 1, 1),
        ("steps", 200, 200),
        ("strength", "0.5", 0.5),
        ("strength", 2, 2.0),
        ("solver", "euler", "euler"),
        ("exact", "true", True),
        ("exact", "No", False),
        ("exact", True, True),
        ("levels", "8", 8),
    ],
)
def test_a_value_arrives_in_the_options_type(name, given, value):
    found = options(method)[name].check(given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("steps", 0, "whole number from 1 to 200"),
        ("steps", 201, "from 1 to 200"),
        ("steps", 2.5, "whole number"),
        ("steps", "many", "'many'"),
        ("steps", None, "None"),
        ("steps", [3], r"\[3\]"),
        ("steps", math.inf, "inf"),
        ("strength", math.nan, "nan"),
        ("strength", -0.001, "from 0 to 2"),
        ("strength", "1e400", "from 0 to 2"),
        ("solver", "rk45", "euler, heun"),
        ("solver", None, "euler, heun"),
        ("exact", "perhaps", "False, True"),
        ("levels", 3, "2, 4, 8"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_the_bounds(name, given, words):
    with pytest.raises(BadInput, match=words) as error:
        options(method)[name].check(given)
    assert name in str(error.value)


def test_checked_fills_in_defaults_and_refuses_the_unknown():
    assert checked(method, {"steps": "7"}) == {
        "steps": 7,
        "strength": 1.0,
        "solver": "heun",
        "exact": False,
        "levels": 4,
    }
    assert checked(method, {}, {"steps": Range(1, 10)})["steps"] == 10
    with pytest.raises(BadInput, match=r"Unknown option label, speed; this model has steps"):
        checked(method, {"label": 3, "speed": 1})
    with pytest.raises(BadInput, match="from 1 to 10"):
        checked(method, {"steps": 11}, {"steps": Range(1, 10)})


def test_seeds_fill_32_bits_for_every_sample():
    assert checked_seed(0) == 0
    assert checked_seed("42") == 42
    assert checked_seed(SEEDS - 1) == SEEDS - 1
    assert checked_seed(SEEDS - 16, 16) == SEEDS - 16
    for seed, count in ((SEEDS, 1), (SEEDS - 15, 16), (-1, 1), (0.5, 1), ("dice", 1), (None, 1), (math.nan, 1)):
        with pytest.raises(BadInput, match="seed is a whole number from 0 to"):
            checked_seed(seed, count)


def test_the_bound_of_a_seed_is_written_in_full():
    with pytest.raises(BadInput, match="4294967295"):
        checked_seed(SEEDS)


# ---- what travels --------------------------------------------------------------------------------------------


def test_a_space_knows_its_size():
    assert Space("image", (3, 8, 4)).size == 96
    assert Space("points", (2,)).size == 2
    assert Space("points", (2,)) == Space("points", (2,))


def test_sampling_in_one_go_has_a_start_and_a_sample():
    x = torch.ones(3, 2)
    start, last = at_once(x)
    assert (start.step, start.total, start.calls) == (0, 1, 0)
    assert (last.step, last.total, last.calls) == (1, 1, 1)
    assert torch.equal(start.x, torch.zeros(3, 2))
    assert last.x is x


class Nothing(GenerativeModel):
    def __init__(self, space: Space, conditional: bool = False):
        super().__init__(space, conditional=conditional)
        self.weight = nn.Parameter(torch.zeros(()))

    def loss(self, batch: Batch, turn) -> Loss:
        return Loss(self.weight, {})


def test_label_rows_are_one_hot_mixed_or_empty():
    space = Space("points", (2,), labels=("a", "b", "c"))
    model = Nothing(space, conditional=True)
    assert model.labels == ("a", "b", "c")
    assert_close(model.label_rows(torch.tensor([2, 0]), 2), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert_close(model.label_rows(None, 2), torch.zeros(2, 3))
    mixed = torch.tensor([[0.5, 0.5, 0]])
    assert_close(model.label_rows(mixed, 1), mixed)
    assert Nothing(space).label_rows(torch.tensor([2, 0]), 2) is None, "an unconditional model ignores classes"


def test_a_conditional_model_needs_classes():
    with pytest.raises(BadInput, match="no classes"):
        Nothing(Space("points", (2,)), conditional=True)


# ---- lists ----------------------------------------------------------------------------------------------------

STEPS = Option("steps", Range(1, 200), 20, int)
SCALE = Option("guidance", Range(0.0, 8.0), 1.0, float)


@pytest.mark.parametrize(
    ("text", "option", "values"),
    [
        ("4", STEPS, [4]),
        ("1, 2, .., 10", STEPS, list(range(1, 11))),
        ("1, 3, .., 8", STEPS, [1, 3, 5, 7]),
        ("2, 4, .., 8, 16,32", STEPS, [2, 4, 6, 8, 16, 32]),
        ("10, 8, ..., 1", STEPS, [10, 8, 6, 4, 2]),
        ("1, .., 4", STEPS, [1, 2, 3, 4]),
        ("0, 0.1, .., 0.5", SCALE, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ("euler, heun", Option("solver", Choices(("euler", "heun")), "heun", str), ["euler", "heun"]),
    ],
)
def test_a_list_of_values_is_read_as_it_is_written(text, option, values):
    assert listed(text, option) == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one value"),
        (" , ", "at least one value"),
        ("1, 2, ..", "before and after"),
        (".., 4", "before and after"),
        ("1, 2, .., 0", "1 to 200"),
        ("4, 3, .., 9", "lead away"),
        ("3, 3", "twice"),
        ("1, 2, .., 100", "more than 64"),
        ("4, 300", "1 to 200"),
        ("four", "whole number"),
    ],
)
def test_a_list_that_cannot_be_read_says_what_to_do(text, says):
    with pytest.raises(BadInput, match=says):
        listed(text, STEPS)


def test_words_have_no_steps_between_them():
    with pytest.raises(BadInput, match="one by one"):
        listed("euler, .., heun", Option("solver", Choices(("euler", "heun")), "heun", str))
