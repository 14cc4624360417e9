"""The Listen panel: what is heard, seen and saved is the piece that the model wrote, in the tempo and key asked for."""

from __future__ import annotations

import base64
import io
import itertools
from pathlib import Path
from types import SimpleNamespace

import mido
import pytest
import symusic
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from toys import fake_chorales
from ui_steps import fill, go, run

from gen_models import music, render, zoo
from gen_models.interface import BadInput
from gen_models.metrics.music import statistics
from gen_models.render.sound import TAIL
from gen_models.ui import pieces
from gen_models.ui.panels import listen, opening, sources
from gen_models.ui.visits import Picked

FORM, ENTRY = "crnngan-listen", "crnngan-chorales"
AUDIO, ROLL, VIEW = f"#{FORM}-audio", f"#{FORM}-roll", f"#{FORM}-view .gm-listen"
BARS = 4


@pytest.fixture
def notes(page_shelf) -> list[music.Note]:
    """The notes of the piece that the page's entry writes from seed 3."""
    return written(page_shelf, 3)


def written(shelf: zoo.Shelf, seed: int, **options: float) -> list[music.Note]:
    model = zoo.load(ENTRY, shelf)
    *_, last = zoo.sample(model, seed, 1, bars=BARS, **options)
    return music.notes(music.grid(last.x[0], model.space))


def seconds(notes: list[music.Note], tempo: float) -> float:
    return max(note.start + note.length for note in notes) * 15 / tempo + TAIL


def generate(page: Page, **values: object) -> None:
    """A piece of four bars from seed 3, heard by the browser."""
    go(page, "crnngan", "listen", ENTRY)
    page.wait_for_selector(f"{ROLL}:visible")
    fill(page, FORM, **{"bars": BARS, "seed": 3} | values)
    run(page, FORM, "of 4 bars, seed")
    heard(page)


def heard(page: Page) -> float:
    """The audio element's duration, once the browser knows it."""
    page.wait_for_function(f"() => document.querySelector('{AUDIO}').duration > 0")
    return page.evaluate(f"() => document.querySelector('{AUDIO}').duration")


def saved(page: Page, what: str) -> Path:
    with page.expect_download() as download:
        page.click(f"#{FORM}-{what}")
    return download.value.path().rename(download.value.path().with_name(download.value.suggested_filename))


def midi_of(*starts: int, pitch: int = 60) -> bytes:
    return render.midi([music.Note(start, 4, pitch + k % 5, 0) for k, start in enumerate(starts)], 100)


def no_notes() -> bytes:
    stream = io.BytesIO()
    mido.MidiFile(tracks=[mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])]).save(file=stream)
    return stream.getvalue()


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


# ---- in the browser -------------------------------------------------------------------------------------------


def test_a_piece_is_heard_as_long_as_it_is_and_the_play_head_moves_with_it(page, notes):
    generate(page, tempo=120)
    assert heard(page) == pytest.approx(seconds(notes, 120), abs=0.1)
    assert max(note.start + note.length for note in notes) <= BARS * music.BAR
    expect(page.locator(ROLL)).to_have_attribute("data-notes", str(len(notes)))
    loud = page.evaluate(
        f"""async () => {{
          const file = await (await fetch(document.querySelector('{AUDIO}').src)).arrayBuffer();
          const sound = await new OfflineAudioContext(2, 1, 32000).decodeAudioData(file);
          const samples = sound.getChannelData(0);
          return [sound.duration, Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length)];
        }}"""
    )
    assert loud[0] == pytest.approx(seconds(notes, 120), abs=0.1)
    assert loud[1] > 0.01
    page.wait_for_function(f"() => Number(document.querySelector('{ROLL}').dataset.at) > 1")  # it plays when ready
    page.evaluate(f"() => document.querySelector('{AUDIO}').pause()")
    box = page.locator(f"{ROLL} .gm-roll-main").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    page.wait_for_function(f"() => Math.abs(document.querySelector('{ROLL}').dataset.at - {BARS * 8}) < 0.5")
    assert page.evaluate(f"() => document.querySelector('{AUDIO}').currentTime") == pytest.approx(BARS, abs=0.1)
    page.focus(ROLL)
    page.keyboard.press("Home")
    expect(page.locator(ROLL)).to_have_attribute("data-at", "0.00")


def test_tempo_and_key_change_the_sound_of_the_same_piece(page, notes):
    generate(page)
    grid = music.from_notes(notes)
    piece = pieces.Piece(grid)
    expect(page.locator(f"#{FORM}-key-heard")).to_have_text(f"heard in {piece.key}")
    fill(page, FORM, tempo=0)
    expect(page.locator(f"#{FORM}-wrong")).to_contain_text("quarters a minute from 20 to 400")
    fill(page, FORM, tempo=240)
    page.wait_for_function(f"() => document.querySelector('{AUDIO}').duration < {seconds(notes, 240) + 0.1}")
    expect(page.locator(f"#{FORM}-wrong")).to_be_hidden()
    by = pieces.semitones(piece, "B♭")
    fill(page, FORM, key="in B♭")
    expect(page.locator(ROLL)).to_have_attribute("data-by", str(by))
    expect(page.locator(ROLL)).to_have_attribute("data-notes", str(len(notes)))


def test_what_is_saved_is_the_piece(page, notes):
    generate(page, n=2)
    page.locator(f"{VIEW} .gm-listen-tile").first.wait_for()
    score = symusic.Score.from_file(str(saved(page, "mid")))
    ticks = score.ticks_per_quarter // 4
    read = sorted((n.start // ticks, n.duration // ticks, n.pitch) for track in score.tracks for n in track.notes)
    assert read == sorted((n.start, n.length, n.pitch) for n in notes)
    recipe = render.recipe_of(saved(page, "png"))
    assert (recipe["entry"], recipe["seed"], recipe["bars"], recipe["tempo"]) == (ENTRY, 3, BARS, 100)
    assert saved(page, "wav").read_bytes() == render.wav(notes, 100)


def test_a_second_piece_is_heard_when_it_is_pressed(page, page_shelf):
    generate(page, n=2)
    page.locator(f"{VIEW} .gm-listen-tile").nth(1).click()
    expect(page.locator(f"#{FORM}-title")).to_contain_text("seed 4")
    expect(page.locator(ROLL)).to_have_attribute("data-notes", str(len(written(page_shelf, 4))))
    page.wait_for_function(f"() => document.querySelector('{VIEW}').dataset.heard.split(' ')[1] === '1'")
    assert heard(page) == pytest.approx(seconds(written(page_shelf, 4), 100), abs=0.1)


def test_a_midi_file_opens_a_piece_and_one_without_notes_says_so(page, tmp_path):
    go(page, "crnngan", "listen", ENTRY)
    page.select_option(f"#{FORM}-opening-kind", "file")
    empty, good = tmp_path / "empty.mid", tmp_path / "good.mid"
    empty.write_bytes(no_notes())
    good.write_bytes(midi_of(*range(0, 32, 4)))
    page.set_input_files(f"#{FORM}-opening-file", empty)
    expect(page.locator(f"#{FORM}-opening-message")).to_contain_text("no notes")
    page.set_input_files(f"#{FORM}-opening-file", good)
    expect(page.locator(f"#{FORM}-opening-words")).to_contain_text("2 bars of good.mid")
    expect(page.locator(f"#{FORM}-opening-message")).to_be_hidden()
    for entry in ("crnngan-names", ENTRY):  # the opening stays when another entry is picked meanwhile
        go(page, "crnngan", "train", entry)
    generate(page)
    expect(page.locator(ROLL)).to_have_attribute("data-given", "32")


def test_a_narrow_page_has_no_sideways_scroll(open_page):
    page = open_page(390, 844)
    generate(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- over the API ---------------------------------------------------------------------------------------------


def test_an_opening_stays_and_a_seed_repeats(app_url):
    client = Client(app_url, verbose=False)
    given = {"kind": "file", "midi": coded(midi_of(*range(0, 16, 4))), "bars": 1}
    found, again = (
        client.predict(ENTRY, {"bars": 3, "n": 2, "seed": 5}, given, api_name="/crnngan_listen")[0] for _ in range(2)
    )
    assert found["pieces"] == again["pieces"]
    assert found["pieces"][0]["notes"] != found["pieces"][1]["notes"]
    for piece in found["pieces"]:
        pitches = [
            [p for start, length, p, _ in piece["notes"] if start <= step < start + length] for step in range(16)
        ]
        assert [set(now) for now in pitches] == [{60 + step // 4} for step in range(16)]
        assert max(start + length for start, length, *_ in piece["notes"]) <= 3 * music.BAR


@pytest.mark.parametrize(
    ("entry", "settings", "given", "says"),
    [
        (ENTRY, {"tempo": 0}, None, "quarters a minute from 20 to 400; got 0"),
        (ENTRY, {"bars": 65}, None, "bars is a whole number from 1 to 64"),
        (ENTRY, {"n": 5}, None, "n is a whole number from 1 to 4"),
        (ENTRY, {"key": "H"}, None, "key is one of as written, C"),
        (ENTRY, {"bars": 2}, {"kind": "file", "midi": coded(midi_of(0, 28)), "bars": 2}, "ask for more bars"),
        ("crnngan-names", {"seed": 0}, None, "makes no music"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, given, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, given, api_name="/crnngan_listen")


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("four bars", "The opening is null"),
        ({"kind": "song"}, "The opening is null"),
        ({"kind": "file"}, "Choose a MIDI file"),
        ({"kind": "file", "midi": "%%"}, "did not arrive whole"),
        ({"kind": "file", "midi": coded(b"not music"), "name": "a.mid"}, "MIDI"),
        ({"kind": "file", "midi": coded(no_notes())}, "no notes"),
        ({"kind": "file", "midi": coded(bytes(2_100_000)), "name": "long.mid"}, "long.mid is larger than 2 MB"),
        ({"kind": "file", "midi": coded(midi_of(0)), "bars": 9}, "from 1 to 8"),
        ({"kind": "chorale", "piece": 99}, "number of the chorale is a whole number from 0 to"),
    ],
)
def test_an_opening_that_cannot_be_says_what_to_do(monkeypatch, given, says):
    data = fake_chorales(music.events_space(100))
    monkeypatch.setattr(opening, "reading", lambda: SimpleNamespace(result=lambda: data, done=lambda: True))
    with pytest.raises(BadInput, match=says):
        opening.read(given)


def test_an_opening_is_the_beginning_of_what_it_names(monkeypatch):
    data = fake_chorales(music.events_space(100))
    monkeypatch.setattr(opening, "reading", lambda: SimpleNamespace(result=lambda: data, done=lambda: True))
    chorale = opening.read({"kind": "chorale", "piece": 1, "bars": 3})
    assert torch.equal(chorale.grid, data.pieces("test")[1][:48])
    late = opening.read({"kind": "file", "midi": coded(midi_of(36, 44)), "bars": 2})  # two bars of silence before
    assert torch.equal(late.grid[4:8, 0], torch.full((4,), 60))
    assert len(late.grid) == 16
    assert opening.read(None) is opening.read({"kind": "none"}) is None


def test_a_key_is_reached_by_the_smallest_interval():
    scale = torch.tensor([60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 60])[:, None].repeat(1, 4)
    piece = pieces.Piece(scale)
    assert piece.key == "C major"
    moves = [pieces.semitones(piece, tonic) for tonic in pieces.TONICS]
    assert moves == [0, 1, 2, 3, 4, 5, -6, -5, -4, -3, -2, -1]
    assert pieces.semitones(piece, pieces.WRITTEN) == 0
    for tonic, move in zip(pieces.TONICS, moves, strict=True):
        assert pieces.named(music.key_of(music.transposed(scale, move))) == f"{tonic} major"


def test_sound_is_rendered_once_and_goes_with_the_visit():
    piece = pieces.Piece(torch.full((16, 4), 60))
    kept = pieces.Kept("run", "name", [piece], [{}], ["seed0"])
    visit = SimpleNamespace(kept={"panel": kept})
    sound, file = pieces.serve("panel").values()
    asked = {"run": "run", "piece": 0, "tempo": 100, "key": pieces.WRITTEN}
    first, again = sound(visit, asked), sound(visit, asked)
    assert first == again
    assert sound(visit, asked | {"tempo": 101})["path"] != first["path"]
    for _ in range(2 * pieces.SOUNDS):
        last = file(visit, asked | {"what": "mid"})
    assert len(list(Path(first["path"]).parent.parent.iterdir())) <= pieces.SOUNDS
    assert Path(last["path"]).name == "name-seed0.mid"
    with pytest.raises(BadInput, match="no longer kept"):
        sound(visit, asked | {"run": "another"})
    visit.kept["panel"] = kept._replace(pieces=[pieces.Piece(torch.full((1024, 4), 60))])
    with pytest.raises(BadInput, match="Raise the tempo"):
        sound(visit, asked | {"tempo": 20})
    visit.kept.clear()
    assert not Path(last["path"]).exists()


def test_the_corpus_is_what_the_test_chorales_measure(page_shelf, monkeypatch):
    data = fake_chorales(music.events_space(100))
    monkeypatch.setattr(sources, "SETS", sources.Readings())
    monkeypatch.setattr(listen.data, "load", lambda name: data)
    tab = SimpleNamespace(
        device="cpu", visits=SimpleNamespace(picked=lambda name, visit: Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf))
    )
    ask = listen._corpus(tab)
    found = next(found for found in (ask(None, {}) for _ in itertools.repeat(0, 100)) if not found.get("waiting"))
    spans = torch.tensor([statistics(grid).span for grid in data.pieces("test")])
    assert found["figures"]["span"] == pytest.approx([spans.mean().item(), spans.std().item()])
    assert set(found["figures"]) == set(listen.figures(data.pieces("test")[0]))
    assert listen.figures(torch.zeros(16, 4, dtype=torch.int64)) is None


def test_without_the_chorales_the_evaluation_tells(page_shelf, monkeypatch):
    def missing(name: str):
        raise BadInput("Bach chorales is not on this machine")

    row = {"name": "test", "n": 77, "figures": {"span": {"value": 32.2, "se": 0.3}, "w_intervals": {"value": 0.0}}}
    monkeypatch.setattr(sources, "SETS", sources.Readings())
    monkeypatch.setattr(listen.data, "load", missing)
    tab = SimpleNamespace(
        device="cpu", visits=SimpleNamespace(picked=lambda name, visit: Picked(ENTRY, zoo.ZOO[ENTRY], page_shelf))
    )
    with pytest.raises(BadInput, match="not on this machine"):
        listen._corpus(tab)(None, {})
    monkeypatch.setattr(listen.evaluate, "read", lambda shelf, name: {"rows": [row]})
    assert listen._corpus(tab)(None, {})["figures"] == {"span": [32.2, pytest.approx(0.3 * 77**0.5)]}


def test_a_training_shows_three_rolls_in_a_square():
    data = fake_chorales(music.events_space(100))
    shown = sources.real(data)
    assert shown["size"][0] == shown["size"][1]
    assert "chorales" in sources.offered(zoo.FAMILIES["crnngan"])
