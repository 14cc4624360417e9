"""The command line: list, train, sample, translate and evaluate entries; the page's events, printed."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen_models import __version__, checkpoint, data, device, evaluate, zoo
from gen_models.interface import (
    BadInput,
    Choices,
    Denoises,
    Frame,
    GenerativeModel,
    Space,
    Translates,
    checked_seed,
    options,
)
from gen_models.render.sound import checked_tempo
from gen_models.saving import HEARD, save
from gen_models.training import Progress

BAR = 28  # characters
MOST_PIECES = 1000  # in a folder, a grid or an array


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when it worked, 2 when something has to be mended first, 130 after Ctrl-C."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command != "sample":
        parser.error(f"unknown argument {rest[0]}")
    try:
        return known.run(known, rest)
    except BadInput as error:
        print(f"gen_models: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m gen_models", description="A playground of generative models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run, words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.add_argument("--checkpoints", type=Path, default=zoo.BUNDLED_ROOT, help="the folder of checkpoints")
        sub.set_defaults(run=run)
        return sub

    command("list", _list, "List the entries: model, data, parameters, and whether a checkpoint is there.")
    train = command("train", _train, "Train an entry by its recipe; goes on with an unfinished training.")
    train.add_argument("entry")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    train.add_argument("--restart", action="store_true", help="start anew, even over a finished or unfinished training")
    sample = command("sample", _sample, "Draw samples; the method's own options follow as --name value.")
    sample.add_argument("entry")
    sample.add_argument(
        "--n", type=int, help="how many; sample k has seed SEED + k; 16 unless said, 4 of music, 1 of long text"
    )
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--label", help="a class by name or number; without it sample k has class k mod their number")
    sample.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    sample.add_argument("--prompt", default="", help="what a text begins with")
    sample.add_argument("--tempo", default=100, help="of music that is heard, in quarter notes a minute")
    sample.add_argument(
        "--out",
        type=Path,
        help="grid.png, raw.npy, all.txt, piece.mid, piece.wav, or a folder: one file per sample; text may go without",
    )
    other = command("translate", _translate, "Redraw pictures as if they were of an entry's other domain.")
    other.add_argument("entry")
    other.add_argument("--to", required=True, help="A, B or the name of a domain")
    other.add_argument("--out", type=Path, required=True, help="a .png (of several a grid), a .npy or a folder")
    other.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    other.add_argument("pictures", nargs="+", type=Path, help="files, or folders of pictures")
    judged = command("evaluate", _evaluate, "Measure an entry; goes on with an unfinished evaluation.")
    judged.add_argument("entry", nargs="*")
    judged.add_argument("--all", action="store_true", help="every entry that has a checkpoint, the judges first")
    judged.add_argument("--n", type=int, default=evaluate.N, help="samples a repeat; %(default)s unless said")
    judged.add_argument("--seeds", type=int, default=evaluate.SEEDS, help="repeats; %(default)s unless said")
    judged.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    judged.add_argument("--restart", action="store_true", help="measure anew, even what was measured before")
    judged.add_argument("--readme", type=Path, help="then put the tables of all evaluations into this README")
    return parser


# ---- list ------------------------------------------------------------------------------------------------------


def _list(known: argparse.Namespace, rest: Sequence[str]) -> int:
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
        rows.append((name, entry.model.__name__, entry.data or "own data", parameters, facts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


# ---- train -----------------------------------------------------------------------------------------------------


def _train(known: argparse.Namespace, rest: Sequence[str]) -> int:
    entry, folder = _zoo_entry(known.entry), known.checkpoints / known.entry
    seed, where = checked_seed(known.seed), device.choose(known.device)
    state = folder / zoo.STATE
    if known.restart:
        state.unlink(missing_ok=True)
    elif (folder / checkpoint.CARD).exists() and not state.exists():
        print(f"{known.entry} is trained already ({folder}); --restart trains it anew.")
        return 0
    if state.exists():
        print(f"going on with the training in {state}")
    source = data.load(entry.data)
    progress = None
    for progress in zoo.run(entry, source, seed=seed, device=where, folder=folder):
        _bar(progress)
    print(f"\nsaved in {folder}" + (f" after {_clock(progress.seconds)}" if progress else ""))
    return 0


def _zoo_entry(name: str) -> zoo.Entry:
    known = zoo.ZOO | zoo.JUDGES
    if name not in known:
        raise BadInput(f"There is no entry {name!r} to train; choose one of {', '.join(known)}.")
    return known[name]


def _bar(progress: Progress) -> None:
    """One line: rewritten on a terminal, a new one every half minute in a log."""
    left = progress.seconds * (1 - progress.done) / progress.done if progress.done else 0.0
    figures = "  ".join(f"{name} {value:.4g}" for name, value in progress.show.items())
    done = round(BAR * progress.done)
    line = (
        f"{progress.stage} [{'=' * done}{' ' * (BAR - done)}] step {progress.step}/{progress.total}  "
        f"{progress.examples_per_second:,.0f} examples/s  {_clock(left)} left  {figures}"
    )
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="", flush=True)
    elif progress.done >= 1 or time.monotonic() - _bar.last > 30:
        _bar.last = time.monotonic()
        print(line, flush=True)


_bar.last = float("-inf")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


# ---- sample ----------------------------------------------------------------------------------------------------


def _sample(known: argparse.Namespace, rest: Sequence[str]) -> int:
    if known.n is not None and not 1 <= known.n <= 100_000:
        raise BadInput(f"--n is a number from 1 to 100000; got {known.n}.")
    shelf = zoo.Shelf(known.checkpoints)
    entry = _trained(known.entry, shelf)
    _check_out(known, entry.where)
    single = entry.where.kind == "text" and entry.where.encoding == "plain"
    known.n = known.n or (_pieces(known.out) if entry.where.kind == "music" else 1 if single else 16)
    values = _options(rest, options(entry.model.sample, entry.limits()))
    seed = checked_seed(known.seed, known.n)
    zoo.label_rows(entry.labels, 1, known.label)
    where = device.choose(known.device)
    model = zoo.load(known.entry, shelf, where)
    if entry.where.kind == "text":
        return _written(known, entry, model, seed, values)
    x, shown = [], 0
    batch = 256 if isinstance(model, Denoises) else 4096
    for first in range(0, known.n, batch):
        count = min(batch, known.n - first)
        last: Frame | None = None
        for last in zoo.sample(model, seed + first, count, label=known.label, first=first, **values):
            shown = _count(first, count, known.n, last, shown)
        x.append(last.x.cpu().numpy())
    recipe = {"entry": known.entry, "seed": seed, "n": known.n, "label": known.label, **values, "version": __version__}
    recipe |= {"tempo": checked_tempo(known.tempo)} if entry.where.kind == "music" else {}
    save(known.out, np.concatenate(x), entry.where, recipe, entry.labels)
    print(f"\nwrote {known.out}", file=sys.stderr)
    return 0


def _trained(name: str, shelf: zoo.Shelf) -> zoo.Entry:
    if name in zoo.ZOO and not (shelf.root / name / checkpoint.CARD).exists():
        raise BadInput(f"{name} has no checkpoint yet: run `python -m gen_models train {name}` first.")
    return shelf.entry(name)


def _check_out(known: argparse.Namespace, space: Space) -> None:
    """BadInput where the samples cannot go to what --out names, or a prompt makes no sense."""
    text = space.kind == "text"
    if known.out is None and not text:
        raise BadInput("Say where the samples go: --out grid.png, --out raw.npy or --out a/folder.")
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


def _written(
    known: argparse.Namespace, entry: zoo.Entry, model: GenerativeModel, seed: int, values: dict[str, Any]
) -> int:
    """Texts that begin with the prompt: to standard output, one alone as it is written, else into --out."""
    space, prompt = entry.where, data.encoded(known.prompt, entry.where)
    length = values.pop("length", options(type(model).sample)["length"].default)
    total = space.size if space.encoding == "lines" else len(prompt) + length
    if len(prompt) >= total:
        raise BadInput(f"A line has {total - 1} characters at most; the prompt has {len(prompt)}. Shorten it.")
    x, given = torch.zeros(known.n, total, dtype=torch.int64), torch.zeros(known.n, total, dtype=torch.bool)
    x[:, : len(prompt)], given[:, : len(prompt)] = prompt, True
    told, stream = "", known.out is None and known.n == 1
    for frame in zoo.complete(model, x, given, seed, **values):
        if stream:
            text = data.decoded(frame.x[0], space)
            print(text[len(told) :], end="", flush=True)
            told = text
    recipe = {"entry": known.entry, "seed": seed, "n": known.n, "prompt": known.prompt, "length": length, **values}
    texts = [data.decoded(row, space) for row in frame.x.cpu()]
    if known.out is None:
        print("" if stream else "\n".join(texts))
    else:
        save(known.out, frame.x.cpu().numpy(), space, recipe | {"label": None, "version": __version__}, ())
        print(f"wrote {known.out}", file=sys.stderr)
    return 0


def _count(first: int, count: int, n: int, frame: Frame, shown: float) -> float:
    """The progress of sampling on standard error; at most ten lines a second."""
    now = time.monotonic()
    if now - shown < 0.1 and frame.step < frame.total:
        return shown
    print(f"\rsamples {first + 1}-{first + count} of {n}, step {frame.step}/{frame.total}", end="", file=sys.stderr)
    return now


def _options(words: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """`--name value` and `--name=value` pairs; BadInput for anything else, with what there is."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for name in known:
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, default=argparse.SUPPRESS)
    try:
        values, rest = parser.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        raise BadInput(f"{error}.") from None
    if rest:
        there = "; ".join(f"--{name} {_allowed(option)}" for name, option in known.items()) or "none"
        raise BadInput(f"{rest[0]} is no option of this entry. Its options: {there}.")
    return {name: known[name].check(value) for name, value in vars(values).items()}


def _allowed(option: Any) -> str:
    if isinstance(option.allowed, Choices):
        return "|".join(map(str, option.allowed.values))
    return f"{option.allowed.low:g}..{option.allowed.high:g}"


# ---- translate -------------------------------------------------------------------------------------------------


def _translate(known: argparse.Namespace, rest: Sequence[str]) -> int:
    shelf = zoo.Shelf(known.checkpoints)
    entry, out = _trained(known.entry, shelf), known.out
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


# ---- evaluate --------------------------------------------------------------------------------------------------


def _evaluate(known: argparse.Namespace, rest: Sequence[str]) -> int:
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
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="", flush=True)
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


if __name__ == "__main__":
    sys.exit(main())
