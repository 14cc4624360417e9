"""Statistics of music against numbers worked out by hand, and against the plain loops that they stand for."""

from __future__ import annotations

import pytest
import torch
from toys import fake_chorales

from gen_models import music
from gen_models.interface import BadInput
from gen_models.metrics import distances, longest_copies, statistics
from gen_models.metrics.music import FIRST, durations, intervals, pitch_classes, repeats, wasserstein

MAJOR = [0, 2, 4, 5, 7, 9, 11]


def line(tones: list[int], length: int = 2) -> torch.Tensor:
    """One voice that sings these tones, for so many sixteenths each."""
    piece = torch.zeros(len(tones) * length, 4, dtype=torch.int64)
    piece[:, 0] = torch.tensor(tones).repeat_interleave(length)
    return piece


def walks(count: int = 3, steps: int = 400) -> list[torch.Tensor]:
    return fake_chorales(music.events_space(100), count, steps).pieces("train")


# ---- of a piece's first notes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tonic", range(12))
def test_every_key_fits_its_own_scale(tonic):
    tones = [60 + tonic + degree for degree in MAJOR]
    assert statistics(line(tones)).scale == 1
    assert statistics(line([*tones, 60 + tonic + 1])).scale == pytest.approx(7 / 8), "one note of eight is outside"
    harmonic = [60 + tonic + degree for degree in (0, 2, 3, 5, 7, 8, 11)]
    assert statistics(line(harmonic)).scale == 1


def test_polyphony_counts_times_at_which_two_voices_begin():
    piece = torch.tensor([[72, 67, 64, 48], [72, 67, 64, 48], [74, 67, 64, 48], [74, 65, 62, 48], [72, 65, 62, 48]])
    found = statistics(piece)  # onsets: four voices, one, two, one
    assert found.polyphony == pytest.approx(2 / 4)
    assert found.span == 74 - 48
    assert found.unique == len({72, 67, 64, 48, 74, 65, 62})


def test_only_the_first_notes_count_and_the_lower_of_those_that_begin_together_come_first():
    tones = [60, 62] * (FIRST // 2)
    assert statistics(line([*tones, 90])).span == 2
    assert statistics(line(tones), first=1).unique == 1
    chord = torch.tensor([[72, 67, 64, 48]])
    assert statistics(chord, first=2).span == 64 - 48


@pytest.mark.parametrize("length", [2, 3])
def test_repeats_are_those_of_the_published_loops(length):
    rng = torch.Generator().manual_seed(0)
    for n in (0, 1, 2, 4, 5, 7, 40):
        tones = torch.randint(3, (n,), generator=rng)
        t, expected = tones.tolist(), 0
        for i in range(n - 2 * length):
            for j in range(i + length, n - length):
                expected += t[i : i + length] == t[j : j + length]
        assert repeats(tones, length) == expected
    assert expected > 0


def test_silence_has_no_statistics():
    with pytest.raises(BadInput, match="no notes"):
        statistics(torch.zeros(8, 4, dtype=torch.int64))
    with pytest.raises(BadInput, match="no notes"):
        durations([torch.zeros(8, 4, dtype=torch.int64)])


# ---- histograms ----------------------------------------------------------------------------------------------------


def test_pitch_classes_are_counted_from_the_tonic():
    tones = [60 + degree for degree in [*MAJOR, 0, 4, 7, 0, 4, 7]]
    found = pitch_classes([line(tones)])
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(3 / 13)
    assert found[1] == 0
    moved = pitch_classes([line([tone + 5 for tone in tones])])
    torch.testing.assert_close(moved, found)


def test_intervals_and_durations_of_a_line():
    piece = line([60, 62, 59, 59, 61], 2)  # 59 is held: steps +2, -3, +2
    found = intervals([piece])
    assert found[24 + 2] == pytest.approx(2 / 3)
    assert found[24 - 3] == pytest.approx(1 / 3)
    lengths = durations([piece])
    assert lengths[2 - 1] == pytest.approx(3 / 4)
    assert lengths[4 - 1] == pytest.approx(1 / 4)
    assert intervals([line([30, 87])])[-1] == 1, "the widest bin holds all that are wider"
    assert durations([line([60], 100)])[-1] == 1


def test_the_distance_of_histograms_is_how_far_they_must_be_moved():
    one, other = torch.eye(12, dtype=torch.float64)[[0, 11]]
    assert wasserstein(one, other) == pytest.approx(11)
    assert wasserstein(one, other, circular=True) == pytest.approx(1)
    assert wasserstein((one + other) / 2, one) == pytest.approx(11 / 2)
    assert wasserstein(one, one, circular=True) == 0
    rng = torch.Generator().manual_seed(0)
    p, q = torch.rand(2, 12, generator=rng, dtype=torch.float64)
    p, q = p / p.sum(), q / q.sum()
    cuts = [wasserstein(p.roll(k), q.roll(k)) for k in range(12)]
    assert wasserstein(p, q, circular=True) == pytest.approx(min(cuts)), "the best place to cut the circle"


def test_a_set_is_at_no_distance_from_itself():
    pieces = walks()
    assert set(distances(pieces, pieces).values()) == {0.0}
    slow = [piece.repeat_interleave(2, 0) for piece in pieces]
    far = distances(slow, pieces)
    assert far["intervals"] == pytest.approx(0)
    assert far["durations"] > 1


# ---- copies --------------------------------------------------------------------------------------------------------


def test_the_longest_run_of_chords_is_found_in_any_key():
    known = walks(2)
    part = known[1][40:60]
    chords = len(part.unique_consecutive(dim=0))
    stranger = torch.tensor([[87, 33, 32, 31]] * 2)
    mine = torch.cat([stranger, music.transposed(part, 4), stranger])
    assert longest_copies([mine, part, stranger], known) == [chords, chords, 0]
    assert longest_copies([known[0][:60].repeat_interleave(3, 0)], known) == [
        len(known[0][:60].unique_consecutive(dim=0))
    ]


def test_chords_of_the_same_shapes_that_move_otherwise_are_no_copy():
    one = torch.tensor([[72, 67, 64, 48], [74, 67, 64, 48], [72, 65, 62, 48]])
    other = one + torch.tensor([[0], [1], [0]])
    assert longest_copies([other], [one]) == [1]
    assert longest_copies([one[:0], torch.zeros(4, 4, dtype=torch.int64)], [one]) == [0, 0]
