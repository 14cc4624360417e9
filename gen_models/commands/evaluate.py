"""`evaluate`: an entry, measured; what was measured before is not measured again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gen_models import device, evaluate, zoo
from gen_models.commands.common import DEVICE, Command, rewrite
from gen_models.interface import BadInput


def add(command: Command) -> None:
    judged = command("evaluate", run, "Measure an entry; goes on with an unfinished evaluation.")
    judged.add_argument("entry", nargs="*")
    judged.add_argument("--all", action="store_true", help="every entry that has a checkpoint, the judges first")
    judged.add_argument("--n", type=int, default=evaluate.N, help="samples a repeat; %(default)s unless said")
    judged.add_argument("--seeds", type=int, default=evaluate.SEEDS, help="repeats; %(default)s unless said")
    judged.add_argument("--device", default="auto", help=DEVICE)
    judged.add_argument("--restart", action="store_true", help="measure anew, even what was measured before")
    judged.add_argument("--readme", type=Path, help="then put the tables of all evaluations into this README")


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Entry after entry; one that cannot be measured is named at the end and does not keep the others from it."""
    shelf, failed = zoo.Shelf(known.checkpoints), 0
    if not known.entry and not known.all and not known.readme:
        raise BadInput("Name an entry to evaluate, or take --all for every one that has a checkpoint.")
    names = sorted(shelf.names(), key=lambda name: name not in zoo.JUDGES) if known.all else known.entry
    where = str(device.choose(known.device))
    for name in names:
        try:
            for said in evaluate.run(name, shelf, n=known.n, seeds=known.seeds, device=where, restart=known.restart):
                _part(name, said)
            print(f"\n{_figures(shelf, name)}\n", flush=True)
        except BadInput as error:
            if not known.all:
                raise
            failed = 2
            print(f"\ngen_models: {name}: {error}", file=sys.stderr)
    if known.readme:
        evaluate.fill(known.readme, shelf)
        print(f"wrote the tables into {known.readme}")
    return failed


def _part(name: str, said: evaluate.Step) -> None:
    line = f"{name}: {said.part} " + ("was measured before" if said.kept else f"{said.done:.0%}")
    if sys.stdout.isatty():
        rewrite(line)
    elif said.done >= 1:
        print(line, flush=True)


def _figures(shelf: zoo.Shelf, name: str) -> str:
    """The finished evaluation, a line for each row."""
    found = evaluate.read(shelf, name) or {}
    rows = [(row["name"], row["figures"]) for row in found.get("rows", [])]
    rows += [(part, found[part]["figures"]) for part in ("likelihood", "codes") if found.get(part)]
    return "\n".join(
        f"  {title}: "
        + ", ".join(f"{evaluate.FIGURES[key].title} {evaluate.written(key, cells[key])}" for key in cells)
        for title, cells in rows
    )
