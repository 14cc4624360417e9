"""A WAV file lasts as long as the music, sounds at its pitches, never clicks or clips, and is silent where it is."""

import io
import itertools
import math
import time
import wave

import numpy as np
import pytest

from gen_models import music, render
from gen_models.interface import BadInput
from gen_models.music import Note
from gen_models.render import sound

SCALE = [Note(4 * k, 4, pitch, k % 4) for k, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72))]


def heard(notes, tempo: float = 100, **options) -> tuple[np.ndarray, int]:
    """What an independent reader finds: (2, frames) int16 and the rate."""
    with wave.open(io.BytesIO(render.wav(notes, tempo, **options))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getcomptype()) == (2, 2, "NONE")
        frames = file.readframes(file.getnframes())
        assert len(frames) == 4 * file.getnframes()
        return np.frombuffer(frames, "<i2").reshape(-1, 2).T, file.getframerate()


def spectrum(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in hertz and their strengths, finely interpolated."""
    size = 2 ** math.ceil(math.log2(8 * len(samples)))
    return np.fft.rfftfreq(size, 1 / rate), abs(np.fft.rfft(samples * np.hanning(len(samples)), size))


# ---- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [32000, 44100])
@pytest.mark.parametrize("tempo", [60, 100, 137.5])
def test_it_lasts_as_long_as_the_steps_and_the_tail(rate, tempo):
    samples, found = heard(SCALE, tempo, rate=rate)
    assert found == rate
    assert samples.shape[1] == round((32 * 15 / tempo + sound.TAIL) * rate)


def test_nothing_clips_and_the_loudest_sample_is_a_decibel_below_full_scale():
    chords = [Note(4 * k, 4, pitch, voice) for k in range(4) for voice, pitch in enumerate((72, 67, 64, 48))]
    for notes in (SCALE, chords, [Note(0, 1, 30, 3)], [Note(0, 400, 87, 0)], [Note(0, 4, 60, 0)] * 50):
        samples, _ = heard(notes)
        assert abs(samples.astype(int)).max() == round(0.89 * 32767)
        assert abs(samples.mean()) < 40  # no direct current


def test_the_same_notes_in_any_order_give_the_same_bytes():
    assert render.wav(SCALE, 100) == render.wav(SCALE[::-1], 100)
    assert render.wav(SCALE, 100) != render.wav(SCALE[:-1], 100)
    assert render.wav(SCALE, 100, semitones=3) == render.wav([n._replace(pitch=n.pitch + 3) for n in SCALE], 100)


def test_a_long_note_has_no_seams_between_its_blocks(monkeypatch):
    notes = [Note(0, 80, 57, 0), Note(4, 1, 57, 2), Note(17, 1, 57, 2), Note(3, 16, 57, 1)]
    assert 2 * sound._BLOCK < 20 * 32000
    blocks, _ = heard(notes, 60)
    monkeypatch.setattr(sound, "_BLOCK", 2**24)
    whole, _ = heard(notes, 60)
    assert abs(blocks.astype(int) - whole).max() <= 1


# ---- what is heard ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [30, 43, 57, 60, 69, 75, 87])
def test_the_fundamental_is_the_frequency_of_the_pitch(pitch):
    samples, rate = heard([Note(0, 24, pitch, 1)], 100)
    for side in samples:
        hertz, strength = spectrum(side[: 3 * rate].astype(float), rate)
        wanted = 440 * 2 ** ((pitch - 69) / 12)
        near = abs(hertz - wanted) < wanted * 0.4
        found = hertz[near][strength[near].argmax()]
        assert abs(1200 * math.log2(found / wanted)) < 6  # cents; the chorus is detuned by less
        assert strength[near].max() > 0.4 * strength.max()
        assert strength[hertz < 0.6 * wanted].max() < 0.01 * strength.max()  # nothing lies below it


def test_each_note_of_a_melody_sounds_at_its_time():
    samples, rate = heard(SCALE, 60)
    for note in SCALE:
        hertz, strength = spectrum(samples[0, note.start // 4 * rate + rate // 3 : (note.start // 4 + 1) * rate], rate)
        fundamental = hertz[(strength > 0.3 * strength.max()).argmax()]  # the lowest of what is strong
        assert abs(12 * math.log2(fundamental / 440) + 69 - note.pitch) < 0.25


def test_transposed_music_sounds_higher_and_tempo_moves_it():
    low, rate = heard([Note(8, 8, 60, 0)], 60)
    high, _ = heard([Note(8, 8, 60, 0)], 120, semitones=12)
    assert not low[:, : 2 * rate - 1].any()
    assert low[:, 2 * rate : 2 * rate + 200].any()
    assert not high[:, : rate - 1].any()
    assert high[:, rate : rate + 200].any()
    hertz, strength = spectrum(high[0, rate : 2 * rate].astype(float), rate)
    assert abs(hertz[strength.argmax()] - 523.25) < 2


def test_silence_stays_silent():
    samples, rate = heard([Note(0, 4, 60, 0), Note(40, 4, 67, 2)], 60)
    after = round((1 + sound.TAIL) * rate)
    assert samples[:, :rate].any()
    assert not samples[:, after : 10 * rate].any()
    assert samples[:, 10 * rate : 11 * rate].any()
    assert not samples[:, -100:].any()


def test_voices_stand_side_by_side():
    balance = []
    for voice in range(4):
        left, right = (heard([Note(0, 8, 60, voice)])[0].astype(float) ** 2).mean(1)
        balance.append(10 * math.log10(right / left))
    assert balance == sorted(balance, reverse=True)
    assert 2 < balance[0] - balance[3] < 12  # decibels


def test_nothing_clicks():
    """A click is loud at all frequencies: above the highest harmonic there is next to nothing, ever."""
    notes = [Note(0, 4, 60, 0), Note(4, 4, 60, 0), Note(8, 1, 84, 1), Note(9, 1, 84, 1), Note(10, 6, 36, 3)]
    samples, rate = heard([*notes, *(Note(16 + k, 1, 72 - k, 0) for k in range(12))], 240)
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(float), 1024, axis=1)[:, ::128]
    power = abs(np.fft.rfft(windows * np.blackman(1024))) ** 2
    above = power[..., np.fft.rfftfreq(1024, 1 / rate) > 9000].sum(-1)
    assert 10 * math.log10(above.max() / power.sum(-1).max()) < -75


def test_a_repeated_note_is_heard_twice_and_overlaps_itself():
    def loudness(notes):
        samples, rate = heard(notes, 60)
        return (samples[:, : 2 * rate].astype(float) ** 2).reshape(2, -1, rate // 20).mean((0, 2)) ** 0.5

    held, twice = loudness([Note(0, 8, 60, 0)]), loudness([Note(0, 4, 60, 0), Note(4, 4, 60, 0)])
    assert twice[20:24].mean() > 1.3 * twice[17:19].mean()  # struck again
    assert held[20:24].mean() < 1.1 * held[17:19].mean()
    assert twice.min() > 0.05 * twice.max()  # no hole between the two


# ---- what cannot be played ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [render.wav, render.midi])
@pytest.mark.parametrize("tempo", [0, -60, 19, 401, math.nan, math.inf, None, "fast"])
def test_a_tempo_that_cannot_be_is_refused(make, tempo):
    with pytest.raises(BadInput, match="from 20 to 400"):
        make(SCALE, tempo)


@pytest.mark.parametrize("make", [render.wav, render.midi])
def test_no_notes_and_pitches_that_do_not_exist_are_refused(make):
    for notes in ([], [Note(0, 0, 60, 0)]):
        with pytest.raises(BadInput, match="no note"):
            make(notes, 100)
    for semitones in (60, -61):
        with pytest.raises(BadInput, match="Transpose by less"):
            make(SCALE, 100, semitones=semitones)


def test_too_much_is_refused_before_it_is_made():
    begun = time.perf_counter()
    with pytest.raises(BadInput, match=r"15\.1 minutes"):
        render.wav([Note(0, 1, 60, 0), Note(6040, 1, 60, 0)], 100)
    with pytest.raises(BadInput, match="four voices"):
        render.wav([Note(0, 5000, 30 + k % 50, 0) for k in range(1000)], 100)
    assert time.perf_counter() - begun < 1
    samples, rate = heard([Note(5996, 4, 60, 0)], 400)
    assert samples.shape[1] == round((225 + sound.TAIL) * rate)


def test_sixteen_bars_are_ready_within_half_a_second():
    chords = itertools.cycle([(72, 67, 64, 48), (71, 67, 62, 43), (72, 69, 65, 53), (74, 67, 59, 55)])
    notes = [
        Note(4 * k, 4, p + k % 5, v) for k, chord in zip(range(64), chords, strict=False) for v, p in enumerate(chord)
    ]
    assert max(note.start + note.length for note in notes) == 16 * music.BAR
    render.wav(SCALE, 100)
    seconds = []
    for _ in range(3):
        begun = time.thread_time()
        render.wav(notes, 100)
        seconds.append(time.thread_time() - begun)
    assert min(seconds) < 0.5
