"""The figures as Markdown: the README's tables are made from the evaluations beside the checkpoints alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gen_models import data, zoo
from gen_models.evaluate import record
from gen_models.evaluate.figures import FIGURES, written
from gen_models.evaluate.running import CONTROLS, TEST
from gen_models.evaluate.targets import TRIED, verdicts
from gen_models.evaluate.translations import BLURRED, TWINS, UNCHANGED
from gen_models.interface import BadInput

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"
HIDDEN = ("elbo", "density", "copies", "repeats3")  # in the page's tables, too many for a README


def markdown(shelf: zoo.Shelf = zoo.BUNDLED) -> str:
    """A table for each data set, one row for each entry and setting, then its controls; and the judges' errors."""
    found = {name: record.read(shelf, name) for name in [*zoo.ZOO, *zoo.JUDGES] if name in shelf.names()}
    found = {name: evaluation for name, evaluation in found.items() if evaluation}
    parts = [_of_set(name, group) for name, group in _by_data(found).items()]
    return "\n\n".join(part for part in [*parts, _judges(found), _targets(found), _when(found)] if part)


def fill(readme: Path, shelf: zoo.Shelf = zoo.BUNDLED) -> None:
    """Puts the tables between the two marks of a README; BadInput where it has none."""
    text = readme.read_text("utf-8")
    if BEGIN not in text or END not in text:
        raise BadInput(f"{readme} has no place for the tables: add the lines {BEGIN} and {END}.")
    head, rest = text.split(BEGIN, 1)
    readme.write_text(f"{head}{BEGIN}\n{markdown(shelf)}\n{END}{rest.split(END, 1)[1]}", "utf-8")


def between(text: str) -> str:
    """What stands between the marks."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*)\n{re.escape(END)}", text, re.DOTALL)
    return found.group(1) if found else ""


def _by_data(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, evaluation in found.items():
        if name in zoo.ZOO:
            groups.setdefault(evaluation["data"], {})[name] = evaluation
    return groups


def _of_set(data_name: str, group: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]] = []  # the evaluation where it is told
    for name, evaluation in group.items():
        models = [row for row in evaluation["rows"] if row["kind"] == "model"]
        for row in models:
            title = name if len(models) == 1 else f"{name}, {row['name']}"
            rows.append((title, row, evaluation if row is models[0] else None))
    told = (row for evaluation in group.values() for row in evaluation["rows"] if row["kind"] == "control")
    rows += [(f"*{row['name']}*", row, None) for row in controls(told)]
    cells = [{**row["figures"], **likely(evaluation or {})} for _, row, evaluation in rows]
    keys = [key for key in FIGURES if key not in HIDDEN and any(key in cell for cell in cells)]
    head = ["", *(_head(key) for key in keys), "ms a sample", "n"]
    lines = [
        [title, *(written(key, cell.get(key)) for key in keys), _pace(row), _count(row)]
        for (title, row, _), cell in zip(rows, cells, strict=True)
    ]
    return f"**{data.title_of(data_name)}**\n\n" + _table(head, lines)


def likely(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of one pass over the test set; of pictures' densities not the nats, which do not compare."""
    figures = dict((evaluation.get("likelihood") or {}).get("figures") or {})
    figures |= (evaluation.get("codes") or {}).get("figures") or {}
    return {k: v for k, v in figures.items() if k not in ("nats", "elbo") or "bits_per_dim" not in figures}


def controls(rows: Iterable[Mapping[str, Any]], part: str = "figures") -> list[dict[str, Any]]:
    """The control rows of one data set, one of each name and n, the largest n first.

    They are the same for every entry, but some entries have more figures: `part` of a row, put together from all.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        kept = found.setdefault((row["name"], row["n"]), dict(row))
        kept[part] = kept[part] | row[part]
    order = (*CONTROLS, TEST, UNCHANGED, BLURRED, TWINS)
    return sorted(found.values(), key=lambda row: (-row["n"], order.index(row["name"].partition(",")[0])))


def _head(key: str) -> str:
    figure = FIGURES[key]
    arrow = {"lower": " ↓", "higher": " ↑"}.get(figure.better, "")
    return figure.title + (f" ({figure.unit})" if figure.unit else "") + arrow


def _pace(row: Mapping[str, Any]) -> str:
    seconds = row.get("seconds_per_sample")
    return "" if seconds is None else f"{1000 * seconds:.3g}"


def _count(row: Mapping[str, Any]) -> str:
    """Repeats and samples: "3 × 10,000"."""
    return (f"{len(row['seeds'])} × " if row.get("seeds") else "") + f"{row['n']:,}"


def _judges(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        [name, data.title_of(evaluation["data"]), written("error", row["figures"]["error"])]
        for name, evaluation in found.items()
        for row in evaluation["rows"]
        if row["kind"] == "judge"
    ]
    return "**Judges**\n\n" + _table(["", "data", "test error ↓"], lines) if lines else ""


def _targets(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Every target that is missed, by how much, and what was tried."""
    lines = []
    for name, evaluation in found.items():
        missed = [verdict.words for verdict in verdicts(name, evaluation) if verdict.short]
        if missed:
            tried = f" Tried: {TRIED[name]}" if name in TRIED else ""
            lines.append(f"- `{name}`: {'; '.join(missed)}.{tried}")
    return "**Short of their targets**\n\n" + "\n".join(lines) if lines else ""


def _when(found: Mapping[str, Mapping[str, Any]]) -> str:
    dates = sorted(evaluation["date"] for evaluation in found.values())
    commits = sorted({evaluation["commit"] for evaluation in found.values() if evaluation["commit"]})
    said = f"Measured {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "") if dates else ""
    return said + (f" at commit {', '.join(commits)}." if commits else ".") if said else ""


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])
