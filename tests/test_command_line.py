"""The command line does what the page does, and says what is wrong instead of showing where it broke."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from toys import FakePictures, small

from gen_models import __main__ as command_line
from gen_models import checkpoint, data, evaluate, render, training, zoo
from gen_models.commands import train
from gen_models.evaluate import measures, running
from gen_models.interface import Batch, Space
from gen_models.noise import Noise

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(shelf, capsys):
    """Runs a command on the tiny checkpoints; exit code, standard output, standard error."""

    def call(*words: str | int | Path) -> tuple[int, str, str]:
        words = [str(word) for word in words]
        try:
            code = command_line.main([words[0], "--checkpoints", str(shelf.root), *words[1:]])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def refused(run):
    """A command that must end with exit code 2 and a message that holds these words."""

    def call(*words: str | int | Path, says: str) -> str:
        code, _, complaint = run(*words)
        assert code == 2
        assert says in complaint
        assert "Traceback" not in complaint
        return complaint

    return call


@pytest.fixture
def tiny(monkeypatch):
    """An entry of five steps in the zoo."""
    monkeypatch.setattr(training, "REPORT", 0.0)
    entry = small(zoo.ZOO["vae-8gaussians"], steps=5)
    monkeypatch.setitem(zoo.ZOO, "tiny", entry)
    return entry


# ---- list ----------------------------------------------------------------------------------------------------


def test_list_shows_every_entry_and_whether_it_is_there(run, shelf):
    code, said, _ = run("list")
    assert code == 0
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert list(lines)[1:] == [*zoo.ZOO, *zoo.JUDGES]
    assert "missing: train vae-mnist" in lines["vae-mnist"]
    parameters = sum(p.numel() for p in zoo.load("gan-mnist", shelf).parameters())
    assert f"{parameters:,}" in lines["gan-mnist"]
    assert "R3GAN" in lines["gan-mnist"]


@pytest.mark.parametrize(
    "content", ["{", "[]", json.dumps({"weights": "none"}), json.dumps({"model": "vae.VAE", "weights": 3})]
)
def test_list_survives_a_broken_card(run, shelf, content):
    (shelf.root / "gan-mnist" / checkpoint.CARD).write_text(content)
    code, said, _ = run("list")
    assert code == 0
    assert "vae-8gaussians" in said
    assert "gan-mnist" in said


# ---- train ---------------------------------------------------------------------------------------------------


def test_train_saves_and_does_not_train_twice(run, shelf, tiny):
    code, said, _ = run("train", "tiny", "--device", "cpu", "--seed", 3)
    assert code == 0
    assert "step 5/5" in said
    assert shelf.card("tiny")["training"]["seed"] == 3
    weights = (shelf.root / "tiny" / checkpoint.WEIGHTS).read_bytes()

    code, said, _ = run("train", "tiny", "--device", "cpu", "--seed", 4)
    assert code == 0
    assert "--restart" in said
    assert (shelf.root / "tiny" / checkpoint.WEIGHTS).read_bytes() == weights

    code, said, _ = run("train", "tiny", "--device", "cpu", "--seed", 4, "--restart")
    assert code == 0
    assert shelf.card("tiny")["training"]["seed"] == 4


def test_ctrl_c_keeps_the_training_and_the_next_command_goes_on(run, shelf, tiny, monkeypatch):
    shown = []

    def interrupted(progress):
        shown.append(progress.step)
        if len(shown) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "show", interrupted)
        code, _, complaint = run("train", "tiny", "--device", "cpu")
    assert code == 130
    assert "stopped" in complaint
    assert "Traceback" not in complaint
    code, said, _ = run("train", "tiny", "--device", "cpu")
    assert code == 0
    assert "going on with the training" in said
    assert "step 5/5" in said
    facts = shelf.card("tiny")["training"]
    assert (facts["steps"], facts["finished"]) == (5, True)


def test_another_seed_does_not_go_on_with_an_unfinished_training(refused, run, shelf, tiny, monkeypatch):
    unfinished = zoo.run(tiny, data.load("8gaussians"), folder=shelf.root / "tiny")
    while next(unfinished).step < 2:
        pass
    unfinished.close()
    refused("train", "tiny", "--device", "cpu", "--seed", 1, says="--restart")
    assert run("train", "tiny", "--device", "cpu", "--seed", 1, "--restart")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "vae-nist"], "vae-mnist"),
        (["train", "tiny", "--seed", 2**32], "4294967295"),
        (["train", "tiny", "--seed", -1], "seed"),
        (["train", "tiny", "--device", "toaster"], "auto, cpu, cuda, mps"),
        (["train", "tiny", "--speed", "3"], "--speed"),
        (["train"], "entry"),
        (["train", "vae-mnist"], "hf download"),
        (["dance"], "invalid choice"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_said(refused, shelf, tiny, words, says):
    before = set(shelf.root.iterdir())
    refused(*words, says=says)
    assert set(shelf.root.iterdir()) == before, "nothing is left behind"


def test_a_place_that_cannot_be_written_is_said(refused, shelf, tiny):
    (shelf.root / "tiny").write_text("in the way")
    refused("train", "tiny", "--device", "cpu", says="could be saved")
    assert (shelf.root / "tiny").read_text() == "in the way"


# ---- sample --------------------------------------------------------------------------------------------------


def test_a_png_is_a_grid_with_its_recipe_inside(run, tmp_path):
    out = tmp_path / "new folder" / "grid.png"
    code, _, said = run("sample", "gan-mnist", "--n", 6, "--seed", 7, "--truncation", 0.5, "--label", 3, "--out", out)
    assert code == 0, said
    assert str(out) in said
    recipe = render.recipe_of(out)
    assert {key: recipe[key] for key in ("entry", "seed", "n", "label", "truncation")} == {
        "entry": "gan-mnist", "seed": 7, "n": 6, "label": "3", "truncation": 0.5,
    }  # fmt: skip
    with Image.open(out) as image:
        assert image.width * image.height >= 6 * 28 * 28


def test_a_npy_is_the_raw_array(run, shelf, tmp_path):
    out = tmp_path / "raw.npy"
    assert run("sample", "gan-mnist", "--n", 5, "--seed", 2, "--out", out)[0] == 0
    x = np.load(out)
    assert x.shape == (5, 1, 28, 28)
    assert x.dtype == np.float32
    assert -1 <= x.min() < x.max() <= 1
    model = zoo.load("gan-mnist", shelf)
    with torch.no_grad():
        *_, last = model.sample(Noise(range(2, 7)), label=torch.eye(10)[:5])
    np.testing.assert_allclose(x, last.x.numpy(), rtol=1e-4, atol=1e-4)


def test_points_are_sampled_too(run, tmp_path):
    out = tmp_path / "points.npy"
    assert run("sample", "vae-8gaussians", "--n", 40, "--out", out)[0] == 0
    assert np.load(out).shape == (40, 2)
    assert run("sample", "vae-8gaussians", "--n", 40, "--out", tmp_path / "points.png")[0] == 0
    assert run("sample", "vae-8gaussians", "--n", 3, "--seed", 5, "--out", tmp_path / "points")[0] == 0
    files = sorted((tmp_path / "points").iterdir())
    assert len(files) == 3
    np.testing.assert_allclose(json.loads(files[2].read_text())["x"], np.load(out)[7], rtol=1e-4, atol=1e-5)


def test_without_a_label_sample_k_has_class_k_mod_their_number(run, tmp_path):
    run("sample", "gan-mnist", "--n", 13, "--seed", 20, "--out", tmp_path / "all.npy")
    run("sample", "gan-mnist", "--n", 1, "--seed", 32, "--label", "2", "--out", tmp_path / "twelfth.npy")
    run("sample", "gan-mnist", "--n", 1, "--seed", 32, "--label", "3", "--out", tmp_path / "other.npy")
    together = np.load(tmp_path / "all.npy")
    np.testing.assert_allclose(together[12:], np.load(tmp_path / "twelfth.npy"), rtol=1e-4, atol=1e-4)
    assert not np.allclose(together[12:], np.load(tmp_path / "other.npy"), atol=1e-3)


def test_classes_go_on_counting_over_batches(run, tmp_path, monkeypatch):
    run("sample", "diffusion-mnist", "--steps", 1, "--n", 258, "--out", tmp_path / "all.npy")
    run("sample", "diffusion-mnist", "--steps", 1, "--n", 1, "--seed", 257, "--label", 7, "--out", tmp_path / "one.npy")
    np.testing.assert_allclose(np.load(tmp_path / "all.npy")[257:], np.load(tmp_path / "one.npy"), rtol=1e-3, atol=1e-3)


def test_a_folder_gets_one_file_per_sample_with_its_own_recipe(run, tmp_path):
    out = tmp_path / "samples"
    words = ["--n", 12, "--seed", 40, "--steps", 2, "--solver=euler"]
    assert run("sample", "diffusion-mnist", *words, "--out", out)[0] == 0
    files = sorted(out.iterdir())
    assert len(files) == 12
    recipe = render.recipe_of(files[11])
    assert (recipe["seed"], recipe["n"], recipe["label"], recipe["steps"]) == (51, 1, "1", 2)
    again = tmp_path / "again.png"
    words = ["--n", 1, "--seed", recipe["seed"], "--label", recipe["label"], "--steps", 2, "--solver", "euler"]
    run("sample", "diffusion-mnist", *words, "--out", again)
    with Image.open(files[11]) as one, Image.open(again) as other:
        assert one.size == (28, 28)
        assert np.abs(np.asarray(one, int) - np.asarray(other.convert("L").crop(place(other)), int)).max() <= 2


def place(grid: Image.Image) -> tuple[int, int, int, int]:
    """Where the only picture of a grid lies: it is centred."""
    left, top = (grid.width - 28) // 2, (grid.height - 28) // 2
    return left, top, left + 28, top + 28


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gan-nist"], "gan-mnist"),
        (["../gan-mnist"], "letters, digits"),
        (["vae-mnist"], "python -m gen_models train vae-mnist"),
        (["gan-mnist", "--speed", "3"], "--truncation 0..1.5"),
        (["gan-mnist", "fast"], "fast"),
        (["gan-mnist", "--truncation"], "expected one argument"),
        (["gan-mnist", "--truncation", "-1"], "from 0 to 1.5"),
        (["gan-mnist", "--truncation", "nan"], "from 0 to 1.5"),
        (["gan-mnist", "--label", "10"], "0, 1, 2"),
        (["gan-mnist", "--label", "²"], "0, 1, 2"),
        (["vae-8gaussians", "--label", "1"], "no classes"),
        (["diffusion-mnist", "--steps", "0"], "from 1 to 200"),
        (["diffusion-mnist", "--steps", "201"], "from 1 to 200"),
        (["diffusion-mnist", "--steps", "2.5"], "whole number"),
        (["diffusion-mnist", "--solver", "rk45"], "euler, heun"),
        (["gan-mnist", "--seed", 2**32], "4294967280"),
        (["gan-mnist", "--seed", 2**32 - 8], "4294967280"),
        (["gan-mnist", "--seed", "-1"], "seed"),
        (["gan-mnist", "--seed", "dice"], "invalid int"),
        (["gan-mnist", "--n", "0"], "100000"),
        (["gan-mnist", "--n", "many"], "invalid int"),
        (["gan-mnist", "--device", "toaster"], "auto, cpu, cuda, mps"),
    ],
    ids=str,
)
def test_what_cannot_be_sampled_is_said_and_nothing_written(refused, tmp_path, words, says):
    refused("sample", *words, "--out", tmp_path / "out.npy", says=says)
    assert not (tmp_path / "out.npy").exists()


def test_a_bad_place_for_the_output_is_said(refused, tmp_path):
    refused("sample", "gan-mnist", "--out", tmp_path / "out.jpeg", says=".png, a .npy or a folder")
    refused("sample", "gan-mnist", says="--out")
    (tmp_path / "file").write_text("in the way")
    for name in ("file/grid.png", "file/raw.npy", "file/folder", "file"):
        refused("sample", "gan-mnist", "--n", 1, "--out", tmp_path / name, says="cannot be written")
    (tmp_path / "folder.png").mkdir()
    refused("sample", "gan-mnist", "--n", 1, "--out", tmp_path / "folder.png", says="cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"
    assert not any((tmp_path / "folder.png").iterdir()), "nothing was written anywhere"


def cut(folder: Path) -> None:
    path = folder / checkpoint.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    torch.save({"a": torch.zeros(3)}, folder / checkpoint.WEIGHTS)


def renamed(folder: Path) -> None:
    card = json.loads((folder / checkpoint.CARD).read_text())
    (folder / checkpoint.CARD).write_text(json.dumps(card | {"config": {**card["config"], "channels": 16}}))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut, "truncated"),
        (pickled, "pickle"),
        (renamed, "do not match"),
        (lambda folder: (folder / checkpoint.WEIGHTS).unlink(), "There is no model.safetensors"),
        (lambda folder: (folder / checkpoint.CARD).write_text("{"), "not JSON"),
        (lambda folder: (folder / checkpoint.CARD).write_text("{}"), "does not describe a model"),
    ],
)
def test_a_corrupted_checkpoint_is_said(refused, shelf, tmp_path, harm, says):
    harm(shelf.root / "gan-mnist")
    refused("sample", "gan-mnist", "--out", tmp_path / "out.png", says=says)


# ---- as a process --------------------------------------------------------------------------------------------


def process(*words: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gen_models", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ.copy())


def test_the_module_runs_and_its_exit_code_is_the_processs(shelf, tmp_path):
    fine = process("sample", "gan-mnist", "--checkpoints", shelf.root, "--n", "2", "--out", tmp_path / "two.npy")
    assert fine.returncode == 0, fine.stderr
    assert np.load(tmp_path / "two.npy").shape == (2, 1, 28, 28)
    wrong = process("sample", "nothing", "--checkpoints", shelf.root, "--out", tmp_path / "x.png")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("gen_models: ")
    assert "Traceback" not in wrong.stderr
    assert wrong.stdout == ""


def test_the_module_starts_without_the_page_and_diffusers():
    words = "import sys, gen_models.__main__ as main; main.parallel.start('cpu'); "
    words += "print({'gradio', 'diffusers', 'pyarrow', 'accelerate', 'transformers'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_a_training_on_the_command_line_is_the_pages(run, shelf, tiny, tmp_path):
    run("train", "tiny", "--device", "cpu", "--seed", 9)
    list(zoo.run(tiny, data.load("8gaussians"), seed=9, folder=tmp_path / "page"))
    card = shelf.card("tiny")
    assert card["weights"] == checkpoint.read_card(tmp_path / "page")["weights"]
    assert zoo.entry_of(card).recipe == tiny.recipe
    assert dataclasses.replace(zoo.entry_of(card), config={}) == dataclasses.replace(tiny, space=tiny.where, config={})


# ---- evaluate --------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Evaluations of points that take a moment."""
    monkeypatch.setattr(measures, "DRAWS", 2)
    full = data.load("8gaussians")
    few = SimpleNamespace(space=full.space, log_prob=full.log_prob, split=lambda name: Batch(full.split(name).x[:400]))
    monkeypatch.setattr(running, "source_of", lambda entry: few)


def test_evaluate_measures_and_prints(run, shelf, quick):
    code, said, _ = run("evaluate", "vae-8gaussians", "--n", 100, "--seeds", 2)
    assert code == 0
    for word in (
        "temperature 1",
        "real",
        "copycat",
        "noise",
        "Energy distance",
        "likelihood",
        "Negative log-likelihood",
    ):
        assert word in said
    found = evaluate.read(shelf, "vae-8gaussians")
    assert found["asked"] == {"n": 100, "seeds": 2}
    assert evaluate.written("energy", found["rows"][0]["figures"]["energy"]) in said
    _, said, _ = run("evaluate", "vae-8gaussians", "--n", 100, "--seeds", 2)
    assert "measured before" in said


def test_evaluate_all_names_what_failed_and_goes_on(run, shelf, quick, monkeypatch):
    monkeypatch.setattr(zoo, "BUNDLED", zoo.Shelf(shelf.root / "nowhere"))
    code, said, complaint = run("evaluate", "--all", "--n", 100, "--seeds", 1)
    assert code == 2
    assert "gan-mnist has no judge" in complaint
    assert "train judge-mnist-a" in complaint
    assert "Traceback" not in complaint
    assert evaluate.read(shelf, "vae-8gaussians")["finished"], "what could be measured was"
    assert "Energy distance" in said


def test_evaluate_writes_the_tables_into_a_readme(run, shelf, quick, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- evaluation: begin -->\n<!-- evaluation: end -->\n")
    assert run("evaluate", "vae-8gaussians", "--n", 100, "--seeds", 1, "--readme", readme)[0] == 0
    assert evaluate.between(readme.read_text()) == evaluate.markdown(shelf) != ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Name an entry"),
        (("nothing",), "no checkpoint 'nothing'"),
        (("vae-8gaussians", "--n", "2"), "more samples than features"),
        (("vae-8gaussians", "--n", "1000"), "--n 400 or fewer"),
        (("vae-8gaussians", "--seeds", "0"), "--seeds is 1 or more"),
    ],
)
def test_evaluate_refuses_what_is_no_measure(refused, quick, words, says):
    refused("evaluate", *words, says=says)


def test_a_judge_is_trained_like_any_entry(run, shelf, monkeypatch, fake_pictures):
    monkeypatch.setitem(zoo.JUDGES, "judge-toys-a", small(zoo.JUDGES["judge-mnist-a"], steps=3))
    monkeypatch.setattr(
        data, "load", lambda name: FakePictures(Space("image", (1, 28, 28), labels=tuple("0123456789")))
    )
    code, _, _ = run("train", "judge-toys-a", "--device", "cpu")
    assert code == 0
    assert shelf.entry("judge-toys-a").family == "judge"
    assert not (shelf.root / "judge-toys-a" / zoo.PREVIEW).exists(), "a judge draws nothing"
