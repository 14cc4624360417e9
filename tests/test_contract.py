"""What every entry of the zoo keeps, whatever its family: it builds, its card rebuilds it, its training comes back."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from contract import same, values_of
from safetensors.torch import load_file
from toys import lively, small, source_for, teacher_for

from gen_models import checkpoint, data, training, zoo
from gen_models.interface import Samples, Translates, checked, options
from gen_models.training import Training

ROOT = Path(__file__).resolve().parent.parent
EVERY = zoo.ZOO | {name: zoo.JUDGES[name] for name in ("judge-mnist-a", "judge-cifar10-b")}


# ---- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_entrys_own_config_builds_and_says_where_it_lives(name):
    entry = EVERY[name]
    before = torch.random.get_rng_state()
    model = zoo.build(entry)
    assert torch.equal(torch.random.get_rng_state(), before), "building leaves the global generator alone"
    assert model.space == entry.where == data.space_of(entry.data)
    assert model.labels == entry.labels
    assert entry.model in (zoo.FAMILIES | {"judge": zoo.JUDGE})[entry.family].models
    assert same(values_of(model), values_of(zoo.build(entry))), "one seed, one model"
    assert not same(values_of(model), values_of(zoo.build(entry, 1)))
    assert set(entry.recipe.stages["training"].turns if "training" in entry.recipe.stages else ()) <= set(model.players)


@pytest.mark.parametrize("name", EVERY)
def test_a_card_rebuilds_its_entry(name):
    entry = EVERY[name]
    back = zoo.entry_of(json.loads(json.dumps(zoo.card_of(entry))))
    filled = checked(entry.model.__init__, entry.config)
    assert back == dataclasses.replace(entry, space=entry.where, config=filled)
    assert set(entry.config) <= set(options(entry.model.__init__)), "all of a config can be checked"


# ---- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_only_the_players_parameters_move_in_its_turn(name):
    entry = small(EVERY[name], steps=1)
    for player in entry.model.players:
        others = [other for other in entry.model.players if other != player]
        name, stage = next((k, stage) for k, stage in entry.recipe.stages.items() if stage.turns.get(player, 1))
        recipe = dataclasses.replace(
            entry.recipe, stages={name: dataclasses.replace(stage, turns=dict.fromkeys(others, 0))}
        )
        model = lively(entry)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        list(Training(model, source_for(entry), recipe, teacher=teacher_for(entry)))
        moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
        mine = {key for key in before if not player or key.startswith(f"{player}.")}
        if player:  # `begin` may fill tensors of a model that plays alone; of a player it does not
            assert moved <= mine
        assert moved, "the player learns"
        assert len(mine - moved) <= 1, "all of it: but for the constant of a judge that compares, which cancels"


@pytest.mark.parametrize("name", EVERY)
def test_two_steps_stay_finite_and_leave_the_global_generator_alone(name):
    entry = small(EVERY[name], steps=2)
    run = Training(zoo.build(entry), source_for(entry), entry.recipe, teacher=teacher_for(entry))
    before = torch.random.get_rng_state()
    reports = list(run)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert reports[-1].show
    assert all(torch.tensor(value).isfinite() for value in reports[-1].show.values())
    for model in (run.model, run.shown):
        assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("name", EVERY)
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "REPORT", 0.0)
    entry = small(EVERY[name], steps=4)
    source, asked = source_for(entry), {"seed": 3, "look": values_of}
    seen = [p.seen for p in zoo.run(entry, source, folder=tmp_path / "whole", teacher=teacher_for(entry), **asked)]

    first = zoo.run(entry, source, folder=tmp_path / "broken", teacher=teacher_for(entry), **asked)
    while next(first).step < 2:
        pass
    first.close()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {zoo.STATE}, "no checkpoint before the end"
    later = list(zoo.run(entry, source, folder=tmp_path / "broken", teacher=teacher_for(entry), **asked))

    more = len(entry.recipe.stages) - 1
    assert [progress.step for progress in later] == [3, 4, *[1, 2, 3, 4] * more]
    assert same(later[-1].seen, seen[-1]), "float32 weights of the shown model"
    files = [load_file(tmp_path / folder / checkpoint.WEIGHTS) for folder in ("whole", "broken")]
    assert same(*files)
    picture = {zoo.PREVIEW} if issubclass(entry.model, Samples | Translates) else set()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {checkpoint.CARD, checkpoint.WEIGHTS} | picture


KILLED = """
import dataclasses, sys, torch
torch.set_num_threads(1)
from gen_models import __main__, training, zoo
zoo.running.SAVE_EVERY = training.REPORT = 0.1
entry = zoo.ZOO["vae-8gaussians"]
stage = dataclasses.replace(entry.recipe.stages["training"], steps=int(sys.argv[1]))
recipe = dataclasses.replace(entry.recipe, stages={"training": stage}, batch_size=16)
zoo.ZOO["vae-8gaussians"] = dataclasses.replace(entry, recipe=recipe)
sys.exit(__main__.main(["train", "vae-8gaussians", "--device", "cpu", "--checkpoints", sys.argv[2]]))
"""


def test_a_killed_process_goes_on_with_nothing_lost_but_the_steps_since_the_last_save(tmp_path):
    steps = 1500

    def start(folder: str) -> subprocess.Popen:
        command = [sys.executable, "-c", KILLED, str(steps), str(tmp_path / folder)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = start("killed")
    state = tmp_path / "killed" / "vae-8gaussians" / zoo.STATE
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # in the midst of whatever it does then
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was still at work"
    reached = checkpoint.load_state(state)["training"]["step"]
    assert 0 < reached < steps

    again, whole = start("killed"), start("whole")
    said, complaint = again.communicate(timeout=200)
    assert again.returncode == 0, complaint
    assert "going on with the training" in said
    whole.communicate(timeout=200)
    assert whole.returncode == 0
    killed, never = (tmp_path / folder / "vae-8gaussians" for folder in ("killed", "whole"))
    assert same(load_file(killed / checkpoint.WEIGHTS), load_file(never / checkpoint.WEIGHTS))
    assert not os.path.exists(killed / zoo.STATE)
    assert checkpoint.read_card(killed)["training"]["steps"] == steps
