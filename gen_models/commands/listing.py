"""`list`: the entries, and what is on the shelf."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gen_models import zoo
from gen_models.commands.common import Command
from gen_models.interface import BadInput


def add(command: Command) -> None:
    command("list", run, "List the entries: model, data, parameters, and whether a checkpoint is there.")


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    shelf = zoo.Shelf(known.checkpoints)
    there = shelf.names()
    rows = [("entry", "model", "data", "parameters", "checkpoint")]
    for name in dict.fromkeys([*zoo.ZOO, *zoo.JUDGES, *there]):
        try:
            card = shelf.card(name) if name in there else {}
            entry = zoo.entry_of(card) if card else (zoo.ZOO | zoo.JUDGES)[name]
        except BadInput as error:
            rows.append((name, "?", "?", "?", str(error)))
            continue
        weights, training = (part if isinstance(part := card.get(key), dict) else {} for key in ("weights", "training"))
        parameters = f"{weights.get('parameters', 0):,}" if weights else ""
        facts = f"{training.get('steps')} steps, {training.get('seconds')} s" if card else f"missing: train {name}"
        if card and entry.family == zoo.HUB.key:
            facts = f"from {card.get('origin')}"
        rows.append((name, entry.model.__name__, entry.data or ("Hub" if entry.hub else "own data"), parameters, facts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
