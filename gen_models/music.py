"""What an x of music means: pitches of four voices on a grid of sixteenths, as events or as tokens, and as notes.

Modeling Temporal Dependencies in High-Dimensional Sequences (Boulanger-Lewandowski et al., 2012), arXiv 1206.6392.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gen_models.interface import Space

VOICES = 4  # soprano, alto, tenor, bass: highest first
BAR = 16  # sixteenths
LOWEST, HIGHEST = 30, 87  # MIDI numbers: those of the chorales, up to six semitones up and down
LONGEST = 16  # sixteenths of an event
APART = 2 * LONGEST  # sixteenths from one event to the next, at most
REST = 0  # the pitch of silence on the grid, and its token
FIELDS = 2 + VOICES  # of an event: sixteenths since the one before, its length in sixteenths, a pitch for each voice
ALPHABET = ("rest", *map(str, range(LOWEST, HIGHEST + 1)))

# Cognitive Foundations of Musical Pitch (Krumhansl, 1990): how well each degree fits a key, from its tonic on
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


class Note(NamedTuple):
    """A tone: where it begins and how long it sounds, in sixteenths, its MIDI number, its voice (0 is the highest)."""

    start: int
    length: int
    pitch: int
    voice: int


class Key(NamedTuple):
    """A tonic (0 is C, 11 is B) and its mode."""

    tonic: int
    mode: Literal["major", "minor"]


def events_space(length: int) -> Space:
    """Pieces of `length` events: x is (length, 6) int64; rows of zeros are nothing."""
    return Space("music", (length, FIELDS), encoding="events")


def tokens_space(steps: int) -> Space:
    """Pieces of so many sixteenths: x is (4 steps,) int64, voice after voice, highest first, step after step."""
    return Space("music", (VOICES * steps,), alphabet=ALPHABET, encoding="tokens")


# ---- the grid: (steps, 4) int64, a MIDI number for each voice and sixteenth, REST where it is silent -----------------


def grid(x: Tensor, space: Space) -> Tensor:
    """One x, events (n, 6) or tokens (n,), as the grid of its pitches: (steps, 4) int64, steps may be 0."""
    x = x.cpu()
    if space.encoding == "tokens":
        steps = x[: len(x) // VOICES * VOICES].view(-1, VOICES)
        return torch.where(steps > 0, steps + LOWEST - 1, REST)
    x = x[x[:, 1] > 0]
    starts = x[:, 0].cumsum(0)
    starts = starts - starts[:1]  # what lies before the first event is silence that nobody hears
    found = torch.full((int((starts + x[:, 1]).max()) if len(x) else 0, VOICES), REST)
    for start, row in zip(starts.tolist(), x, strict=True):
        found[start : start + int(row[1])] = row[2:]
    return found


def events(pitches: Tensor) -> Tensor:
    """The grid as events (n, 6) int64: one wherever any voice changes, at most LONGEST sixteenths long.

    A voice that is silent while others sound doubles another one, which sounds the same. Silence before the first
    event is left out, and a long one between two is shortened until they are APART.
    """
    sounding = (pitches != REST).any(1)
    full = _doubled(pitches)
    found, last = [], None
    for first, end in _runs(full):
        if not sounding[first]:
            continue
        for start in range(first, end, LONGEST):
            gap = 0 if last is None else min(start - last, APART)
            last = start
            found.append([gap, min(LONGEST, end - start), *full[start].tolist()])
    return torch.tensor(found, dtype=torch.int64).reshape(-1, FIELDS)


def tokens(pitches: Tensor) -> Tensor:
    """The grid as tokens (4 steps,) int64."""
    return torch.where(pitches == REST, 0, pitches - LOWEST + 1).flatten()


def notes(pitches: Tensor) -> list[Note]:
    """The grid as notes in the order of their starts: a pitch that stays in its voice is one note."""
    found = []
    for voice in range(pitches.shape[1]):
        column = pitches[:, voice : voice + 1]
        found += [
            Note(first, end - first, int(column[first]), voice) for first, end in _runs(column) if column[first] != REST
        ]
    return sorted(found)


def from_notes(found: list[Note]) -> Tensor:
    """Notes of any number of voices as a grid of four: where more sound, the highest, the lowest and two between."""
    end = max((note.start + note.length for note in found), default=0)
    sounding: list[set[int]] = [set() for _ in range(end)]
    for note in found:
        for step in range(note.start, note.start + note.length):
            sounding[step].add(note.pitch)
    rows = torch.full((end, VOICES), REST)
    for row, pitches in zip(rows, sounding, strict=True):
        chosen = sorted(pitches, reverse=True)
        chosen = chosen if len(chosen) <= VOICES else [*chosen[: VOICES - 1], chosen[-1]]
        row[: len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
    return rows


def transposed(pitches: Tensor, semitones: int) -> Tensor:
    """The grid so many semitones higher; silence stays."""
    return torch.where(pitches == REST, REST, pitches + semitones)


def shifts(pitches: Tensor, most: int = 6) -> range:
    """The transpositions, by at most so many semitones, that stay within LOWEST..HIGHEST; empty where none does."""
    sounding = pitches[pitches != REST]
    if not len(sounding):
        return range(1)
    return range(max(-most, LOWEST - int(sounding.min())), min(most, HIGHEST - int(sounding.max())) + 1)


def key_of(pitches: Tensor) -> Key:
    """The key whose profile correlates best with how long each pitch class sounds (Krumhansl, 1990)."""
    sounding = pitches[pitches != REST]
    heard = torch.bincount(sounding % 12, minlength=12).double()
    profiles = torch.tensor([_MAJOR, _MINOR], dtype=torch.float64)
    keys = torch.stack([profile.roll(tonic) for profile in profiles for tonic in range(12)])
    fit = torch.corrcoef(torch.cat([heard[None], keys]))[0, 1:].nan_to_num()
    best = int(fit.argmax())
    return Key(best % 12, "major" if best < 12 else "minor")


def _runs(rows: Tensor) -> list[tuple[int, int]]:
    """Where equal rows in a row begin and end."""
    if not len(rows):
        return []
    cuts = ((rows[1:] != rows[:-1]).any(1).nonzero().flatten() + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(rows)], strict=True))


def _doubled(pitches: Tensor) -> Tensor:
    """Silent voices at the pitch of the nearest one above that sounds, else of the highest that does."""
    full = pitches.clone()
    for voice in range(1, VOICES):
        full[:, voice] = torch.where(full[:, voice] == REST, full[:, voice - 1], full[:, voice])
    for voice in range(VOICES - 2, -1, -1):
        full[:, voice] = torch.where(full[:, voice] == REST, full[:, voice + 1], full[:, voice])
    return full
