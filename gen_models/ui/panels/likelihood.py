"""How likely a drawn, uploaded or test picture is: among test pictures, beside the nearest ones, and what fools it.

Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2018), arXiv 1810.09136.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import gradio as gr
import torch
from torch import Tensor
from torch.nn import functional as F

from gen_models import data, metrics, render
from gen_models.interface import BadInput, GenerativeModel, Option, Range, Scores
from gen_models.noise import Noise
from gen_models.ui import pad
from gen_models.ui.fields import Field, number
from gen_models.ui.live import live
from gen_models.ui.panels import reconstruct
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

NEAR = 5  # nearest test pictures
SPREAD = 200  # test pictures whose costs make the range
DRAWS = Range(1, 1000, log=True)  # of a bound
MOST = 1_000_000  # numbers of draws and pictures at once
LEFT = 6.0  # seconds after which nobody looks any more
PATIENCE = 0.3  # seconds a live call waits for a data set that is being read; then the page asks again
HINT = "Draw something: the less it costs, the likelier it is. Is it also better?"
UNITS = {"density": "bits/dim", "grey": "bits/dim", "binary": "nats"}
WORDS = {"density": "one uniform dequantisation", "binary": "pixels binarised at random once"}
OWN = "The test pictures of your own data are not kept. Draw or upload a picture."


class Judge(NamedTuple):
    """A model that says what a picture costs, and in which unit."""

    picked: Picked
    model: Any
    kind: str  # what log_prob is a probability of
    draws: int

    def costs(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """-log p(x) of pictures (B, C, H, W): (B,) bits per dimension, or nats of binary pixels.

        Every picture meets the same noise, so that differences between pictures are theirs.
        """
        space, found = self.picked.space, []
        for first in range(0, len(x), size := max(1, MOST // (self.draws * space.size))):
            part = x[first : first + size]
            rows = None if label is None else label[first : first + size].to(self.model.device)
            seeds = [0] * len(part)
            if self.kind == "density":
                part = part + (Noise(seeds).at(1).uniform(*space.shape) - 0.5) / metrics.LEVELS
            with torch.no_grad():
                noise = Noise(seeds, self.model.device)
                nats = -self.model.log_prob(part.to(self.model.device), noise, label=rows, samples=self.draws)
            found.append(nats.double().cpu())
        nats = torch.cat(found)
        if self.kind == "binary":
            return nats
        return metrics.bits_per_dim(nats, space.size, metrics.LEVELS if self.kind == "density" else 1)

    def classes(self, x: Tensor) -> list[float] | None:
        """p(class | x) of one picture (1, C, H, W), every class being as likely beforehand; None for a bound."""
        count = len(self.model.labels)
        if not count or not self.model.exact:
            return None
        costs = self.costs(x.expand(count, *x.shape[1:]), torch.eye(count))
        scale = 1.0 if self.kind == "binary" else self.picked.space.size * torch.log(torch.tensor(2.0)).item()
        return (-costs * scale).softmax(0).tolist()

    @property
    def words(self) -> str:
        """How the cost comes about."""
        bound = "" if self.model.exact else f"a bound with {self.draws} draws"
        noise = WORDS.get(self.kind, "")
        return "; ".join(filter(None, (self.model.how, "" if noise in self.model.how else noise, bound)))


def _judge(picked: Picked, draws: Any = None, device: str = "cpu") -> Judge:
    model = picked.model(device)
    kind = model.measure(picked.space, picked.entry.config) if isinstance(model, Scores) else ""
    if kind not in UNITS or picked.space.kind != "image":
        raise BadInput(f"{picked.name} gives pictures no likelihood; choose another entry.")
    count = 1 if model.exact else Option("draws", DRAWS, 100, int).check(100 if draws is None else draws)
    return Judge(picked, model, kind, count)


# ---- pictures -----------------------------------------------------------------------------------------------------


def _reading(picked: Picked) -> Future:
    """The test pictures as bytes with their labels, being read."""
    if picked.entry.data not in data.NAMES:
        raise BadInput(OWN)
    name = picked.entry.data
    return reconstruct.TESTS.of(name, lambda: reconstruct.test_pictures(name))


def _given(picked: Picked, drawn: Any, test: Any) -> tuple[Tensor, str]:
    """The picture (1, C, H, W) that was drawn or brought, else the test picture of that number; and its name."""
    if drawn:
        x = pad.received(drawn, picked.space)[None]
        return x, str(drawn.get("name"))[:80] if drawn.get("kind") == "file" else "your drawing"
    x, _ = _reading(picked).result()
    row = Option("test", Range(0, len(x) - 1), 0, int).check(test)
    return data.in_range(x[row : row + 1]), f"test picture {row}"


def simpler(x: Tensor) -> dict[str, Tensor]:
    """Pictures made of one (1, C, H, W), by name: some are likelier to a model than what it was trained on."""
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(x[0, 0].numel(), generator=rng)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=-1.0), 3, 1)
    blurred = F.avg_pool2d(F.pad(blurred, (1, 1, 1, 1), value=-1.0), 3, 1)
    return {
        "blank": torch.full_like(x, -1.0),
        "half contrast": (x - 1) / 2,
        "blurred": blurred,
        "inverted": -x,
        "pixels shuffled": x.flatten(2)[..., order].view_as(x),
        "noise": torch.rand(x.shape, generator=rng) * 2 - 1,
    }


def nearest(x: Tensor, tests: Tensor) -> tuple[Tensor, Tensor]:
    """The NEAR test pictures (N, C, H, W) of bytes that x (1, C, H, W) is nearest to: numbers, and mean squared errors.

    Pixels go from 0 (black) to 1 (white); x itself is left out.
    """
    parts = [((data.in_range(part) - x) / 2).square().flatten(1).mean(1) for part in tests.split(2000)]
    errors = torch.cat(parts)
    others = errors.where(errors > 1e-9, torch.inf)
    found = others.topk(min(NEAR, int(others.isfinite().sum())), largest=False)
    return found.indices, found.values


# ---- the range of test pictures -------------------------------------------------------------------------------------


class Spread:
    """What the first test pictures cost a model, measured in the background for as long as somebody looks."""

    def __init__(self, work: Callable[[Tensor], Tensor], x: Tensor):
        self.work, self.x, self.values = work, x, []
        self._asked, self._lock, self._run = 0.0, threading.Lock(), None

    def look(self) -> list[float]:
        """The costs that are known by now; the measuring goes on."""
        self._asked = time.monotonic()
        with self._lock:
            if self._run is not None and self._run.done():
                self._run.result()
                self._run = None
            if self._run is None and len(self.values) < len(self.x):
                self._run = _MEASURING.submit(self._measure)
        return list(self.values)

    def _measure(self) -> None:
        size = 1
        while len(self.values) < len(self.x) and time.monotonic() - self._asked < LEFT:
            begun = time.monotonic()
            at = len(self.values)
            self.values += self.work(data.in_range(self.x[at : at + size])).tolist()
            size = min(50, 2 * size) if time.monotonic() - begun < 0.25 else max(1, size // 2)


_MEASURING = ThreadPoolExecutor(1, "likelihood")
_spreads: weakref.WeakKeyDictionary[GenerativeModel, dict[int, Spread]] = weakref.WeakKeyDictionary()


# ---- the panel ------------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-likelihood"
    with columns():
        with side():
            drawing = live("pad", pad.serve(tab), tab.visits, value=None, name=f"{name}-pad", **pad.props(tab.first))
            form = Form(tab, "likelihood", _fields, run="Measure", hint=HINT)
        with stage():
            view = live(
                "likelihood",
                {"look": _look(tab), "more": _more(tab), "spread": _spread(tab)},
                tab.visits,
                value=None,
                pad=f"{name}-pad",
                form=form.id,
                elem_id=f"{name}-view",
                **_facts(tab.first),
            )
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask, drawn: Any) -> Iterator[dict[Any, Any] | str]:
        """What a picture costs a model, -log p(x), beside its nearest test pictures and beside simpler ones.

        drawn: {"pixels": base64 of H * W grey or H * W * 3 colour bytes}, or null for test picture `test` of settings;
        a bound takes draws. Costs are in bits per dimension, or in nats for models of binary pixels.
        """
        judge = _judge(ask.picked, ask.values.get("draws"), tab.device)
        found: dict[str, Any] = {}
        yield from _read(ask)
        if ask.stopped:
            return
        for part in _parts(judge, *_given(ask.picked, drawn, ask.values["test"])):
            found |= part
            yield {view: dict(found), form.message: note(_progress(found, ask.stopped))}
            if ask.stopped:
                return

    form.job(work, [view], [drawing], api_name=f"{tab.family.key}_likelihood")


def _fields(picked: Picked) -> list[Field]:
    model = picked.entry.model
    bound = issubclass(model, Scores) and not model.exact
    draws = [Field(Option("draws", DRAWS, 100, int), "slider", "Draws", "More make the bound tighter.", True)]
    test = number("test", "Number of the test picture, while nothing is drawn", 0, 1_000_000, 0)
    return [test, *(draws if bound else [])]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is measured."""
    model, known = picked.entry.model, picked.entry.data in data.NAMES
    kind = model.measure(picked.space, picked.entry.config) if issubclass(model, Scores) else ""
    suits = kind in UNITS and picked.space.kind == "image" and card_time(picked.shelf, picked.name) > 0
    return {
        "entry": picked.name if suits else "",
        "unit": UNITS.get(kind, ""),
        "exact": bool(getattr(model, "exact", False)),
        "title": data.title_of(picked.entry.data) if known else "",
        "labels": list(picked.labels),
    }


def _read(ask: Ask) -> Iterator[str]:
    """Waits for the test pictures, while saying so; one that cannot be read is told by whatever needs it."""
    if ask.picked.entry.data not in data.NAMES:
        return
    future = _reading(ask.picked)
    while not future.done() and not ask.stopped:
        wait([future], timeout=PATIENCE)
        yield f"reading {data.title_of(ask.picked.entry.data)}"


def _progress(found: dict[str, Any], stopped: bool) -> str:
    if found.get("done"):
        return f"{found['name']} is measured"
    return "stopped; what is measured stays" if stopped else f"measuring {found['name']}"


def _parts(judge: Judge, x: Tensor, name: str) -> Iterator[dict[str, Any]]:
    """What static/likelihood.js draws, part by part: the cost, the classes, the neighbours, what is simpler."""
    begun = time.monotonic()
    first = {"name": name, "entry": judge.picked.name, "picture": _url(x, judge), "cost": judge.costs(x).item()}
    yield first | {"words": judge.words, "seconds": time.monotonic() - begun}
    yield {"classes": judge.classes(x)}
    yield {"near": _near(judge, x)}
    others = simpler(x)
    found: list[dict[str, Any]] = []
    for title, other in others.items():
        found = [*found, {"name": title, "picture": _url(other, judge), "cost": judge.costs(other).item()}]
        yield {"simpler": found, "done": len(found) == len(others)}


def _near(judge: Judge, x: Tensor) -> list[dict[str, Any]] | None:
    """The nearest test pictures with their costs; None where the data set is not at hand."""
    try:
        tests, labels = _reading(judge.picked).result()
    except BadInput:
        return None
    rows, errors = nearest(x, tests)
    some = data.in_range(tests[rows])
    names = [None if labels is None else judge.picked.space.labels[labels[row]] for row in rows]
    return [
        {"index": int(row), "label": name, "picture": _url(one[None], judge), "cost": cost, "error": error}
        for row, name, one, cost, error in zip(
            rows, names, some, judge.costs(some).tolist(), errors.tolist(), strict=True
        )
    ]


def _url(x: Tensor, judge: Judge) -> str:
    return render.data_url(render.picture(x[0], judge.picked.space))


# ---- live calls -----------------------------------------------------------------------------------------------------


def _look(tab: Tab):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """What the picture costs, while it is drawn; {"waiting"} while the test pictures are being read."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        judge = _judge(picked, asked.get("draws"))
        if not asked.get("drawn"):
            future = _reading(picked)
            wait([future], timeout=PATIENCE)
            if not future.done():
                return {"waiting": True}
        return next(_parts(judge, *_given(picked, asked.get("drawn"), asked.get("test", 0))))

    return look


def _more(tab: Tab):
    def more(visit: Visit, asked: dict) -> dict[str, Any]:
        """All that Measure finds, for models that are quick."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        found: dict[str, Any] = {}
        judge = _judge(picked, asked.get("draws"))
        for part in _parts(judge, *_given(picked, asked.get("drawn"), asked.get("test", 0))):
            found |= part
        return found

    return more


def _spread(tab: Tab):
    def spread(visit: Visit, asked: dict) -> dict[str, Any]:
        """The costs of the first test pictures, as many as are known."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        judge, future = _judge(picked, asked.get("draws")), _reading(picked)
        wait([future], timeout=PATIENCE)
        if not future.done():
            return {"waiting": True}
        tests = future.result()[0][:SPREAD]
        known = _spreads.setdefault(judge.model, {})
        # the work must not hold the model: it is the key of a weak dictionary
        found = known.setdefault(judge.draws, Spread(_without_model(judge), tests))
        values = found.look()
        return {"values": [round(value, 4) for value in values], "wanted": len(tests), "total": len(future.result()[0])}

    return spread


def _without_model(judge: Judge) -> Callable[[Tensor], Tensor]:
    model, rest = weakref.ref(judge.model), judge._replace(model=None)

    def work(x: Tensor) -> Tensor:
        return rest._replace(model=model()).costs(x)

    return work


PANEL = Panel("Likelihood", (Scores,), frozenset({"image"}), mount)
