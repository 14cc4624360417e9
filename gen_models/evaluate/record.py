"""evaluation.json: what was measured of a checkpoint, kept beside it, and what makes it worth the trust."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_models import __version__, checkpoint, zoo
from gen_models.interface import BadInput

FORMAT = 1  # of the file, and of the protocol: a change of either starts all measures anew
RECORD = "evaluation.json"
LIMIT = 2**20  # bytes


def read(shelf: zoo.Shelf, name: str) -> dict[str, Any] | None:
    """The evaluation beside a checkpoint; None where there is none, BadInput where it cannot be used."""
    path = shelf.folder(name) / RECORD
    try:
        text = path.read_text("utf-8") if path.stat().st_size <= LIMIT else ""
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} of {name} cannot be read ({error}). {_again(name)}") from None
    try:
        found = json.loads(text)
        whole = found["format"] == FORMAT and all(isinstance(row["figures"], dict) for row in found["rows"])
        known = isinstance(found["weights"], str) and isinstance(found["honesty"], dict) and "likelihood" in found
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = known = False
    if not (whole and known):
        raise BadInput(
            f"{path.name} of {name} is truncated or of another version, so nothing of it is used. {_again(name)}"
        )
    return found


def _again(name: str) -> str:
    return f"Run `python -m gen_models evaluate {name} --restart`."


def stale(shelf: zoo.Shelf, name: str, evaluation: Mapping[str, Any]) -> bool:
    """Whether the weights are no longer those that were judged."""
    return _weights(shelf.card(name)).get("sha256") != evaluation["weights"]


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all; BadInput when the disk is full or the folder cannot be written."""
    checkpoint.write_json(folder / RECORD, record)


def begun(name: str, card: Mapping[str, Any], judges: Mapping[str, Any] | None, n: int, seeds: int) -> dict[str, Any]:
    """A record in which nothing is measured yet: who is judged by whom, and the honesty block."""
    weights, training = _weights(card), card.get("training") or {}
    return {
        "format": FORMAT,
        "entry": name,
        "data": card.get("data"),
        "weights": weights.get("sha256", ""),
        "judge": judges,
        "version": __version__,
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "asked": {"n": n, "seeds": seeds},
        "finished": False,
        "honesty": {
            "parameters": weights.get("parameters"),
            "bytes": weights.get("bytes"),
            "examples": training.get("examples"),
            "steps": training.get("steps"),
            "training seconds": training.get("seconds"),
            "device": training.get("device"),
            "threads": training.get("threads"),
            "seed": training.get("seed"),
        },
        "likelihood": None,
        "rows": [],
        "parts": {},
    }


def goes_on(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether measures of `old` may be kept: the same weights, judges and numbers asked for."""
    return bool(old) and all(old.get(key) == new[key] for key in ("format", "entry", "weights", "judge", "asked"))


def _weights(card: Mapping[str, Any]) -> Mapping[str, Any]:
    return card.get("weights") or {}


def _commit() -> str | None:
    """The commit of the tree that this code lies in; None where it is no repository."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "rev-parse", "--short", "HEAD"]
        told = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
        return told.stdout.strip()
    return None
