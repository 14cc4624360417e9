"""One function per measure, chosen by what the entry can do and where its x lives, never by a model's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import data, metrics
from gen_models.evaluate import pieces, texts
from gen_models.evaluate.subject import Drawn, Subject
from gen_models.interface import Quantises, Scores
from gen_models.noise import Noise, mixed

DRAWS = 1000  # of the importance-weighted bound
MOST = 2**24  # numbers in one block of a likelihood
WIDE = 512  # a network's layer, where x itself is narrower

Cells = dict[str, dict[str, Any]]


class Measure(NamedTuple):
    """A measure of drawn sets: when it applies, and its cells, which carry a value with an error, or counts."""

    suits: Callable[[Subject], bool]
    of: Callable[[Subject, Drawn], Cells]
    slow: bool = True  # also for samplers that are judged on few samples
    held: bool = False  # touched by training: of the real row, validation examples are measured


def _judged(subject: Subject) -> bool:
    return subject.pictures and subject.judges is not None


# ---- pictures and points ---------------------------------------------------------------------------------------


def frechet(subject: Subject, drawn: Drawn) -> Cells:
    return {"fd": {"value": metrics.frechet(drawn.rows, subject.reference)}}


def kernel(subject: Subject, drawn: Drawn) -> Cells:
    value, error = metrics.kernel_distance(drawn.rows, subject.reference)
    return {"kid": {"value": value, "se": error}}


def neighbours(subject: Subject, drawn: Drawn) -> Cells:
    density, coverage = metrics.density_coverage(subject.reference, drawn.rows)
    return {"density": {"value": density}, "coverage": {"value": coverage}}


def accuracy(subject: Subject, drawn: Drawn) -> Cells:
    """Nothing for a set that was asked for no classes: noise."""
    if drawn.label is None:
        return {}
    return {"accuracy": {"successes": int((drawn.seen == drawn.label).sum()), "of": len(drawn.label)}}


def modes(subject: Subject, drawn: Drawn) -> Cells:
    kinds = len(subject.judges.classes.space.labels) ** subject.space.shape[0]
    found, divergence = metrics.modes_and_kl(drawn.seen, kinds)
    return {"modes": {"value": found}, "kl": {"value": divergence}}


def memory(subject: Subject, drawn: Drawn) -> Cells:
    share = metrics.nearer(drawn.rows, *subject.memory)
    return {"nearer": {"successes": float(share.sum()), "of": len(share)}}


def copies(subject: Subject, drawn: Drawn) -> Cells:
    found = metrics.copies(drawn.x, subject.source_x("train"))
    return {"copies": {"successes": int(found.sum()), "of": len(found)}}


def energy(subject: Subject, drawn: Drawn) -> Cells:
    value, error = metrics.energy_distance(drawn.rows, subject.reference)
    return {"energy": {"value": value, "se": error}}


def inside(subject: Subject, drawn: Drawn) -> Cells:
    """The region of highest true density that holds 99 % of the test points."""
    least = subject.source.log_prob(subject.source_x("test")).quantile(0.01)
    found = subject.source.log_prob(drawn.x) >= least
    return {"inside": {"successes": int(found.sum()), "of": len(found)}}


MEASURES: tuple[Measure, ...] = (
    Measure(_judged, frechet, slow=False),
    Measure(_judged, kernel),
    Measure(lambda s: _judged(s) or s.space.kind == "points", neighbours),
    Measure(lambda s: _judged(s) and bool(s.entry.labels), accuracy, held=True),
    Measure(lambda s: _judged(s) and s.stacked, modes),
    Measure(lambda s: _judged(s) and not s.stacked, memory, held=True),
    Measure(lambda s: s.pictures and not s.stacked, copies, held=True),
    Measure(lambda s: s.space.kind == "points", energy),
    Measure(lambda s: s.space.kind == "points" and s.source.log_prob is not None, inside),
    Measure(lambda s: s.space.kind == "text" and s.space.encoding == "plain", texts.stretches, held=True),
    Measure(lambda s: s.space.kind == "text" and s.space.encoding == "lines", texts.lines, held=True),
    Measure(lambda s: s.space.kind == "music", pieces.statistics),
    Measure(lambda s: s.space.kind == "music", pieces.copied, held=True),
)


def measured(subject: Subject, drawn: Drawn, held: Drawn | None = None, slow: bool = False) -> Cells:
    """All cells that apply to a set."""
    found: Cells = {}
    for measure in MEASURES:
        if measure.suits(subject) and (measure.slow or not slow):
            found |= measure.of(subject, held if held is not None and measure.held else drawn)
    return found


def together(repeats: Sequence[Cells]) -> Cells:
    """Cells over repeats with other seeds: means with their deviation, counts added up with Wilson's interval."""
    found: Cells = {}
    for key in repeats[0]:
        cells = [repeat[key] for repeat in repeats]
        if "of" in cells[0]:
            hits, of = (sum(cell[part] for cell in cells) for part in ("successes", "of"))
            low, high = metrics.wilson(hits, of)
            shares = [cell["successes"] / cell["of"] for cell in cells]
            found[key] = {"value": hits / of, "low": low, "high": high, "n": of, "values": shares}
            continue
        values = [cell["value"] for cell in cells]
        mean = sum(values) / len(values)
        found[key] = {"value": mean, "values": values}
        if len(values) > 1:
            found[key]["sd"] = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        if "se" in cells[0]:
            found[key]["se"] = sum(cell["se"] for cell in cells) / len(cells)
    return found


# ---- likelihood ------------------------------------------------------------------------------------------------


def likelihood(subject: Subject) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """One pass over the test set: how much is done, and at last the figures with the words that they need."""
    model: Scores = subject.model
    kind = model.measure(subject.space, subject.entry.config)
    if kind == "symbols":
        yield from (pieces if subject.space.kind == "music" else texts).likelihood(subject)
        return
    x, dims = subject.source.split("test").x, subject.space.size
    dequantised = kind == "density" and subject.pictures
    draws = 1 if model.exact else DRAWS
    found: list[Tensor] = []
    bound: list[Tensor] = []
    size = max(1, min(500, MOST // (draws * max(dims, WIDE))))
    for first in range(0, len(x), size):
        part = x[first : first + size]
        seeds = [mixed("test", k) for k in range(first, first + len(part))]
        if dequantised:
            part = part + (Noise(seeds).at(1).uniform(*subject.space.shape) - 0.5) / metrics.LEVELS
        part = part.to(model.device)
        with torch.no_grad():
            found.append(model.log_prob(part, Noise(seeds, model.device), samples=draws).cpu().double())
            if not model.exact:
                bound.append(model.log_prob(part, Noise(seeds, model.device), samples=1).cpu().double())
        yield (first + len(part)) / len(x), None
    costs = {"nats": -torch.cat(found)}
    if bound:
        costs["elbo"] = -torch.cat(bound)
    if dequantised:
        costs["bits_per_dim"] = metrics.bits_per_dim(costs["nats"], dims, metrics.LEVELS)
    figures: Cells = {k: dict(zip(("value", "se"), metrics.mean_error(cost), strict=True)) for k, cost in costs.items()}
    if kind == "density" and subject.source.log_prob is not None:
        figures["truth"] = {"value": -float(subject.source.log_prob(x).mean())}
    yield 1.0, {"figures": figures, "words": _words(model, kind, dequantised, draws), "n": len(x)}


def _words(model: Scores, kind: str, dequantised: bool, draws: int) -> str:
    said = [model.how, {"binary": "pixels binarised at random once", "grey": "grey levels"}.get(kind, "")]
    said.append("uniform dequantisation" if dequantised else "")
    said.append(f"importance-weighted bound with {draws} draws" if draws > 1 else "")
    return "; ".join(word for word in said if word)


def quantised(subject: Subject) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """One pass over the test set for a model that writes pictures in codes: its error, its codebook, its prior."""
    model: Quantises = subject.model
    batch, dims = subject.source.split("test"), subject.space.size
    errors, nats, used = [], [], torch.zeros(model.codes)
    for first in range(0, len(batch.x), 250):
        x = batch.x[first : first + 250].to(model.device)
        label = batch.label[first : first + 250].to(model.device) if model.labels else None
        with torch.no_grad():
            tokens = model.tokens(x)
            again = data.in_range(data.in_bytes(model.from_tokens(tokens).cpu()))
            nats.append(-model.token_log_probs(tokens, label=label).sum(1).cpu().double())
        errors.append(((again - x.cpu()) / 2).double().square().flatten(1).sum(1) / dims)
        used += torch.bincount(tokens.flatten().cpu(), minlength=model.codes)
        yield (first + len(x)) / len(batch.x), None
    share = used.double() / used.sum()
    figures: Cells = {
        "mse": dict(zip(("value", "se"), metrics.mean_error(torch.cat(errors)), strict=True)),
        "live": {"value": float((used > 0).double().mean())},
        "perplexity": {"value": float(torch.exp(-torch.special.xlogy(share, share).sum()))},
        "code_nats": dict(zip(("value", "se"), metrics.mean_error(torch.cat(nats)), strict=True)),
    }
    rows, columns = model.grid
    words = f"{rows} x {columns} codes of {model.codes}" + (", the class being known" if model.labels else "")
    yield 1.0, {"figures": figures, "words": words, "n": len(batch.x)}


def classified(subject: Subject) -> dict[str, Any]:
    """A judge's own error on the test set."""
    batch = subject.source.split("test")
    with torch.inference_mode():
        seen = torch.cat([subject.model.classify(part).argmax(1) for part in batch.x.split(500)])
    wrong = int((seen != batch.label).sum())
    low, high = metrics.wilson(wrong, len(seen))
    return {"error": {"value": wrong / len(seen), "low": low, "high": high, "n": len(seen)}}
