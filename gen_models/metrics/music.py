"""Statistics of music: of a piece's first notes, of how pieces differ from others, and of what is copied.

C-RNN-GAN: Continuous recurrent neural networks with adversarial training (Mogren, 2016), arXiv 1611.09904, corrected in
two places. Its published code leaves out the octave where it tells whether a tone lies in a scale, so that other keys
than C count too little; and it counts times of onset once for each note, so that chords count too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gen_models import music
from gen_models.interface import BadInput

FIRST = 100  # notes of a piece that its statistics are taken from
FARTHEST = 24  # semitones from a note to the next in its voice; wider steps count as these
LONGEST = 64  # sixteenths of a note; longer ones count as these
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 8, 11))  # major, natural, harmonic minor


class Statistics(NamedTuple):
    """Of a piece's first notes: a note begins where a pitch enters its voice, and may be held as long as it likes."""

    scale: float  # share of the notes that lie in the scale (major or minor, any tonic) that fits best
    polyphony: float  # share of the times of onset at which two or more voices begin
    span: float  # semitones from the lowest to the highest
    unique: float  # different pitches
    repeats2: float  # pairs of places, two notes apart or more, at which the same two pitches follow one another
    repeats3: float  # the same of three


def statistics(pitches: Tensor, first: int = FIRST) -> Statistics:
    """Of the first notes of a piece, a grid (steps, 4); of notes that begin together the lower comes first.

    BadInput for a piece without notes.
    """
    found = sorted(music.notes(pitches), key=lambda note: (note.start, note.pitch))[:first]
    if not found:
        raise BadInput("This piece has no notes; bring one that sounds.")
    tones = torch.tensor([note.pitch for note in found])
    together = torch.tensor([note.start for note in found]).unique(return_counts=True)[1]
    return Statistics(
        scale=max(
            float(torch.isin((tones - tonic) % 12, torch.tensor(scale)).double().mean())
            for tonic in range(12)
            for scale in _SCALES
        ),
        polyphony=float((together > 1).double().mean()),
        span=float(tones.max() - tones.min()),
        unique=float(len(tones.unique())),
        repeats2=float(repeats(tones, 2)),
        repeats3=float(repeats(tones, 3)),
    )


def repeats(tones: Tensor, length: int) -> int:
    """How many pairs of places, `length` apart or more, begin the same stretch of so many tones.

    The last stretch is left out on either side, as in the published code.
    """
    stretches = tones.unfold(0, length, 1)[:-1] if len(tones) > length else tones[:0, None]
    same = (stretches[:, None] == stretches[None]).all(-1)
    return int(same[: max(len(tones) - 2 * length, 0)].triu(length).sum())


# ---- how two sets of pieces differ -----------------------------------------------------------------------------


def pitch_classes(pieces: Sequence[Tensor]) -> Tensor:
    """How long each degree sounds, counted from the tonic of its piece's key: (12,), sums to 1."""
    found = torch.zeros(12, dtype=torch.float64)
    for pitches in pieces:
        sounding = pitches[pitches != music.REST]
        found += torch.bincount((sounding - music.key_of(pitches).tonic) % 12, minlength=12)
    return _shares(found)


def intervals(pieces: Sequence[Tensor]) -> Tensor:
    """How often a voice goes from a note to the next by so many semitones, from -24 to 24: (49,), sums to 1."""
    found = torch.zeros(2 * FARTHEST + 1, dtype=torch.float64)
    for pitches in pieces:
        for column in pitches.T:
            tones = column[column != music.REST].unique_consecutive()
            steps = tones.diff().clamp(-FARTHEST, FARTHEST)
            found += torch.bincount(steps + FARTHEST, minlength=len(found))
    return _shares(found)


def durations(pieces: Sequence[Tensor]) -> Tensor:
    """How many notes are 1, 2, .. 64 sixteenths long: (64,), sums to 1."""
    lengths = [min(note.length, LONGEST) for pitches in pieces for note in music.notes(pitches)]
    found = torch.bincount(torch.tensor(lengths, dtype=torch.int64), minlength=LONGEST + 1)[1:]
    return _shares(found.double())


def wasserstein(p: Tensor, q: Tensor, *, circular: bool = False) -> float:
    """The Wasserstein-1 distance of two histograms (K,) that sum to 1, in bins.

    `circular`: the last bin lies beside the first; the least over all places to cut the circle: Transportation
    Distances on the Circle and Applications (Rabin, Delon and Gousseau, 2009), arXiv 0906.5499.
    """
    over = (p.double() - q.double()).cumsum(0)
    return float((over - over.median()).abs().sum() if circular else over.abs().sum())


def distances(pieces: Sequence[Tensor], others: Sequence[Tensor]) -> dict[str, float]:
    """How far the two sets lie apart in pitch classes and intervals (semitones) and in durations (sixteenths)."""
    return {
        "pitch classes": wasserstein(pitch_classes(pieces), pitch_classes(others), circular=True),
        "intervals": wasserstein(intervals(pieces), intervals(others)),
        "durations": wasserstein(durations(pieces), durations(others)),
    }


def _shares(counts: Tensor) -> Tensor:
    if not counts.sum():
        raise BadInput("There are no notes to count in these pieces; bring some that sound.")
    return counts / counts.sum()


# ---- what is copied --------------------------------------------------------------------------------------------


def longest_copies(pieces: Sequence[Tensor], training: Sequence[Tensor]) -> list[int]:
    """For each piece the most chords in a row that a training piece has too, in the same or another key.

    A chord lasts until any voice changes; how long is not compared, so this is the strict side of copying.
    """
    codes: dict[tuple[int, ...], str] = {}
    mine, theirs = ([_chords(pitches, codes) for pitches in some] for some in (pieces, training))
    longest = [0] * len(mine)
    going = list(range(len(mine)))
    length = 0
    while going:
        length += 1
        known = {run for piece in theirs for run in _runs(piece, length)}
        going = [k for k in going if any(run in known for run in _runs(mine[k], length))]
        for k in going:
            longest[k] = length
    return longest


def _chords(pitches: Tensor, codes: dict[tuple[int, ...], str]) -> tuple[str, str]:
    """Of each chord in turn, a character for its shape, and one for its shape and how far its soprano has moved."""
    rows = pitches[(pitches != music.REST).all(1)].unique_consecutive(dim=0)
    shapes = [tuple(row) for row in rows.diff(dim=1).tolist()]
    moves = (
        [(0, *shapes[0]), *((m, *s) for m, s in zip(rows[:, 0].diff().tolist(), shapes[1:], strict=True))]
        if shapes
        else []
    )
    first, later = (
        "".join(codes.setdefault(key, chr(0x10000 + len(codes))) for key in keys) for keys in (shapes, moves)
    )
    return first, later


def _runs(chords: tuple[str, str], length: int) -> list[str]:
    """All runs of so many chords: the shape of the first, then how the others follow."""
    shapes, moves = chords
    return [shapes[i] + moves[i + 1 : i + length] for i in range(len(shapes) - length + 1)]
