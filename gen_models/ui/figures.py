"""What was measured, for the page: one entry's evaluation, or those of a data set as one table with two plots."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gen_models import evaluate, zoo
from gen_models.interface import BadInput, checked
from gen_models.ui.visits import Picked, Visit, card_time

SHIFTING = {"fd", "density", "coverage", "energy", "modes", "kl", "distinct"}  # with n
QUALITY = ("fd", "kid", "energy", "kl")  # what the plots show: the first that most entries have
VARIETY = ("coverage", "modes", "inside")
CONTROLS = {
    "real": "Other real data in place of samples: what a perfect model would score.",
    "copycat": "Copies of training examples in place of samples: what memorising scores.",
    "noise": "Noise in place of samples: what knowing nothing scores.",
    "test": "The test pieces in place of samples: what the statistics should be like.",
    "unchanged": "The picture as it was in place of its translation: what doing nothing scores.",
    "blurred": "The picture as it was, blurred over 3 x 3 pixels: what is gained without translating anything.",
    "true twins": "The true twins in place of translations: what a perfect model would score.",
}
MEASURED = {
    "image": (
        "Samples are compared with as many test pictures in the features of a small classifier that was trained on the "
        "training split alone, and a second classifier tells their accuracy; such figures (FD_clf is not FID) compare "
        "only with others of the same judge and n. ± is a standard deviation over seeds or a standard error, a range "
        "is a 95 % interval, and the rows real, copycat and noise say how far the scale reaches."
    ),
    "points": (
        "Samples are compared with as many fresh points of the data set, without a judge, and figures compare only "
        "with others of the same n. ± is a standard deviation over seeds or a standard error, a range is a 95 % "
        "interval, and the rows real, copycat and noise say how far the scale reaches."
    ),
    "text": (
        "Samples are compared with the training text, and the test split is read once. ± is a standard deviation over "
        "seeds or a standard error, a range is a 95 % interval, and the rows real, copycat and noise say what text "
        "that was never trained on, the training text itself and random characters score."
    ),
    "music": (
        "The first 100 notes of every piece are counted; a note begins where a pitch enters its voice. Distances (off) "
        "are from the test pieces, which the row test holds. ± is a standard error over pieces, and the rows real, "
        "copycat and noise say what other training pieces, the same as those trained on, and random pitches score."
    ),
}

TRANSLATED = (
    "Every test picture is translated and compared with its true twin, which training never saw beside it; for digits "
    "a classifier of the new domain tells whether the class is kept. ± is a standard error, a range is a 95 % "
    "interval, and the rows unchanged, blurred and true twins say what doing nothing, blurring and a perfect "
    "translation score."
)

log = logging.getLogger(__name__)


# ---- one entry --------------------------------------------------------------------------------------------------


def group(picked: Picked, visit: Visit | None = None) -> dict[str, Any]:
    """An entry's rows for a table; `why` says in words what stands there instead where nothing was measured."""
    name = picked.name
    found = {"entry": name, "why": "", "marks": [], "rows": [], "controls": [], "likelihood": None}
    try:
        evaluation = _read(picked)
        if evaluation is None:
            return found | {"why": missing(picked, visit)}
        likelihood, finished = evaluation.get("likelihood"), evaluation["finished"]
        parts = {kind: [row for row in evaluation["rows"] if row["kind"] == kind] for kind in ("model", "control")}
        codes = evaluation.get("codes")
        if not (finished or parts["model"] or likelihood or codes):
            return found | {"why": f"its evaluation has only begun: python -m gen_models evaluate {name} goes on"}
        return found | {
            "marks": _marks(picked, evaluation),
            "rows": [_row(row) for row in parts["model"]],
            "controls": [_row(row) for row in parts["control"]],
            "likelihood": _likelihood(evaluation) if likelihood or codes or not finished else None,
        }
    except BadInput as error:
        return found | {"why": str(error)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        log.warning("The evaluation of %s cannot be shown: %r", name, error)
        return found | {"why": f"Its evaluation cannot be read; run it again: python -m gen_models evaluate {name}"}


def missing(picked: Picked, visit: Visit | None = None) -> str:
    """Why an entry has no figures, and how to get them."""
    if visit is not None and picked.shelf is visit.shelf:
        return f"not evaluated: it was {'fetched' if picked.entry.hub else 'trained'} in this visit"
    return f"not evaluated: python -m gen_models evaluate {picked.name}"


def _read(picked: Picked) -> dict[str, Any] | None:
    return evaluate.read(picked.shelf, picked.name) if card_time(picked.shelf, picked.name) else None


def _marks(picked: Picked, evaluation: Mapping[str, Any]) -> list[str]:
    stale = evaluate.stale(picked.shelf, picked.name, evaluation)
    return ["weights changed since"] * bool(stale) + ["unfinished"] * (not evaluation["finished"])


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    settings = ", ".join(f"{key} {value}" for key, value in (row.get("options") or {}).items())
    seconds = row.get("seconds_per_sample")
    return {
        "name": row["name"],
        "about": CONTROLS[row["name"].partition(",")[0]] if row["kind"] == "control" else settings,
        "apart": row.get("apart", False),
        "n": row["n"],
        "calls": row.get("calls"),
        "seconds": seconds,
        "time": duration(seconds) if seconds is not None else "",
        "cells": _cells(row["figures"]),
    }


def _likelihood(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What one pass over the test set told; `about` says of what."""
    found = evaluation.get("likelihood") or evaluation.get("codes") or {}
    about = "Codes" if evaluation.get("codes") else "Likelihood"
    words = found.get("words", "")
    return {"words": words, "about": about, "n": found.get("n"), "cells": _cells(evaluate.likely(evaluation))}


def _cells(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    known = ((key, figures[key]) for key in evaluate.FIGURES if (figures.get(key) or {}).get("value") is not None)
    return {key: {"text": evaluate.written(key, cell), "value": cell["value"] * _scale(key)} for key, cell in known}


def _scale(key: str) -> float:
    """What a value is shown times: 1000 for a figure whose unit is "x 1000"."""
    unit = evaluate.FIGURES[key].unit
    return float(unit.removeprefix("x ")) if unit.startswith("x ") else 1.0


# ---- many entries -----------------------------------------------------------------------------------------------


def table(groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What static/figures.js draws: columns that occur, a group of rows per entry, control rows without repetition."""
    rows = [row for found in groups for row in found["rows"]]
    controls = _controls(row for found in groups for row in found["controls"])
    occurring = {key for row in [*rows, *controls] for key in row["cells"]}
    likely = {key for found in groups if found["likelihood"] for key in found["likelihood"]["cells"]}
    _mark_best(rows, [found["likelihood"] for found in groups if found["likelihood"]])
    return {
        "columns": [_column(key) for key in evaluate.FIGURES if key in occurring - likely],
        "likely": [_column(key) for key in evaluate.FIGURES if key in likely],
        "groups": groups,
        "controls": controls,
        "axes": _axes(groups),
    }


def _controls(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One of each name and n, since they are the same for every entry of a data set; the largest n first."""
    rows = evaluate.controls(rows, "cells")
    many = len({row["n"] for row in rows}) > 1
    return [row | {"control": row["name"], "note": f"n = {row['n']:,}" if many else ""} for row in rows]


def _column(key: str) -> dict[str, str]:
    figure = evaluate.FIGURES[key]
    return {"key": key, "title": figure.title, "unit": figure.unit, "better": figure.better, "words": figure.words}


def _mark_best(rows: Sequence[dict[str, Any]], likelihoods: Sequence[dict[str, Any]]) -> None:
    """Marks the best cell of each column; where a figure shifts with n, among the rows of the largest n only."""
    for key, figure in evaluate.FIGURES.items():
        having = [row for row in [*rows, *likelihoods] if key in row["cells"] and not row.get("apart")]
        if key in SHIFTING and having:
            most = max(row.get("n") or 0 for row in having)
            having = [row for row in having if (row.get("n") or 0) == most]
        values = {row["cells"][key]["value"] for row in having}
        if figure.better and len(values) > 1:
            best = (min if figure.better == "lower" else max)(values)
            for row in having:
                row["cells"][key]["best"] = row["cells"][key]["value"] == best


def _axes(groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures that the plots are drawn with, and the entries that do not have them."""
    measured = [found for found in groups if found["rows"]]

    def having(key: str) -> list[str]:
        return [found["entry"] for found in measured if any(key in row["cells"] for row in found["rows"])]

    quality, variety = (max(keys, key=lambda key: len(having(key))) for keys in (QUALITY, VARIETY))
    absent = [found["entry"] for found in measured if found["entry"] not in having(quality)]
    present = bool(having(quality))
    return {
        "quality": _column(quality) if present and quality in evaluate.FIGURES else None,
        "variety": _column(variety) if having(variety) else None,
        "absent": absent if present else [],
    }


# ---- an entry's card --------------------------------------------------------------------------------------------


def card(picked: Picked, visit: Visit | None = None) -> dict[str, Any]:
    """Everything that was measured of one entry, and how it was trained: what folds under its panels."""
    found = group(picked, visit)
    if found["why"]:
        why = found["why"].replace("not evaluated: python", "Not evaluated yet: run python", 1)
        return {"entry": picked.name, "why": why}
    evaluation = _read(picked)
    return {
        "entry": picked.name,
        "why": "",
        "table": table([found]),
        "facts": _facts(evaluation),
        "measured": TRANSLATED if picked.space.domains else MEASURED.get(picked.space.kind, ""),
        "targets": _targets(picked, evaluation) + _twins(picked, evaluation),
    }


def _targets(picked: Picked, evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a shipped entry was meant to reach, each with whether it does, and what was tried where it does not."""
    found = evaluate.verdicts(picked.name, evaluation) if picked.name in zoo.ZOO else []
    said = [{"text": verdict.words, "short": verdict.short > 0} for verdict in found]
    tried = evaluate.TRIED.get(picked.name) if any(one["short"] for one in said) else None
    return said + ([{"text": f"Tried: {tried}", "short": False}] if tried else [])


def _twins(picked: Picked, evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the same model reaches with one switch the other way, trained by the same recipe: better, worse or equal."""
    found, mine = [], zoo.ZOO.get(picked.name)
    for name, other in zoo.ZOO.items() if mine else ():
        same = (other.model, other.data, other.recipe) == (mine.model, mine.data, mine.recipe)
        if name == picked.name or not same or name not in picked.shelf.names():
            continue
        a, b = (checked(mine.model.__init__, entry.config) for entry in (mine, other))
        changed = [key for key in a if a[key] != b[key]]
        told = evaluate.read(picked.shelf, name)
        if told and len(changed) == 1 and isinstance(a[changed[0]], bool):
            said = _against(_first(evaluation), _first(told))
            found.append({"text": f"{name}, the same but for {changed[0]}: {said}", "short": False})
    return found


def _first(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures of the model's first setting."""
    return next((row["figures"] for row in evaluation["rows"] if row["kind"] == "model"), {})


def _against(mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """ "FD_clf 4.08 ± 0.02 (here 4.51 ± 0.03), Coverage .."."""
    both = [key for key in (*QUALITY, *VARIETY, "accuracy") if key in mine and key in other]
    said = (
        f"{evaluate.FIGURES[key].title} {evaluate.written(key, other[key])} (here {evaluate.written(key, mine[key])})"
        for key in both
    )
    return ", ".join(said) or "not measured"


def _facts(evaluation: Mapping[str, Any]) -> list[list[str]]:
    """The honesty block as terms and texts."""
    honesty, asked = dict(evaluation.get("honesty") or {}), evaluation.get("asked") or {}
    rows = [row for row in evaluation["rows"] if row["kind"] == "model"]
    repeats = asked.get("seeds")
    judged = _all(f"{repeats} × {row['n']:,}" if repeats else f"{row['n']:,}" for row in rows)
    judges = [judge for judge in (evaluation.get("judge") or {}).values() if judge]
    facts = [
        ("parameters", _amount(honesty.pop("parameters", None))),
        ("size on disk", _amount(honesty.pop("bytes", None), "B")),
        ("examples seen", _whole(honesty.pop("examples", None))),
        ("training steps", _whole(honesty.pop("steps", None))),
        ("training time", duration(honesty.pop("training seconds", None))),
        *((key, str(value)) for key, value in honesty.items()),
        ("network calls", _all(row.get("calls") for row in rows)),
        ("guidance", _all((row.get("options") or {}).get("guidance") for row in rows)),
        ("samples judged", judged),
        ("their first seeds", _all(f"{seed:,}" for row in rows for seed in row.get("seeds") or [])),
        ("judge", ", ".join(f"{judge['name']} ({str(judge['sha256'])[:8]})" for judge in judges) or "none"),
        ("weights", str(evaluation.get("weights") or "")[:8]),
        ("evaluated", str(evaluation.get("date") or "")),
        ("commit", str(evaluation.get("commit") or "")[:12]),
        ("version", str(evaluation.get("version") or "")),
    ]
    return [[term, text] for term, text in facts if text]


# ---- words ------------------------------------------------------------------------------------------------------


def duration(seconds: float | None) -> str:
    """Seconds as people write them: "45 µs", "12 ms", "3.1 s", "24 min"."""
    if seconds is None:
        return ""
    for size, unit in ((60, "min"), (1, "s"), (1e-3, "ms")):
        if seconds >= size * (2 if unit == "min" else 1):
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-6)} µs"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}" if value < 1 else f"{value:.2g}"


def _amount(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    size, prefix = next(((size, p) for size, p in ((1e6, "M"), (1e3, "k")) if value >= size), (1, ""))
    return f"{_digits(value / size)} {prefix}{unit}".strip()


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _all(values: Iterable[Any]) -> str:
    """Different values in their order."""
    return " · ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))
