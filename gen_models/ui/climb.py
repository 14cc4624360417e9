"""EM from a start, round by round, as it is kept: the points that it stands on, its rounds, and their pictures.

Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from gen_models import __version__, render, zoo
from gen_models.interface import Batch, Data, GenerativeModel, Space
from gen_models.training import Recipe, Stage, Training
from gen_models.ui import film
from gen_models.ui.fields import option_fields

MOST, SHOWN = 2000, 600  # points that EM works on, and those of them that are drawn
FEWEST = 50  # with fewer points none is held out, as in the model itself
SPACE = Space("points", (2,))
OURS = {"held_out": False, "patience": 3}  # what is held out is measured here; a long wait for gains is no show
SURE = 0.75  # share of its first component below which a point counts as undecided
FINE = 2  # pictures are drawn so much larger first
PALETTE = {  # of components, cycled: told apart with every kind of colour vision, and numbered besides
    "light": ("#0072b2", "#dd9500", "#00a37a", "#d27cb0", "#3a2a8c", "#4aaee6", "#a8380f", "#7d0f4f"),
    "dark": ("#3a8fe0", "#f0a93b", "#2fc79b", "#f29ac8", "#8a63f0", "#a5dcff", "#d9602f", "#f4ec8a"),
}

# ---- the points that it stands on -----------------------------------------------------------------------------


class Ground(NamedTuple):
    """Points in the playground's range; `x * scale + centre` is where they were drawn."""

    title: str
    train: Tensor  # (N, 2)
    held: Tensor  # (M, 2); none where there are few
    scale: Tensor  # (2,)
    centre: Tensor  # (2,)
    truth: float | None  # mean log-density of the held-out points, where the density is known

    @property
    def shown(self) -> Tensor:
        """The points that are drawn, where they were."""
        return self.train[:SHOWN] * self.scale + self.centre

    @property
    def nats(self) -> float:
        """What the change of scale takes from a log-likelihood per point."""
        return float(self.scale.log().sum())

    @property
    def view(self) -> list[float]:
        """Middle and half side of the square that is shown: that of the drawing pad where all points lie in it."""
        x = self.train * self.scale + self.centre
        if x.abs().max() <= film.LIMIT:
            return [0.0, 0.0, film.LIMIT]
        low, high = x.amin(0), x.amax(0)
        return [*((low + high) / 2).tolist(), 0.54 * float((high - low).max())]


def ground_of(title: str, source: Data) -> Ground:
    """At most MOST points to learn from; a visitor's own are all used, a tenth of them held out."""
    if source.log_prob is not None:
        train, held = source.split("train").x[:MOST], source.split("valid").x[:MOST]
        return Ground(title, train, held, torch.ones(2), torch.zeros(2), float(source.log_prob(held).mean()))
    x = torch.cat([source.split(name).x for name in ("valid", "test", "train")])
    count = min(len(x) // 10, MOST) if len(x) >= FEWEST else 0
    return Ground(title, x[count:][:MOST], x[:count], source.scale.float(), source.centre.float(), None)


class _Whole:
    """A ground as what Training takes: its points, all of them in every round."""

    space, log_prob = SPACE, None

    def __init__(self, x: Tensor):
        self.x = x

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        return Batch(self.x[torch.randint(len(self.x), (n,), generator=rng)])

    def split(self, name: str) -> Batch:
        return Batch(self.x)


# ---- rounds ---------------------------------------------------------------------------------------------------


class Look(NamedTuple):
    """The mixture after a round, or at the start, where the points were drawn."""

    components: Tensor  # (K, 6): weight, mean x, y, covariance xx, xy, yy
    owners: Tensor  # (SHOWN, 3) uint8: the two likeliest components, and the first one's share of both
    nats: float  # mean log-likelihood of the training points
    held: float | None


class Fit:
    """EM from one start, a round at a time. `seen`: from a cold start, and every round is looked at and kept."""

    def __init__(self, entry: zoo.Entry, ground: Ground, seed: int, seen: bool = True):
        self.model, self.looks, self.rounds = zoo.build(entry, seed), [], -1
        if seen:
            self.model.warm = 0  # rounds that a start makes unseen
        look = partial(_look, ground) if seen else None
        self._steps = iter(Training(self.model, _Whole(ground.train), entry.recipe, seed=seed, look=look))

    def advance(self) -> bool:
        """Makes a round, the start being the first; False when there is none left."""
        progress = next(self._steps, None)
        if progress is None:
            return False
        self.rounds += 1
        self.looks.append(progress.seen)
        return True


def entry_of(family: zoo.Family, model: type[GenerativeModel], options: Mapping[str, Any], rounds: int) -> zoo.Entry:
    """The entry of a model that makes at most so many rounds on all its points."""
    known = {field.option.name for field in option_fields(model.__init__)}
    config = {name: value for name, value in {**OURS, **options}.items() if name in known}
    return zoo.Entry(family.key, model, None, Recipe({"rounds": Stage(rounds, batch_size=0)}), config, SPACE)


def _look(ground: Ground, model: Any) -> Look:
    found = model.components()
    mean, factors = found.mean * ground.scale + ground.centre, found.factors * ground.scale
    spread = torch.einsum("kqi,kqj->kij", factors, factors)
    spread = spread + found.noise[:, None, None] * torch.diag(ground.scale**2)
    parts = [found.weight[:, None], mean, spread[:, 0, :1], spread[:, 0, 1:], spread[:, 1, 1:]]
    share, first = model.responsibilities(ground.train[:SHOWN]).topk(min(2, len(mean)), 1)
    share = (255 * share[:, :1] / share.sum(1, keepdim=True)).round()
    owners = torch.cat([first[:, :1], first[:, -1:], share], 1).to(torch.uint8)
    nats = float(model.log_prob(ground.train).mean()) - ground.nats
    held = float(model.log_prob(ground.held).mean()) - ground.nats if len(ground.held) else None
    return Look(torch.cat(parts, 1).float(), owners, nats, held)


@dataclass
class Run:
    """A finished run: the likeliest start's rounds, and what the others reached."""

    name: str  # as the browser calls it
    ground: Ground
    looks: list[Look]
    others: list[list[float]]
    values: dict[str, Any]
    entry: str
    seconds: float
    converged: bool
    stopped: bool
    half: int = 0  # which half round is on screen

    @property
    def rounds(self) -> int:
        return len(self.looks) - 1

    @property
    def halves(self) -> int:
        return 2 * self.rounds + 1

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again."""
        values = {k: v for k, v in self.values.items() if k != "csv" or len(v) < 100_000}
        stopped = {"stopped": self.rounds} if self.stopped else {}
        return {"entry": self.entry, "panel": "rounds", **values, "half": self.half, **stopped, "version": __version__}


# ---- pictures -------------------------------------------------------------------------------------------------


def picture(run: Run, half: int, size: int) -> Image.Image:
    """One half round (0 the start, odd E, even M) as a picture of size x size pixels."""
    large = size * FINE
    image = Image.new("RGB", (large, large), "white")
    pen = ImageDraw.Draw(image)
    _draw_points(pen, run, half, large)
    _draw_components(pen, run, half, large)
    kind = "start" if not half else f"round {(half + 1) // 2}, {'E' if half % 2 else 'M'}"
    words = f"{kind}   {run.looks[half // 2].nats:.3f} nats per point"
    pen.text((large / 40, large / 60), words, render.COLOURS["light"]["ink"], ImageFont.load_default(large / 30))
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _palette() -> np.ndarray:
    return np.array([ImageColor.getrgb(colour) for colour in PALETTE["light"]])


def _on_white(colour: np.ndarray, alpha: float) -> tuple[int, ...]:
    return tuple((alpha * colour + (1 - alpha) * 255).round().astype(int).tolist())


def _draw_points(pen: ImageDraw.ImageDraw, run: Run, half: int, large: int) -> None:
    """Each point in the colours of the components that explain it, outlined where undecided; grey at the start."""
    places, radius, palette = _to_pixels(run.ground.shown.numpy(), run.ground.view, large), large / 200, _palette()
    fills = np.tile(ImageColor.getrgb(render.COLOURS["light"]["muted"]), (len(places), 1))
    share = np.ones((len(places), 1))
    if half:
        first, second, share = run.looks[(half - 1) // 2].owners.numpy().T.astype(int)
        share = share[:, None] / 255
        fills = share * palette[first % len(palette)] + (1 - share) * palette[second % len(palette)]
    for (x, y), fill, (sure,) in zip(places, fills, share.tolist(), strict=True):
        outline = render.COLOURS["light"]["ink"] if sure < SURE else None
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), _on_white(fill, 0.8), outline, round(large / 640))


def _draw_components(pen: ImageDraw.ImageDraw, run: Run, half: int, large: int) -> None:
    """One and two standard deviations of each component, stronger the more it weighs."""
    parts, palette = run.looks[half // 2].components.numpy(), _palette()
    for k, (weight, *mean, xx, xy, yy) in enumerate(parts):
        strength = 0.3 + 0.7 * math.sqrt(weight / parts[:, 0].max())
        for deviations, width, alpha in ((2, 0.0025, 0.7), (1, 0.005, 1.0)):
            outline = _to_pixels(_ellipse(mean, [[xx, xy], [xy, yy]], deviations), run.ground.view, large)
            colour = _on_white(palette[k % len(palette)], alpha * strength)
            pen.line([tuple(place) for place in outline], colour, round(width * large), "curve")


def _ellipse(mean: Sequence[float], covariance: Sequence, deviations: float) -> np.ndarray:
    """Places (65, 2) around the ellipse of so many standard deviations."""
    values, axes = np.linalg.eigh(covariance)
    angle = np.linspace(0, math.tau, 65)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return np.array(mean) + deviations * (axes @ (np.sqrt(values.clip(0))[:, None] * circle)).T


def _to_pixels(places: np.ndarray, view: Sequence[float], size: int) -> np.ndarray:
    x, y, reach = view
    return ((places - [x, y]) * [1, -1] / reach + 1) * (size / 2)
