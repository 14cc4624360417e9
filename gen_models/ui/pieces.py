"""Pieces of music as the page keeps, plays and saves them: what is drawn, how it sounds in a tempo and a key, files."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gradio.utils import get_upload_folder
from torch import Tensor

from gen_models import __version__, music, render
from gen_models.interface import BadInput, Choices, Option, Range
from gen_models.render.sound import TEMPO, checked_tempo
from gen_models.ui.fields import Field, choice
from gen_models.ui.visits import Visit

TONICS = ("C", "D♭", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
WRITTEN = "as written"
PLAYED = 6 * 60  # seconds of music that the page plays at most
SOUNDS = 12  # sound files kept for a visit: the oldest goes first
HEIGHT = 480  # pixels of a roll that is saved, for two systems of a 16-bar piece
GONE = "These pieces are no longer kept here: press the button on the left once more."


class Piece(NamedTuple):
    """A piece as it was written, and how much of it was given."""

    grid: Tensor  # (steps, 4) int64
    given: int = 0  # sixteenths

    @property
    def notes(self) -> list[music.Note]:
        return music.notes(self.grid)

    def sent(self, steps: int | None = None) -> dict[str, Any]:
        """What static/roll.js draws: the notes on a roll of so many sixteenths."""
        return render.roll_data(self.notes, steps or len(self.grid)) | {"given": self.given}

    @property
    def key(self) -> str:
        """The key that it is heard in; "" of silence."""
        return named(music.key_of(self.grid)) if (self.grid != music.REST).any() else ""


class Kept(NamedTuple):
    """The pieces that stand on a panel, and what made them."""

    run: str
    name: str  # begins the names of files
    pieces: Sequence[Piece]
    recipes: Sequence[Mapping[str, Any]]  # of each piece
    names: Sequence[str]  # of each piece: ends the names of files


# ---- tempo and key --------------------------------------------------------------------------------------------


class _Tempo(Option):
    """Quarter notes a minute."""

    def check(self, value: Any) -> float:
        return checked_tempo(value)


def sound_fields() -> list[Field]:
    """How a piece sounds: neither changes what is written."""
    tempo = _Tempo("tempo", Range(TEMPO.low, TEMPO.high), 100, int)
    shown = ("as written", *(f"in {name}" for name in TONICS))
    key = choice("key", "Key", (WRITTEN, *TONICS), shown=shown)
    return [Field(tempo, "number", "Tempo, ♩ a minute"), key]


def named(key: music.Key) -> str:
    return f"{TONICS[key.tonic]} {key.mode}"


def semitones(piece: Piece, wanted: Any) -> int:
    """The smallest transposition from the key that is heard to the tonic that is asked for, -6 to 5."""
    tonic = Option("key", Choices((WRITTEN, *TONICS)), WRITTEN, str).check(wanted)
    if tonic == WRITTEN or not piece.key:
        return 0
    return (TONICS.index(tonic) - music.key_of(piece.grid).tonic + 6) % 12 - 6


# ---- what the browser asks for ----------------------------------------------------------------------------------


def serve(panel: str) -> dict[str, Callable[[Visit, dict], Any]]:
    """Server functions for the pieces that `visit.kept[panel]` holds: their sound and their files."""

    def sound(visit: Visit, asked: dict) -> dict[str, Any]:
        """The place of a WAV file, the tempo, and the keys that are heard before and after transposing."""
        kept, k, tempo, moved = _asked(visit, panel, asked)
        piece = kept.pieces[k]
        seconds = len(piece.grid) * 15 / tempo
        if seconds > PLAYED:
            raise BadInput(
                f"At this tempo the piece lasts {seconds / 60:.0f} minutes; the page plays {PLAYED // 60} at most. "
                "Raise the tempo, or ask for fewer bars."
            )
        path = _sounds(visit).path(f"{kept.run} {k} {tempo} {moved}", piece, tempo, moved)
        after = named(music.key_of(music.transposed(piece.grid, moved)))
        return {"path": path, "tempo": tempo, "semitones": moved, "heard": piece.key, "sounds": after}

    def file(visit: Visit, asked: dict) -> dict[str, str]:
        """The place and the name of a file to save: what is "mid", "wav" or "png", or "zip" of all as MIDI."""
        kept, k, tempo, moved = _asked(visit, panel, asked)
        piece = kept.pieces[k]
        what = Option("what", Choices(("mid", "wav", "png", "zip")), "mid", str).check(asked.get("what"))
        name = kept.name if what == "zip" else f"{kept.name}-{kept.names[k]}"
        recipe = dict(kept.recipes[k]) | {"tempo": tempo, "key": asked.get("key", WRITTEN), "version": __version__}
        if what == "zip":
            content = render.zip_of(
                {
                    f"{kept.name}-{other}.mid": render.midi(
                        one.notes, tempo, semitones=semitones(one, asked.get("key"))
                    )
                    for one, other in zip(kept.pieces, kept.names, strict=True)
                }
            )
        elif what == "mid":
            content = render.midi(piece.notes, tempo, semitones=moved, key=music.key_of(piece.grid))
        elif what == "wav":
            content = render.wav(piece.notes, tempo, semitones=moved)
        else:
            content = _picture(piece, moved, recipe)
        return {"path": _sounds(visit).save(f"{name}.{what}", content), "name": f"{name}.{what}"}

    return {"sound": sound, "file": file}


def _asked(visit: Visit, panel: str, asked: Mapping[str, Any]) -> tuple[Kept, int, float, int]:
    """The pieces, which one is asked for, its tempo and its transposition; BadInput for any that cannot be."""
    kept: Kept | None = visit.kept.get(panel)
    if kept is None or asked.get("run") != kept.run:
        raise BadInput(GONE)
    k = Option("piece", Range(0, len(kept.pieces) - 1), 0, int).check(asked.get("piece"))
    moved = semitones(kept.pieces[k], asked.get("key", WRITTEN))
    return kept, k, checked_tempo(asked.get("tempo")), moved


def _picture(piece: Piece, moved: int, recipe: Mapping[str, Any]) -> bytes:
    notes = [note._replace(pitch=note.pitch + moved) for note in piece.notes]
    width = max(960, 5 * len(piece.grid))
    return render.png(render.roll(notes, size=(min(width, 6400), HEIGHT), steps=len(piece.grid)), recipe)


# ---- files that the page's own file route may serve ---------------------------------------------------------------


class _Sounds:
    """A visit's files under the folder that Gradio serves; they go with the visit."""

    def __init__(self):
        root = Path(get_upload_folder())
        root.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="sounds-", dir=root))
        self._known: dict[str, str] = {}
        self._count = itertools.count()
        self._finish = weakref.finalize(self, shutil.rmtree, self.folder, True)

    def path(self, name: str, piece: Piece, tempo: float, moved: int) -> str:
        """The WAV file of a piece, rendered at most once while it is kept."""
        if name not in self._known or not Path(self._known[name]).exists():
            self._known.pop(name, None)
            self._known[name] = self._write("piece.wav", render.wav(piece.notes, tempo, semitones=moved))
            self._forget()
        return self._known[name]

    def save(self, name: str, content: bytes) -> str:
        """A file of that name."""
        self._known[f"file {next(self._count)}"] = path = self._write(name, content)
        self._forget()
        return path

    def _write(self, name: str, content: bytes) -> str:
        try:
            path = Path(tempfile.mkdtemp(dir=self.folder)) / name
            path.write_bytes(content)
        except OSError as error:
            raise BadInput(f"The sound could not be written ({error.strerror}). Free some disk space.") from None
        return str(path)

    def _forget(self) -> None:
        while len(self._known) > SOUNDS:
            shutil.rmtree(Path(self._known.pop(next(iter(self._known)))).parent, ignore_errors=True)


def _sounds(visit: Visit) -> _Sounds:
    if "sounds" not in visit.kept:
        visit.kept["sounds"] = _Sounds()
    return visit.kept["sounds"]
