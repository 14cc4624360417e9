"""Points that a person drew or pasted, as a data set."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gen_models.interface import BadInput, Batch, Space
from gen_models.noise import mixed

FEWEST, MOST = 10, 200_000
FAR = 100.0  # times the distance within which nine of ten points lie: a slip, not data
SPREAD = 1.5  # standard deviation after scaling: the built-in densities have 1 to 2
_MOST_CHARACTERS = 20_000_000
_EXAMPLE = "Each line holds two numbers, such as 0.5, -1.2."


class Points:
    """Points (N, 2) in the playground's range; `x * scale + centre` maps them, or samples, back to where they were."""

    space = Space("points", (2,))
    log_prob = None

    def __init__(self, x: Tensor, centre: Tensor, scale: Tensor):
        self.centre, self.scale = centre, scale
        held = len(x) // 10
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(mixed("points", len(x))))
        valid, test, train = x[order].split([held, held, len(x) - 2 * held])
        self._splits = {"train": train, "valid": valid, "test": test}

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n points of the training split, drawn with replacement: (n, 2) float32."""
        x = self._splits["train"]
        return Batch(x[torch.randint(len(x), (n,), generator=rng)])

    def split(self, name: Literal["train", "valid", "test"]) -> Batch:
        """80, 10 or 10 of 100 points, by a fixed shuffle."""
        return Batch(self._splits[name])


def from_points(x: Tensor) -> Points:
    """Points (N, 2) as a data set, moved and scaled to the usual range: mean 0, standard deviation 1.5, about -4 .. 4.

    Both axes share one scale, so that a drawing keeps its shape, unless their spreads differ more than fourfold.
    BadInput for other shapes, fewer than 10 or more than 200,000 points, values that are not finite, or one place only.
    """
    x = torch.as_tensor(x).to("cpu", torch.float64)
    if x.dim() != 2 or x.shape[1] != 2:
        raise BadInput(f"Points are rows of two numbers; got the shape {tuple(x.shape)}.")
    _enough(len(x))
    if not x.isfinite().all() or not (spread := x.std(0)).isfinite().all():
        raise BadInput("Some points are not finite numbers, or too large. Remove them or divide all by a constant.")
    centre, together = x.mean(0), spread.square().mean().sqrt()
    if together <= 1e-12 * x.abs().max():
        raise BadInput("All points lie in one place. Add points elsewhere.")
    _together(x)
    apart = spread.max() > 4 * spread.min() > 0
    scale = (spread if apart else together.expand(2)) / SPREAD
    return Points(((x - centre) / scale).float(), centre, scale)


def _together(x: Tensor) -> None:
    """Refuses a point so far away that scaling would press all others into one place."""
    away = (x - x.median(0).values).norm(dim=1)
    far = away.argmax()
    if away[far] > FAR * away.quantile(0.9) > 0:
        a, b = (f"{value:g}" for value in x[far].tolist())
        raise BadInput(
            f"The point {a}, {b} lies far from all others: correct it or take it out, then bring them again."
        )


def points_from_csv(text: str) -> Tensor:
    """Two columns of numbers as (N, 2) float64; a first line of names is skipped.

    Columns are separated by a comma, semicolon, tab or space; a decimal comma is read where a semicolon or tab
    separates. BadInput names the first line that is not two finite numbers; also for under 10 or over 200,000 rows.
    """
    if len(text) > _MOST_CHARACTERS:
        raise BadInput(f"The text is too long. Keep {MOST:,} rows at most.")
    rows: list[list[float]] = []
    header = True  # until a line with something in it was read
    for line, written in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not written.strip():
            continue
        cells = _cells(written)
        if not (header and len(cells) == 2 and all(_number(cell) is None for cell in cells)):
            rows.append(_row(cells, line))
        header = False
        if len(rows) > MOST:
            break
    _enough(len(rows))
    return torch.tensor(rows, dtype=torch.float64)


def _enough(n: int) -> None:
    if n < FEWEST:
        raise BadInput(f"At least {FEWEST} points are needed; got {n}. Add more.")
    if n > MOST:
        raise BadInput(f"At most {MOST:,} points are taken; got more. Keep a part of them.")


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in ";\t," if mark in line.strip()), None)
    cells = [cell.strip().strip("\"'") for cell in line.strip().split(separator)]
    if separator in (";", "\t"):
        cells = [cell.replace(",", ".") for cell in cells]
    return cells[:-1] if len(cells) == 3 and not cells[2] else cells  # a separator at the end of each line


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _row(cells: list[str], line: int) -> list[float]:
    if len(cells) != 2:
        found = f"{len(cells)} column{'s' * (len(cells) != 1)}"
        raise BadInput(f"Line {line} has {found} where two are needed. {_EXAMPLE}")
    row = []
    for cell in cells:
        number = _number(cell)
        if number is None:
            raise BadInput(f"Line {line}: {cell[:30]!r} is not a number. {_EXAMPLE}")
        if not math.isfinite(number):
            raise BadInput(f"Line {line}: {cell[:30]!r} is not a finite number. Remove the line or fill in its value.")
        row.append(number)
    return row
