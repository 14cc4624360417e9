"""`sample` for entries that make music: a MIDI file, a sound, a roll, or a folder of pieces."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest
import symusic
from PIL import Image
from toys import put_on_shelf, small

from gen_models import __main__ as command_line
from gen_models import music, render, zoo
from gen_models.render.sound import TAIL

ENTRY = "crnngan-chorales"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tunes")
    put_on_shelf(root / ENTRY, small(zoo.ZOO[ENTRY]))
    return root


@pytest.fixture
def make(folder, tmp_path, capsys):
    """Runs `sample` into a file of that name; exit code, the path, standard error."""

    def call(out: str, *words: object) -> tuple[int, Path, str]:
        words = [ENTRY, "--bars", 4, "--out", tmp_path / out, *words]
        code = command_line.main(["sample", "--checkpoints", str(folder), *map(str, words)])
        return code, tmp_path / out, capsys.readouterr().err

    return call


def test_a_piece_is_kept_as_notes_and_as_sound(make, folder):
    *_, last = zoo.sample(zoo.load(ENTRY, zoo.Shelf(folder)), 2, 1, bars=4)
    notes = music.notes(music.grid(last.x[0], zoo.ZOO[ENTRY].where))
    code, out, _ = make("piece.mid", "--seed", 2, "--tempo", 80)
    score = symusic.Score.from_file(str(out))
    assert code == 0
    assert sorted(note.pitch for track in score.tracks for note in track.notes) == sorted(note.pitch for note in notes)
    assert score.tempos[0].qpm == pytest.approx(80)
    _, out, _ = make("piece.wav", "--seed", 2, "--tempo", 80)
    with wave.open(io.BytesIO(out.read_bytes())) as sound:
        end = max(note.start + note.length for note in notes)
        assert sound.getnframes() / sound.getframerate() == pytest.approx(end * 15 / 80 + TAIL, abs=0.01)


def test_several_pieces_are_a_roll_or_a_folder(make):
    _, out, _ = make("roll.png")
    recipe = render.recipe_of(out)
    assert (recipe["entry"], recipe["n"], recipe["tempo"]) == (ENTRY, 4, 100)
    assert Image.open(out).height > 200
    _, out, _ = make("pieces", "--n", 2, "--seed", 5)
    names = [f"{k:05d}-seed{5 + k}{suffix}" for k in range(2) for suffix in (".mid", ".wav")]
    assert sorted(path.name for path in out.iterdir()) == names


@pytest.mark.parametrize(
    ("out", "words", "says"),
    [
        ("piece.mid", ["--tempo", 0], "quarters a minute from 20 to 400"),
        ("piece.wav", ["--n", 2], "holds 1 piece at most"),
        ("pieces", ["--n", 2000], "holds 1000 pieces at most"),
        ("piece.mp3", [], "--out is a .png, a .npy, a .mid, a .wav or a folder"),
        ("piece.mid", ["--bars", 65], "bars is a whole number from 1 to 64"),
    ],
)
def test_what_cannot_be_kept_says_so_before_anything_is_written(make, out, words, says):
    code, path, said = make(out, *words)
    assert code == 2
    assert says in said
    assert not path.exists()
