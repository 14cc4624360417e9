"""Music as sound: a soft voice of a few harmonics, plucked and then held, in a small room, as a WAV file.

A pure tone for each harmonic; those of the pluck fade within a second, those that are held stay.
"""

from __future__ import annotations

import io
import math
import wave
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gen_models import music
from gen_models.interface import BadInput, Range

TEMPO = Range(20, 400)  # quarter notes per minute
LONGEST = 15 * 60  # seconds of music in a file
TAIL = 1.25  # seconds after the last note's end: its release and the room's answer, then silence
QUARTER = music.BAR // 4  # sixteenths

_HELD = (1, 0.42, 0.24, 0.10, 0.07, 0.04, 0.02, 0.012)  # of the harmonics, from the fundamental on
_PLUCKED = (0.55, 0.5, 0.42, 0.3, 0.22, 0.16, 0.1, 0.07, 0.045, 0.03)
_HIGHEST = 7000  # hertz: no harmonic lies above
_ATTACK, _RELEASE = 0.014, 0.22  # seconds
_PLUCK, _SINKS, _STAYS = 0.28, 1.2, 0.6  # seconds, seconds, and what is left of a long note's loudness
_DETUNED, _CHORUS = 3.5, 0.4  # cents up on the left and down on the right, and how loud against the note itself
_ACROSS = (0.22, 0.08, -0.08, -0.22)  # of the voices, highest first: 1 is all to the right
_ROOM, _DELAY, _WET = 0.9, 0.012, 0.2  # seconds, seconds, and its loudness against the direct sound
_PEAK = 0.89  # one decibel below full scale
_MOST = 30 * LONGEST  # seconds of tones, releases included, one after the other
_BLOCK = 2**16  # samples
_TABLE = 16  # bits: a period has 2^16 places, so that rounding to one is no louder than 16-bit samples are exact


def wav(notes: Sequence[music.Note], tempo: float, *, semitones: int = 0, rate: int = 32000) -> bytes:
    """Notes as a WAV file: 16-bit PCM, two channels, `rate` samples a second; the same notes give the same bytes.

    `tempo` is in quarter notes per minute. The file lasts as long as the notes from step 0 to the last one's end, and
    TAIL seconds. Its loudest sample lies a decibel below full scale. BadInput for a tempo outside TEMPO, for no notes,
    for more than LONGEST seconds and where a transposed pitch leaves MIDI's 0..127.
    """
    tempo = checked_tempo(tempo)
    notes = moved(notes, semitones)
    step = 60 / tempo / QUARTER  # seconds
    seconds = max(note.start + note.length for note in notes) * step
    if seconds > LONGEST:
        raise BadInput(
            f"{seconds / 60:.1f} minutes are too much for one sound file: at most {LONGEST // 60}. "
            "Raise the tempo or shorten the piece; a MIDI file holds all of it."
        )
    if sum(note.length for note in notes) * step + len(notes) * _RELEASE > _MOST:
        raise BadInput(f"{len(notes)} notes sound at once or too densely for a sound file: take four voices of them.")
    sound = np.zeros((2, round((seconds + TAIL) * rate)), np.float32)
    for pitch, same in _by_pitch(notes).items():
        _play(sound, pitch, same, step, rate)
    _answer(sound, rate)
    sound *= _PEAK * 32767 / max(float(sound.max()), -float(sound.min()))
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.setnframes(sound.shape[1])
        for first in range(0, sound.shape[1], _BLOCK):
            file.writeframesraw(np.rint(sound[:, first : first + _BLOCK].T).astype("<i2", "C"))
    return stream.getvalue()


def checked_tempo(tempo: Any) -> float:
    """The tempo as a number; BadInput unless it lies within TEMPO."""
    try:
        value = float(tempo)
    except (TypeError, ValueError):
        value = math.nan
    if not TEMPO.low <= value <= TEMPO.high:
        raise BadInput(f"The tempo is a number of quarters a minute from {TEMPO.low} to {TEMPO.high}; got {tempo!r}.")
    return value


def moved(notes: Sequence[music.Note], semitones: int) -> list[music.Note]:
    """The notes that last, so many semitones higher; BadInput where there are none or one leaves MIDI's range."""
    found = [note._replace(pitch=note.pitch + semitones) for note in notes if note.length > 0]
    if not found:
        raise BadInput("There is no note to play: make a piece first, or open one that has notes.")
    low, high = min(note.pitch for note in found), max(note.pitch for note in found)
    if low < 0 or high > 127:
        raise BadInput(f"Pitches are MIDI numbers from 0 to 127; here they go from {low} to {high}. Transpose by less.")
    return found


def _by_pitch(notes: Sequence[music.Note]) -> dict[int, list[music.Note]]:
    """Notes of each pitch, in an order that does not depend on theirs."""
    found = defaultdict(list)
    for note in sorted(notes):
        found[note.pitch].append(note)
    return dict(sorted(found.items()))


def _play(sound: np.ndarray, pitch: int, notes: Sequence[music.Note], step: float, rate: int) -> None:
    """Add the notes of one pitch: all begin alike, so that the longest one is rendered and the others are cut from it.

    Each keeps sounding while it is released, over whatever comes next. Block by block: a drone needs little memory.
    """
    release = np.cos(np.linspace(0, np.pi / 2, round(_RELEASE * rate), dtype=np.float32)) ** 2
    longest = round(max(note.length for note in notes) * step * rate) + len(release)
    for begin in range(0, longest, _BLOCK):
        tone = _tone(pitch, np.arange(begin, min(begin + _BLOCK, longest), dtype=np.uint32), rate)
        for note in notes:
            held = round(note.length * step * rate) - begin  # from here on it is released
            if held + len(release) <= 0:
                continue
            angle = np.pi / 4 * (1 + _ACROSS[min(note.voice, music.VOICES - 1)])
            one = tone[:, : held + len(release)] * np.float32([[np.cos(angle)], [np.sin(angle)]])
            fading = one[:, max(held, 0) :]
            fading *= release[max(-held, 0) :][: fading.shape[1]]
            first = round(note.start * step * rate) + begin
            sound[:, first : first + one.shape[1]] += one


def _tone(pitch: int, count: np.ndarray, rate: int) -> np.ndarray:
    """The samples `count` (n,) uint32 of a pitch that is not released: (2, n) float32; the sides are detuned apart."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    harmonics = max(1, int(min(_HIGHEST, 0.45 * rate) / hertz))
    held, plucked = _period(_HELD[:harmonics]), _period(_PLUCKED[:harmonics])
    time = count.astype(np.float32) / np.float32(rate)
    pluck = np.exp(time / np.float32(-_PLUCK))
    loud = _loudness(hertz) * (_STAYS + (1 - _STAYS) * np.exp(time / np.float32(-_SINKS)))
    rising = time[: np.searchsorted(time, _ATTACK)]
    loud[: len(rising)] *= np.sin(rising * np.float32(np.pi / 2 / _ATTACK)) ** 2

    def one(cents: float) -> np.ndarray:
        """The place within the period is a whole number that wraps round: exact however long the note is."""
        turn = np.uint32(round(hertz * 2 ** (cents / 1200) / rate * 2**32))
        place = (count * turn) >> np.uint32(32 - _TABLE)
        return held.take(place) + pluck * plucked.take(place)

    middle = one(0)
    return np.stack([loud * (middle + np.float32(_CHORUS) * one(cents)) for cents in (_DETUNED, -_DETUNED)])


def _loudness(hertz: float) -> np.float32:
    """Low tones sound softer than high ones of the same power: 2 decibels an octave, even at middle C."""
    return np.float32((261.6 / hertz) ** 0.33)


@lru_cache(maxsize=64)
def _period(harmonics: tuple[float, ...]) -> np.ndarray:
    """One period of so many harmonics: (2^_TABLE,) float32, beginning at 0."""
    angle = np.arange(2**_TABLE) * (2 * np.pi / 2**_TABLE)
    found = sum(loud * np.sin(k * angle) for k, loud in enumerate(harmonics, 1))
    return np.asarray(found, np.float32)


def _answer(sound: np.ndarray, rate: int) -> None:
    """Add the room's answer to (2, frames), block by block so that a long piece needs no more memory than a short."""
    heard = _room(rate)  # (2, n)
    width = 2 ** math.ceil(math.log2(4 * heard.shape[1]))
    advance = width - heard.shape[1] + 1
    spectrum = np.fft.rfft(heard, width)
    left_over = np.zeros((2, 0), np.float32)
    for first in range(0, sound.shape[1], advance):
        block = sound[:, first : first + advance]
        wet = np.fft.irfft(np.fft.rfft(block.mean(0), width) * spectrum, width)
        wet[:, : left_over.shape[1]] += left_over
        left_over = wet[:, advance:].copy()
        block += wet[:, : block.shape[1]]


@lru_cache(maxsize=4)
def _room(rate: int) -> np.ndarray:
    """What a small room makes of a click: noise that fades away within _ROOM seconds, its height first: (2, n)."""
    frames = round(_ROOM * rate)
    time = np.arange(frames) / rate
    noise = np.random.Generator(np.random.PCG64(6)).standard_normal((2, frames))
    pitch = np.fft.rfftfreq(frames, 1 / rate)
    dull, bright = (np.fft.irfft(np.fft.rfft(noise) / (1 + (pitch / cut) ** 2), frames) for cut in (900, 3500))
    dull, bright = dull / dull.std(), bright / bright.std()
    fading = dull * np.exp(-time / 0.16) + 0.5 * bright * np.exp(-time / 0.07)
    fading *= np.minimum(1, (frames - 1 - np.arange(frames)) / (0.2 * frames)) * np.minimum(1, time / 0.004)
    strength = abs(np.fft.rfft(fading))[:, (pitch > 100) & (pitch < 1000)]  # where most of the tones lie
    fading *= _WET / np.sqrt((strength**2).mean(1, keepdims=True))
    return np.concatenate([np.zeros((2, round(_DELAY * rate))), fading], 1).astype(np.float32)
