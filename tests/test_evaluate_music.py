"""What is measured of music, and of pictures that are redrawn in another domain."""

from __future__ import annotations

import math

import pytest
import torch
from toys import fake_chorales, fake_domains, put_on_shelf, small

from gen_models import data, evaluate, metrics, music, zoo
from gen_models.evaluate import measures, pieces, translations
from gen_models.evaluate.subject import SIXTEENTHS, Subject
from gen_models.interface import BadInput, Space


def subject_of(name: str, n: int = 3) -> Subject:
    entry = zoo.ZOO[name]
    return Subject(name, entry, zoo.build(small(entry)).eval(), fake_chorales(entry.where), None, n, 2)


# ---- music ------------------------------------------------------------------------------------------------------


def test_holding_is_known_in_closed_form():
    still = torch.tensor([[60, 55, 50, 40]] * 5)
    assert metrics.hold_or_unigram([still], [still[:1]]) == pytest.approx(-math.log(6 / 133)), "the table alone"
    sure = metrics.hold_or_unigram([still], [still])
    assert sure == pytest.approx(-math.log(6 / 133) / 5), "what always stays costs nothing after the first"
    moving = torch.tensor([[60, 55, 50, 40], [61, 56, 51, 41]] * 8)
    assert metrics.hold_or_unigram([moving], [moving]) == pytest.approx(-math.log(9 / 144)), (
        "what never stays is a table"
    )


def test_the_test_pieces_are_at_no_distance_from_themselves_and_noise_is():
    subject = subject_of("crnngan-chorales")
    test, _ = subject.control("test")
    noise, _ = subject.control("noise")
    assert test.x.shape == noise.x.shape == (3, SIXTEENTHS, music.VOICES)
    same, far = (pieces.statistics(subject, drawn) for drawn in (test, noise))
    for key in ("w_pitch_classes", "w_intervals", "w_durations"):
        assert same[key]["value"] == pytest.approx(0, abs=1e-12)
        assert far[key]["value"] > 0.1
    told = [metrics.statistics(piece[:SIXTEENTHS]) for piece in subject.source.pieces("test")]
    assert same["span"]["value"] == pytest.approx(sum(one.span for one in told) / 3)
    assert same["polyphony"]["value"] == pytest.approx(sum(one.polyphony for one in told) / 3)


def test_what_was_copied_is_found_in_any_key_and_silence_has_no_statistics():
    subject = subject_of("crnngan-chorales")
    mine = music.transposed(subject.source.pieces("train")[0], 3)[:SIXTEENTHS]
    silence = torch.full((SIXTEENTHS, music.VOICES), music.REST)
    whole = len(mine.unique_consecutive(dim=0))
    cells = pieces.copied(subject, subject.drawn(torch.stack([mine, mine, silence])))
    assert cells["copied_chords"]["value"] == whole
    assert pieces.statistics(subject, subject.drawn(silence[None].repeat(3, 1, 1))) == {}


@pytest.mark.parametrize("name", [name for name, entry in zoo.ZOO.items() if entry.where.kind == "music"])
def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_choices(name):
    subject = subject_of(name)
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.zero_()
    *_, (done, found) = measures.likelihood(subject)
    assert done == 1.0
    value = found["figures"]["nats_per_note"]["value"]
    test = subject.source.pieces("test")
    steps = sum(piece.numel() for piece in test)
    if subject.space.encoding == "tokens":
        assert value == pytest.approx(math.log(len(music.ALPHABET)), abs=1e-5)
    else:
        coded = torch.cat([music.events(piece) for piece in test])
        pitch = music.VOICES * math.log(music.HIGHEST - music.LOWEST + 1)
        assert value * steps > len(coded) * pitch, "every event pays for its pitches, gap and length"
    assert 0 < found["figures"]["hold"]["value"] < value


def test_an_evaluation_of_music_runs_to_its_end_and_is_told(tmp_path):
    name = "crnngan-chorales"
    put_on_shelf(tmp_path / name, small(zoo.ZOO[name]))
    shelf = zoo.Shelf(tmp_path)
    *_, _ = evaluate.run(name, shelf, seeds=1, source=fake_chorales(zoo.ZOO[name].where))
    found = evaluate.read(shelf, name)
    assert found["finished"]
    assert [row["name"] for row in found["rows"] if row["kind"] == "control"] == ["real", "copycat", "noise", "test"]
    (row,) = (row for row in found["rows"] if row["kind"] == "model")
    assert row["n"] == 3, "as many as there are test pieces"
    assert {"scale", "polyphony", "span", "w_intervals", "copied_chords"} <= set(row["figures"])
    words = [verdict.words for verdict in evaluate.verdicts(name, found)]
    assert any("from the test's" in word for word in words)
    assert "Scale consistency" in evaluate.markdown(shelf)


# ---- two domains ------------------------------------------------------------------------------------------------


class Upside:
    """A translator that knows how the domains of `fake_domains` belong together."""

    device = torch.device("cpu")

    def translate(self, x: torch.Tensor, to: str) -> torch.Tensor:
        return x.flip(2)


def translated(model: object, space: Space, judges: tuple = (None, None)) -> dict[str, dict]:
    subject = Subject("x", zoo.ZOO["cyclegan-emoji"], model, fake_domains(space), None, 16, 1)
    *_, (done, found) = translations.translated(subject, judges)
    assert done == 1.0
    return {row["name"]: row for row in found["rows"]}


def test_a_perfect_translation_is_its_twin_and_doing_nothing_is_not():
    space = zoo.ZOO["cyclegan-emoji"].where
    rows = translated(Upside(), space)
    for domain in space.domains:
        perfect = rows[f"to {domain}"]["figures"]
        assert perfect["twin_l1"]["value"] == perfect["cycle_l1"]["value"] == 0
        assert perfect["ssim"]["value"] == pytest.approx(1)
        assert rows[f"unchanged, to {domain}"]["figures"]["twin_l1"]["value"] > 0.1
        assert rows[f"unchanged, to {domain}"]["figures"]["ssim"]["value"] < 0.9
        assert rows[f"true twins, to {domain}"]["figures"]["ssim"]["value"] == pytest.approx(1)
        assert "cycle_l1" not in rows[f"unchanged, to {domain}"]["figures"]
        assert rows[f"blurred, to {domain}"]["figures"]["ssim"]["value"] < 0.9


def test_an_evaluation_of_a_translator_runs_to_its_end(tmp_path):
    name = "cyclegan-emoji"
    put_on_shelf(tmp_path / name, small(zoo.ZOO[name]))
    shelf = zoo.Shelf(tmp_path)
    *_, _ = evaluate.run(name, shelf, source=fake_domains(zoo.ZOO[name].where))
    found = evaluate.read(shelf, name)
    assert found["finished"]
    assert [row["name"] for row in found["rows"] if row["kind"] == "model"] == ["to Blob", "to Noto"]
    table = evaluate.markdown(shelf)
    assert "*unchanged, to Blob*" in table
    assert "SSIM" in table


def test_a_small_test_set_is_taken_whole_and_more_is_refused(tmp_path):
    name = "crnngan-names"
    put_on_shelf(tmp_path / name, small(zoo.ZOO[name]))
    source = data.from_text("\n".join(["anna", "berta", "clara", "dora"] * 20), length=16, lines=True)
    with pytest.raises(BadInput):
        list(evaluate.run("judge-mnist-a", zoo.Shelf(tmp_path), source=source))
