"""Chorales of Johann Sebastian Bach, as events or as tokens.

Modeling Temporal Dependencies in High-Dimensional Sequences (Boulanger-Lewandowski et al., 2012), arXiv 1206.6392:
the division into train, valid and test is theirs.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from gen_models import music
from gen_models.data.fetching import FetchedSet, fetch
from gen_models.interface import BadInput, Batch, Space

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_USUAL = (72, 66, 60, 51)  # a pitch for each voice, where it has not sounded yet


class Chorales:
    """Pieces of four voices; x is a stretch of one, as the space says.

    A stretch for training begins with its piece or so many whole bars later, and lies in any transposition by up to six
    semitones that stays within the range. Of events it has half of `space.shape` at least where the piece has as many,
    and rows of zeros fill it up; of tokens it is never filled up.
    """

    log_prob = None

    def __init__(self, space: Space, pieces: Mapping[Split, Sequence[Tensor]]):
        """`pieces`: grids (steps, 4) of each split. BadInput where no piece is long enough to learn from."""
        self.space, self._pieces = space, {name: list(pieces[name]) for name in SPLITS}
        self._train = _Stretches(space, self._pieces["train"])

    def pieces(self, name: Split) -> list[Tensor]:
        """The split's pieces as grids (steps, 4) int64, whole and in their own key."""
        return self._pieces[name]

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n random stretches of training pieces in random transpositions."""
        return Batch(self._train.drawn(n, rng))

    def split(self, name: Split) -> Batch:
        """The beginning of each piece as events; as tokens the stretches that follow one another, none filled up."""
        if self.space.encoding == "tokens":
            windows = [w for piece in self._pieces[name] for w in piece.split(self.space.size // music.VOICES)]
            whole = [music.tokens(w) for w in windows if w.numel() == self.space.size]
            return Batch(torch.stack(whole) if whole else torch.zeros(0, *self.space.shape, dtype=torch.int64))
        x = torch.zeros(len(self._pieces[name]), *self.space.shape, dtype=torch.int64)
        for row, piece in zip(x, self._pieces[name], strict=True):
            found = music.events(piece)[: len(row)]
            row[: len(found)] = found
        return Batch(x)


class _Stretches:
    """All that a training batch can be cut from: one tensor, where stretches begin in it, how far each may move."""

    def __init__(self, space: Space, pieces: list[Tensor]):
        self.tokens = space.encoding == "tokens"
        self.length = space.size // music.VOICES if self.tokens else space.shape[0]  # sixteenths or events
        rows, starts, low, high, end = [], [], [], [], 0
        for piece in pieces:
            moves, (found, begin) = music.shifts(piece), self._cut(piece)
            if moves:
                starts += [end + start for start in begin]
                low += len(begin) * [moves.start]
                high += len(begin) * [moves.stop]
            rows.append(found)
            end += len(found)
        if not starts:
            raise BadInput("None of these pieces is long enough to learn from; add longer ones.")
        self.rows = torch.cat(rows).to(torch.int16)
        self.starts, self.low, self.high = (torch.tensor(values) for values in (starts, low, high))

    def _cut(self, piece: Tensor) -> tuple[Tensor, list[int]]:
        """The piece's rows, and at which of them a stretch may begin."""
        if self.tokens:
            return piece, list(range(0, len(piece) - self.length + 1, music.BAR))
        found = music.events(piece)
        bars = (found[:, 0].cumsum(0) % music.BAR == 0).nonzero().flatten().tolist()
        begin = [start for start in bars if start == 0 or len(found) - start >= self.length // 2]
        return torch.cat([found, found.new_zeros(self.length, music.FIELDS)]), begin

    def drawn(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.randint(len(self.starts), (n,), generator=rng)
        share = torch.rand(n, generator=rng)
        move = (self.low[k] + (share * (self.high - self.low)[k]).long()).view(-1, 1, 1)
        x = self.rows[self.starts[k][:, None] + torch.arange(self.length)].long()  # (n, length, 4 or 6)
        if self.tokens:
            moved = torch.where(x == music.REST, 0, x - music.LOWEST + 1 + move)
            return moved.flatten(1)
        x[:, 0, 0] = 0
        x[..., 2:] = torch.where(x[..., 1:2] > 0, x[..., 2:] + move, 0)
        return x


# ---- the file --------------------------------------------------------------------------------------------------


def read(content: bytes) -> dict[Split, list[Tensor]]:
    """The pieces of a JSON file {split: [piece: [sixteenth: [MIDI numbers, highest voice first]]]} as grids."""
    splits = json.loads(content)
    return {name: [voiced([[int(p) for p in step] for step in piece]) for piece in splits[name]] for name in SPLITS}


def voiced(steps: list[list[int]]) -> Tensor:
    """Pitches of each sixteenth, highest voice first, as a grid (steps, 4).

    Where fewer than four sound, they belong to the voices whose last pitches lie nearest.
    """
    found = torch.full((len(steps), music.VOICES), music.REST)
    last = list(_USUAL)
    for row, pitches in zip(found, steps, strict=True):
        pitches = pitches[: music.VOICES]
        choices = itertools.combinations(range(music.VOICES), len(pitches))
        voices = min(choices, key=lambda some: sum(abs(last[v] - p) for v, p in zip(some, pitches, strict=True)))
        for voice, pitch in zip(voices, pitches, strict=True):
            row[voice] = last[voice] = pitch
    return found


def load_chorales(name: str) -> Chorales:
    """The set, read once per process; BadInput that says how to get it where it is missing."""
    with _LOCK:
        if not _PIECES:
            _PIECES.update(read(fetch(CHORALE_SETS["chorales"])))
        if name not in _LOADED:
            _LOADED[name] = Chorales(CHORALE_SETS[name].space, _PIECES)
        return _LOADED[name]


_SOURCE = (
    "382 chorales of Johann Sebastian Bach on a grid of sixteenths (public domain), split as by Boulanger-Lewandowski "
    "et al. (2012), from czhuang/JSB-Chorales-dataset; no licence is stated for the file."
)
_FILE = (
    "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/"
    "jsb-chorales-16th.json",
    "8730aca7b64e7d29493733d1cf19fad4a5b351d8f1845e57dac27728104fd39f",
)

CHORALE_SETS = {
    item.name: item
    for item in (
        FetchedSet("chorales", "Bach chorales", _SOURCE, music.events_space(100), *_FILE),
        FetchedSet("chorale-tokens", "Bach chorales as tokens", _SOURCE, music.tokens_space(64), *_FILE),
    )
}

_PIECES: dict[Split, list[Tensor]] = {}
_LOADED: dict[str, Chorales] = {}
_LOCK = threading.Lock()
