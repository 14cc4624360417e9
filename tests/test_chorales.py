"""Chorales as data: stretches of training pieces in all keys, splits in their own, and the file that they come from."""

from __future__ import annotations

import json

import pytest
import torch

from gen_models import data, music
from gen_models.data import chorales, fetching
from gen_models.data.chorales import CHORALE_SETS, Chorales, read, voiced
from gen_models.interface import BadInput

BASE = torch.tensor([70, 62, 55, 45])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def piece(steps: int, seed: int, each: int = 1) -> torch.Tensor:
    """A walk of four voices, a chord for `each` sixteenths; the bass tells the pieces apart."""
    steps = steps // each
    found = BASE + torch.randint(0, 5, (steps, 4), generator=rng(seed))
    found[:, 0] = 70 + torch.arange(steps) % 2  # every chord differs from the one before
    return found.repeat_interleave(each, 0)


PIECES = {
    "train": [piece(80, 1), piece(160, 2), piece(24, 3)],
    "valid": [piece(64, 4)],
    "test": [piece(100, 5), piece(20, 6)],
}
EVENTS = Chorales(music.events_space(32), PIECES)
TOKENS = Chorales(music.tokens_space(32), PIECES)


def places(stretch: torch.Tensor, piece: torch.Tensor) -> list[int]:
    """Where the grid of a stretch lies in a piece, transposed by whatever it is."""
    found = []
    for start in range(len(piece) - len(stretch) + 1):
        move = stretch - piece[start : start + len(stretch)]
        if (move == move[0, 0]).all() and abs(int(move[0, 0])) <= 6:
            found.append(start)
    return found


# ---- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [EVENTS, TOKENS], ids=["events", "tokens"])
def test_stretches_begin_with_a_bar_of_a_training_piece_in_some_key(source):
    x = source.batch(200, rng()).x
    assert x.shape == (200, *source.space.shape)
    assert x.dtype == torch.int64
    assert torch.equal(x, source.batch(200, rng()).x)
    begun, moves = set(), set()
    for row in x:
        grid = music.grid(row, source.space)
        found = [(k, start) for k, train in enumerate(PIECES["train"]) for start in places(grid, train)]
        assert len(found) == 1, "of one piece, at one place"
        k, start = found[0]
        assert start % music.BAR == 0
        moves.add(int(grid[0, 0] - PIECES["train"][k][start, 0]))
        begun.add((k, start))
    assert moves == set(range(-6, 7))
    whole = {(k, start) for k, n in ((0, 80), (1, 160)) for start in range(0, n - 31, 16)}
    if source is EVENTS:  # half a row of events is enough, and of a short piece its beginning
        whole |= {(0, 64), (1, 144), (2, 0)}
    assert begun == whole


def test_short_pieces_are_filled_up_with_rows_that_are_nothing():
    x = EVENTS.batch(200, rng()).x
    lengths = (x[..., 1] > 0).sum(1)
    assert set(lengths.tolist()) == {16, 24, 32}
    for row, n in zip(x, lengths.tolist(), strict=True):
        assert (row[:n, 1] > 0).all()
        assert not row[n:].any()
    assert not x[:, 0, 0].any(), "a piece begins at once"


def test_transpositions_stay_within_the_range():
    high = PIECES["train"][0] + (music.HIGHEST - 71)
    source = Chorales(music.events_space(32), PIECES | {"train": [high]})
    x = source.batch(200, rng()).x
    assert x[..., 2:].max() == music.HIGHEST
    assert set((x[:, 0, 2] - high[0, 0]).tolist()) == set(range(-6, 1))


def test_rests_stay_rests_as_tokens():
    silent = PIECES["train"][0].clone()
    silent[:, 1] = music.REST
    x = Chorales(music.tokens_space(32), PIECES | {"train": [silent]}).batch(50, rng()).x.view(50, 32, 4)
    assert not x[:, :, 1].any()
    assert (x[:, :, [0, 2, 3]] > 0).all()


@pytest.mark.parametrize("space", [music.events_space(32), music.tokens_space(32)])
def test_pieces_that_teach_nothing_are_refused(space):
    wide = torch.tensor([[100, 60, 50, 20]] * 64)
    with pytest.raises(BadInput, match="long enough"):
        Chorales(space, PIECES | {"train": [wide]})
    if space.encoding == "tokens":
        with pytest.raises(BadInput, match="long enough"):
            Chorales(space, PIECES | {"train": [piece(31, 0)]})


# ---- splits --------------------------------------------------------------------------------------------------------


def test_splits_of_events_are_the_beginnings_of_all_pieces():
    x = EVENTS.split("test").x
    assert x.shape == (2, 32, 6)
    assert torch.equal(x[0], music.events(PIECES["test"][0])[:32])
    assert torch.equal(music.grid(x[1], EVENTS.space), PIECES["test"][1])
    assert not x[1, 20:].any()


def test_splits_of_tokens_are_windows_that_follow_one_another():
    x = TOKENS.split("test").x
    assert x.shape == (3, 128), "three of the first piece, none of the second"
    assert torch.equal(torch.cat([music.grid(row, TOKENS.space) for row in x]), PIECES["test"][0][:96])


def test_pieces_are_whole_and_in_their_own_key():
    for name, pieces in PIECES.items():
        assert all(torch.equal(*pair) for pair in zip(EVENTS.pieces(name), pieces, strict=True))


# ---- the file ------------------------------------------------------------------------------------------------------


def test_missing_voices_are_those_whose_last_pitches_are_far():
    full = [72, 65, 60, 48]
    assert voiced([full, [65, 60, 47]]).tolist() == [full, [0, 65, 60, 47]]
    assert voiced([full, [71, 49], []]).tolist() == [full, [71, 0, 0, 49], [0, 0, 0, 0]]
    assert voiced([[50]]).tolist() == [[0, 0, 0, 50]], "a first tone in the range of its voice"
    assert voiced([[90, 80, 70, 60, 50]]).tolist() == [[90, 80, 70, 60]]


def content() -> bytes:
    """The pieces as the file has them: some numbers are written as floats."""
    return json.dumps({name: [grid.double().tolist() for grid in grids] for name, grids in PIECES.items()}).encode()


def test_the_file_is_read_as_grids():
    found = read(content())
    assert set(found) == {"train", "valid", "test"}
    for name, pieces in PIECES.items():
        assert all(torch.equal(*pair) for pair in zip(found[name], pieces, strict=True))
        assert found[name][0].dtype == torch.int64


def test_both_sets_share_one_file_and_are_read_once(monkeypatch):
    asked = []

    def fetch(item):
        asked.append(item)
        return content()

    monkeypatch.setattr(chorales, "fetch", fetch)
    monkeypatch.setattr(chorales, "_PIECES", {})
    monkeypatch.setattr(chorales, "_LOADED", {})
    for name in ("chorales", "chorale-tokens"):
        monkeypatch.setitem(
            CHORALE_SETS,
            name,
            fetching.FetchedSet(name, "", "", (EVENTS if name == "chorales" else TOKENS).space, "x", "y"),
        )
    one, other = data.load("chorales"), data.load("chorale-tokens")
    assert (one.space.encoding, other.space.encoding) == ("events", "tokens")
    assert data.load("chorales") is one
    assert len(asked) == 1


def test_spaces_are_known_without_reading(monkeypatch):
    monkeypatch.setattr(chorales, "fetch", lambda _: pytest.fail("read"))
    assert data.space_of("chorales") == music.events_space(100)
    assert data.space_of("chorale-tokens") == music.tokens_space(64)
    for name in CHORALE_SETS:
        assert name in data.NAMES
        assert data.title_of(name)
        assert "Bach" in data.source_of(name)
        assert len(CHORALE_SETS[name].sha256) == 64
