"""A piano roll shows each note at its place, in the colour of its voice, in either theme and at any size."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from PIL import ImageColor

from gen_models import music, render
from gen_models.interface import BadInput
from gen_models.music import Note

THEMES = ("light", "dark")
# A Physiologically-based Model for Simulation of Color Vision Deficiency (Machado et al., 2009), severity 1
SEEN = {
    "all": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.052]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def linear(colour: str) -> np.ndarray:
    value = np.array(ImageColor.getrgb(colour)) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    cones = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]) @ light.clip(0, 1)
    return np.array([[0.2105, 0.7936, -0.0041], [1.978, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]) @ np.cbrt(cones)


def where(image, colour: str) -> np.ndarray:
    """(H, W): the pixels of exactly this colour."""
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(-1)


def chorale(steps: int = 64, seed: int = 0) -> torch.Tensor:
    """Four voices that move at random each quarter: (steps, 4)."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.tensor([70, 62, 55, 43])
    return (base + torch.randint(-5, 6, (steps // 4, 4), generator=rng)).repeat_interleave(4, 0)


def events(*pieces: torch.Tensor, length: int = 30) -> torch.Tensor:
    x = torch.zeros(len(pieces), length, music.FIELDS, dtype=torch.int64)
    for row, piece in zip(x, pieces, strict=True):
        found = music.events(piece)
        row[: len(found)] = found
    return x


# ---- one roll -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_time_goes_right_and_pitch_up(theme):
    image = render.roll([Note(4, 4, 60, 1), Note(0, 2, 74, 0)], size=(160, 100), theme=theme, steps=16, span=(50, 74))
    assert image.size == (160, 100)
    assert image.mode == "RGB"
    alto, soprano = np.zeros((100, 160), bool), np.zeros((100, 160), bool)
    alto[(74 - 60) * 4 : (74 - 60) * 4 + 4, 40:79] = True  # the last pixel is the gap behind a note
    soprano[0:4, 0:19] = True
    assert (where(image, render.VOICE_COLOURS[theme][1]) == alto).all()
    assert (where(image, render.VOICE_COLOURS[theme][0]) == soprano).all()


def test_a_pitch_struck_again_is_two_bars_and_one_that_stays_is_one():
    for lengths, bars in (((8,), 1), ((4, 4), 2)):
        notes = [Note(4 * k, length, 60, 0) for k, length in enumerate(lengths)]
        seen = where(render.roll(notes, size=(160, 50), steps=16), render.VOICE_COLOURS["light"][0]).any(0)
        assert np.diff(seen.astype(int)).clip(0).sum() + seen[0] == bars


def test_voices_that_share_a_pitch_are_all_seen():
    notes = [Note(0, 8, 60, voice) for voice in range(4)]
    image = render.roll(notes, size=(160, 400), steps=8, span=(55, 65))
    thick = [where(image, colour)[:, 80].sum() for colour in render.VOICE_COLOURS["light"]]
    assert min(thick) >= 3
    assert sum(thick) <= math.ceil(400 / 11)


@pytest.mark.parametrize("theme", THEMES)
def test_faint_lines_stand_at_bars_and_octaves(theme):
    image = render.roll([Note(0, 1, 50, 0)], size=(200, 100), theme=theme, steps=40, span=(50, 74))
    line = where(image, render.COLOURS[theme]["line"])
    assert np.flatnonzero(line[90] & line[1]).tolist() == [80, 160]  # after 16 and 32 of 40 sixteenths
    assert np.flatnonzero(line.sum(1) > 150).tolist() == [(74 - 71) * 4, (74 - 59) * 4]  # below C5 and C4


def test_the_names_of_the_c_stand_beside_them_where_there_is_room():
    notes = [Note(0, 16, 60, 0), Note(0, 16, 72, 1)]
    large, small = (render.roll(notes, size=size, span=(57, 75)) for size in ((480, 190), (200, 60)))
    assert where(small, render.VOICE_COLOURS["light"][0])[:, 0].any()  # no margin
    ground = where(large, render.COLOURS["light"]["card"])
    assert (~ground[:, 1:14]).any(1)[(75 - 60) * 10 + 2 : (75 - 60) * 10 + 8].all()
    assert (~ground[:, 1:14]).any(1).sum() < 40  # two names, nothing else


@pytest.mark.parametrize("size", [(1, 1), (30, 10), (240, 8), (4000, 20), (50, 900)])
def test_any_size_is_drawn(size):
    notes = music.notes(chorale())
    assert render.roll(notes, size=size).size == size
    assert render.roll([], size=size).size == size
    assert render.roll([Note(40_000, 16, 30, 3), Note(0, 1, 87, 0)], size=size).size == size


def test_voices_differ_for_everyone_and_from_the_ground():
    for theme in THEMES:
        colours, card = render.VOICE_COLOURS[theme], render.COLOURS[theme]["card"]
        assert len(colours) == music.VOICES
        for colour in colours:
            dark, bright = sorted(float(linear(name) @ [0.2126, 0.7152, 0.0722]) + 0.05 for name in (colour, card))
            assert bright / dark >= 3, f"{colour} on {card}"
        for eye, seen in SEEN.items():
            for a, b in itertools.combinations(colours, 2):
                apart = np.linalg.norm(oklab(seen @ linear(a)) - oklab(seen @ linear(b)))
                assert apart > 0.12, f"{a} and {b} look alike in the {theme} theme ({eye})"


def test_a_canvas_gets_json():
    notes = music.notes(chorale())
    found = json.loads(json.dumps(render.roll_data(notes, 80)))
    assert [Note(*note) for note in found["notes"]] == notes
    assert found["steps"] == 80
    assert found["low"] < min(note.pitch for note in notes) <= max(note.pitch for note in notes) < found["high"]
    assert render.roll_data(notes)["steps"] == 64
    assert render.roll_data([]) == {"notes": [], "steps": 0, "low": 48, "high": 72}


# ---- music among the pictures -------------------------------------------------------------------------------------


def test_events_and_tokens_of_one_piece_are_one_picture():
    piece = chorale()
    one = render.picture(events(piece)[0], music.events_space(30), height=90)
    other = render.picture(music.tokens(piece), music.tokens_space(64), height=90)
    assert one.size == (270, 90)
    assert (np.asarray(one) == np.asarray(other)).all()
    assert (np.asarray(one) == np.asarray(render.roll(music.notes(piece), size=(270, 90)))).all()
    dark = render.picture(events(piece)[0], music.events_space(30), height=90, theme="dark")
    assert where(dark, render.COLOURS["dark"]["card"]).mean() > 0.5


def test_a_grid_holds_pieces_in_reading_order_on_one_scale():
    pieces = [chorale(64 if k else 32, seed=k) for k in range(4)]
    image = render.grid(events(*pieces), music.events_space(30), columns=2, height=200, gap=4)
    assert image.size == (2 * 294 + 4, 200)
    assert image.mode == "RGBA"
    span = (min(int(p.min()) for p in pieces) - 2, max(int(p.max()) for p in pieces) + 2)
    for k, piece in enumerate(pieces):
        left, top = k % 2 * 298, k // 2 * 102
        cell = np.asarray(image.crop((left, top, left + 294, top + 98)).convert("RGB"))
        assert (cell == np.asarray(render.roll(music.notes(piece), size=(294, 98), steps=64, span=span))).all()


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 16, 64])
def test_grids_of_pieces_are_near_square(count):
    x = events(*[chorale(seed=k) for k in range(count)])
    wide, high = render.grid(x, music.events_space(30), scale=1, gap=0).size
    assert 0.5 <= wide / high <= 3
    assert wide * high >= count * 360 * 120


def test_nothing_to_show_is_said_and_silence_is_an_empty_roll():
    with pytest.raises(BadInput, match="at least one"):
        render.grid(torch.zeros(0, 30, 6, dtype=torch.int64), music.events_space(30))
    silent = render.grid(torch.zeros(3, 30, 6, dtype=torch.int64), music.events_space(30), ground="#ffffff")
    for colour in render.VOICE_COLOURS["light"]:
        assert not where(silent, colour).any()
