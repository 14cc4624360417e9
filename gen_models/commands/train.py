"""`train`: an entry by its recipe, on one process or on several that share every batch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gen_models import checkpoint, data, parallel, zoo
from gen_models.commands.common import DEVICE, Command, bar, clock, told
from gen_models.interface import BadInput, checked_seed
from gen_models.training import Progress


def add(command: Command) -> None:
    train = command("train", run, "Train an entry by its recipe; goes on with an unfinished training.")
    train.add_argument("entry")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", help=DEVICE)
    train.add_argument("--restart", action="store_true", help="start anew, even over a finished or unfinished training")


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    entry, folder = _entry(known.entry), known.checkpoints / known.entry
    seed = checked_seed(known.seed)
    group, where = parallel.start(known.device)
    if not group.led(lambda: _to_do(known.entry, folder, known.restart)):
        return 0
    source = group.in_turn(lambda: data.load(entry.data))
    progress = None
    with parallel.stoppable(group):
        for progress in zoo.run(entry, source, seed=seed, device=where, folder=folder, group=group):
            if group.rank == 0:
                show(progress)
    if group.stopped:
        if group.rank == 0:
            print("\nstopped", file=sys.stderr)
        return 130
    if group.rank == 0:
        print(f"\nsaved in {folder}" + (f" after {clock(progress.seconds)}" if progress else ""))
    return 0


def _to_do(name: str, folder: Path, restart: bool) -> bool:
    """Whether there is anything to train, said; `restart` drops what was not finished."""
    state = folder / zoo.STATE
    if restart:
        state.unlink(missing_ok=True)
    elif (folder / checkpoint.CARD).exists() and not state.exists():
        print(f"{name} is trained already ({folder}); --restart trains it anew.")
        return False
    if state.exists():
        print(f"going on with the training in {state}")
    return True


def _entry(name: str) -> zoo.Entry:
    known = zoo.ZOO | zoo.JUDGES
    if name not in known:
        raise BadInput(f"There is no entry {name!r} to train; choose one of {', '.join(known)}.")
    return known[name]


def show(progress: Progress) -> None:
    """A line about the training as it is now."""
    left = progress.seconds * (1 - progress.done) / progress.done if progress.done else 0.0
    figures = "  ".join(f"{name} {value:.4g}" for name, value in progress.show.items())
    line = (
        f"{progress.stage} {bar(progress.done)} step {progress.step}/{progress.total}  "
        f"{progress.examples_per_second:,.0f} examples/s  {clock(left)} left  {figures}"
    )
    told(line, last=progress.done >= 1)
