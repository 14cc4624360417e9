"""Several processes do what one does: the same loss curve, the same samples, one voice, and an end for all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import accelerate  # noqa: F401  imported once, here: the processes that the tests fork then have it
import numpy as np
import pytest
import torch
from together import commands, together
from torch.testing import assert_close
from toys import put_on_shelf, small, source_for

from gen_models import __main__ as command_line
from gen_models import checkpoint, parallel, training, zoo
from gen_models.interface import BadInput
from gen_models.training import Elsewhere, Group, Training

ROOT = Path(__file__).resolve().parent.parent
DESCENT = {"optimizer": "sgd", "lr": 1e-2, "betas": (0.5, 0.9), "precision": "float32"}  # Adam would enlarge rounding


def learnt(entry: zoo.Entry, group: Group, seed: int = 1) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """The figures of every step, and all that the model holds at the end."""
    run = Training(zoo.build(entry), source_for(entry), entry.recipe, seed=seed, group=group, report=0.0)
    curve = [dict(progress.show) for progress in run if progress.step]
    held = {f"shown.{name}": value for name, value in run.shown.state_dict().items()}
    return curve, {name: value.clone() for name, value in (held | run.model.state_dict()).items()}


# ---- what one process would learn ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flow-8gaussians", "vae-8gaussians", "gan-8gaussians", "diffusion-mnist"])
def test_a_mean_over_rows_is_learnt_as_by_one_process(name):
    entry = small(zoo.ZOO[name], steps=6, batch_size=7, clip=1.0, ema=0.9, **DESCENT)
    alone, weights = learnt(entry, Group())
    (curve, held), *others = together(3, lambda group: learnt(entry, group))  # of 7 rows 2, 2 and 3
    assert len(curve) == 6
    for step, figures in zip(curve, alone, strict=True):
        assert step == pytest.approx(figures, rel=1e-3, abs=1e-4)
    for key, _ in zoo.build(entry).named_parameters():
        assert_close(held[key], weights[key], rtol=1e-3, atol=1e-4)
        assert_close(held[f"shown.{key}"], weights[f"shown.{key}"], rtol=1e-3, atol=1e-4)
    assert all(equal(held, other) for _, other in others)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", ["vqvae-mnist", "sagan-cifar10", "transformer-names"])
def test_what_counts_over_the_batch_stays_within_noise_and_equal_on_all(name):
    entry = small(zoo.ZOO[name], steps=5, batch_size=8, **DESCENT | {"optimizer": "adamw", "lr": 1e-3})
    curves = [learnt(entry, Group(), seed)[0] for seed in (1, 2)]
    (curve, held), (_, other) = together(2, lambda group: learnt(entry, group))
    assert equal(held, other)
    for figure in {figure for step in curve for figure in step}:
        one, another, shared = ([step[figure] for step in steps if figure in step] for steps in (*curves, curve))
        apart = abs(sum(one) - sum(another))  # what the seed alone does
        assert abs(sum(shared) - sum(one)) <= 2 * apart + 0.03 * abs(sum(one)), figure


def test_each_process_draws_the_random_numbers_of_its_own_rows():
    def draws(group: Group) -> list[torch.Tensor]:
        rng = torch.Generator().manual_seed(5)
        rows = group.rows(5)
        n = rows.last - rows.first
        with group.draws(rng, rows):
            return [
                torch.randn(n, 3, generator=rng),
                torch.rand((), generator=rng),
                torch.rand((4, n), generator=rng),
                torch.randint(2, 9, (n,), generator=rng),
                torch.rand(7, generator=rng),
            ]

    whole = draws(Group())
    parts = together(2, draws)
    for k, dim in ((0, 0), (2, 1), (3, 0)):
        assert torch.equal(torch.cat([part[k] for part in parts], dim), whole[k])
    assert parts[0][1] == parts[1][1] == whole[1], "a single number is for all rows"
    assert not torch.equal(parts[0][4], parts[1][4]), "what is not counted by rows is drawn by each"


def test_the_clock_and_the_stop_are_those_of_process_0(monkeypatch):
    entry = small(zoo.ZOO["vae-8gaussians"], steps=10**6)
    (name, stage), *_ = entry.recipe.stages.items()
    timed = {name: training.Stage(stage.steps, seconds=0.3)}

    def until_late(group: Group) -> tuple[int, float]:
        run = Training(
            zoo.build(entry), source_for(entry), training.Recipe(timed, batch_size=4), group=group, report=0.0
        )
        for _ in run:
            time.sleep(0.002 * group.rank)  # not its own time, but that of the others who wait
        return run.steps, run.finished

    (steps, finished), other = together(2, until_late)
    assert (steps, finished) == other
    assert finished
    assert 0 < steps < 10**6

    def until_asked(group: Group) -> tuple[int, bool, bool]:
        run = Training(zoo.build(entry), source_for(entry), entry.recipe, group=group, report=0.0)
        for progress in run:
            group.stopping = progress.step >= (3 if group.rank == 0 else 1)
        return run.steps, run.finished, group.stopped

    assert together(2, until_asked) == [(4, False, True)] * 2, "the next step is the last one, for both"


def test_a_training_goes_on_with_another_number_of_processes(tmp_path):
    entry = small(zoo.ZOO["diffusion-mnist"], steps=6, **DESCENT)

    def begun(group: Group, folder: Path, until: int) -> int:
        last = None
        for last in zoo.run(entry, source_for(entry), seed=2, folder=folder, group=group):
            group.stopping = last.step >= until
        return last.step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "REPORT", 0.0)
        begun(Group(), tmp_path / "whole", 99)
        assert together(2, lambda group: begun(group, tmp_path / "two-one", 2)) == [3, 3]
        assert {path.name for path in (tmp_path / "two-one").iterdir()} == {zoo.STATE}
        assert begun(Group(), tmp_path / "two-one", 99) == 6
        begun(Group(), tmp_path / "one-three", 2)
        assert together(3, lambda group: begun(group, tmp_path / "one-three", 99)) == [6] * 3
    shelf = zoo.Shelf(tmp_path)
    assert shelf.card("one-three")["training"]["processes"] == 3
    assert shelf.card("whole")["training"]["examples"] == shelf.card("one-three")["training"]["examples"]
    whole = zoo.load("whole", shelf).state_dict()
    for name in ("two-one", "one-three"):
        for key, value in zoo.load(name, shelf).state_dict().items():
            assert_close(value, whole[key], rtol=1e-2, atol=2e-3)  # stored as float16


# ---- what cannot be shared, and what goes wrong --------------------------------------------------------------------


def test_what_several_processes_cannot_learn_is_said():
    def refused(group: Group) -> list[str]:
        said = []
        for name, recipe in (("mixture-8gaussians", {}), ("vae-8gaussians", {"batch_size": 1})):
            entry = small(zoo.ZOO[name], **recipe)
            with pytest.raises(BadInput) as error:
                Training(zoo.build(entry), source_for(entry), entry.recipe, group=group)
            said.append(str(error.value))
        return said

    for closed, short in together(2, refused):
        assert "GaussianMixture learns in closed form" in closed
        assert "A batch of 1 cannot be shared by 2 processes" in short


def test_trouble_of_process_0_is_everyones_and_told_once():
    def work(group: Group) -> tuple[str, int, list[int]]:
        def fail():
            raise BadInput("the disk is on fire")

        with pytest.raises(BadInput, match="the disk is on fire") as error:
            group.led(fail)
        made: list[int] = []
        group.in_turn(lambda: made.append(group.rank))
        return type(error.value).__name__, group.led(lambda: group.rank + 7), made

    assert together(2, work) == [("BadInput", 7, [0]), ("Elsewhere", 7, [1])]


def test_a_process_that_is_gone_ends_the_others():
    def work(group: Group) -> str:
        if group.rank == 1:
            torch.distributed.destroy_process_group()
            return "gone"
        time.sleep(0.2)
        with pytest.raises(Elsewhere, match="Another process of this command has ended"):
            group.meet()
        return "told"

    assert together(2, work) == ["told", "gone"]


# ---- the commands --------------------------------------------------------------------------------------------------


def test_sampling_gives_the_same_for_any_number_of_processes(shelf, tmp_path):
    def words(out: str, *more: str) -> list[str]:
        asked = ["diffusion-mnist", "--n", "23", "--batch", "4", "--seed", "7", "--steps", "3", "--device", "cpu"]
        return ["sample", "--checkpoints", str(shelf.root), *asked, "--out", str(tmp_path / out), *more]

    assert command_line.main(words("one.npy")) == 0
    assert command_line.main(words("one")) == 0
    whole = np.load(tmp_path / "one.npy")
    assert whole.shape == (23, 1, 28, 28)
    for count in (2, 3):
        found = commands(count, command_line.main, words("several.npy"))
        assert [code for code, *_ in found] == [0] * count
        assert [said for _, *said in found[1:]] == [["", ""]] * (count - 1), "process 0 speaks for all"
        several = np.load(tmp_path / "several.npy")
        assert several.dtype == whole.dtype
        assert np.abs(several - whole).max() <= 1 / 255
    commands(2, command_line.main, words("two"))
    assert [p.name for p in sorted((tmp_path / "two").iterdir())] == [f"{k:05d}-seed{7 + k}.png" for k in range(23)]
    for path in (tmp_path / "two").iterdir():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    commands(2, command_line.main, words("two.png"))
    command_line.main(words("one.png"))
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    assert not list(tmp_path.glob(".*.part")), "parts are removed"


def test_text_is_shared_too_and_goes_into_files(tmp_path):
    put_on_shelf(tmp_path / "transformer-names", small(zoo.ZOO["transformer-names"]))
    words = [
        "sample",
        "--checkpoints",
        str(tmp_path),
        "transformer-names",
        "--n",
        "9",
        "--batch",
        "2",
        "--device",
        "cpu",
    ]
    assert command_line.main([*words, "--prompt", "an", "--out", str(tmp_path / "one.txt")]) == 0
    commands(2, command_line.main, [*words, "--prompt", "an", "--out", str(tmp_path / "two.txt")])
    assert (tmp_path / "two.txt").read_text() == (tmp_path / "one.txt").read_text()
    (code, _, said), (_, _, silent) = commands(2, command_line.main, words)
    assert (code, silent) == (2, "")
    assert "--out all.txt or a folder" in said


def test_training_speaks_and_writes_once(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "REPORT", 0.0)
    monkeypatch.setitem(zoo.ZOO, "tiny", small(zoo.ZOO["vae-8gaussians"], steps=5))
    words = ["train", "--checkpoints", str(tmp_path), "tiny", "--device", "cpu"]
    (code, out, _), (other, silent, complaint) = commands(2, command_line.main, words)
    assert (code, other, silent, complaint) == (0, 0, "", "")
    assert "step 5/5" in out
    assert "saved in" in out
    assert zoo.Shelf(tmp_path).card("tiny")["training"]["processes"] == 2
    (code, out, _), (other, silent, _) = commands(2, command_line.main, words)
    assert (code, other, silent) == (0, 0, "")
    assert "trained already" in out
    (code, _, said), (other, _, silent) = commands(2, command_line.main, [*words[:-1], "mps"])
    assert (code, other, silent) == (2, 2, "")
    assert "Apple GPU" in said


def test_the_other_commands_are_for_one_process(shelf):
    (code, _, said), (other, _, silent) = commands(
        2, command_line.main, ["evaluate", "--checkpoints", str(shelf.root), "vae-8gaussians"]
    )
    assert (code, other, silent) == (2, 2, "")
    assert "evaluate is no work for several processes" in said


# ---- as it is started ----------------------------------------------------------------------------------------------


def test_one_process_where_several_were_meant_says_so(monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    group, where = parallel.start("cpu")
    assert (group.size, where.type) == (1, "cpu")
    assert "--multi_gpu" in capsys.readouterr().err


def launched(*words: str) -> list[str]:
    """The command of two processes, as `accelerate launch` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", port]
    return [sys.executable, "-m", *launcher, "-m", "gen_models", *words]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_gpus_the_processes_learn_and_draw_as_one(shelf, tmp_path):
    train = ["train", "vae-8gaussians", "--device", "cuda", "--checkpoints", str(tmp_path)]
    words = ["sample", "gan-mnist", "--n", "20", "--batch", "4", "--device", "cuda", "--checkpoints", str(shelf.root)]
    for command in (train, [*words, "--out", str(tmp_path / "two.npy")]):
        subprocess.run(launched(*command), cwd=ROOT, check=True, timeout=300)
    assert zoo.Shelf(tmp_path).card("vae-8gaussians")["training"]["device"] == "cuda:0"
    assert command_line.main([*words, "--out", str(tmp_path / "one.npy")]) == 0
    assert np.abs(np.load(tmp_path / "two.npy") - np.load(tmp_path / "one.npy")).max() <= 1 / 255


def test_ctrl_c_under_the_launcher_ends_all_and_keeps_what_was_learnt(tmp_path):
    words = launched("train", "vae-8gaussians", "--device", "cpu", "--checkpoints", str(tmp_path))
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = ""
    for line in process.stdout:
        said += line
        if "examples/s" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the launcher and to all that it started
    rest, _ = process.communicate(timeout=60)
    assert "stopped" in rest, said + rest
    assert f'File "{ROOT / "gen_models"}' not in rest, "what breaks off is the launcher alone"
    state = checkpoint.load_state(tmp_path / "vae-8gaussians" / zoo.STATE)
    assert state["training"]["step"] > 0
