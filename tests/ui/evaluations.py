"""Evaluations written by hand: what `python -m gen_models evaluate` would have left beside small checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gen_models import zoo


def drawn(fd: float | None, kid: float, coverage: float, accuracy: float | None = None) -> dict[str, Any]:
    """The figures of a row; None leaves one out."""
    found: dict[str, Any] = {
        "fd": fd and {"value": fd, "sd": 0.05, "values": [fd]},
        "kid": {"value": kid, "se": 0.0004, "values": [kid]},
        "coverage": {"value": coverage, "sd": 0.004, "values": [coverage]},
        "accuracy": accuracy and {"value": accuracy, "low": accuracy - 0.004, "high": accuracy + 0.003},
    }
    return {key: cell for key, cell in found.items() if cell}


def row(name: str, seconds: float, cells: dict[str, Any], n: int = 10_000, **options: Any) -> dict[str, Any]:
    facts = {"name": name, "kind": "model", "options": options, "n": n, "seeds": [0, 1_000_000], "calls": 15}
    return facts | {"seconds_per_sample": seconds, "figures": cells}


CONTROLS = [
    {"name": name, "kind": "control", "n": 10_000, "figures": cells}
    for name, cells in {
        "real": drawn(0.23, 0.0001, 0.972, 0.994),
        "copycat": drawn(0.25, 0.0002, 0.971, 0.995),
        "noise": drawn(210.0, 0.92, 0.001, 0.101),
    }.items()
]
ELBO = {
    "figures": {"elbo": {"value": 92.04, "se": 0.31}},
    "words": "one draw, binarised pixels",
    "n": 10_000,
}
ROWS = {
    "vae-mnist": ([row("temperature 1", 4e-5, drawn(9.31, 0.031, 0.721))], ELBO),
    "gan-mnist": ([row("truncation 1", 9e-4, drawn(2.12, 0.006, 0.834, 0.981))], None),
    "diffusion-mnist": (
        [
            row("guidance 1", 0.021, drawn(1.13, 0.0025, 0.912, 0.972), guidance=1.0),
            row("guidance 2", 0.021, drawn(0.94, 0.0031, 0.823, 0.996), guidance=2.0),
        ],
        None,
    ),
}


def evaluation(shelf: zoo.Shelf, name: str, rows: list[dict[str, Any]], likelihood: Any) -> dict[str, Any]:
    """What `evaluate` would have written of a checkpoint."""
    weights = shelf.card(name)["weights"]
    judges = {"features": {"name": "judge-mnist-a", "sha256": "9e05f504976c9976"}}
    honesty = {"parameters": 484_356, "bytes": 977_232, "examples": 448_000, "steps": 7000, "device": "cpu"}
    facts = {"format": 1, "entry": name, "data": "mnist", "weights": weights["sha256"], "judge": judges}
    facts |= {"version": "0.1.0", "commit": "861c732", "date": "2026-11-20", "asked": {"n": 10_000, "seeds": 2}}
    return facts | {"finished": True, "honesty": honesty, "likelihood": likelihood, "rows": [*rows, *CONTROLS]}


def written(shelf: zoo.Shelf, name: str) -> Path:
    return shelf.folder(name) / "evaluation.json"
