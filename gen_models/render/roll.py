"""Music as a piano roll: time to the right, pitch upwards, a colour for each voice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gen_models import music
from gen_models.interface import BadInput, Space
from gen_models.render.scatter import COLOURS

SHAPE = 3  # width over height of the roll of one piece
# Highest first: the upper voices warm, the lower ones cool, each pair light and dark. In either theme any two stay
# apart for the three kinds of colour blindness, and each has three times the luminance of the ground or a third.
VOICE_COLOURS = {
    "light": ("#d07300", "#8f1d2c", "#0a8ad6", "#1b2a8a"),
    "dark": ("#f7e26b", "#f08a3c", "#5fc0f2", "#4a78d0"),
}
_FINE = 3  # places within a pixel, each way, at which an edge can lie
_LEAST = 24  # semitones that a roll spans at least
_NAMED = 14  # pixels between two names, at least


def roll(
    notes: Sequence[music.Note],
    *,
    size: tuple[int, int] = (960, 320),
    theme: Literal["light", "dark"] = "light",
    steps: int | None = None,
    span: tuple[int, int] | None = None,
    ground: str | None = None,
) -> Image.Image:
    """Notes as a picture (width, height), RGB: `steps` sixteenths across, the pitches `span` (low, high) upwards.

    By default it is as long as the notes and as wide as their pitches. Faint lines stand at the bars and below each C,
    whose names (C4 is MIDI 60) stand on the left where there is room. Where voices share a pitch, the higher one is the
    thinner one, within the other.
    """
    steps = max(steps or _end(notes), 1)
    low, high = span or spanned(notes)
    width, height = size
    row = height / (high - low + 1)  # pixels
    names = _names(low, high, row) if width >= 240 and 12 * row >= _NAMED else {}
    font = ImageFont.load_default(9 + min(3, height / 160))
    left = math.ceil(max(font.getlength(name) for name in names.values()) + 8) if names else 0
    colours = COLOURS[theme]
    image = Image.new("RGB", (width * _FINE, height * _FINE), ground or colours["card"])
    draw = ImageDraw.Draw(image)
    step = (width - left) / steps
    _lines(draw, image.size, (left, step, row), steps, (low, high), colours["line"])
    _notes(draw, _within(notes, steps, low, high), (left, step, row), high, VOICE_COLOURS[theme])
    image = image.reduce(_FINE)
    draw = ImageDraw.Draw(image)
    for pitch, name in names.items():
        middle = (high - pitch + 0.5) * row
        if 6 <= middle <= height - 6:
            draw.text((left - 5, middle), name, fill=colours["muted"], font=font, anchor="rm")
    return image


def roll_data(notes: Sequence[music.Note], steps: int | None = None) -> dict[str, Any]:
    """What a canvas needs to draw the roll: JSON values; `notes` are [start, length, pitch, voice] in sixteenths."""
    low, high = spanned(notes)
    return {"notes": [list(map(int, note)) for note in notes], "steps": steps or _end(notes), "low": low, "high": high}


def rolls(
    x: Tensor,
    space: Space,
    *,
    height: int,
    theme: Literal["light", "dark"] = "light",
    ground: str | None = None,
) -> list[Image.Image]:
    """Pieces (B, ...) as rolls of `height` pixels, on one scale of time and pitch so that they compare."""
    if not len(x):
        raise BadInput("There is no music to show; make at least one piece.")
    grids = [music.grid(row, space) for row in x]
    pieces = [music.notes(grid) for grid in grids]
    span = spanned([note for notes in pieces for note in notes])
    steps = max(len(grid) for grid in grids)
    size = (SHAPE * height, height)
    return [roll(notes, size=size, theme=theme, steps=steps, span=span, ground=ground) for notes in pieces]


def spanned(notes: Sequence[music.Note]) -> tuple[int, int]:
    """The lowest and highest pitch that a roll of these notes shows: a little room, two octaves at least."""
    if not notes:
        return 48, 72
    low = min(note.pitch for note in notes) - 2
    high = max(note.pitch for note in notes) + 2
    missing = max(0, _LEAST - (high - low))
    return low - missing // 2, high + missing - missing // 2


def _end(notes: Sequence[music.Note]) -> int:
    return max((note.start + note.length for note in notes), default=0)


def _names(low: int, high: int, row: float) -> dict[int, str]:
    """The C's from low to high and their names, as many as do not touch."""
    apart = 12 * math.ceil(_NAMED / (12 * row))
    return {pitch: f"C{pitch // 12 - 1}" for pitch in range(-(-low // 12) * 12, high + 1, 12) if pitch % apart == 0}


def _lines(
    draw: ImageDraw.ImageDraw,
    extent: tuple[int, int],
    scale: tuple[float, float, float],
    steps: int,
    span: tuple[int, int],
    colour: str,
) -> None:
    """One pixel wide, whatever the fineness; of the bars only each 2nd, 4th, .. where they would crowd."""
    left, step, row = scale
    width, height = extent
    bars = music.BAR * 2 ** max(0, math.ceil(math.log2(12 / (music.BAR * step))))
    for at in range(0 if left else bars, steps, bars):
        x = _FINE * round(left + at * step)
        draw.rectangle((x, 0, x + _FINE - 1, height - 1), fill=colour)
    low, high = span
    for pitch in range(-(-(low + 1) // 12) * 12, high + 1, 12):
        y = _FINE * round((high - pitch + 1) * row)
        draw.rectangle((_FINE * left, y, width - 1, y + _FINE - 1), fill=colour)


def _within(notes: Sequence[music.Note], steps: int, low: int, high: int) -> list[music.Note]:
    """The notes that are seen, cut at the end, the lowest voice first."""
    seen = [note for note in notes if note.start < steps and low <= note.pitch <= high]
    seen = [note._replace(length=min(note.length, steps - note.start)) for note in seen]
    return sorted(seen, key=lambda note: (-note.voice, note.start))


def _notes(
    draw: ImageDraw.ImageDraw,
    notes: list[music.Note],
    scale: tuple[float, float, float],
    high: int,
    colours: tuple[str, ...],
) -> None:
    """Bars with a gap behind them, so that a note that is struck again is seen."""
    left, step, row = (_FINE * value for value in scale)
    gap = min(_FINE, step / 3)
    lowest = min((note.pitch for note in notes), default=high)
    beneath = np.zeros((high - lowest + 1, _end(notes)), np.uint8)  # how many voices already have this pitch
    for note in notes:
        here = beneath[note.pitch - lowest, note.start : note.start + note.length]
        thinner = min(int(here.max(initial=0)), music.VOICES - 1)
        here[:] = thinner + 1
        inset = row * (1 - 0.7**thinner) / 2
        top = (high - note.pitch) * row
        x = left + note.start * step
        box = (x, top + inset, x + note.length * step - gap - 1, top + max(row, _FINE) - inset - 1)
        x0, y0, x1, y1 = map(round, box)
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), fill=colours[min(note.voice, music.VOICES - 1)])
