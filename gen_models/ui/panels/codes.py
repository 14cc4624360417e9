"""Codes: a picture as a grid of codes that a person edits: cell by cell, with a second picture, or by the prior.

Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, 2017), arXiv 1711.00937.
"""

from __future__ import annotations

import base64
import math
import time
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import __version__, data, render, zoo
from gen_models.interface import BadInput, Frame, GenerativeModel, Option, Quantises, Range, Reconstructs, checked_seed
from gen_models.noise import Noise
from gen_models.ui import codebook, film, pad
from gen_models.ui.fields import ANY, Field, choice, option_fields, seed, slider
from gen_models.ui.live import live
from gen_models.ui.panels import reconstruct
from gen_models.ui.panels.likelihood import Spread
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

PATIENCE = 0.3  # seconds a live call waits for what is being made; then the page asks again
PICTURES = 400  # test pictures whose codes are counted
LIVE = 0.05  # seconds between two frames of a run, at least
MOST = 120  # frames of a rewriting that travel to the browser
NUMBERS = 4_000_000  # of all of them, at most
HEIGHT = 280  # pixels of a saved picture, about
NONE = "none"  # the label that says nothing of the class
HINT = (
    "Mark cells and let the prior rewrite them. It writes row by row: what stands before a cell is looked at, "
    "what stands after it is not."
)
OWN = "The test pictures of your own data are not kept. Draw or upload a picture, or take a sample of the prior."
EMPTY = "Mark cells of the picture, then press Rewrite: the variants stand here."

_made = codebook.Made()
_used: weakref.WeakKeyDictionary[GenerativeModel, Spread] = weakref.WeakKeyDictionary()


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    key = f"{tab.family.key}-codes"
    serve = _Serve(tab)
    with columns():
        with side():
            names = {"family": tab.family.key, "name": f"{key}-pad"}
            source = live(
                "codesource",
                pad.serve(tab) | {"take": serve.take},
                tab.visits,
                elem_id=f"{key}-source",
                **names,
                **_facts(tab.first),
            )
            form = Form(tab, "codes", _fields, run="Rewrite", hint=HINT)
        with stage():
            view = live(
                "codes",
                {name: getattr(serve, name) for name in ("book", "look", "usage", "save")},
                tab.visits,
                value=None,
                family=tab.family.key,
                elem_id=f"{key}-view",
                **_facts(tab.first),
            )
            variants = live(
                "codevariants", {}, tab.visits, value=None, family=tab.family.key, empty=EMPTY, elem_id=f"{key}-film"
            )
    tab.on_pick(
        lambda picked: (gr.HTML(**_facts(picked)), gr.HTML(value=None, **_facts(picked)), None),
        [source, view, variants],
    )

    def work(ask: Ask, edit: Any) -> Iterator[dict[Any, Any] | str]:
        """The prior rewrites the marked cells of a picture's codes. settings: n, seed, label and the prior's options.

        edit: {"codes": rows of codes, "marked": rows of 1 (rewrite) and 0}. label: a class, "none", or "any" (variant
        k has class k). Variant k has seed + k. The answer is a film with "variants": their seeds and codes.
        """
        model = _model(ask.picked, tab.device)
        tokens, marked = codebook.edit(edit, ask.picked, model)
        run, begun, drawn = _Rewriting(ask, marked[0]), time.monotonic(), 0.0
        for frame in _filled(ask, model, tokens, marked):
            run.add(frame)
            if frame.step < frame.total and time.monotonic() - drawn >= LIVE:
                drawn = time.monotonic()
                yield {variants: run.film(live=True), form.message: note(f"cell {frame.step} of {frame.total}")}
            if ask.stopped:
                break
        yield {variants: run.film(), form.message: note(run.told(time.monotonic() - begun))}

    form.job(work, [variants], [view], api_name=f"{tab.family.key}_codes")


def _fields(picked: Picked) -> list[Field]:
    if not issubclass(picked.entry.model, Quantises):
        return []
    offered = option_fields(picked.entry.model.fill, picked.entry.limits(), ("temperature",))
    return [slider("n", "Variants", 1, 8, 4, step=1), seed(), *_label(picked), *offered]


def _label(picked: Picked) -> list[Field]:
    """The class that the prior is told; nothing where it knows none."""
    if not picked.labels:
        return []
    digits = picked.labels == tuple("0123456789")
    shown = ("none: go by the other cells", "each in turn", *picked.labels)
    return [choice("label", "Digit" if digits else "Class", (NONE, ANY, *picked.labels), shown=shown)]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before it asks."""
    suits = _suits(picked.entry.model) and picked.space.kind == "image" and card_time(picked.shelf, picked.name) > 0
    known = picked.entry.data in data.NAMES
    facts = {"entry": picked.name if suits else "", "labels": list(picked.labels), "size": pad.props(picked)["size"]}
    return facts | {"box": pad.props(picked)["box"], "title": data.title_of(picked.entry.data) if known else ""}


def _suits(model: type) -> bool:
    return issubclass(model, Quantises) and issubclass(model, Reconstructs)


def _model(picked: Picked, device: str = "cpu") -> Any:
    model = picked.model(device)
    if not _suits(type(model)) or picked.space.kind != "image":
        raise BadInput(f"{picked.name} does not write pictures as codes. Choose another entry.")
    return model


# ---- rewriting ------------------------------------------------------------------------------------------------------


def _filled(ask: Ask, model: Any, tokens: Tensor, marked: Tensor) -> Iterator[Frame]:
    """The frames of n variants of tokens (1, rows, columns) whose marked cells the prior writes anew."""
    n, first, label = ask.values["n"], ask.seed, ask.values.get("label", NONE)
    rows = None
    if label != NONE:
        rows = zoo.label_rows(model.labels, n, None if label == ANY else label).to(model.device)
    tokens, known = (x.to(model.device).expand(n, -1, -1) for x in (tokens, ~marked))
    noise = Noise(range(first, first + n), model.device)
    return zoo.stepped(model.fill(tokens, known, noise, label=rows, **ask.options))


class _Rewriting:
    """A run of Rewrite: its frames, thinned to what travels, and the codes that stand there now."""

    def __init__(self, ask: Ask, marked: Tensor):
        self.picked, self.seed, self.count = ask.picked, ask.seed, ask.values["n"]
        self.cells = marked.nonzero().tolist()  # in the order of writing
        self.most = max(2, min(MOST, NUMBERS // (self.count * ask.picked.space.size)))
        self.frames: list[tuple[int, Tensor]] = []
        self.total, self.step, self.tokens = len(self.cells), 0, torch.empty(0)

    def add(self, frame: Frame) -> None:
        self.step, self.tokens = frame.step, frame.show["tokens"].cpu()
        self.frames.append((frame.step, data.in_bytes(frame.x.cpu())))
        if len(self.frames) > 2 * self.most:  # every second one, but for the first and the last
            self.frames = [self.frames[0], *self.frames[2:-1:2], self.frames[-1]]

    def film(self, live: bool = False) -> dict[str, Any]:
        """As the player takes it, with the variants' seeds and codes; live: the last frame alone."""
        shown = self.frames[-1:] if live else [self.frames[k] for k in film.evenly(len(self.frames), self.most)]
        across = math.ceil(math.sqrt(self.count))
        space = self.picked.space
        pictures = [render.grid(data.in_range(x), space, columns=across, gap=0) for _, x in shown]
        cells = {"count": self.count, "columns": across, "size": list(space.shape[:0:-1]), "gap": 0}
        track = {"title": "rewritten", "colour": "generated", "notes": [self._where(step) for step, _ in shown]}
        seeds = range(self.seed, self.seed + self.count)
        codes = [{"seed": k, "codes": one} for k, one in zip(seeds, self.tokens.tolist(), strict=True)]
        return {
            "id": f"{self.picked.name} {self.seed} {id(self)}",
            "entry": self.picked.name,
            "about": f"{self.picked.name}, rewritten with seeds from {self.seed}",
            "word": "cell",
            "total": self.total,
            "steps": [step for step, _ in shown],
            "span": [0, self.total if live else self.step],
            "note": "click a variant to take it over" if self.count > 1 else "",
            "fps": max(4.0, min(24.0, len(shown) / 4)),
            "live": live,
            "tracks": [track | film.pictures(pictures, live=live) | {"cells": cells}],
            "variants": codes,
        }

    def told(self, seconds: float) -> str:
        """What was done, for the message below the button."""
        what = f"{self.count} variant{'s' * (self.count > 1)}"
        if self.step < self.total:
            return f"stopped at cell {self.step} of {self.total}; the {what} are as far as that"
        seeds = f"seeds {self.seed} to {self.seed + self.count - 1}" if self.count > 1 else f"seed {self.seed}"
        return f"{what} of {self.total} cell{'s' * (self.total > 1)} in {seconds:.2g} s, {seeds}"

    def _where(self, step: int) -> str:
        """Which cell was written in this step."""
        if not step:
            return "before"
        row, column = self.cells[step - 1]
        return f"row {row + 1}, column {column + 1}"


# ---- live calls -----------------------------------------------------------------------------------------------------


class _Serve:
    """The panel's live calls; each checks what it is given. What takes a while answers {"waiting"} until it is there.

    A source is {"drawn": the pad's value}, {"test": number}, {"seed": number, "label": class} or {"codes": rows}.
    """

    def __init__(self, tab: Tab):
        self.tab = tab

    def _asked(self, visit: Visit, asked: dict) -> tuple[Picked, Any]:
        picked = self.tab.visits.picked(asked.get("entry"), visit)
        return picked, _model(picked)

    def book(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """Every code as a small picture in a sprite sheet, and the order by likeness."""
        picked, model = self._asked(visit, asked)
        found = _made.of(model, "book", codebook.book, PATIENCE)
        if found is None:
            return {"waiting": True}
        sheet, across = render.sheet([render.picture(patch, picked.space) for patch in found.patches])
        patch = {"url": render.data_url(sheet), "columns": across, "size": list(found.patches.shape[:1:-1])}
        return {"codes": model.codes, "grid": list(model.grid), "patch": patch, "order": found.order}

    def take(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The codes of a source, and the source as a picture with its name."""
        picked, model = self._asked(visit, asked)
        found = _picture(picked, model, asked.get("source"))
        if found is None:
            return {"waiting": True}
        x, tokens, name = found
        if tokens is None:
            with torch.inference_mode():
                tokens = model.tokens(x.to(model.device))
        total = len(_tests(picked)[0]) if asked["source"].get("test") is not None else None
        return {"codes": tokens[0].tolist(), "picture": _url(x, picked), "name": name, "total": total}

    def look(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """What codes look like, how far that is from their source, and nats of each of them under the prior."""
        picked, model = self._asked(visit, asked)
        tokens = codebook.checked(asked.get("codes"), picked, model)
        given = _picture(picked, model, asked.get("source"))
        with torch.inference_mode():
            x = model.from_tokens(tokens)
        error = None if given is None else codebook.mean_squared(x, given[0])
        return {"picture": _url(x, picked), "error": error, "nats": codebook.nats(model, tokens)[0]}

    def usage(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """How often each code was used in the first test pictures, as many as are counted by now."""
        picked, model = self._asked(visit, asked)
        tests = _tests(picked)
        if tests is None:
            return {"waiting": True}
        spread = _used.get(model)
        if spread is None:  # the work must not hold the model: it is the key of a weak dictionary
            spread = _used.setdefault(model, Spread(_counting(weakref.ref(model)), tests[0][:PICTURES]))
        rows = spread.look()
        counts = torch.bincount(torch.tensor(rows, dtype=torch.long).flatten(), minlength=model.codes)
        return {"counts": counts.tolist(), "pictures": len(rows), "wanted": len(spread.x), "total": len(tests[0])}

    def save(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """The picture of the codes as a PNG that holds its recipe: {"name", "url", "recipe"}."""
        picked, model = self._asked(visit, asked)
        tokens = codebook.checked(asked.get("codes"), picked, model)
        with torch.inference_mode():
            x = model.from_tokens(tokens)
        source = str(asked.get("name") or "")[:80]
        recipe = {"entry": picked.name, "codes": tokens[0].tolist(), "picture": source, "version": __version__}
        image = render.picture(x[0], picked.space, height=HEIGHT)
        url = "data:image/png;base64," + base64.b64encode(render.png(image, recipe)).decode()
        return {"name": f"{picked.name}-codes", "url": url, "recipe": recipe}


def _picture(picked: Picked, model: Any, source: Any) -> tuple[Tensor, Tensor | None, str] | None:
    """A source's picture (1, C, H, W), its codes where they came first, and its name; None while it is being made."""
    if not isinstance(source, Mapping):
        raise BadInput("Take a picture first: draw one, choose a test picture or a sample of the prior.")
    if source.get("codes") is not None:
        tokens = codebook.checked(source["codes"], picked, model)
        with torch.inference_mode():
            return model.from_tokens(tokens), tokens, "codes"
    if source.get("seed") is not None:
        first, label = checked_seed(source["seed"]), source.get("label")
        zoo.label_rows(model.labels, 1, label)  # refuses a class that there is not, before anything is begun
        frame = _made.of(model, (first, str(label)), lambda model: _sampled(model, first, label), PATIENCE)
        return frame and (frame.x, frame.show["tokens"], f"prior, seed {first}")
    if source.get("drawn"):
        drawn = source["drawn"]
        x = pad.received(drawn, picked.space)[None]
        return x, None, str(drawn.get("name"))[:80] if drawn.get("kind") == "file" else "your drawing"
    tests = _tests(picked)
    if tests is None:
        return None
    x, labels = tests
    row = Option("test", Range(0, len(x) - 1), 0, int).check(source.get("test"))
    kind = "" if labels is None else f": {picked.space.labels[labels[row]]}"
    return data.in_range(x[row : row + 1]), None, f"test picture {row}{kind}"


def _sampled(model: Any, first: int, label: Any) -> Frame:
    """The last frame of the sample that this seed gives on the Sample panel, too."""
    *_, last = zoo.sample(model, first, 1, label=label)
    return last


def _tests(picked: Picked) -> tuple[Tensor, Tensor | None] | None:
    """The test pictures as bytes, and their labels; None while they are being read."""
    name = picked.entry.data
    if name not in data.NAMES:
        raise BadInput(OWN)
    future = reconstruct.TESTS.of(name, lambda: reconstruct.test_pictures(name))
    wait([future], timeout=PATIENCE)
    return future.result() if future.done() else None


def _counting(model: weakref.ref):
    def work(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return model().tokens(x.to(model().device)).flatten(1).cpu()

    return work


def _url(x: Tensor, picked: Picked) -> str:
    return render.data_url(render.picture(x[0], picked.space))


PANEL = Panel("Codes", (Quantises, Reconstructs), frozenset({"image"}), mount)
