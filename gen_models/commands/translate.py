"""`translate`: pictures redrawn as if they were of an entry's other domain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gen_models import __version__, data, device, zoo
from gen_models.commands.common import DEVICE, Command, trained
from gen_models.interface import BadInput, Translates
from gen_models.saving import save


def add(command: Command) -> None:
    other = command("translate", run, "Redraw pictures as if they were of an entry's other domain.")
    other.add_argument("entry")
    other.add_argument("--to", required=True, help="A, B or the name of a domain")
    other.add_argument("--out", type=Path, required=True, help="a .png (of several a grid), a .npy or a folder")
    other.add_argument("--device", default="auto", help=DEVICE)
    other.add_argument("pictures", nargs="+", type=Path, help="files, or folders of pictures")


def run(known: argparse.Namespace, rest: Sequence[str]) -> int:
    shelf = zoo.Shelf(known.checkpoints)
    entry, out = trained(known.entry, shelf), known.out
    if not issubclass(entry.model, Translates):
        others = (name for name, one in zoo.ZOO.items() if issubclass(one.model, Translates))
        raise BadInput(f"{known.entry} does not translate; entries that do: {', '.join(others)}.")
    to = zoo.domain(entry.where, known.to)
    if out.suffix not in ("", ".png", ".npy"):
        raise BadInput(f"--out is a .png, a .npy or a folder; got {out}.")
    paths = [path for given in known.pictures for path in _files(given)]
    if not paths:
        raise BadInput(f"{known.pictures[0]} holds no pictures.")
    x = torch.stack([data.picture(path, entry.where) for path in paths])
    model = zoo.load(known.entry, shelf, device.choose(known.device))
    y = torch.cat([zoo.translated(model, part, to) for part in x.split(64)])
    recipe = {"entry": known.entry, "to": to, "pictures": [path.name for path in paths], "version": __version__}
    save(out, y.numpy(), entry.where, recipe, ())
    print(f"wrote {out}: {len(y)} as {entry.where.domains['AB'.index(to)]}", file=sys.stderr)
    return 0


def _files(path: Path) -> list[Path]:
    """The file, or what a folder holds, by name and without what is hidden."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return [path]
