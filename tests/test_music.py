"""What an x of music means: the grid, its events, its tokens and its notes are the same piece."""

from __future__ import annotations

import pytest
import torch
from toys import fake_chorales

from gen_models import music
from gen_models.music import Note

A, B, C = [72, 67, 64, 48], [71, 67, 62, 55], [72, 64, 60, 48]  # chords
SILENT = [0, 0, 0, 0]


def grid(*runs: tuple[list[int], int]) -> torch.Tensor:
    """Chords, each for so many sixteenths."""
    return torch.tensor([chord for chord, length in runs for _ in range(length)])


def walks(count: int = 3) -> list[torch.Tensor]:
    return fake_chorales(music.events_space(100), count).pieces("train")


# ---- events ----------------------------------------------------------------------------------------------------


def test_an_event_begins_wherever_a_voice_changes():
    found = music.events(grid((A, 4), (B, 2), (A, 2)))
    assert found.tolist() == [[0, 4, *A], [4, 2, *B], [2, 2, *A]]
    assert found.dtype == torch.int64


def test_long_chords_are_several_events():
    assert music.events(grid((A, 35)))[:, :2].tolist() == [[0, 16], [16, 16], [16, 3]]


@pytest.mark.parametrize("piece", [grid((A, 4), (B, 20), (C, 3), (A, 1)), *walks()])
def test_events_are_the_grid_again(piece):
    assert torch.equal(music.grid(music.events(piece), music.events_space(100)), piece)


def test_silence_lies_between_events():
    piece = grid((SILENT, 5), (A, 4), (SILENT, 3), (B, 2), (SILENT, 6))
    found = music.events(piece)
    assert found[:, :2].tolist() == [[0, 4], [7, 2]], "what is silent at either end is left out"
    assert torch.equal(music.grid(found, music.events_space(9)), piece[5:14])
    apart = music.events(grid((A, 4), (SILENT, 50), (B, 2)))
    assert apart[1, 0] == music.APART


def test_a_silent_voice_doubles_the_nearest_one_above_else_the_highest():
    found = music.events(torch.tensor([[72, 0, 0, 48], [0, 0, 60, 0]]))[:, 2:]
    assert found.tolist() == [[72, 72, 72, 48], [60, 60, 60, 60]]
    sounds = music.events(torch.tensor([[72, 0, 0, 48]] * 2))
    assert len(sounds) == 1, "and is no change by itself"


def test_rows_of_zeros_are_nothing():
    x = torch.cat([music.events(grid((A, 4), (B, 2))), torch.zeros(3, 6, dtype=torch.int64)])
    assert torch.equal(music.grid(x, music.events_space(5)), grid((A, 4), (B, 2)))
    nothing = music.grid(x[2:], music.events_space(5))
    assert nothing.shape == (0, 4)
    assert music.events(nothing).shape == (0, 6)
    assert music.events(grid((SILENT, 4))).shape == (0, 6)


def test_a_first_gap_is_not_heard_and_later_events_silence_earlier_ones():
    x = torch.tensor([[7, 6, *A], [2, 4, *B]])
    assert torch.equal(music.grid(x, music.events_space(2)), grid((A, 2), (B, 4)))


# ---- tokens ----------------------------------------------------------------------------------------------------


def test_tokens_go_from_the_highest_voice_to_the_lowest_step_by_step():
    piece = torch.tensor([[30, 87, 0, 31], [60, 0, 30, 30]])
    found = music.tokens(piece)
    assert found.tolist() == [1, 58, 0, 2, 31, 0, 1, 1]
    assert [music.ALPHABET[k] for k in found.tolist()] == ["30", "87", "rest", "31", "60", "rest", "30", "30"]
    space = music.tokens_space(2)
    assert torch.equal(music.grid(found, space), piece)
    assert torch.equal(music.grid(found[:7], space), piece[:1]), "an unfinished sixteenth is not heard yet"
    assert space.shape == (8,)
    assert music.grid(found[:0], space).shape == (0, 4)


@pytest.mark.parametrize("piece", walks())
def test_tokens_are_the_grid_again(piece):
    assert torch.equal(music.grid(music.tokens(piece), music.tokens_space(64)), piece)


# ---- notes -----------------------------------------------------------------------------------------------------


def test_a_pitch_that_stays_in_its_voice_is_one_note():
    piece = torch.tensor([[72, 60, 0, 48], [72, 62, 0, 48], [72, 62, 55, 0], [74, 62, 55, 48]])
    assert set(music.notes(piece)) == {
        Note(0, 3, 72, 0), Note(3, 1, 74, 0), Note(0, 1, 60, 1), Note(1, 3, 62, 1), Note(2, 2, 55, 2),
        Note(0, 2, 48, 3), Note(3, 1, 48, 3),
    }  # fmt: skip
    starts = [note.start for note in music.notes(piece)]
    assert starts == sorted(starts)
    assert music.notes(piece[:0]) == []


@pytest.mark.parametrize("piece", walks())
def test_notes_are_the_grid_again(piece):
    apart = piece % 8 + torch.tensor([70, 60, 50, 40])  # voices that do not cross
    assert torch.equal(music.from_notes(music.notes(apart)), apart)


def test_of_many_notes_the_outer_ones_stay_and_of_few_the_upper_voices_sing():
    cluster = [Note(0, 1, pitch, 0) for pitch in (40, 50, 60, 70, 80, 85)]
    assert music.from_notes(cluster).tolist() == [[85, 80, 70, 40]]
    assert music.from_notes([Note(1, 1, 50, 3), Note(1, 2, 60, 0)]).tolist() == [SILENT, [60, 50, 0, 0], [60, 0, 0, 0]]
    assert music.from_notes([Note(0, 1, 60, 0), Note(0, 1, 60, 1)]).tolist() == [[60, 0, 0, 0]], "a unison is one tone"
    assert music.from_notes([]).shape == (0, 4)


# ---- keys and transpositions -----------------------------------------------------------------------------------


def test_silence_is_not_transposed():
    assert music.transposed(torch.tensor([A, SILENT]), -3).tolist() == [[69, 64, 61, 45], SILENT]


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (48, 72, range(-6, 7)),
        (33, 72, range(-3, 7)),
        (48, 85, range(-6, 3)),
        (30, 87, range(1)),
        (27, 72, range(3, 7)),
        (20, 72, range(10, 7)),
        (29, 87, range(1, 1)),
    ],
)
def test_transpositions_stay_within_the_range(lowest, highest, expected):
    found = music.shifts(torch.tensor([[highest, 60, 0, lowest]]))
    assert found == expected
    assert bool(found) == bool(expected)


def test_silence_may_stay_where_it_is():
    assert list(music.shifts(torch.tensor([SILENT]))) == [0]


@pytest.mark.parametrize("tonic", range(12))
def test_the_key_of_a_scale_with_its_triad(tonic):
    for mode, degrees in (("major", [0, 2, 4, 5, 7, 9, 11]), ("minor", [0, 2, 3, 5, 7, 8, 10])):
        triad = [degrees[0], degrees[2], degrees[4]]
        tones = torch.tensor(degrees + 3 * triad) + 48 + tonic
        piece = torch.stack([tones, tones + 12, torch.zeros_like(tones), tones], 1)
        assert music.key_of(piece) == (tonic, mode)


def test_the_key_of_silence_is_some_key():
    assert music.key_of(torch.tensor([SILENT])).tonic in range(12)
