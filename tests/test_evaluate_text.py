"""What is measured of models that write text, and of those that write pictures in codes."""

from __future__ import annotations

import math

import pytest
import torch
from toys import FakePictures, put_on_shelf, small

from gen_models import data, evaluate, metrics, zoo
from gen_models.evaluate import measures, texts
from gen_models.evaluate.subject import Subject
from gen_models.interface import Batch
from gen_models.models.transformer import Transformer

WORDS = ("anna", "berta", "clara", "dora", "emma", "frida", "greta", "hanna", "ida", "jana", "klara", "lena")


def uniform(source, entry: str) -> Subject:
    """A model that finds every character equally likely, over this source."""
    model = Transformer(source.space, width=16, layers=1, heads=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return Subject(entry, zoo.ZOO[entry], model, source, None, 5, 2)


def told(subject: Subject) -> dict:
    *_, (done, found) = measures.likelihood(subject)
    assert done == 1.0
    return found


def test_copied_stretches_are_those_that_stand_in_the_text():
    text = torch.tensor([0, 1, 2, 3, 0, 1, 1])
    found = metrics.copied(torch.tensor([[1, 2, 3, 3, 0], [3, 0, 1, 1, 0]]), text, 3)
    assert found.tolist() == [[True, False, False], [True, True, False]]


def test_written_once_is_what_no_other_equals():
    assert metrics.distinct(torch.tensor([[1, 2], [3, 4], [1, 2], [4, 3]])).tolist() == [False, True, False, True]


def test_nats_per_character_of_a_uniform_model_are_the_logarithm_of_the_alphabet(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    letters = "".join("abcd"[k] for k in torch.randint(4, (3000,), generator=rng).tolist())
    source = data.from_text(letters, length=16)
    subject = uniform(source, "transformer-shakespeare")
    monkeypatch.setattr(Subject, "space", source.space)
    found = told(subject)
    assert found["figures"]["nats_per_symbol"]["value"] == pytest.approx(math.log(4), abs=1e-5)
    assert found["figures"]["nats_apart"]["value"] == pytest.approx(math.log(4), abs=1e-5)
    assert found["figures"]["kneser_ney"]["value"] == pytest.approx(math.log(4), abs=0.15)  # there is nothing to count
    assert "7-gram" in found["words"]
    assert found["n"] == 288  # whole windows of the last tenth


def test_of_lines_the_ends_count_and_what_stands_behind_them_does_not(monkeypatch):
    source = data.from_text("\n".join(WORDS * 5), length=16, lines=True)
    monkeypatch.setattr(Subject, "space", source.space)
    subject = uniform(source, "transformer-names")
    found = told(subject)
    test = source.split("test").x
    characters = sum(len(data.decoded(row, source.space)) + 1 for row in test)
    assert found["n"] == characters
    assert found["figures"]["nats_per_symbol"]["value"] == pytest.approx(math.log(len(source.space.alphabet)), abs=1e-5)
    assert found["figures"]["kneser_ney"]["value"] < 1.5  # the same few names stand in both splits


def test_samples_that_are_training_lines_are_counted(monkeypatch):
    source = data.from_text("\n".join(WORDS * 5), length=16, lines=True)
    monkeypatch.setattr(Subject, "space", source.space)
    subject = uniform(source, "transformer-names")
    train = source.split("train").x
    new = train[:2].clone()
    new[1] = new[1].flip(0)
    cells = measures.measured(subject, subject.drawn(new))
    assert cells == {"copies": {"successes": 1, "of": 2}, "distinct": {"successes": 2, "of": 2}}
    assert texts.lines(subject, subject.drawn(new[:1].repeat(3, 1)))["distinct"]["successes"] == 0


@pytest.mark.parametrize("name", ["transformer-names", "transformer-shakespeare"])
def test_an_evaluation_of_text_has_its_controls(name, tmp_path, monkeypatch):
    if zoo.ZOO[name].where.encoding == "lines":
        letters = zoo.ZOO[name].where.alphabet[1:]
        rng = torch.Generator().manual_seed(0)
        lines = ["".join(letters[k] for k in torch.randint(26, (5,), generator=rng).tolist()) for _ in range(300)]
        source = data.text.Lines(zoo.ZOO[name].where, lines, 30, 30)
    else:
        symbols = torch.randint(65, (256 * 40,), generator=torch.Generator().manual_seed(0))
        source = data.text.Text(zoo.ZOO[name].where, symbols, 256 * 6, 256 * 6)
    put_on_shelf(tmp_path / name, small(zoo.ZOO[name]))
    shelf = zoo.Shelf(tmp_path)
    for _ in evaluate.run(name, shelf, seeds=1, source=source):
        pass
    found = evaluate.read(shelf, name)
    rows = {row["name"]: row["figures"] for row in found["rows"]}
    key = "copies" if "names" in name else "copied"
    assert found["finished"]
    assert rows["copycat"][key]["value"] == 1.0
    assert rows["noise"][key]["value"] == 0.0
    assert found["likelihood"]["figures"]["nats_per_symbol"]["value"] > 0
    assert next(row for row in found["rows"] if row["kind"] == "model")["n"] == len(source.split("test").x)


class Few(FakePictures):
    """Different pictures in each split."""

    def split(self, name: str) -> Batch:
        whole = super().split(name)
        return Batch(whole.x[{"train": slice(8), "valid": slice(8, 12), "test": slice(12, 16)}[name]], whole.label[:4])


def test_codes_are_measured_on_the_test_set():
    entry = small(zoo.ZOO["vqvae-mnist"])
    model = zoo.build(entry).eval()
    source = Few(entry.where)
    subject = Subject("vqvae-mnist", entry, model, source, None, 5, 1)
    *_, (_, found) = measures.quantised(subject)
    x = source.split("test").x
    with torch.no_grad():
        again, tokens = model.reconstruct(x), model.tokens(x)
        nats = -model.token_log_probs(tokens, label=source.split("test").label).sum(1)
    figures = found["figures"]
    assert figures["mse"]["value"] == pytest.approx(float(((again - x) / 2).square().mean()), abs=2e-3)  # 8 bits
    assert figures["live"]["value"] == len(tokens.unique()) / model.codes
    assert 1 <= figures["perplexity"]["value"] <= len(tokens.unique()) + 1e-6
    assert figures["code_nats"]["value"] == pytest.approx(float(nats.mean()), rel=1e-4)
