"""The command line: what is done with entries, the same events as on the page, printed; `commands` holds the work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gen_models import __version__, parallel, zoo
from gen_models.commands import evaluate, hub, listing, sample, train, translate
from gen_models.interface import BadInput

SHARED = ("train", "sample")  # the commands that several processes do together


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when it worked, 2 when something has to be mended first, 130 after Ctrl-C."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command != "sample":
        parser.error(f"unknown argument {rest[0]}")
    try:
        if parallel.size() > 1 and known.command not in SHARED:
            raise BadInput(f"{known.command} is no work for several processes: start it without accelerate.")
        code = known.run(known, rest)
        parallel.end()
        return code
    except BadInput as error:
        if parallel.rank() == 0:
            print(f"gen_models: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        if parallel.rank() == 0:
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

    for part in (listing, train, sample, translate, evaluate, hub):
        part.add(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
