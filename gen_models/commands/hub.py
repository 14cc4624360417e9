"""`push`, `export` and `fetch`: entries on their way to the Hugging Face Hub and from it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gen_models import hub, zoo
from gen_models.commands.common import Command, bar, told


def add(command: Command) -> None:
    push = command("push", push_entry, "Upload an entry to the Hugging Face Hub; log in with `hf auth login` first.")
    push.add_argument("entry")
    push.add_argument("repository", help="owner/name; made where there is none")
    push.add_argument("--private", action="store_true", help="a new repository is for you alone")
    push.add_argument("--revision", help="the branch; main unless said")
    export = command("export", export_entry, "Write an entry as a pipeline that plain diffusers loads.")
    export.add_argument("entry")
    export.add_argument("folder", type=Path)
    fetch = command(
        "fetch", fetch_entry, "Download a model of the Hugging Face Hub; then it is an entry like any other."
    )
    fetch.add_argument("address", help="owner/name, owner/name@revision, or a folder in the same format")
    fetch.add_argument("--to", type=Path, help="the folder of checkpoints that gets it; that of --checkpoints else")


def push_entry(known: argparse.Namespace, rest: Sequence[str]) -> int:
    shelf = zoo.Shelf(known.checkpoints)
    print(f"uploading {shelf.folder(known.entry)}", file=sys.stderr, flush=True)
    print(zoo.push(known.entry, shelf, known.repository, private=known.private, revision=known.revision))
    return 0


def export_entry(known: argparse.Namespace, rest: Sequence[str]) -> int:
    zoo.export(known.entry, zoo.Shelf(known.checkpoints), known.folder)
    print(f"{known.folder} opens with diffusers: DDPMPipeline.from_pretrained({str(known.folder)!r})")
    return 0


def fetch_entry(known: argparse.Namespace, rest: Sequence[str]) -> int:
    look = hub.look(hub.address(known.address))
    offer = zoo.offer(look)
    print(offer.line, flush=True)
    shelf, last = zoo.Shelf(known.to or known.checkpoints), None
    try:
        for last in hub.fetch(look):
            share = last.done / last.total if last.total else 1.0
            told(f"{bar(share)} {last.done / 1e6:,.1f} of {last.total / 1e6:,.1f} MB  {last.file}", last=share >= 1)
    except KeyboardInterrupt:
        print("\nstopped: what has come is kept, and the same command goes on with it", file=sys.stderr)
        return 130
    name = zoo.shelve(offer, last.folder, shelf)
    there = f" --checkpoints {shelf.root}" if shelf.root != zoo.BUNDLED_ROOT else ""
    print(f"\n{name} is in {shelf.root}; try: python -m gen_models sample {name}{there} --out grid.png")
    return 0
