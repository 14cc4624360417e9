"""The measures of music: statistics of pieces beside the corpus', what is copied, and what a note costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gen_models import metrics, music
from gen_models.evaluate.subject import Drawn, Subject
from gen_models.interface import Scores

Cells = dict[str, dict[str, Any]]


def statistics(subject: Subject, drawn: Drawn) -> Cells:
    """Means over pieces of the statistics of their first notes, and how far their histograms are from the test's.

    A piece in which nothing sounds is left out; of fewer than two pieces nothing is told, here and below.
    """
    pieces, test = ([piece for piece in map(trimmed, x) if len(piece)] for x in (drawn.x, subject.source_x("test")))
    if len(pieces) < 2:
        return {}
    found: Cells = {}
    told = [metrics.statistics(piece) for piece in pieces]
    for key in told[0]._fields:
        value, error = metrics.mean_error(torch.tensor([getattr(one, key) for one in told], dtype=torch.float64))
        found[key] = {"value": value, "se": error}
    apart = metrics.distances(pieces, test)
    return found | {f"w_{name.replace(' ', '_')}": {"value": value} for name, value in apart.items()}


def copied(subject: Subject, drawn: Drawn) -> Cells:
    """The most chords in a row that a training piece has too, in any key: the mean over pieces."""
    pieces = [piece for piece in map(trimmed, drawn.x) if len(piece)]
    if len(pieces) < 2:
        return {}
    runs = metrics.longest_copies(pieces, subject.source.pieces("train"))
    value, error = metrics.mean_error(torch.tensor(runs, dtype=torch.float64))
    return {"copied_chords": {"value": value, "se": error}}


def trimmed(pitches: Tensor) -> Tensor:
    """The grid (steps, 4) without silence at its ends."""
    sounding = (pitches != music.REST).any(1).nonzero().flatten()
    return pitches[int(sounding[0]) : int(sounding[-1]) + 1] if len(sounding) else pitches[:0]


# ---- likelihood ------------------------------------------------------------------------------------------------


def likelihood(subject: Subject) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """Nats per sixteenth of a voice over whole test pieces, and what holding or a table of pitches reaches."""
    model: Scores = subject.model
    test = subject.source.pieces("test")
    nats, count = [], []
    for k, piece in enumerate(test, 1):
        coded = music.events(piece) if subject.space.encoding == "events" else music.tokens(piece)
        with torch.no_grad():
            nats.append(-float(model.log_prob(coded[None].to(model.device))))
        count.append(float(piece.numel()))
        yield 0.99 * k / len(test), None
    figures = {
        "nats_per_note": metrics.ratio(torch.tensor(nats).double(), torch.tensor(count).double()),
        "hold": {"value": metrics.hold_or_unigram(subject.source.pieces("train"), test)},
    }
    said = {
        "events": "an event is (sixteenths since the last, length, four pitches)",
        "tokens": "each pitch after at least half a context, but the first ones",
    }[subject.space.encoding]
    words = f"per sixteenth and voice over whole pieces; {said}; holding was counted in the training pieces"
    yield 1.0, {"figures": figures, "words": words, "n": len(test)}
