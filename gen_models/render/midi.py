"""Music as MIDI files, out and in, with bounds on what a file that somebody brings may hold."""

from __future__ import annotations

import io
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import mido

from gen_models import music
from gen_models.interface import BadInput
from gen_models.render.midi_events import Event, opened
from gen_models.render.sound import QUARTER, TEMPO, checked_tempo, moved

TICKS = 480  # of a quarter note, in what we write
NAMES = ("Soprano", "Alto", "Tenor", "Bass")
MOST_BYTES, MOST_NOTES = 2_000_000, 100_000
LONGEST = 30 * 60  # seconds of a file that is read
_MOST_STEPS = int(LONGEST / 60 * TEMPO.high * QUARTER)
_MOST_SOUNDING = 2_000_000  # sixteenths, all notes one after the other
_PROGRAM, _VELOCITY = 48, 80  # strings
_DRUMS = 9  # the tenth channel
_MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")


def midi(notes: Sequence[music.Note], tempo: float, *, semitones: int = 0, key: music.Key | None = None) -> bytes:
    """Notes as a MIDI file of type 1: a track for tempo and time signature, and one for each voice, highest first.

    `tempo` is in quarter notes per minute; `key` is that of the notes before they are moved by `semitones`. BadInput
    for a tempo outside sound.TEMPO, for no notes and where a transposed pitch leaves MIDI's 0..127.
    """
    tempo = checked_tempo(tempo)
    voices = defaultdict(list)
    for note in moved(notes, semitones):
        voices[min(note.voice, music.VOICES - 1)].append(note)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS)
    head = [mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)), mido.MetaMessage("time_signature")]  # 4/4
    if key:
        names = _MAJOR if key.mode == "major" else _MINOR
        head.append(mido.MetaMessage("key_signature", key=names[(key.tonic + semitones) % 12]))
    file.tracks.append(mido.MidiTrack(head))
    for voice, name in enumerate(NAMES):
        file.tracks.append(_track(name, voice, voices[voice]))
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def read_midi(source: bytes | str | Path) -> list[music.Note]:
    """Any MIDI file's notes on the grid of sixteenths, all channels but drums; `music.from_notes` makes a grid of them.

    Beginnings and ends move to the nearest sixteenth by the file's own ticks, a note lasting one at least; pitches
    outside music.LOWEST..HIGHEST move by octaves. Voices are the parts in their order, or as their tracks are named
    (NAMES); parts beyond the fourth count as the fourth. BadInput, with what to do, for what is no MIDI file, is
    damaged, too large or too long, counts film frames rather than beats, or holds no notes.
    """
    ticks, tracks = opened(_bytes(source))
    found: set[music.Note] = set()
    voices: dict[tuple[int, int], int] = {}
    tempos: list[tuple[int, int]] = []
    last, room = 0, MOST_NOTES
    for number, events in enumerate(tracks):
        track = _played(events, room)
        room -= len(track.notes)
        tempos += track.tempos
        for start, end, pitch, channel in sorted(track.notes, key=lambda note: note[3]):
            voice = voices.setdefault((number, channel), _voice(track.name, len(voices)))
            first, last = _nearest(start, ticks), max(last, end)
            found.add(music.Note(first, max(1, _nearest(end, ticks) - first), _in_range(pitch), voice))
    if not found:
        raise BadInput("This MIDI file has no notes (drums do not count): choose one with a melody or chords in it.")
    if _seconds(last, ticks, tempos) > LONGEST or _nearest(last, ticks) > _MOST_STEPS:
        raise BadInput(f"This MIDI file lasts longer than {LONGEST // 60} minutes: cut a part out of it.")
    if sum(note.length for note in found) > _MOST_SOUNDING:
        raise BadInput("Too many notes of this MIDI file sound at once: leave some of its parts out.")
    return sorted(found)


# ---- out -------------------------------------------------------------------------------------------------------------


def _track(name: str, channel: int, notes: Sequence[music.Note]) -> mido.MidiTrack:
    """Notes as messages with the ticks since the one before; at one tick, what ends goes before what begins."""
    step = TICKS // QUARTER
    events = [(note.start * step, 1, note.pitch) for note in notes]
    events += [((note.start + note.length) * step, 0, note.pitch) for note in notes]
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    track.append(mido.Message("program_change", channel=channel, program=_PROGRAM))
    now = 0
    for tick, begins, pitch in sorted(events):
        kind = "note_on" if begins else "note_off"
        track.append(mido.Message(kind, channel=channel, note=pitch, velocity=_VELOCITY * begins, time=tick - now))
        now = tick
    return track


# ---- in: event by event, since mido makes an object of every message before anything can be counted -----------------


class _Played(NamedTuple):
    """The notes of one track as (start, end, pitch, channel) in ticks, its name and its changes of tempo."""

    notes: list[tuple[int, int, int, int]]
    name: str
    tempos: list[tuple[int, int]]


def _played(events: Iterator[Event], room: int) -> _Played:
    """What a track plays; BadInput at the note after `room`. What ends a pitch ends the one that was struck first."""
    held: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    notes, name, tempos, struck = [], "", [], 0
    for event in events:
        place = (event.channel, event.value)
        if event.kind == "name":
            name = name or event.value
        elif event.kind == "tempo":
            tempos.append((event.tick, event.value))
        elif event.kind == "end":  # what was never released
            notes += [(tick, event.tick, pitch, channel) for (channel, pitch), ticks in held.items() for tick in ticks]
        elif event.channel == _DRUMS:
            continue
        elif event.kind == "on":
            struck += 1
            if struck > room:
                raise BadInput(f"This MIDI file has more than {MOST_NOTES:,} notes: cut a part out of it.")
            held[place].append(event.tick)
        elif held.get(place):
            notes.append((held[place].popleft(), event.tick, event.value, event.channel))
    return _Played(notes, name, tempos)


def _bytes(source: bytes | str | Path) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            with open(source, "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, ValueError):
            raise BadInput("This file cannot be read: choose a MIDI file (.mid).") from None
    if len(data) > MOST_BYTES:
        raise BadInput(f"MIDI files of at most {MOST_BYTES // 10**6} MB can be read: cut a part out of this one.")
    return data


def _voice(name: str, order: int) -> int:
    names = [known.casefold() for known in NAMES]
    return names.index(name.casefold()) if name.casefold() in names else min(order, music.VOICES - 1)


def _nearest(tick: int, ticks: int) -> int:
    """The sixteenth that is nearest to a tick, half a sixteenth counting as a whole one."""
    return (2 * QUARTER * tick + ticks) // (2 * ticks)


def _in_range(pitch: int) -> int:
    """The pitch, moved by octaves into what music of this project spans."""
    if pitch < music.LOWEST:
        return music.LOWEST + (pitch - music.LOWEST) % 12
    return pitch if pitch <= music.HIGHEST else music.HIGHEST - (music.HIGHEST - pitch) % 12


def _seconds(end: int, ticks: int, tempos: list[tuple[int, int]]) -> float:
    """How long a piece of `end` ticks lasts, by its changes of tempo; 120 quarter notes a minute before the first."""
    total, since, quarter = 0.0, 0, 500_000
    for tick, following in sorted(tempos, key=lambda change: change[0]):  # of several at one tick the last holds
        if tick >= end:
            break
        total += (tick - since) * quarter
        since, quarter = tick, following
    return (total + (end - since) * quarter) / ticks / 1e6
