"""A MIDI file event by event: only what concerns notes, so that a reader can stop at any of them.

Standard MIDI Files 1.0 (MIDI Manufacturers Association, 1988, RP-001).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from gen_models.interface import BadInput

_META, _SYSTEM = 0xFF, (0xF0, 0xF7)
_NAME, _END, _TEMPO = 0x03, 0x2F, 0x51  # of the events that are not for an instrument
_OFF, _ON = 0x80, 0x90
_SHORT = (0xC0, 0xD0)  # messages with one data byte


class Event(NamedTuple):
    """At which tick of its track; a channel (0..15) and a pitch, or a name, or microseconds of a quarter note."""

    tick: int
    kind: Literal["on", "off", "name", "tempo", "end"]
    channel: int = 0
    value: int | str = 0


def opened(data: bytes) -> tuple[int, list[Iterator[Event]]]:
    """How many ticks a quarter note has, and the events of each track, to be read once; each track has an "end".

    BadInput for what is no MIDI file, counts film frames rather than beats, or is damaged, here or while it is read.
    """
    if data[:4] == b"RIFF" and data[8:16] == b"RMIDdata":
        data = data[20:]
    if data[:4] != b"MThd":
        raise BadInput("This is not a MIDI file: choose one that ends in .mid, or export one from a music program.")
    if len(data) < 14:
        raise damaged("it is cut off")
    size, form, count, ticks = (int.from_bytes(data[a:b]) for a, b in ((4, 8), (8, 10), (10, 12), (12, 14)))
    if size < 6 or not ticks:
        raise damaged("its header makes no sense")
    if ticks & 0x8000:
        raise BadInput("This MIDI file counts film frames (SMPTE), not beats: export it again with musical time.")
    if form > 1:
        raise BadInput("This MIDI file holds separate pieces (type 2): export one of them as type 0 or 1.")
    return ticks, [_events(chunk) for chunk in _tracks(data, 8 + size, count)]


def damaged(how: str) -> BadInput:
    """The refusal of a file that breaks off or contradicts itself."""
    return BadInput(f"This MIDI file is damaged, {how}: open it in a music program and export it again.")


def _tracks(data: bytes, at: int, count: int) -> list[bytes]:
    """The contents of so many track chunks from `at` on; others are skipped, as the standard asks."""
    found = []
    while len(found) < count:
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        if len(data) < at + 8 or len(data) < end:
            raise damaged("it is cut off")
        if data[at : at + 4] == b"MTrk":
            found.append(data[at + 8 : end])
        at = end
    return found


def _events(chunk: bytes) -> Iterator[Event]:
    try:
        yield from _parsed(chunk)
    except IndexError:
        raise damaged("a track breaks off") from None


def _parsed(chunk: bytes) -> Iterator[Event]:
    """The events of a track; IndexError where it breaks off within one."""
    at, tick, status = 0, 0, 0
    while at < len(chunk):
        delta, at = _number(chunk, at)
        tick += delta
        first = chunk[at]
        if first == _META:
            kind = chunk[at + 1]
            size, at = _number(chunk, at + 2)
            body, at = _taken(chunk, at, size)
            if kind == _END:
                break
            if kind == _NAME:
                yield Event(tick, "name", value=body.decode("latin-1").strip("\0 "))
            elif kind == _TEMPO:
                yield Event(tick, "tempo", value=int.from_bytes(body))
        elif first in _SYSTEM:
            size, at = _number(chunk, at + 1)
            _, at = _taken(chunk, at, size)
        else:
            if first >= 0x80:  # else the status of the message before holds
                status, at = first, at + 1
            if not 0x80 <= status < 0xF0:
                raise damaged("a track holds what no instrument understands")
            kind, channel = status & 0xF0, status & 0x0F
            body, at = _taken(chunk, at, 1 if kind in _SHORT else 2)
            if max(body) >= 0x80:
                raise damaged("a track holds what no instrument understands")
            if kind in (_OFF, _ON):  # struck with velocity 0 means released
                yield Event(tick, "on" if kind == _ON and body[1] else "off", channel, body[0])
    yield Event(tick, "end")


def _taken(chunk: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(chunk):
        raise IndexError
    return chunk[at : at + size], at + size


def _number(chunk: bytes, at: int) -> tuple[int, int]:
    """A number of one to four bytes, seven bits in each, and where what follows it begins."""
    value = 0
    for k in range(at, at + 4):
        value = value << 7 | chunk[k] & 0x7F
        if chunk[k] < 0x80:
            return value, k + 1
    raise damaged("a number in it has no end")
