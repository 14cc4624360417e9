"""Events, each a row of choices on grids of their own, and the recurrent networks that write and judge them.

Learning Phrase Representations using RNN Encoder-Decoder (Cho et al., 2014), arXiv 1406.1078: gated recurrent units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from gen_models import music
from gen_models.interface import BadInput, Space
from gen_models.nn import zero
from gen_models.nn.decoder import dropped

FAR = 24  # semitones of the widest interval that has a score of its own
LOUD = 8.0  # makes of a mean over pitch classes a number about 1 for each
CLASSES = 12  # pitches of an octave
FADING = (0.8, 0.98)  # of what was heard, from one event to the next: of the harmony, and of the key

Pick = Callable[[int, Tensor], Tensor]  # (field, logits (B, K)) -> the choice, one-hot (B, K)


class Fields(NamedTuple):
    """What an event consists of: `sizes` values in each field, from `low` on; S is the sum of the sizes.

    Music: sixteenths since the event before, length in sixteenths, a pitch for each voice. Text: one symbol.
    """

    kind: str
    sizes: tuple[int, ...]
    low: tuple[int, ...]
    ends: bool = False  # text that has ended goes on with symbol 0

    @classmethod
    def of(cls, space: Space) -> Fields:
        """BadInput for a space that does not consist of events."""
        if space.kind == "text" and space.alphabet:
            return cls("text", (len(space.alphabet),), (0,), space.encoding == "lines")
        if space.kind != "music" or space.encoding != "events":
            raise BadInput("A recurrent GAN writes music as events, or text: choose such data to train it on.")
        pitches = (music.HIGHEST - music.LOWEST + 1,) * music.VOICES
        return cls("music", (music.APART + 1, music.LONGEST, *pitches), (0, 1, *(music.LOWEST,) * music.VOICES))

    @property
    def places(self) -> int:
        """Places in a bar, which events of music know."""
        return music.BAR if self.kind == "music" else 0

    def rows(self, x: Tensor) -> Tensor:
        """x as rows of fields, (B, n, F)."""
        return x if self.kind == "music" else x[..., None]

    def shaped(self, rows: Tensor) -> Tensor:
        """Rows of fields (B, n, F) as x."""
        return rows if self.kind == "music" else rows[..., 0]

    def counted(self, rows: Tensor) -> Tensor:
        """Which events count, (B, n) bool: of music those with a length, of lines those up to and with the end."""
        if self.kind == "music":
            return rows[..., 1] > 0
        ends = (rows[..., 0] == 0).long() if self.ends else torch.zeros_like(rows[..., 0])
        return ends.cumsum(1) - ends == 0

    def index(self, rows: Tensor) -> Tensor:
        """Values as places on their grids, (B, n, F); events that are nothing, and the first gap, at 0.

        BadInput for a value outside its grid.
        """
        found = rows - torch.tensor(self.low, device=rows.device)
        if self.kind == "music":
            found = found * (rows[..., 1:2] > 0)
            found[:, :1, 0] = 0  # silence before a piece is no part of it
        if ((found < 0) | (found >= torch.tensor(self.sizes, device=rows.device))).any():
            bounds = [f"{low} to {low + size - 1}" for low, size in zip(self.low, self.sizes, strict=True)]
            raise BadInput(f"The fields of an event lie in {', '.join(bounds)}; these do not.")
        return found

    def one_hot(self, rows: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows (B, n, F) as (B, n, S); events of music that are nothing hold zeros."""
        parts = [F.one_hot(one, size) for one, size in zip(self.index(rows).unbind(-1), self.sizes, strict=True)]
        y = torch.cat(parts, -1).to(dtype)
        return y * self.counted(rows)[..., None] if self.kind == "music" else y

    def values(self, y: Tensor) -> Tensor:
        """The values of one-hot events (..., S): (..., F)."""
        index = torch.stack([part.argmax(-1) for part in y.split(self.sizes, -1)], -1)
        return index + torch.tensor(self.low, device=y.device)

    def timing(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Of one-hot events of music (..., S), sixteenths since the one before and length: (...) int64 each."""
        gap, length = y[..., : sum(self.sizes[:2])].split(self.sizes[:2], -1)
        return gap.argmax(-1), length.argmax(-1) + 1

    def classes(self) -> Tensor:
        """One-hot events of music (S) to how often each pitch class sounds, at most once: (S, 12)."""
        found = torch.zeros(sum(self.sizes), CLASSES)
        for field, start in enumerate(self._starts[2:], 2):
            pitches = torch.arange(self.sizes[field]) + self.low[field]
            found[start : start + len(pitches)] = F.one_hot(pitches % CLASSES, CLASSES) / music.VOICES
        return found

    def heights(self) -> Tensor:
        """One-hot events of music (S) to the heights of their pitches, in octaves from the middle: (S, voices)."""
        found = torch.zeros(sum(self.sizes), len(self.sizes[2:]))
        for voice, start in enumerate(self._starts[2:]):
            size = self.sizes[2 + voice]
            found[start : start + size, voice] = (torch.arange(size) - size / 2) / CLASSES
        return found

    @property
    def _starts(self) -> list[int]:
        """Where each field begins in a one-hot event."""
        return [sum(self.sizes[:f]) for f in range(len(self.sizes))]

    def barred(self, start: Tensor) -> Tensor:
        """Where in the bar a sixteenth lies, one-hot: (...) -> (..., places)."""
        return F.one_hot(start % music.BAR, music.BAR).float()


@dataclass
class Walk:
    """Where a piece stands that is written event by event."""

    last: Tensor  # (B, S) the last event; zeros at the beginning
    ended: Tensor  # (B, places) where in the bar it ended
    heard: Tensor  # (B, 2, 12) pitch classes so far, the latest most
    states: list[Tensor]  # of each layer, (B, C)
    start: Tensor  # (B,) sixteenth at which the last event began
    open: Tensor  # (B, 1) 1 where the text goes on, 0 where it has ended
    written: int = 0


class Writer(nn.Module):
    """Two gated recurrent layers read the last event; the fields of the next are chosen one after the other.

    Each field has a perceptron that reads the recurrent state and the fields before it. Of music, what follows the gap
    also knows where in the bar the event begins, and the recurrent layers know where the last one ended and which pitch
    classes were heard, the latest most. A pitch is chosen by itself, by its interval from the voice's last pitch and by
    that from the voice above: so what was learnt in one key holds in all.
    """

    def __init__(self, fields: Fields, width: int, dropout: float):
        super().__init__()
        self.fields, self.dropout, head = fields, dropout, width // 2
        values = sum(fields.sizes)
        self.enter = nn.Linear(fields.places + values + (len(FADING) * CLASSES if fields.places else 0), width)
        self.layers = nn.ModuleList([nn.GRU(width, width, batch_first=True) for _ in range(2)])
        self.heads = nn.ModuleList([nn.Linear(width, head) for _ in fields.sizes])
        before = [fields.places + sum(fields.sizes[:f]) for f in range(1, len(fields.sizes))]
        self.before = nn.ModuleList([nn.Linear(n, head, bias=False) for n in before])
        self.choices = nn.ModuleList([nn.Linear(head, size) for size in fields.sizes])
        self.melodic = nn.ModuleList([zero(nn.Linear(head, 2 * FAR + 1)) for _ in fields.sizes[2:]])
        self.harmonic = nn.ModuleList([zero(nn.Linear(head, 2 * FAR + 1)) for _ in fields.sizes[3:]])
        self.register_buffer("classes", fields.classes(), persistent=False)

    # ---- all events at once --------------------------------------------------------------------------------------

    def forward(self, y: Tensor, rng: torch.Generator | None = None) -> list[Tensor]:
        """One-hot events (B, T, S) -> for each field logits (B, T, K), given all before. `rng`: for dropout."""
        last, chosen = _later(y), y
        read = last
        if self.fields.places:
            gap, length = self.fields.timing(y)
            start = gap.cumsum(1)
            ended = _later(self.fields.barred(start + length) * y[..., : self.fields.sizes[0]].sum(-1, keepdim=True))
            read = torch.cat([ended, last, _heard(y @ self.classes)], -1)
            chosen = torch.cat([self.fields.barred(start), y], -1)
        h, state = self.enter(read), 0
        for layer in self.layers:
            h = layer(dropped(h, self.dropout, rng))[0]
            state = state + h
        state = dropped(state, self.dropout, rng)
        found = [self._logits(f, state, chosen, last) for f in range(len(self.fields.sizes))]
        if self.fields.places:
            found[0] = torch.cat([_timely(found[0][:, :1], True), _timely(found[0][:, 1:], False)], 1)
        return found

    def _logits(self, field: int, state: Tensor, chosen: Tensor, last: Tensor) -> Tensor:
        """state (..., C); `chosen` (..., at least what this field depends on); last event (..., S) -> (..., K)."""
        h = self.heads[field](state)
        if field:
            reader = self.before[field - 1]
            h = h + reader(chosen[..., : reader.in_features])
        h = F.gelu(h)
        found = self.choices[field](h)
        if field >= 2:
            before = last.split(self.fields.sizes, -1)[field]
            found = found + _intervals(self.melodic[field - 2](h), before)
        if field >= 3:
            above = chosen[..., : reader.in_features][..., -self.fields.sizes[field - 1] :]
            found = found + _intervals(self.harmonic[field - 3](h), above)
        return found

    # ---- event by event --------------------------------------------------------------------------------------------

    def begin(self, count: int) -> Walk:
        """Pieces of which nothing is written."""
        weight = self.enter.weight
        last, ended = (weight.new_zeros(count, n) for n in (sum(self.fields.sizes), self.fields.places))
        states, start = [weight.new_zeros(count, len(weight)) for _ in self.layers], torch.zeros_like(last[:, 0]).long()
        heard = weight.new_zeros(count, len(FADING), CLASSES)
        return Walk(last, ended, heard, states, start, weight.new_ones(count, 1))

    def step(self, walk: Walk, pick: Pick) -> Tensor:
        """The next event, one-hot (B, S), as `pick` chooses its fields; the walk goes on."""
        tune = self.fields.places > 0
        h, state = self.enter(torch.cat([walk.ended, walk.last, walk.heard.flatten(1)], -1) if tune else walk.last), 0
        for k, layer in enumerate(self.layers):
            cell = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
            h = walk.states[k] = torch.gru_cell(h, walk.states[k], *cell)
            state = state + h
        first = self._logits(0, state, state, walk.last)
        walk.last = self._event(walk, state, first, pick) if tune else self._symbol(walk, first, pick)
        walk.written += 1
        return walk.last

    def _symbol(self, walk: Walk, logits: Tensor, pick: Pick) -> Tensor:
        """The next symbol of a text; of one that has ended, another end."""
        y = pick(0, logits)
        if self.fields.ends:
            y = walk.open * y + (1 - walk.open) * F.one_hot(torch.zeros_like(walk.start), y.shape[-1]).to(y)
            walk.open = walk.open * (1 - y[:, :1])
        return y

    def _event(self, walk: Walk, state: Tensor, gap: Tensor, pick: Pick) -> Tensor:
        """The next event of music, by the logits of its gap and those that follow."""
        gap = pick(0, _timely(gap, not walk.written))
        walk.start = walk.start + gap.argmax(-1)
        chosen = torch.cat([self.fields.barred(walk.start), gap], -1)
        for field in range(1, len(self.fields.sizes)):
            chosen = torch.cat([chosen, pick(field, self._logits(field, state, chosen, walk.last))], -1)
        y = chosen[:, self.fields.places :]
        walk.ended = self.fields.barred(walk.start + self.fields.timing(y)[1])
        share = walk.heard.new_tensor(FADING)[:, None]
        walk.heard = share * walk.heard + LOUD * (1 - share) * (y @ self.classes)[:, None]
        return y


def _heard(classes: Tensor) -> Tensor:
    """The pitch classes heard before each event, the latest most: (B, T, 12) -> (B, T, 2 * 12)."""
    place = torch.arange(classes.shape[1], device=classes.device)
    between = place[:, None] - place - 1  # events from one to another
    fading = [torch.where(between >= 0, LOUD * (1 - share) * share ** between.clamp_min(0), 0.0) for share in FADING]
    return torch.cat([weight.to(classes.dtype) @ classes for weight in fading], -1)


def _later(y: Tensor) -> Tensor:
    """(B, T, ...) one place later, zeros before."""
    return F.pad(y[:, :-1], (0, 0, 1, 0))


def _timely(gap: Tensor, first: bool) -> Tensor:
    """Logits of the gap: the first event has none, no other begins together with the one before it."""
    zero = torch.arange(gap.shape[-1], device=gap.device) == 0
    return gap.masked_fill(~zero if first else zero, float("-inf"))


def _intervals(scores: Tensor, pitch: Tensor) -> Tensor:
    """Scores of the intervals -FAR..FAR from a pitch, one-hot (..., K), as logits of pitches (..., K).

    Farther ones, and all of them where there is no pitch, score 0. No gradient passes through the pitch.
    """
    place = torch.arange(pitch.shape[-1], device=pitch.device) - pitch.argmax(-1, keepdim=True) + FAR
    within = (place >= 0) & (place <= 2 * FAR) & (pitch.detach().sum(-1, keepdim=True) > 0.5)
    return scores.gather(-1, place.clamp(0, 2 * FAR)) * within


class Judge(nn.Module):
    """One-hot events -> how real the piece is, and the mean state of the two directions that read it.

    Spectral norm holds the linear maps; the gates of the recurrent layer are bounded by themselves. How much the pieces
    of a batch differ is one more number that it sees (minibatch standard deviation): Progressive Growing of GANs
    (Karras et al., 2017), arXiv 1710.10196. Of music it also reads what follows from the events: where in the bar they
    begin, how high the voices are and how far they move, which as numbers have a smooth gradient, and what was heard.
    """

    def __init__(self, fields: Fields, width: int):
        super().__init__()
        self.fields = fields
        more = fields.places + 4 * len(fields.sizes[2:]) - 1 + (1 + len(FADING)) * CLASSES if fields.places else 0
        self.enter = spectral_norm(nn.Linear(more + sum(fields.sizes), 2 * width))
        self.reader = nn.GRU(2 * width, width, batch_first=True, bidirectional=True)
        self.features = spectral_norm(nn.Linear(2 * width, 2 * width))
        self.score = nn.Linear(2 * width + 1, 1)
        self.register_buffer("classes", fields.classes(), persistent=False)
        self.register_buffer("heights", fields.heights(), persistent=False)
        self.register_buffer("usual", torch.zeros(()))  # how much real pieces of a batch differ

    def forward(self, y: Tensor, *, keep: bool = False, alone: bool = False) -> tuple[Tensor, Tensor]:
        """y (B, T, S) -> scores (B,) and mean states (B, 2 C).

        `keep`: remembers how much the pieces differ; `alone`: takes what it remembers, so that each is judged alone.
        """
        there = y[..., : self.fields.sizes[0]].detach().sum(-1, keepdim=True)  # (B, T, 1), 0 where nothing is
        read = torch.cat([y, self._derived(y) * there], -1) if self.fields.places else y
        states = self.reader(F.leaky_relu(self.enter(read), 0.2))[0]
        mean = (states * there).sum(1) / there.sum(1).clamp_min(1)
        found = F.leaky_relu(self.features(states), 0.2)
        found = (found * there).sum(1) / there.sum(1).clamp_min(1)
        spread = self.usual
        if not alone:
            spread = (found.var(0, correction=0) + 1e-8).sqrt().mean()
            if keep:
                self.usual.lerp_(spread.detach(), 0.05)
        with torch.autocast(y.device.type, enabled=False):  # scores are compared in pairs: small differences count
            return self.score(torch.cat([found, spread.expand(len(found), 1)], -1))[:, 0], mean

    def _derived(self, y: Tensor) -> Tensor:
        """What events of music (B, T, S) say of places in the bar, of heights and motion, and of harmony and key."""
        place = self.fields.barred(self.fields.timing(y)[0].cumsum(1))
        height, classes = y @ self.heights, y @ self.classes
        motion = (height - _later(height)) * (torch.arange(y.shape[1], device=y.device) > 0)[:, None]
        return torch.cat([place, height, height.diff(dim=-1), motion, motion.abs(), classes, _heard(classes)], -1)
