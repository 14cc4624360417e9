"""Training into a folder: what is saved when it ends, is stopped, breaks, or cannot be written."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from toys import FakePictures, small

from gen_models import data, render, training, zoo
from gen_models.interface import BadInput, Space
from gen_models.models.vae import VAE

GREY, POINTS = Space("image", (1, 8, 8), labels=("a", "b", "c")), Space("points", (2,))


@pytest.fixture
def every_step(monkeypatch):
    """A report after each step."""
    monkeypatch.setattr(training, "REPORT", 0.0)


def tiny(steps: int = 5) -> zoo.Entry:
    return small(zoo.ZOO["vae-8gaussians"], steps)


def test_a_run_saves_a_checkpoint_that_loads(tmp_path):
    *_, last = zoo.run(tiny(), data.load("8gaussians"), seed=2, folder=tmp_path / "mine")
    shelf = zoo.Shelf(tmp_path)
    assert shelf.names() == ["mine"]
    card = shelf.card("mine")
    facts = card["training"]
    assert (facts["seed"], facts["steps"], facts["finished"], facts["device"]) == (2, 5, True, "cpu")
    assert facts["examples"] == 5 * 4
    assert facts["seconds"] == pytest.approx(last.seconds, abs=0.1)
    assert facts["terms"] == pytest.approx({name: round(value, 5) for name, value in last.show.items()})
    assert card["source"] == data.source_of("8gaussians")
    assert render.recipe_of(shelf.preview("mine")) == {"entry": "mine", "seed": 0}
    assert zoo.load("mine", shelf).space == data.space_of("8gaussians")


def test_a_visitors_own_data_is_called_so(tmp_path):
    source = FakePictures(GREY)
    entry = zoo.live(VAE, source.space, None, steps=2, batch_size=4)
    list(zoo.run(entry, source, folder=tmp_path / "mine"))
    card = zoo.Shelf(tmp_path).card("mine")
    assert card["data"] is None
    assert "visitor" in card["source"]
    assert zoo.Shelf(tmp_path).entry("mine").where == source.space


def test_the_data_decide_the_space(tmp_path):
    source = FakePictures(Space("image", (1, 8, 8)))
    entry = dataclasses.replace(zoo.live(VAE, POINTS, steps=1), space=None)
    list(zoo.run(entry, source, folder=tmp_path / "mine"))
    assert zoo.Shelf(tmp_path).entry("mine").where == source.space


def test_stop_may_publish_what_was_learnt(tmp_path, every_step):
    run = zoo.run(tiny(50), data.load("8gaussians"), folder=tmp_path / "mine", stop_publishes=True)
    while next(run).step < 3:
        pass
    run.close()
    shelf = zoo.Shelf(tmp_path)
    facts = shelf.card("mine")["training"]
    assert (facts["steps"], facts["finished"]) == (3, False)
    assert facts["terms"]
    zoo.load("mine", shelf)


@pytest.mark.parametrize("stop_publishes", [False, True])
def test_stop_before_the_first_step_saves_nothing(tmp_path, every_step, stop_publishes):
    run = zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "mine", stop_publishes=stop_publishes)
    assert next(run).step == 0
    run.close()
    assert zoo.Shelf(tmp_path).names() == []


def test_stop_on_the_very_last_step_is_finished_by_the_next_run(tmp_path, every_step):
    run = zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "mine")
    *_, _ = itertools.takewhile(lambda progress: progress.step < 5, run)
    run.close()
    assert zoo.Shelf(tmp_path).names() == []
    list(zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "mine"))
    facts = zoo.Shelf(tmp_path).card("mine")["training"]
    assert (facts["steps"], facts["finished"]) == (5, True)
    assert facts["terms"], "the last figures are not lost"


@pytest.mark.parametrize(("seed", "steps"), [(1, 5), (0, 6)])
def test_another_trainings_state_is_not_gone_on_with(tmp_path, every_step, seed, steps):
    run = zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "mine")
    while next(run).step < 2:
        pass
    run.close()
    with pytest.raises(BadInput, match=r"another recipe, data set or seed.*--restart"):
        next(zoo.run(tiny(steps), data.load("8gaussians"), seed=seed, folder=tmp_path / "mine"))
    assert (tmp_path / "mine" / zoo.STATE).exists()
    anew = zoo.run(tiny(steps), data.load("8gaussians"), seed=seed, folder=tmp_path / "mine", resume=False)
    assert next(anew).step == 0


def test_a_broken_state_says_so(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / zoo.STATE).write_bytes(b"\x08" + bytes(7) + b"{}      ")
    with pytest.raises(BadInput, match=zoo.STATE):
        next(zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "mine"))


def test_a_run_that_diverges_keeps_what_was_learnt_before(tmp_path, every_step):
    entry = tiny(50)
    source = data.load("8gaussians")

    class Poisoned:
        space, log_prob, count = source.space, None, 0

        def batch(self, n, rng):
            self.count += 1
            batch = source.batch(n, rng)
            return batch if self.count < 5 else batch._replace(x=batch.x * float("nan"))

    with pytest.raises(BadInput, match="no longer finite"):
        list(zoo.run(entry, Poisoned(), folder=tmp_path / "mine", stop_publishes=True))
    model = zoo.load("mine", zoo.Shelf(tmp_path))
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="could be saved"):
        list(zoo.run(tiny(), data.load("8gaussians"), folder=tmp_path / "file" / "mine"))


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *_, last = zoo.run(tiny(), data.load("8gaussians"))
    assert last.step == 5
    assert list(tmp_path.iterdir()) == []


def test_a_bad_seed_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(BadInput, match="seed"):
        next(zoo.run(tiny(), data.load("8gaussians"), seed=2**32, folder=tmp_path))
