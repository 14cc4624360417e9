"""Evaluating measures what it says, goes on where it was killed, and refuses what would be no measure."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
from types import SimpleNamespace

import pytest
import torch
from toys import lively, put_on_shelf, small

from gen_models import checkpoint, data, evaluate, zoo
from gen_models.evaluate import measures, running
from gen_models.evaluate.subject import Judges, Subject
from gen_models.interface import BadInput, Batch, GenerativeModel, Loss, Samples, Scores, Space, at_once

DIGITS = tuple("0123456789")


class Pictures:
    """Grey pictures of ten brightnesses with grain, each split with grain of its own."""

    log_prob = None

    def __init__(self, n=600):
        self.space = Space("image", (1, 28, 28), labels=DIGITS)
        self.n = {"train": 2 * n, "valid": n, "test": n}

    def split(self, name):
        n = self.n[name]
        rng = torch.Generator().manual_seed(len(name) * n)
        label = torch.arange(n) % 10
        x = (label / 5.5 - 0.8).view(-1, 1, 1, 1) + 0.05 * torch.randn(n, *self.space.shape, generator=rng)
        return Batch(x.clamp(-1, 1), label)

    def batch(self, n, rng):
        every = self.split("train")
        rows = torch.randint(len(every.x), (n,), generator=rng)
        return Batch(every.x[rows], every.label[rows])


class Brightness:
    """A judge that reads the class from the mean of a picture: right about Pictures, and its features are few."""

    space = Space("image", (1, 28, 28), labels=DIGITS)

    def features(self, x):
        return torch.stack([x.mean((1, 2, 3)), x.square().mean((1, 2, 3)), x[:, 0, :14].mean((1, 2))], 1)

    def classify(self, x):
        return -((x.mean((1, 2, 3))[:, None] - (torch.arange(10) / 5.5 - 0.8)) ** 2)


JUDGES = Judges(
    Brightness(),
    Brightness(),
    {part: {"name": part, "sha256": "0" * 64} for part in ("features", "accuracy")},
)


class Parrot(GenerativeModel, Samples):
    """Says what it has heard: sample k is picture k of a split, again and again."""

    def __init__(self, space, source, split="train"):
        super().__init__(space, conditional=True)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.heard = source.split(split).x

    def loss(self, batch, turn):
        return Loss(self.weight, {})

    def sample(self, noise, *, label=None):
        chosen = [seed % len(self.heard) for seed in noise.seeds]
        yield from at_once(self.heard[chosen])


def judged(model, source=None, n=300, seeds=1, entry="gan-mnist"):
    return Subject("toy", zoo.ZOO[entry], model, source or Pictures(), JUDGES, n, seeds)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(measures, "DRAWS", 3)


@pytest.fixture
def points(shelf):
    """A trained-looking VAE on 8 Gaussians, whose likelihood is measured on 200 points."""
    full = data.load("8gaussians")
    halves = SimpleNamespace(
        space=full.space,
        log_prob=full.log_prob,
        split=lambda name: Batch(full.split(name).x[:800]),
    )

    def run(**values):
        return evaluate.run("vae-8gaussians", shelf, **{"n": 200, "seeds": 2, "source": halves} | values)

    return shelf, run


def record_of(shelf, name="vae-8gaussians"):
    return json.loads((shelf.root / name / evaluate.RECORD).read_text())


# ---- a whole evaluation ----------------------------------------------------------------------------------------


def test_points_get_distances_controls_and_a_likelihood(points):
    shelf, run = points
    list(run())
    found = evaluate.read(shelf, "vae-8gaussians")
    assert found["finished"] is True
    assert "parts" not in found
    assert [(row["name"], row["kind"]) for row in found["rows"]] == [
        ("temperature 1", "model"),
        ("real", "control"),
        ("copycat", "control"),
        ("noise", "control"),
    ]
    model, real, _, noise = (row["figures"] for row in found["rows"])
    assert set(model) == {"density", "coverage", "energy", "inside"}
    assert len(model["energy"]["values"]) == 2
    assert real["inside"]["value"] > 0.95 > noise["inside"]["value"]
    assert abs(real["energy"]["value"]) < noise["energy"]["value"]
    assert found["rows"][0]["seeds"] == [0, 1_000_000]
    assert found["rows"][0]["seconds_per_sample"] > 0
    likelihood = found["likelihood"]["figures"]
    assert likelihood["truth"]["value"] == pytest.approx(2.83, abs=0.1), "the entropy of 8 Gaussians"
    assert likelihood["truth"]["value"] < likelihood["nats"]["value"] <= likelihood["elbo"]["value"]
    assert found["honesty"]["parameters"] == shelf.card("vae-8gaussians")["weights"]["parameters"]
    assert found["weights"] == shelf.card("vae-8gaussians")["weights"]["sha256"]
    assert not evaluate.stale(shelf, "vae-8gaussians", found)


def test_the_same_evaluation_twice_agrees(points):
    shelf, run = points
    list(run())
    once = record_of(shelf)
    list(run(restart=True))
    again = record_of(shelf)
    for one, other in zip(once["rows"], again["rows"], strict=True):
        assert one["figures"] == other["figures"]
    assert once["likelihood"] == again["likelihood"]


def test_pictures_get_their_judges_figures(shelf):
    list(evaluate.run("gan-mnist", shelf, n=100, seeds=2, source=Pictures(), judges=JUDGES))
    found = evaluate.read(shelf, "gan-mnist")
    keys = {"fd", "kid", "density", "coverage", "accuracy", "nearer", "copies"}
    rows = {row["name"]: row["figures"] for row in found["rows"]}
    assert set(rows["truncation 1"]) == set(rows["real"]) == set(rows["copycat"]) == keys
    assert set(rows["noise"]) == keys - {"accuracy"}, "noise was asked for no class"
    assert rows["real"]["accuracy"]["value"] > 0.97
    assert rows["truncation 1"]["accuracy"]["n"] == 200
    assert rows["copycat"]["copies"]["value"] == rows["copycat"]["nearer"]["value"] == 1
    assert rows["real"]["copies"]["value"] == 0
    assert rows["real"]["fd"]["value"] < rows["noise"]["fd"]["value"]
    assert found["likelihood"] is None
    assert found["judge"] == JUDGES.facts


def test_guidance_gets_a_row_of_its_own(shelf):
    list(evaluate.run("diffusion-mnist", shelf, n=20, seeds=1, source=Pictures(60), judges=JUDGES))
    rows = {row["name"]: row for row in evaluate.read(shelf, "diffusion-mnist")["rows"] if row["kind"] == "model"}
    assert set(rows) == {"guidance 1", "guidance 1.5"}
    assert rows["guidance 1"]["options"]["guidance"] == 1.0
    assert rows["guidance 1"]["calls"] > 1


def test_a_slow_sampler_is_judged_on_fewer_without_the_frechet_distance(shelf, monkeypatch):
    monkeypatch.setattr(running, "SLOW", 0.0)
    monkeypatch.setattr(running, "FEW", 50)
    list(evaluate.run("gan-mnist", shelf, n=100, seeds=1, source=Pictures(), judges=JUDGES))
    rows = evaluate.read(shelf, "gan-mnist")["rows"]
    assert {row["n"] for row in rows} == {50}
    assert all("fd" not in row["figures"] for row in rows)
    assert all("kid" in row["figures"] for row in rows)
    real = next(row for row in rows if row["name"] == "real")
    assert real["figures"]["coverage"]["value"] > 0.9, "among as many test pictures"


# ---- what the figures say --------------------------------------------------------------------------------------


def test_a_model_that_copies_is_found_out():
    source = Pictures()
    toy = judged(Parrot(source.space, source), source)
    parts = torch.cat([x for _, x in toy.draw(0, {})])
    found = measures.measured(toy, toy.drawn(parts, toy.asked_labels))
    assert found["copies"] == {"successes": 300, "of": 300}
    assert found["nearer"]["successes"] > 200
    assert found["accuracy"]["successes"] > 290, "seed k heard picture k, whose class is k mod 10"


def test_a_perfect_model_scores_like_real_data():
    source = Pictures()
    toy = judged(Parrot(source.space, source, "valid"), source)
    parts = torch.cat([x for _, x in toy.draw(0, {})])
    mine = measures.together([measures.measured(toy, toy.drawn(parts, toy.asked_labels))])
    real = measures.together([measures.measured(toy, *toy.control("real"))])
    noise = measures.together([measures.measured(toy, *toy.control("noise"))])
    for key in ("fd", "kid"):
        assert abs(mine[key]["value"] - real[key]["value"]) < 0.05 * noise[key]["value"]
    assert mine["copies"]["value"] == 0
    assert mine["nearer"]["low"] < 0.5 < mine["nearer"]["high"]
    assert mine["coverage"]["value"] > 0.9
    assert noise["coverage"]["value"] < 0.1


def test_the_seeds_are_the_ones_that_are_told(shelf):
    model = zoo.load("vae-8gaussians", shelf)
    toy = Subject("toy", shelf.entry("vae-8gaussians"), model, data.load("8gaussians"), None, 10, 2)
    (_, drawn), *_ = toy.draw(1, {}, count=10)
    *_, last = zoo.sample(model, 1_000_000, 10)
    torch.testing.assert_close(drawn, last.x)


def test_modes_are_the_digits_that_the_channels_show():
    digits = torch.randint(10, (40, 3), generator=torch.Generator().manual_seed(0))
    x = (digits / 5.5 - 0.8).view(40, 3, 1, 1).expand(-1, -1, 28, 28)
    toy = judged(lively(small(zoo.ZOO["gan-stacked-mnist"])), entry="gan-stacked-mnist")
    codes = toy.seen(data.in_bytes(x.contiguous()))
    assert codes.tolist() == [100 * c + 10 * b + a for a, b, c in digits.tolist()]
    assert toy.rows(data.in_bytes(x.contiguous())).shape == (40, 9), "the features of all three channels"
    assert toy.many == 780, "2.6 times as many for modes"


def test_counts_are_added_up_and_means_taken_over_repeats():
    repeats = [
        {"accuracy": {"successes": 9, "of": 10}, "fd": {"value": 1.0}},
        {"accuracy": {"successes": 7, "of": 10}, "fd": {"value": 3.0}},
    ]
    found = measures.together(repeats)
    assert found["accuracy"]["value"] == 0.8
    assert found["accuracy"]["n"] == 20
    assert found["accuracy"]["low"] < 0.8 < found["accuracy"]["high"]
    assert found["fd"]["value"] == 2.0
    assert found["fd"]["sd"] == pytest.approx(math.sqrt(2))


class Uniform(GenerativeModel, Scores):
    """Every byte alike."""

    exact = True

    def loss(self, batch, turn):
        raise AssertionError("it is not trained")

    @property
    def device(self):
        return torch.device("cpu")

    def log_prob(self, x, noise=None, *, label=None, samples=1):
        assert (x.abs() <= 1 + 1 / 255 + 1e-6).all()
        assert len(x.unique()) > 1000, "dequantised"
        return torch.full((len(x),), -self.space.size * math.log(256 / 127.5), dtype=torch.float64)

    @classmethod
    def measure(cls, space, config):
        return "density"


def test_a_uniform_density_costs_eight_bits_a_pixel():
    source = Pictures(50)
    toy = judged(Uniform(source.space), source)
    *_, (done, found) = measures.likelihood(toy)
    assert done == 1.0
    assert found["n"] == 50
    assert found["figures"]["bits_per_dim"]["value"] == pytest.approx(8.0)
    assert "dequantisation" in found["words"]


def test_a_judge_is_measured_on_the_test_set():
    source = Pictures(100)
    wrong = SimpleNamespace(classify=lambda x: torch.nn.functional.one_hot(torch.zeros(len(x)).long(), 10).float())
    found = measures.classified(judged(wrong, source))
    assert found["error"]["value"] == 0.9
    assert found["error"]["low"] < 0.9 < found["error"]["high"]


# ---- going on --------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_where_it_was(points, monkeypatch):
    shelf, run = points
    list(run())
    whole = record_of(shelf)
    (shelf.root / "vae-8gaussians" / evaluate.RECORD).unlink()
    steps = run()
    seen = list(itertools.takewhile(lambda step: step.part != "temperature 1, repeat 1", steps))
    steps.close()
    assert seen
    half = evaluate.read(shelf, "vae-8gaussians")
    assert half["finished"] is False
    assert "temperature 1, repeat 0" in half["parts"]
    assert "temperature 1, repeat 1" not in half["parts"]
    told = list(run())
    kept = [step.part for step in told if step.kept]
    assert {"pace of temperature 1", "real", "copycat", "noise", "temperature 1, repeat 0"} == set(kept)
    for one, other in zip(whole["rows"], record_of(shelf)["rows"], strict=True):
        assert one["figures"] == other["figures"]


def test_a_finished_evaluation_is_not_done_again(points):
    _, run = points
    list(run())
    assert [step.kept for step in run()] == [True]
    assert not any(step.kept for step in run(restart=True))


def test_other_numbers_or_other_weights_start_anew(points):
    shelf, run = points
    list(run())
    assert not any(step.kept for step in run(n=150))
    put_on_shelf(shelf.root / "vae-8gaussians", small(zoo.ZOO["vae-8gaussians"]))
    model = zoo.build(shelf.entry("vae-8gaussians"), seed=5)
    checkpoint.save(shelf.root / "vae-8gaussians", shelf.card("vae-8gaussians"), model)
    assert evaluate.stale(shelf, "vae-8gaussians", record_of(shelf))
    assert not any(step.kept for step in run(n=150))


@pytest.mark.parametrize("spoilt", ["", "{", '{"format": 1}', '{"format": 99, "rows": []}', "[]", "\x00"])
def test_a_spoilt_file_is_refused_with_the_way_out(points, spoilt):
    shelf, run = points
    (shelf.root / "vae-8gaussians" / evaluate.RECORD).write_text(spoilt)
    with pytest.raises(BadInput, match=r"evaluate vae-8gaussians --restart"):
        evaluate.read(shelf, "vae-8gaussians")
    with pytest.raises(BadInput, match="--restart"):
        list(run())
    list(run(restart=True))
    assert evaluate.read(shelf, "vae-8gaussians")["finished"]


def test_a_truncated_file_is_refused(points):
    shelf, run = points
    list(run())
    path = shelf.root / "vae-8gaussians" / evaluate.RECORD
    path.write_text(path.read_text()[:-200])
    with pytest.raises(BadInput, match="truncated"):
        evaluate.read(shelf, "vae-8gaussians")


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n": 3}, "more samples than features"),
        ({"n": 0}, "more samples than features"),
        ({"n": 601}, "--n 600 or fewer"),
        ({"seeds": 0}, "--seeds is 1 or more"),
    ],
)
def test_numbers_that_make_no_measure_are_refused(shelf, values, says):
    with pytest.raises(BadInput, match=says):
        list(evaluate.run("gan-mnist", shelf, **{"n": 100, "seeds": 1} | values, source=Pictures(), judges=JUDGES))
    assert not (shelf.root / "gan-mnist" / evaluate.RECORD).exists()


def test_an_entry_without_a_judge_is_refused_with_what_to_train(shelf, monkeypatch):
    monkeypatch.setattr(zoo, "BUNDLED", zoo.Shelf(shelf.root / "nowhere"))
    with pytest.raises(BadInput, match=r"train judge-mnist-a.* and .*train judge-mnist-b"):
        list(evaluate.run("gan-mnist", shelf, n=100, seeds=1, source=Pictures()))


def test_data_of_ones_own_is_refused(shelf):
    entry = dataclasses.replace(small(zoo.ZOO["gan-mnist"]), data="own pictures", space=zoo.ZOO["gan-mnist"].where)
    put_on_shelf(shelf.root / "mine", entry)
    with pytest.raises(BadInput, match="not kept"):
        list(evaluate.run("mine", shelf))


def test_judges_are_found_on_the_shelf(shelf):
    assert evaluate.judges_of(shelf, None) is None
    for letter in "ab":
        put_on_shelf(shelf.root / f"judge-mnist-{letter}", small(zoo.JUDGES[f"judge-mnist-{letter}"]))
    found = evaluate.judges_of(shelf, "stacked-mnist")
    assert found.facts["features"]["name"] == "judge-mnist-a"
    assert found.facts["accuracy"]["sha256"] == shelf.card("judge-mnist-b")["weights"]["sha256"]


# ---- in words --------------------------------------------------------------------------------------------------


def test_figures_are_written_with_their_error():
    assert evaluate.written("accuracy", {"value": 0.981, "low": 0.978, "high": 0.984}) == "0.981 (0.978 to 0.984)"
    assert evaluate.written("fd", {"value": 1.2, "sd": 0.05, "values": [1]}) == "1.20 ± 0.05"
    assert evaluate.written("kid", {"value": 0.0021, "se": 0.0004, "sd": 1.0}) == "2.10 ± 0.40"
    assert evaluate.written("modes", {"value": 998.0}) == "998"
    assert evaluate.written("fd", None) == evaluate.written("fd", {"value": None}) == ""


def test_the_tables_come_from_the_files(points, tmp_path):
    shelf, run = points
    list(run())
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- evaluation: begin -->\n<!-- evaluation: end -->\nafter\n")
    evaluate.fill(readme, shelf)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert evaluate.between(text) == evaluate.markdown(shelf)
    found = record_of(shelf)
    assert evaluate.written("energy", found["rows"][0]["figures"]["energy"]) in text
    assert "vae-8gaussians" in text
    assert "*noise*" in text
    assert found["date"] in text
    evaluate.fill(readme, shelf)
    assert readme.read_text() == text, "filling twice changes nothing"
    shutil.rmtree(shelf.root / "vae-8gaussians")
    assert evaluate.between(text) != evaluate.markdown(shelf)


def test_a_readme_without_marks_is_refused(tmp_path, shelf):
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(BadInput, match="no place for the tables"):
        evaluate.fill(readme, shelf)


def test_controls_are_put_together_from_all_entries_of_a_set():
    def of(name, n, **figures):
        return {"name": name, "n": n, "figures": figures}

    found = evaluate.controls(
        [of("noise", 5, kid=9), of("real", 5, kid=1), of("real", 10, fd=1), of("real", 10, kid=2)]
    )
    assert found == [of("real", 10, fd=1, kid=2), of("real", 5, kid=1), of("noise", 5, kid=9)]


def test_nats_of_a_density_do_not_stand_beside_those_of_a_probability():
    cell = {"value": 1.0}
    density = {"likelihood": {"figures": {"nats": cell, "elbo": cell, "bits_per_dim": cell}}}
    assert evaluate.likely(density) == {"bits_per_dim": cell}
    bound = {"likelihood": {"figures": {"nats": cell, "elbo": cell}}}
    assert evaluate.likely(bound) == {"nats": cell, "elbo": cell}
    assert evaluate.likely({"likelihood": None, "codes": {"figures": {"mse": cell}}}) == {"mse": cell}
