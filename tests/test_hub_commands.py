"""`push` and `fetch` against a Hub on loopback: what one person trained, another samples from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import READS, WRITES, Hub, online
from toys import put_on_shelf, small

from gen_models import __main__ as command_line
from gen_models import checkpoint, zoo
from gen_models.commands import hub as commands


@pytest.fixture
def server(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as running:
        online(monkeypatch, running, tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", WRITES)
        yield running


@pytest.fixture
def run(shelf, server, capsys):
    """Runs a command on the tiny checkpoints; exit code, standard output and error, neither with a token in it."""

    def call(*words: object, on: Path = shelf.root) -> tuple[int, str, str]:
        code = command_line.main([str(words[0]), "--checkpoints", str(on), *map(str, words[1:])])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert not any(token in said.out + said.err for token in (WRITES, READS))
        return code, said.out, said.err

    return call


def test_what_was_pushed_is_fetched_listed_and_sampled(run, server, tmp_path):
    code, said, _ = run("push", "gan-mnist", "ann/numbers", "--private")
    assert code == 0
    assert said.strip().endswith("/ann/numbers")
    assert server.repos["ann/numbers"].private
    other = tmp_path / "elsewhere"
    code, said, _ = run("fetch", "ann/numbers", "--to", other)
    assert code == 0
    assert "R3GAN" in said
    assert f"numbers is in {other}" in said
    assert "numbers" in run("list", on=other)[1]
    for name, place in (("gan-mnist", {}), ("numbers", {"on": other})):
        assert run("sample", name, "--n", 3, "--seed", 5, "--out", tmp_path / f"{name}.npy", **place)[0] == 0
    assert np.array_equal(np.load(tmp_path / "gan-mnist.npy"), np.load(tmp_path / "numbers.npy"))


def test_a_revision_is_a_branch_of_its_own(run, server, tmp_path):
    assert run("push", "gan-mnist", "ann/numbers")[0] == 0
    assert run("push", "vae-8gaussians", "ann/numbers", "--revision", "points")[0] == 0
    assert run("fetch", "ann/numbers@points", "--to", tmp_path / "a")[0] == 0
    assert run("fetch", "ann/numbers", "--to", tmp_path / "b")[0] == 0
    found = [zoo.Shelf(tmp_path / name).entry("numbers").model.__name__ for name in "ab"]
    assert found == [zoo.ZOO[name].model.__name__ for name in ("vae-8gaussians", "gan-mnist")]


def test_ctrl_c_keeps_what_has_come_and_the_same_command_goes_on(run, server, tmp_path, monkeypatch):
    run("push", "gan-mnist", "ann/numbers")
    weights = ("ann/numbers", checkpoint.WEIGHTS)
    server.slow(*weights, rate=50_000)

    def interrupted(line, *, last):
        if " 0.0 of" not in line:  # a part is there
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commands, "told", interrupted)
        code, _, said = run("fetch", "ann/numbers", "--to", tmp_path / "mine")
    assert code == 130
    assert "what has come is kept" in said
    assert not (tmp_path / "mine").exists()
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.incomplete")) > 0
    server.slow(*weights, rate=0)
    code, said, _ = run("fetch", "ann/numbers", "--to", tmp_path / "mine")
    assert code == 0
    zoo.load("numbers", zoo.Shelf(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fetch", "ann/nothing"), "ann/nothing"),
        (("fetch", "../etc"), "owner/name"),
        (("push", "nothing", "ann/numbers"), "no checkpoint 'nothing'"),
        (("push", "gan-mnist", "numbers"), "owner/name"),
    ],
)
def test_what_cannot_travel_is_said(run, words, says):
    code, _, said = run(*words)
    assert code == 2
    assert says in said


def test_a_token_that_may_not_write_is_said(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READS)
    code, _, said = run("push", "gan-mnist", "ann/numbers")
    assert code == 2
    assert "token" in said


# ---- as a pipeline of diffusers ------------------------------------------------------------------------------------


def drawn(source: str, steps: int = 4) -> np.ndarray:
    """What plain diffusers draws from seeds 5, 6 and 7: (3, C, H, W) in [-1, 1]."""
    from diffusers import DDPMPipeline

    pipeline = DDPMPipeline.from_pretrained(source)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    x = pipeline(batch_size=3, generator=generators, num_inference_steps=steps, output_type="np").images
    return x.transpose(0, 3, 1, 2) * 2 - 1


def test_plain_diffusers_draws_the_same_pictures_from_what_was_pushed_or_exported(run, server, shelf, tmp_path):
    put_on_shelf(shelf.root / "ddpm-mnist", small(zoo.ZOO["ddpm-mnist"]))
    asked = ("--n", 3, "--seed", 5, "--solver", "ddpm", "--steps", 4)
    assert run("sample", "ddpm-mnist", *asked, "--out", tmp_path / "ours.npy")[0] == 0
    ours = np.load(tmp_path / "ours.npy")
    assert run("export", "ddpm-mnist", tmp_path / "pipeline")[0] == 0
    np.testing.assert_allclose(drawn(str(tmp_path / "pipeline")), ours, atol=1e-4)
    assert run("push", "ddpm-mnist", "ann/ddpm")[0] == 0
    np.testing.assert_allclose(drawn("ann/ddpm"), ours, atol=1e-4)
    page = server.repos["ann/ddpm"].files("main") / "README.md"
    assert 'DDPMPipeline.from_pretrained("ann/ddpm")' in page.read_text()
    assert run("fetch", "ann/ddpm", "--to", tmp_path / "mine")[0] == 0
    assert zoo.Shelf(tmp_path / "mine").entry("ddpm").model is zoo.ZOO["ddpm-mnist"].model, "as a checkpoint of ours"


def test_what_is_no_pipeline_is_not_exported(run, tmp_path):
    code, _, said = run("export", "gan-mnist", tmp_path / "pipeline")
    assert code == 2
    assert "ddpm-mnist" in said
    assert not (tmp_path / "pipeline").exists()
