"""The measures of a translation between two domains, on test pairs of which training saw no pair."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import data, metrics, zoo
from gen_models.evaluate.subject import Judges, Subject, judges_of
from gen_models.interface import Translates

CHUNK = 250
DOMAINS = {"mnist-photo": ("mnist", "digits-over-photos")}  # of sets whose domains have classes: who judges A and B
# What doing nothing scores, what blurring alone gains, and what a perfect translation would.
UNCHANGED, BLURRED, TWINS = "unchanged", "blurred", "true twins"

Cells = dict[str, dict[str, Any]]


class Way(NamedTuple):
    """One direction: pictures (n, C, H, W) as bytes, their true twins, their classes, and who judges the result."""

    to: str  # A or B
    x: Tensor
    twins: Tensor
    label: Tensor | None
    judges: Judges | None


def domain_judges(shelf: zoo.Shelf, data_name: str | None) -> tuple[Judges | None, Judges | None]:
    """Who judges domain A and domain B, each with the classifiers of its own pictures; None where there are none."""
    first, second = DOMAINS.get(data_name or "", (None, None))
    return judges_of(shelf, first) if first else None, judges_of(shelf, second) if second else None


def facts_of(judges: tuple[Judges | None, Judges | None], domains: tuple[str, ...]) -> dict[str, Any]:
    """Name and sha256 of each judge, for the record."""
    named = zip(judges, domains, strict=True)
    return {f"{part}, {domain}": fact for judge, domain in named if judge for part, fact in judge.facts.items()}


def translated(
    subject: Subject, judges: tuple[Judges | None, Judges | None]
) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """One pass over the test pairs in both directions: rows for the record, with what doing nothing would score."""
    test = subject.source.split("test")
    a, b = data.in_bytes(test.x), data.in_bytes(test.other)
    rows: list[dict[str, Any]] = []
    for k, way in enumerate((Way("B", a, b, test.label, judges[1]), Way("A", b, a, test.label, judges[0]))):
        parts, seconds = [], 0.0
        for first in range(0, len(way.x), CHUNK):
            began = time.process_time() if subject.model.device.type == "cpu" else time.perf_counter()
            parts.append(_there_and_back(subject.model, way.x[first : first + CHUNK], way.to))
            ended = time.process_time() if subject.model.device.type == "cpu" else time.perf_counter()
            seconds += ended - began
            yield (k + (first + CHUNK) / len(way.x)) / 2 * 0.99, None
        y, back = (torch.cat(part) for part in zip(*parts, strict=True))
        domain = subject.space.domains["AB".index(way.to)]
        facts = {"n": len(way.x), "kind": "model", "apart": True, "calls": 1}
        facts["seconds_per_sample"] = seconds / 2 / len(way.x)  # there and back are two translations
        figures = _paired(y, way) | _error("cycle_l1", back, way.x) | _judged(y, way)
        rows.append({"name": f"to {domain}", "options": {}, "figures": figures} | facts)
        for name, pictures in ((UNCHANGED, way.x), (BLURRED, _blurred(way.x)), (TWINS, way.twins)):
            figures = _paired(pictures, way) | _judged(pictures, way)
            control = {"name": f"{name}, to {domain}", "kind": "control", "n": len(way.x), "figures": figures}
            rows.append(control)
    yield 1.0, {"rows": rows}


def _there_and_back(model: Translates, x: Tensor, to: str) -> tuple[Tensor, Tensor]:
    """Pictures as bytes translated, as bytes, and those translated back."""
    with torch.inference_mode():
        y = data.in_bytes(model.translate(data.in_range(x).to(model.device), to).cpu())
        back = model.translate(data.in_range(y).to(model.device), "A" if to == "B" else "B").cpu()
    return y, data.in_bytes(back)


def _blurred(x: Tensor) -> Tensor:
    """Each pixel the mean of the 3 x 3 around it, as bytes: nearer to most pictures, and no translation at all."""
    return torch.nn.functional.avg_pool2d(x.float(), 3, 1, 1, count_include_pad=False).round().byte()


def _paired(y: Tensor, way: Way) -> Cells:
    """How far from the true twins."""
    likeness = torch.cat(
        [metrics.ssim(p / 255, q / 255) for p, q in zip(y.split(CHUNK), way.twins.split(CHUNK), strict=True)]
    )
    value, error = metrics.mean_error(likeness.double())
    return _error("twin_l1", y, way.twins) | {"ssim": {"value": value, "se": error}}


def _error(key: str, y: Tensor, x: Tensor) -> Cells:
    """Mean absolute difference of pixels that go from 0 to 1."""
    value, error = metrics.mean_error((y.double() - x.double()).abs().flatten(1).mean(1) / 255)
    return {key: {"value": value, "se": error}}


def _judged(y: Tensor, way: Way) -> Cells:
    """Whether the class is kept, and how far the set is from the real one of its domain."""
    if way.judges is None or way.label is None:
        return {}
    kept = _answers(way.judges.classes, y, "classify").argmax(1) == way.label
    low, high = metrics.wilson(int(kept.sum()), len(kept))
    found: Cells = {"kept": {"value": float(kept.double().mean()), "low": low, "high": high, "n": len(kept)}}
    if y is not way.twins:
        features = (_answers(way.judges.features, pictures, "features") for pictures in (y, way.twins))
        found["fd"] = {"value": metrics.frechet(*features)}
    return found


def _answers(judge: Any, x: Tensor, what: str) -> Tensor:
    """What a judge says of pictures as bytes; a judge of grey pictures sees the mean of the colours."""
    found = []
    with torch.inference_mode():
        for part in x.split(500):
            part = data.in_range(part).to(judge.device)
            part = part.mean(1, keepdim=True) if judge.space.shape[0] < part.shape[1] else part
            found.append(getattr(judge, what)(part).cpu())
    return torch.cat(found)
