"""The measures of text: what a character costs, what counting alone reaches, and what samples copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gen_models import metrics
from gen_models.evaluate.subject import Drawn, Subject
from gen_models.interface import Predicts

STRETCH = 16  # characters: a word or three, which nobody writes again by chance
ORDERS = {"plain": 7, "lines": 6}  # of the n-gram that must be beaten: those that count best on the two sets

Cells = dict[str, dict[str, Any]]


def stretches(subject: Subject, drawn: Drawn) -> Cells:
    """Of running text: how much of it stands, 16 characters at a time, in the training text."""
    found = metrics.copied(drawn.x, subject.source_x("train").flatten(), STRETCH)
    return {"copied": {"successes": int(found.sum()), "of": found.numel()}}


def lines(subject: Subject, drawn: Drawn) -> Cells:
    """Of lines: how many are lines of the training split, and how many were written once only."""
    known = metrics.copies(subject.as_bytes(drawn.x), subject.as_bytes(subject.source_x("train")))
    once = metrics.distinct(drawn.x)
    return {
        "copies": {"successes": int(known.sum()), "of": len(known)},
        "distinct": {"successes": int(once.sum()), "of": len(once)},
    }


# ---- likelihood ------------------------------------------------------------------------------------------------


def likelihood(subject: Subject) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """Nats per character of the test split, and what an n-gram that was counted in all the rest reaches on it."""
    model: Predicts = subject.model
    of_lines, test = subject.space.encoding == "lines", subject.source_x("test")
    order, symbols = ORDERS[subject.space.encoding], len(subject.space.alphabet)
    rest = torch.cat([subject.source_x("valid"), subject.source_x("train")])  # as they follow each other
    if not of_lines:
        rest, test = rest.flatten(), test.flatten()
    counted = metrics.kneser_ney(rest, test, order, symbols, lines=of_lines)
    yield 0.1, None
    figures = _of_lines(subject, model, test) if of_lines else _of_text(subject, model, test)
    figures["kneser_ney"] = {"value": counted}
    how = "each line with its end" if of_lines else "each character after at least half a context, but the first ones"
    words = f"{how}; the {order}-gram was counted in the training and validation splits"
    yield 1.0, {"figures": figures, "words": words, "n": int(_written(test).sum()) if of_lines else len(test)}


def _of_text(subject: Subject, model: Predicts, test: Tensor) -> Cells:
    size = subject.space.size
    with torch.no_grad():
        nats = -model.log_probs(test[None].to(model.device))[0].cpu().double()
        windows = [-model.log_probs(part.to(model.device)).cpu().double() for part in test.view(-1, size).split(64)]
    apart = torch.cat(windows).mean(1)
    together = nats.view(-1, size).mean(1)
    named = {"nats_per_symbol": together, "nats_apart": apart}
    return {key: dict(zip(("value", "se"), metrics.mean_error(v), strict=True)) for key, v in named.items()}


def _of_lines(subject: Subject, model: Predicts, test: Tensor) -> Cells:
    with torch.no_grad():
        nats = torch.cat([-model.log_prob(part.to(model.device)).cpu().double() for part in test.split(256)])
    count = _written(test).sum(1).double()
    seen = metrics.copies(subject.as_bytes(test), subject.as_bytes(subject.source_x("train")))
    figures = {"nats_per_symbol": metrics.ratio(nats, count)}
    if (~seen).sum() > 1:
        figures["nats_unseen"] = metrics.ratio(nats[~seen], count[~seen])
    return figures


def _written(x: Tensor) -> Tensor:
    """The characters of lines (B, T) up to and with the end: (B, T) bool."""
    return (x == 0).cumsum(1) - (x == 0).long() == 0
