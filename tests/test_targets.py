"""Targets: an entry says by how much it falls short, in its own units, and nothing is counted that was not measured."""

from __future__ import annotations

import pytest

from gen_models import evaluate, zoo
from gen_models.evaluate.targets import TARGETS


def of(model: dict, real: dict | None = None, likelihood: dict | None = None) -> dict:
    def cells(values):
        return {key: {"value": value} for key, value in values.items()}

    rows = [{"name": "guidance 1", "kind": "model", "figures": cells(model)}]
    rows += [{"name": "real", "kind": "control", "figures": cells(real)}] if real else []
    return {"rows": rows, "likelihood": {"figures": cells(likelihood)} if likelihood else None}


def short(name: str, evaluation: dict) -> dict[str, float]:
    return {verdict.target.figure: verdict.short for verdict in evaluate.verdicts(name, evaluation)}


def test_it_says_by_how_much():
    found = short("gan-mnist", of({"accuracy": 0.938, "coverage": 0.85}))
    assert found == {"accuracy": pytest.approx(0.037), "coverage": 0.0}
    words = [verdict.words for verdict in evaluate.verdicts("gan-mnist", of({"accuracy": 0.938, "coverage": 0.85}))]
    assert words == [
        "Class accuracy 0.938 falls short of 0.975 by 0.037",
        "Coverage 0.850 reaches 0.800",
    ]


def test_lower_is_better_for_costs():
    found = short("vae-mnist", of({}, likelihood={"nats": 86.0, "elbo": 88.0}))
    assert found == {"nats": pytest.approx(1.0), "elbo": 0.0}


def test_a_floor_comes_from_the_real_pictures():
    found = short("diffusion-mnist", of({"fd": 0.4}, real={"fd": 0.1}))
    assert found == {"fd": pytest.approx(0.1)}, "what was not measured is neither reached nor missed"


def test_a_control_row_is_never_taken_for_the_model():
    assert short("gan-mnist", of({}, real={"accuracy": 0.996, "coverage": 0.97})) == {}


def test_targets_name_entries_figures_and_settings_that_exist():
    for name, targets in TARGETS.items():
        assert name in zoo.ZOO or name in zoo.JUDGES
        assert all(target.figure in evaluate.FIGURES for target in targets)
        evaluation = evaluate.read(zoo.BUNDLED, name)
        if evaluation:
            assert len(evaluate.verdicts(name, evaluation)) == len(targets), "each target is measured"
    assert set(evaluate.TRIED) <= set(TARGETS)
