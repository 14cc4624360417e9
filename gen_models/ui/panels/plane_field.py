"""A denoiser of the plane, looked at as a field: its arrows at every time, beside the exact ones, and its paths.

Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv 2011.13456.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor

from gen_models import data, zoo
from gen_models.interface import BadInput, Choices, Denoises, GenerativeModel, Guess, Option, Range, checked_seed
from gen_models.interface import options as options_of
from gen_models.noise import Noise
from gen_models.ui.film import LIMIT
from gen_models.ui.panels import sources
from gen_models.ui.visits import Picked, Visit, card_time

TIMES = [k / 40 for k in range(1, 41)]
SIDE = 41  # nodes along a side of the view
ARROWS = range(2, SIDE, 3)  # of them, those with an arrow: 13
BANDS = 8  # levels of one nat below the highest density of each time
FAR = 1.0  # the longest difference that is told apart
JUDGED = 400  # noised points that the distance to the exact mean is taken over
STEPS, PARTICLES = Range(1, 50), Range(1, 200)
PATIENCE = 0.5  # seconds a live call waits for a field that is being computed; then the page asks again

KEPT = 16  # fields of this process, those looked at last

_WORK = ThreadPoolExecutor(1, "field")
_fields: OrderedDict[Hashable, Future] = OrderedDict()
_lock = threading.Lock()


def nodes() -> Tensor:
    """The places of the view, row by row from the top: (SIDE^2, 2)."""
    line = torch.linspace(-LIMIT, LIMIT, SIDE)
    y, x = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def exact_of(picked: Picked) -> data.Posterior | None:
    """What is known of the entry's noised points; None where its density is not known."""
    known = picked.entry.data in data.NAMES and picked.space.kind == "points"
    return data.posterior(picked.entry.data) if known else None


def bayes(posterior: data.Posterior, model: Denoises) -> Callable[..., Guess]:
    """The best denoiser there is, of the same schedule: `denoise(x_t, t, ...)` with posterior means."""

    def denoise(x_t: Tensor, t: float, *_: Any) -> Guess:
        alpha, sigma = (float(a) for a in model.schedule(t))
        x0 = posterior.mean(x_t, alpha, sigma)
        return Guess(x0, (x_t.cpu() - alpha * x0) / sigma if sigma else torch.zeros_like(x0))

    return denoise


def distances(denoise: Callable[..., Guess], best: Callable[..., Guess], x_t: Tensor, t: float) -> Tensor:
    """(B,) lengths of the difference between two guesses of x0."""
    return (denoise(x_t, t).x0.cpu().double() - best(x_t, t).x0.double()).norm(dim=1)


def rmse(denoise: Callable[..., Guess], best: Callable[..., Guess], x_t: Tensor, t: float) -> float:
    """The root mean square of `distances`: 0 for a denoiser that has learned all there is."""
    return float(distances(denoise, best, x_t, t).square().mean().sqrt())


@torch.no_grad()
def field(model: Any, name: str | None) -> dict[str, Any]:
    """What static/forward_plane.js draws: the guessed x0 at the arrows, beside the exact one, and how far it is off.

    `name` is that of the data set whose density is known, None where it is not: then the arrows alone.
    """
    places = nodes()
    rows = torch.tensor([SIDE * i + j for i in ARROWS for j in ARROWS])
    found: dict[str, Any] = {"times": TIMES, "side": SIDE, "bands": BANDS, "far": FAR, "limit": LIMIT}
    known = None if name is None else data.posterior(name)
    guesses = [model.denoise(places.to(model.device), t).x0.cpu() for t in TIMES]
    found |= {"places": sources.coded(places[rows]), "learned": sources.coded(torch.cat([x[rows] for x in guesses]))}
    if known is None:
        return found | dict.fromkeys(("exact", "density", "off", "rmse", "least"))
    best, exact, density, off, far, least = bayes(known, model), [], [], [], [], []
    clean = data.load(name).split("valid").x[:JUDGED]
    eps = Noise(range(len(clean))).normal(2)
    for t, guess in zip(TIMES, guesses, strict=True):
        alpha, sigma = (float(a) for a in model.schedule(t))
        mean = best(places, t).x0
        logs = known.log_prob(places, alpha, sigma)
        density.append((logs - logs.max() + BANDS).clamp(0, BANDS) / BANDS)
        exact.append(mean[rows].float())
        off.append(((guess.double() - mean).norm(dim=1).clamp(max=FAR) / FAR).sqrt())  # fine where it is small
        x_t = alpha * clean + sigma * eps
        far.append(rmse(lambda x, t: model.denoise(x.to(model.device), t), best, x_t, t))
        least.append(float((best(x_t, t).x0 - clean).square().sum(1).mean().sqrt()))
    found |= {"exact": sources.coded(torch.cat(exact)), "density": _bytes(density), "off": _bytes(off)}
    return found | {"rmse": far, "least": least}


def _bytes(parts: Sequence[Tensor]) -> str:
    """Shares 0 .. 1 as base64 of bytes."""
    return base64.b64encode((torch.cat(list(parts)) * 255).round().byte().numpy().tobytes()).decode()


def solvers(picked: Picked) -> tuple[str, ...]:
    """The names of the solvers that the entry can be walked with."""
    known = options_of(picked.entry.model.sample, picked.entry.limits()).get("solver")
    return tuple(known.allowed.values) if known is not None else ()


@torch.no_grad()
def paths(model: GenerativeModel, seed: int, n: int, chosen: Sequence[str], steps: int) -> dict[str, Any]:
    """Where each solver leads the same n points of noise: their places at every time, as base64; and its calls."""
    found = {}
    for solver in chosen:
        frames = list(zoo.sample(model, seed, n, solver=solver, steps=steps))
        times = [frame.state.t for frame in frames]
        points = torch.cat([frame.x.cpu() for frame in frames])
        found[solver] = {"times": times, "points": sources.coded(points), "calls": frames[-1].calls}
    return {"n": n, "steps": steps, "solvers": found}


# ---- live calls ---------------------------------------------------------------------------------------------------


def of_plane(picked: Picked, device: str) -> Any:
    """The entry's model; BadInput where it does not denoise points."""
    if picked.space.kind != "points" or not issubclass(picked.entry.model, Denoises):
        raise BadInput(f"{picked.name} does not denoise points of the plane; choose another entry.")
    return picked.nearby(device)


def serve_field(tab: Any) -> Callable[[Visit, dict], Any]:
    def serve(visit: Visit, asked: dict) -> dict[str, Any]:
        """The field of a model at all times; {"waiting"} while it is being computed."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model = of_plane(picked, tab.device)
        name = picked.entry.data if picked.entry.data in data.NAMES else None
        key = (str(picked.shelf.root), picked.name, card_time(picked.shelf, picked.name))
        future = _field_of(key, lambda: field(model, name))
        wait([future], timeout=PATIENCE)
        return future.result() if future.done() else {"waiting": True}

    return serve


def _field_of(key: Hashable, work: Callable[[], Any]) -> Future:
    """The field of that name: under way, done, or begun now."""
    with _lock:
        if key not in _fields or (_fields[key].done() and _fields[key].exception()):
            _fields[key] = _WORK.submit(work)
        _fields.move_to_end(key)
        while len(_fields) > KEPT:
            _fields.popitem(last=False)
        return _fields[key]


def serve_paths(tab: Any) -> Callable[[Visit, dict], Any]:
    def serve(visit: Visit, asked: dict) -> dict[str, Any]:
        """The paths of the solvers that are asked for, from the same noise."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model, known = of_plane(picked, tab.device), solvers(picked)
        chosen = asked.get("solvers")
        if not isinstance(chosen, list) or not chosen or len(set(map(str, chosen))) < len(chosen):
            raise BadInput(f"Choose some of the solvers {', '.join(known)}, each once.")
        chosen = [Option("solver", Choices(known), known[0], str).check(one) for one in chosen]
        n = Option("particles", PARTICLES, 40, int).check(asked.get("particles"))
        steps = Option("steps", STEPS, 10, int).check(asked.get("steps"))
        return paths(model, checked_seed(asked.get("seed"), n), n, chosen, steps)

    return serve
