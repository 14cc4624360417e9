"""`sample`: pictures, points, music and text of an entry, on one process or on several that divide the seeds."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen_models import __version__, data, parallel, zoo
from gen_models.commands.common import DEVICE, Command, chosen, trained
from gen_models.interface import BadInput, Frame, GenerativeModel, Space, checked_seed, options
from gen_models.render.sound import checked_tempo
from gen_models.saving import HEARD, Parts
from gen_models.training import Elsewhere, Group

MOST_PIECES = 1000  # in a folder, a grid or an array
BATCH = {"points": 4096}  # samples at once; others 256


def add(command: Command) -> None:
    sample = command("sample", run, "Draw samples; the method's own options follow as --name value.")
    sample.add_argument("entry")
    sample.add_argument(
        "--n", type=int, help="how many; sample k has seed SEED + k; 16 unless said, 4 of music, 1 of long text"
    )
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--label", help="a class by name or number; without it sample k has class k mod their number")
    sample.add_argument("--device", default="auto", help=DEVICE)
    sample.add_argument("--batch", type=int, help="samples at once on each process; 256 unless said, 4096 of points")
    sample.add_argument("--prompt", default="", help="what a text begins with, or what a picture shows")
    sample.add_argument("--tempo", default=100, help="of music that is heard, in quarter notes a minute")
    sample.add_argument(
        "--out",
        type=Path,
        help="grid.png, raw.npy, all.txt, piece.mid, piece.wav, or a folder: one file per sample; text may go without",
    )


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    for name, most in (("n", 100_000), ("batch", 100_000)):
        value = getattr(known, name)
        if value is not None and not 1 <= value <= most:
            raise BadInput(f"--{name} is a number from 1 to {most}; got {value}.")
    shelf = zoo.Shelf(known.checkpoints)
    entry = trained(known.entry, shelf)
    asked = options(entry.model.sample, entry.limits())
    if "prompt" in asked:  # an option of the method's own, which draws what it says
        rest, known.prompt = [*rest, *(["--prompt", known.prompt] if known.prompt else [])], ""
    _check_out(known, entry.where)
    single = entry.where.kind == "text" and entry.where.encoding == "plain"
    known.n = known.n or (_pieces(known.out) if entry.where.kind == "music" else 1 if single else 16)
    values = chosen(rest, asked)
    checked_seed(known.seed, known.n)
    zoo.label_rows(entry.labels, 1, known.label)
    prompt = _prompt(known, entry, values) if entry.where.kind == "text" else None
    group, where = parallel.start(known.device)
    model = zoo.load(known.entry, shelf, where)
    if known.out is None:
        return _printed(known, model, prompt, values)
    _kept(known, entry, model, prompt, values, group)
    return 0


def _check_out(known: argparse.Namespace, space: Space) -> None:
    """BadInput where the samples cannot go to what --out names, or a prompt makes no sense."""
    text = space.kind == "text"
    if known.out is None and not text:
        raise BadInput("Say where the samples go: --out grid.png, --out raw.npy or --out a/folder.")
    if known.out is None and parallel.size() > 1:
        raise BadInput("What several processes write goes into files: give --out all.txt or a folder.")
    suffixes = ("", ".png", ".npy", *{"text": (".txt",), "music": HEARD}.get(space.kind, ()))
    if known.out is not None and known.out.suffix not in suffixes:
        raise BadInput(f"--out is {', '.join(f'a {suffix}' for suffix in suffixes[1:])} or a folder; got {known.out}.")
    if known.prompt and not text:
        raise BadInput("--prompt is for entries that write text.")
    if space.kind == "music":
        checked_tempo(known.tempo)
        if (known.n or 1) > (most := _pieces(known.out, MOST_PIECES)):
            what = f"{most} piece{'s' * (most > 1)}"
            raise BadInput(f"{known.out} holds {what} at most: give a folder, or a smaller --n.")


def _pieces(out: Path, many: int = 4) -> int:
    """How many pieces of music go into a file: one that is heard, else `many`."""
    return 1 if out.suffix in HEARD else many


# ---- samples, and where they go -----------------------------------------------------------------------------------


def _kept(
    known: argparse.Namespace,
    entry: zoo.Entry,
    model: GenerativeModel,
    prompt: tuple[Tensor, int] | None,
    values: dict[str, Any],
    group: Group,
) -> None:
    """Samples into --out. Batches are the same on any number of processes, so that the samples are."""
    space, labels = entry.where, entry.labels if prompt is None else ()
    recipe = {"entry": known.entry, "seed": known.seed, "n": known.n, "label": known.label, **values}
    recipe |= {"prompt": known.prompt} if prompt is not None else {}
    recipe |= {"tempo": checked_tempo(known.tempo)} if space.kind == "music" else {}
    recipe |= {"version": __version__}
    batch = known.batch or BATCH.get(space.kind, 256)
    batches = [range(first, min(first + batch, known.n)) for first in range(0, known.n, batch)]
    mine = batches[len(batches) * group.rank // group.size : len(batches) * (group.rank + 1) // group.size]
    parts = Parts(known.out, range(mine[0].start, mine[-1].stop) if mine else range(0), group.rank)
    try:
        for numbers, x in _drawn(known, model, prompt, values, mine, group):
            parts.add(numbers.start, x, space, recipe, labels)
        group.meet()
        if group.rank == 0:
            parts.join(known.n, group.size, space, recipe, labels)
        group.meet()
    except BadInput as error:
        if group.rank and not isinstance(error, Elsewhere):
            print(f"\ngen_models: process {group.rank}: {error}", file=sys.stderr)
        raise
    finally:
        parts.drop()
    if group.rank == 0:
        print(f"\nwrote {known.out}", file=sys.stderr)


def _drawn(
    known: argparse.Namespace,
    model: GenerativeModel,
    prompt: tuple[Tensor, int] | None,
    values: dict[str, Any],
    batches: Sequence[range],
    group: Group,
) -> Iterator[tuple[range, np.ndarray]]:
    """The batches of this process, one after the other."""
    shown = 0.0
    for numbers in batches:
        last: Frame | None = None
        run = _frames(known, model, prompt, values, numbers)
        for last in run:
            if group.rank == 0:
                shown = _count(numbers, known.n, group.size, last, getattr(run, "said", ""), shown)
        yield numbers, last.x.cpu().numpy()


def _frames(
    known: argparse.Namespace,
    model: GenerativeModel,
    prompt: tuple[Tensor, int] | None,
    values: dict[str, Any],
    numbers: range,
) -> Iterator[Frame]:
    seed, count = known.seed + numbers.start, len(numbers)
    if prompt is None:
        return zoo.sample(model, seed, count, label=known.label, first=numbers.start, **values)
    start, total = prompt
    x, given = torch.zeros(count, total, dtype=torch.int64), torch.zeros(count, total, dtype=torch.bool)
    x[:, : len(start)], given[:, : len(start)] = start, True
    return zoo.complete(model, x, given, seed, **{name: value for name, value in values.items() if name != "length"})


def _count(numbers: range, n: int, processes: int, frame: Frame, said: str, shown: float) -> float:
    """The progress of sampling on standard error; at most ten lines a second."""
    now = time.monotonic()
    if now - shown < 0.1 and frame.step < frame.total:
        return shown
    where = f" (process 1 of {processes})" if processes > 1 else ""
    line = f"samples {numbers.start + 1}-{numbers.stop} of {n}{where}, step {frame.step}/{frame.total}"
    print(f"\r{line}{'; ' + said if said else ''}", end="", file=sys.stderr)
    return now


# ---- text ---------------------------------------------------------------------------------------------------------


def _prompt(known: argparse.Namespace, entry: zoo.Entry, values: dict[str, Any]) -> tuple[Tensor, int]:
    """The symbols that every text begins with, and how many it has in all; puts the length into `values`."""
    space, prompt = entry.where, data.encoded(known.prompt, entry.where)
    values["length"] = values.get("length", options(entry.model.sample)["length"].default)
    total = space.size if space.encoding == "lines" else len(prompt) + values["length"]
    if len(prompt) >= total:
        raise BadInput(f"A line has {total - 1} characters at most; the prompt has {len(prompt)}. Shorten it.")
    return prompt, total


def _printed(
    known: argparse.Namespace, model: GenerativeModel, prompt: tuple[Tensor, int], values: dict[str, Any]
) -> int:
    """Texts to standard output, one alone as it is written."""
    told, stream = "", known.n == 1
    for frame in _frames(known, model, prompt, values, range(known.n)):
        if stream:
            text = data.decoded(frame.x[0], model.space)
            print(text[len(told) :], end="", flush=True)
            told = text
    print("" if stream else "\n".join(data.decoded(row, model.space) for row in frame.x.cpu()))
    return 0
