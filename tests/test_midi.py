"""MIDI files say the same to an independent reader as to ours, and what cannot be read says what to do."""

import contextlib
import io
import time
import tracemalloc

import mido
import pytest
import symusic
import torch

from gen_models import music, render
from gen_models.interface import BadInput
from gen_models.music import Key, Note
from gen_models.render.midi import NAMES

PIECE = [
    Note(0, 4, 72, 0),
    Note(0, 8, 64, 1),
    Note(4, 2, 72, 0),
    Note(6, 2, 71, 0),
    Note(8, 16, 60, 2),
    Note(9, 3, 43, 3),
]
ON, OFF, END = "90", "80", "00 ff 2f 00"


def chorale(steps: int = 64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    moves = torch.randint(-5, 6, (steps // 2, 4), generator=rng)
    return (torch.tensor([72, 65, 57, 45]) + moves).repeat_interleave(2, 0)


def raw(*tracks: str | bytes, form: int = 1, division: int = 480, count: int | None = None) -> bytes:
    """A MIDI file made by hand, its tracks as hexadecimal bytes."""
    bodies = [bytes.fromhex(track) if isinstance(track, str) else track for track in tracks]
    head = b"MThd" + b"".join(n.to_bytes(k) for n, k in ((6, 4), (form, 2), (count or len(tracks), 2), (division, 2)))
    return head + b"".join(b"MTrk" + len(body).to_bytes(4) + body for body in bodies)


def written(*tracks: list[mido.Message], ticks: int = 480, form: int = 1) -> bytes:
    file = mido.MidiFile(type=form, ticks_per_beat=ticks)
    file.tracks.extend(map(mido.MidiTrack, tracks))
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def message(kind: str, pitch: int, time: int, channel: int = 0, velocity: int = 64) -> mido.Message:
    return mido.Message(kind, note=pitch, time=time, channel=channel, velocity=velocity)


# ---- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notes", [PIECE, music.notes(chorale())], ids=["piece", "chorale"])
@pytest.mark.parametrize(("tempo", "semitones"), [(100, 0), (72.5, -3)])
def test_an_independent_reader_finds_the_notes_the_tempo_and_the_key(notes, tempo, semitones):
    score = symusic.Score.from_midi(render.midi(notes, tempo, semitones=semitones, key=Key(9, "minor")))
    assert score.ticks_per_quarter == 480
    found = [
        Note(note.time // 120, note.duration // 120, note.pitch - semitones, NAMES.index(track.name))
        for track in score.tracks
        for note in track.notes
    ]
    assert sorted(found) == sorted(notes)
    assert all(note.time % 120 == note.duration % 120 == 0 for track in score.tracks for note in track.notes)
    assert not any(track.is_drum for track in score.tracks)
    assert [(tempo.time, round(tempo.qpm, 2)) for tempo in score.tempos] == [(0, tempo)]
    assert [(sign.numerator, sign.denominator) for sign in score.time_signatures] == [(4, 4)]
    assert [(sign.key, sign.tonality) for sign in score.key_signatures] == [(0 if semitones == 0 else 3, 1)]


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_every_key_is_written_with_its_own_sharps_or_flats(mode):
    for tonic in range(12):
        (sign,) = symusic.Score.from_midi(render.midi(PIECE, 100, key=Key(tonic, mode))).key_signatures
        assert sign.tonality == (mode == "minor")
        assert abs(sign.key) <= 6
        assert (7 * sign.key + 9 * (mode == "minor")) % 12 == tonic  # a sharp is a fifth up; minor a third below
    assert not symusic.Score.from_midi(render.midi(PIECE, 100)).key_signatures


def test_four_tracks_are_named_and_the_same_notes_give_the_same_bytes():
    file = mido.MidiFile(file=io.BytesIO(render.midi(PIECE, 100)))
    assert file.type == 1
    assert [track.name for track in file.tracks] == ["", "Soprano", "Alto", "Tenor", "Bass"]
    assert file.length == pytest.approx(24 * 15 / 100)
    assert render.midi(PIECE, 100) == render.midi(PIECE[::-1], 100)


# ---- and in again ----------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path):
    grid = chorale()
    notes = music.notes(grid)
    data = render.midi(notes, 88)
    assert render.read_midi(data) == notes
    (tmp_path / "piece.mid").write_bytes(data)
    assert render.read_midi(tmp_path / "piece.mid") == render.read_midi(str(tmp_path / "piece.mid")) == notes
    assert render.read_midi(render.midi(PIECE, 88)) == sorted(PIECE)
    again = music.from_notes(render.read_midi(data))
    assert [set(row) - {music.REST} for row in again.tolist()] == [set(row) for row in grid.tolist()]


def test_voices_keep_their_number_when_others_are_silent():
    notes = [Note(0, 4, 60, 1), Note(4, 4, 48, 3)]
    assert render.read_midi(render.midi(notes, 100)) == notes


@pytest.mark.parametrize(("ticks", "form"), [(480, 1), (96, 1), (1024, 0), (7, 0)])
def test_random_files_hold_what_an_independent_reader_finds(ticks, form):
    rng = torch.Generator().manual_seed(ticks)
    tracks, draw = [], lambda high: int(torch.randint(high, (), generator=rng))
    for channels in [(0, 3)] if form == 0 else [(0,), (1, 9), (2,), (4, 5)]:
        track = []
        for _ in range(300):
            kind = ("note_on", "note_on", "note_off", "control_change", "pitchwheel")[draw(5)]
            rest = {"time": draw(ticks), "channel": channels[draw(len(channels))]}
            if kind.startswith("note"):
                rest |= {"note": 50 + draw(12), "velocity": (0, 64)[draw(2)]}
            track.append(mido.Message(kind, **rest))
        track += [message("note_off", 50 + k % 12, ticks * (k == 0), c) for c in channels for k in range(12 * 80)]
        tracks.append(track)
    data = written(*tracks, ticks=ticks, form=form)
    score = symusic.Score.from_midi(data)
    wanted = {
        (round_up(4 * note.time, ticks), round_up(4 * (note.time + note.duration), ticks), note.pitch)
        for track in score.tracks
        if not track.is_drum
        for note in track.notes
    }
    found = {(note.start, note.length, note.pitch) for note in render.read_midi(data)}
    assert len(wanted) > 50
    assert found == {(start, max(1, end - start), pitch) for start, end, pitch in wanted}


def round_up(part: int, whole: int) -> int:
    return (2 * part + whole) // (2 * whole)


@pytest.mark.parametrize(
    ("track", "found"),
    [
        (f"00 {ON} 3c 40  83 60 {OFF} 3c 00 {END}", [Note(0, 4, 60, 0)]),
        (f"00 {ON} 3c 40  83 60 3c 00 {END}", [Note(0, 4, 60, 0)]),  # running status; velocity 0 releases
        (f"00 {ON} 3c 40  83 60 {ON} 3c 40  83 60 3c 00  83 60 3c 00 {END}", [Note(0, 8, 60, 0), Note(4, 8, 60, 0)]),
        (f"00 {ON} 3c 40  83 60 ff 2f 00", [Note(0, 4, 60, 0)]),  # never released
        (f"00 {ON} 3c 40  83 60 {OFF} 3c 00", [Note(0, 4, 60, 0)]),  # no end of the track
        (f"00 {ON} 3c 40  01 {OFF} 3c 00 {END}", [Note(0, 1, 60, 0)]),  # nothing lasts less than a sixteenth
        (f"3b {ON} 3c 40  3d {OFF} 3c 00 {END}", [Note(0, 1, 60, 0)]),  # ticks 59 and 120 of 120 a sixteenth
        (f"3c {ON} 3c 40  83 60 {OFF} 3c 00 {END}", [Note(1, 4, 60, 0)]),  # half a sixteenth counts
        (f"00 {OFF} 3c 00  00 {ON} 3c 40  78 {OFF} 3c 00 {END}", [Note(0, 1, 60, 0)]),  # released before it was struck
        (f"00 f0 03 01 02 f7  00 c0 05  00 {ON} 3c 40  78 ff 01 02 68 69  00 {OFF} 3c 00 {END}", [Note(0, 1, 60, 0)]),
        (f"00 {ON} 00 40  00 {ON} 7f 40  78 {OFF} 00 00  00 {OFF} 7f 00 {END}", [Note(0, 1, 36, 0), Note(0, 1, 79, 0)]),
        (f"00 {ON} 1d 40  00 {ON} 58 40  78 {OFF} 1d 00  00 {OFF} 58 00 {END}", [Note(0, 1, 41, 0), Note(0, 1, 76, 0)]),
        (f"00 {ON} 1e 40  00 {ON} 57 40  78 {OFF} 1e 00  00 {OFF} 57 00 {END}", [Note(0, 1, 30, 0), Note(0, 1, 87, 0)]),
        (f"00 99 3c 40  00 {ON} 3e 40  78 89 3c 00  00 {OFF} 3e 00 {END}", [Note(0, 1, 62, 0)]),  # drums are none
    ],
)
def test_events_of_every_form_are_understood(track, found):
    assert render.read_midi(raw(track)) == found
    assert render.read_midi(raw("00 ff 2f 00", track)) == found  # a track without notes is no voice
    body = raw(track)
    assert render.read_midi(b"RIFF" + (len(body) + 12).to_bytes(4, "little") + b"RMIDdata" + bytes(4) + body) == found


def test_parts_become_voices_in_their_order_and_the_rest_the_lowest():
    tracks = [f"00 9{k} {0x30 + k:02x} 40  78 8{k} {0x30 + k:02x} 00 {END}" for k in range(6)]
    assert [note.voice for note in render.read_midi(raw(*tracks))] == [0, 1, 2, 3, 3, 3]


def test_chunks_of_another_kind_are_skipped():
    data = raw(f"00 {ON} 3c 40  78 {OFF} 3c 00 {END}")
    assert render.read_midi(data[:14] + b"XFIH\0\0\0\x03abc" + data[14:]) == [Note(0, 1, 60, 0)]


# ---- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a MIDI file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a MIDI file"),
        (b"MThd", "damaged"),
        (raw(), "no notes"),
        (raw(END), "no notes"),
        (raw(f"00 99 3c 40 78 89 3c 00 {END}"), "drums do not count"),
        (raw(f"00 {ON} 3c 40", count=3), "damaged.*cut off"),
        (raw(f"00 {ON} 3c"), "damaged.*breaks off"),
        (raw("00 ff 51 03 01"), "damaged.*breaks off"),
        (raw("83"), "damaged.*breaks off"),
        (raw("00 3c 40"), "damaged"),  # running status of nothing
        (raw(f"00 {ON} 3c 90 {END}"), "damaged"),
        (raw("00 f4 00"), "damaged"),
        (raw("ff ff ff ff 7f 90 3c 40"), "damaged.*no end"),
        (raw(END, division=0), "damaged.*header"),
        (raw(END, division=0xE728), "SMPTE"),
        (raw(END, form=2), "type 2"),
        (raw(f"00 {ON} 3c 40 ff ff ff 7f {OFF} 3c 00 {END}"), "longer than 30 minutes"),
    ],
)
def test_bad_files_are_refused_with_what_to_do(data, words):
    with pytest.raises(BadInput, match=words):
        render.read_midi(data)


def test_a_file_cut_anywhere_is_refused_or_read_but_never_fails_otherwise():
    data = render.midi(PIECE, 100)
    for end in range(len(data)):
        with pytest.raises(BadInput):
            render.read_midi(data[:end])
    rng = torch.Generator().manual_seed(0)
    for _ in range(300):
        bad = bytearray(data)
        for at, value in torch.randint(256, (4, 2), generator=rng).tolist():
            bad[at % len(bad)] = value
        with contextlib.suppress(BadInput):
            assert all(music.LOWEST <= note.pitch <= music.HIGHEST for note in render.read_midi(bytes(bad)))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "none.mid", tmp_path, "a\0b"):
        with pytest.raises(BadInput, match="cannot be read"):
            render.read_midi(path)


def test_a_slow_tempo_makes_a_file_too_long_and_an_endless_one_is_too_long_at_any():
    notes = f"{ON} 3c 40 85 a8 00 {OFF} 3c 00 {END}"  # 87040 ticks: 181.3 quarter notes
    assert render.read_midi(raw(f"00 {notes}"))[0].length == 725
    slow, fast = "00 ff 51 03 ff ff ff", "00 ff 51 03 00 00 01"
    with pytest.raises(BadInput, match="30 minutes"):  # 16.8 seconds a quarter note
        render.read_midi(raw(f"{slow} 00 {notes}"))
    assert render.read_midi(raw(f"{slow} {fast} 00 {notes}"))
    with pytest.raises(BadInput, match="30 minutes"):  # a microsecond a quarter note, but endless on the grid
        render.read_midi(raw(f"{fast} ff ff ff 7f {notes}"))


def test_a_million_notes_are_refused_at_once_and_without_filling_memory(tmp_path):
    pair = bytes.fromhex("00 3c 40 01 3c 00")
    million = raw(bytes.fromhex("00 90 3c 40") + 10**6 * pair)
    (tmp_path / "million.mid").write_bytes(million)
    many = raw(bytes.fromhex("00 90 3c 40 01 3c 00") + 300_000 * pair)
    assert len(many) < 2_000_000 < len(million)
    for source, words in ((million, "2 MB"), (tmp_path / "million.mid", "2 MB"), (many, "100,000 notes")):
        begun = time.perf_counter()
        with pytest.raises(BadInput, match=words):
            render.read_midi(source)
        assert time.perf_counter() - begun < 2
    tracemalloc.start()
    with pytest.raises(BadInput, match="100,000 notes"):
        render.read_midi(many)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()


def test_100000_notes_over_several_tracks_are_still_read_and_too_many_at_once_are_not():
    part = bytes.fromhex("00 90 3c 40 01 3c 00") + 49_999 * bytes.fromhex("00 3c 40 01 3c 00")
    assert render.read_midi(raw(part, part))[-1].start == pytest.approx(50_000 / 120, abs=1)
    with pytest.raises(BadInput, match="100,000 notes"):
        render.read_midi(raw(part, part, f"00 {ON} 3c 40 01 {OFF} 3c 00 {END}"))
    drone = "".join(f"01 {ON} {k % 128:02x} 40 " for k in range(20_000)) + f"83 ff 7f {OFF} 00 00 {END}"
    with pytest.raises(BadInput, match="at once"):
        render.read_midi(raw(drone, division=24))
