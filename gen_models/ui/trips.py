"""A picture translated and back, also with noise in between: the numbers of it, and the pictures to save.

CycleGAN, a Master of Steganography (Chu, Zhmoginov and Sandler, 2017), arXiv 1712.02950: where a domain lacks what the
other shows, the generators learn to hide it in a pattern too faint to see, which a little noise wipes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gen_models import __version__, data, metrics, render, zoo
from gen_models.interface import BadInput, GenerativeModel
from gen_models.noise import Noise
from gen_models.ui.visits import Picked, Visit

SPREAD = 0.5  # of the error map: its colours are full at a quarter of the range of pixels
SMALLEST = 11  # pixels: the window of the structural similarity
NOTHING = "Nothing has been translated yet: choose an example, draw or upload a picture, then save."


# ---- there and back -----------------------------------------------------------------------------------------------


class Trip(NamedTuple):
    """A picture, its translation and what comes back, (1, C, H, W) each; errors are mean absolute, of pixels 0 to 1."""

    x: Tensor
    y: Tensor
    back: Tensor
    noisy: Tensor  # y with noise
    again: Tensor  # what comes back from that
    cycle: float
    noisy_cycle: float
    added: float  # what the noise did to y
    curve: list[tuple[float, float, float]]  # (standard deviation, cycle error, what the noise did to y)
    twin: Tensor | None = None
    from_twin: float | None = None  # the error of what comes back from the true twin, in which nothing is hidden


def there_and_back(
    model: GenerativeModel, x: Tensor, to: str, noise: float, twin: Tensor | None = None, levels: Sequence[float] = ()
) -> Trip:
    """x (1, C, H, W) to domain `to` and back, undisturbed and with noise, and the curve at `levels`: two calls.

    What goes back is rounded as a saved picture is, so that nothing travels that a file could not hold.
    """
    y = _as_saved(zoo.translated(model, x, to))
    disturbed = torch.cat([noised(y, level) for level in (0.0, noise, *levels)])
    twins = () if twin is None else (twin,)
    backs = zoo.translated(model, torch.cat([disturbed, *twins]), "A" if to == "B" else "B")
    errors, added = error(backs, x), error(disturbed, y)
    last = 2 + len(levels)
    curve = list(zip(levels, errors[2:last], added[2:], strict=True))
    from_twin = None if twin is None else errors[-1]
    return Trip(x, y, backs[:1], disturbed[1:2], backs[1:2], *errors[:2], added[1], curve, twin, from_twin)


def disturbed_again(model: GenerativeModel, trip: Trip, to: str, noise: float) -> Trip:
    """The trip with other noise in it: one call."""
    noisy = noised(trip.y, noise)
    again = zoo.translated(model, noisy, "A" if to == "B" else "B")
    (cycle,), (added,) = error(again, trip.x), error(noisy, trip.y)
    return trip._replace(noisy=noisy, again=again, noisy_cycle=cycle, added=added)


def noised(y: Tensor, level: float) -> Tensor:
    """A picture with Gaussian noise of standard deviation `level` in pixels of 0 to 1, the same noise every time."""
    eps = Noise([0] * len(y)).normal(*y.shape[1:])
    return _as_saved(y + 2 * level * eps)


def _as_saved(x: Tensor) -> Tensor:
    return data.in_range(data.in_bytes(x))


def error(a: Tensor, b: Tensor) -> list[float]:
    return ((a - b).abs().flatten(1).mean(1) / 2).tolist()


class Held(NamedTuple):
    """Held-out pictures of both domains as bytes; where they are paired, row i of one is the twin of row i."""

    a: Tensor
    b: Tensor
    paired: bool

    def rows(self, to: str, rows: Any) -> tuple[Tensor, Tensor | None]:
        """Pictures to be translated to domain `to`, in [-1, 1], and their true twins."""
        source, target = (self.a, self.b) if to == "B" else (self.b, self.a)
        return data.in_range(source[rows]), data.in_range(target[rows]) if self.paired else None

    def count(self, to: str) -> int:
        return len(self.a if to == "B" else self.b)


def likeness(trip: Trip) -> dict[str, float | None] | None:
    """How near the true twin the translation is, and how near the picture was already; None without a twin."""
    if trip.twin is None:
        return None
    (off,), (unchanged,) = error(trip.y, trip.twin), error(trip.x, trip.twin)
    found: dict[str, float | None] = {"l1": off, "unchanged_l1": unchanged, "ssim": None, "unchanged_ssim": None}
    if min(trip.x.shape[-2:]) >= SMALLEST:
        both, twins = (data.in_bytes(x) / 255 for x in (torch.cat([trip.y, trip.x]), trip.twin.expand(2, -1, -1, -1)))
        ssim = metrics.ssim(both, twins).tolist()
        found |= {"ssim": ssim[0], "unchanged_ssim": ssim[1]}
    return found


# ---- files --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What stands above the grid."""

    at: float  # when the browser asked for it
    key: tuple  # names the picture, the direction and the checkpoint
    name: str
    trip: Trip
    picked: Picked
    recipe: dict[str, Any]


class Grid(NamedTuple):
    """What stands in the grid, (N, C, H, W) each."""

    x: Tensor
    y: Tensor
    twins: Tensor | None
    picked: Picked
    recipe: dict[str, Any]


def row_png(form: str, visit: Visit) -> Path:
    """The picture, its translation, its twin, what comes back and the error, and the same with noise, as one PNG."""
    if form not in visit.kept:
        raise BadInput(NOTHING)
    row: Row = visit.kept[form]
    trip, space = row.trip, row.picked.space
    scale = max(1, 224 // space.shape[1])

    def shown(x: Tensor) -> Image.Image:
        return render.picture(x[0], space, scale=scale).convert("RGB")

    def missed(x: Tensor) -> Image.Image:
        return render.difference(trip.x[0], x[0], space, scale=scale, spread=SPREAD)

    frames = [shown(trip.x), shown(trip.y), *([] if trip.twin is None else [shown(trip.twin)])]
    frames += [shown(trip.back), missed(trip.back)]
    if row.recipe["noise"]:
        frames += [shown(trip.noisy), shown(trip.again), missed(trip.again)]
    name = str(row.recipe.get("picture", f"example{row.recipe.get('example')}")).replace(" ", "-")
    name = "".join(c for c in name.rpartition(".")[0] or name if c.isalnum() or c in "-_")[:40]
    path = visit.file(f"{row.picked.name}-to-{row.recipe['to']}-{name}.png")
    strip = render.strip(frames, gap=8, ground="#ffffff")
    path.write_bytes(render.png(strip, row.recipe | {"version": __version__}))
    return path


def grid_png(form: str, visit: Visit) -> Path:
    """The held-out examples on screen as one PNG: picture, translation and true twin in a row."""
    kept: Grid | None = visit.kept.get(f"{form}-grid")
    if kept is None:
        raise BadInput("There are no held-out examples to save: wait until they are shown.")
    rows = [kept.x, kept.y, *([] if kept.twins is None else [kept.twins])]
    x = torch.stack(rows, 1).flatten(0, 1)
    picture = render.grid(x, kept.picked.space, columns=len(rows), scale=4, gap=8, ground="#ffffff")
    to, seed, page = (kept.recipe[key] for key in ("to", "seed", "page"))
    path = visit.file(f"{kept.picked.name}-to-{to}-examples-seed{seed}-page{page}.png")
    path.write_bytes(render.png(picture, kept.recipe | {"version": __version__}))
    return path
