"""Text symbol by symbol: how likely each one was, what else could have stood there, and how it would have gone on."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from gen_models import __version__, data, zoo
from gen_models.interface import BadInput, Completes, GenerativeModel, Option, Predicts, Range, checked_seed
from gen_models.noise import Noise
from gen_models.ui.fields import Field, number, option_fields, seed, text
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

LIVE = 0.05  # seconds between two looks at a text, at least
SHARE = 0.2  # of the time that goes into telling how likely each symbol was, while the text is being written
PROMPT, LENGTH, LONGEST = 2000, 2000, 4000  # symbols at most: of a prompt, to write at once, in all
LINES = 64
UNIT, UNKNOWN = 1000, 65_535  # of what travels: a nat is 1000; not known yet
WORDS = {  # an option's name -> its label and what to know about it
    "temperature": ("Temperature", "1: as learnt; 0: always the likeliest."),
    "top_k": ("Top-k", "Draw from the k likeliest; 0: from all."),
    "top_p": ("Top-p", "From the fewest that reach p; 1: from all."),
}
HINT = "Write, click a symbol, choose another in its place: the text goes on from there."


class _Start(Option):
    """Where to go on from, not the prompt: null, or a text, how many symbols more, and which of several lines."""

    def check(self, value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        known = isinstance(value, Mapping) and not set(value) - {"text", "more", "row"}
        if not known or not isinstance(value.get("text"), str):
            raise BadInput('start is null, or {"text": the text so far, "more": symbols to write, "row": 0}.')
        more = Option("more", Range(1, LONGEST), LENGTH, int).check(value.get("more", LENGTH))
        row = Option("row", Range(0, LINES - 1), 0, int).check(value.get("row", 0))
        return {"text": value["text"], "more": more, "row": row}


# ---- the panel ----------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "write", _fields, run="Write", hint=HINT)
        with stage():
            view = live(
                "writing",
                {"next": _next(tab)},
                tab.visits,
                value=None,
                form=form.id,
                version=__version__,
                elem_id=f"{form.id}-view",
                **facts(tab.first),
            )
    tab.on_pick(lambda picked: gr.HTML(value=None, **facts(picked)), [view])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Text, symbol by symbol. settings: prompt, seed, temperature, top_k, top_p, and length (of lines: n).

        The answer holds every row's text, prompt included, and what each symbol cost in nats (-log p, at temperature 1
        and with nothing cut), as base64 of uint16 with 1000 to a nat. `start` goes on from a text instead of the
        prompt: {"text", "more": symbols to write, "row": which of the lines}; what symbol i is drawn with follows from
        seed + row and i alone, so a text that is cut and goes on unchanged is the same text.
        """
        task = task_of(ask.picked, ask.values)
        model = ask.picked.model(tab.device)
        for page in pages(ask, model, task):
            yield {view: page.sent(ask), form.message: note(page.line(ask))}

    form.job(work, [view], api_name=f"{tab.family.key}_write")


def suits(picked: Picked) -> bool:
    return PANEL.suits(picked.entry.model, picked.space.kind)


def _fields(picked: Picked) -> list[Field]:
    start = Field(_Start("start", Range(0, LONGEST), None, dict), "hidden", "Start")
    if not suits(picked):
        return [start]
    lines = picked.space.encoding == "lines"
    prompt = text("prompt", "Beginning (empty: from nothing)" if lines else "Prompt (empty: it starts from nothing)")
    many = number("n", "Lines", 1, LINES, 16) if lines else number("length", "Characters to write", 1, LENGTH, 300)
    offered = []
    for field in option_fields(picked.entry.model.complete, picked.entry.limits(), tuple(WORDS)):
        option, (label, info) = field.option, WORDS.get(field.option.name, (field.label, field.info))
        if option.name == "top_k":
            option = dataclasses.replace(option, allowed=Range(0, min(option.allowed.high, len(picked.space.alphabet))))
        offered.append(field._replace(option=option, label=label, info=info))
    return [prompt, many, *offered, seed(), start]


def facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry before anything is written; entry "" where it writes no text."""
    known = suits(picked) and card_time(picked.shelf, picked.name) > 0
    return {
        "entry": picked.name if known else "",
        "lines": picked.space.encoding == "lines",
        "context": picked.space.size,
        "symbols": len(picked.space.alphabet),
        "alphabet": "".join(picked.space.alphabet) if known else "",
    }


# ---- what is asked ------------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """What is known, and how far to write: (B, n) int64 of which the first `known` of every row stand."""

    x: Tensor
    known: int
    first: int  # the number of row 0 among the lines that were once written together
    fresh: bool  # from the prompt

    @property
    def wanted(self) -> int:
        return self.x.shape[1] - self.known


def task_of(picked: Picked, values: Mapping[str, Any]) -> Task:
    """The task of checked settings; BadInput says what to change."""
    if not suits(picked):
        raise BadInput(f"{picked.name} writes no text; choose another entry.")
    start, size = values["start"], picked.space.size
    given = values["prompt"] if start is None else start["text"]
    known = symbols_of(given, picked, PROMPT if start is None else LONGEST)
    rows, first = (values.get("n", 1), 0) if start is None else (1, start["row"])
    checked_seed(values["seed"], first + rows)
    if picked.space.encoding == "lines":
        more = size - len(known) if start is None else min(start["more"], size - len(known))
        if more < 1:
            raise BadInput(f"A line of this model has {size} symbols at most, its end included. Shorten the beginning.")
    else:
        more = values["length"] if start is None else start["more"]
        if len(known) + more > LONGEST:
            raise BadInput(f"A text has {LONGEST} characters here at most. Begin anew, with its end as the prompt.")
    x = torch.cat([known, torch.zeros(more, dtype=torch.int64)])
    return Task(x.expand(rows, -1), len(known), first, start is None)


def symbols_of(given: Any, picked: Picked, most: int, what: str = "prompt") -> Tensor:
    """A text as symbols (n,); BadInput for one that is too long, or holds what the alphabet does not."""
    if not isinstance(given, str):
        raise BadInput(f"The {what} is a text; got {type(given).__name__}.")
    if len(given) > most:
        raise BadInput(f"The {what} has {len(given)} characters; {most} are the most here. Keep its end.")
    try:
        known = data.encoded(given, picked.space)
    except BadInput as error:
        raise BadInput(f"Change the {what}. {error}") from None
    if picked.space.encoding == "lines" and (known == 0).any():
        raise BadInput(f"This model writes single lines: a line break ends one. Take it out of the {what}.")
    return known


# ---- writing ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Page:
    """A text, or lines, as far as they are written."""

    task: Task
    x: Tensor  # (B, m)
    costs: Tensor  # (B, up to m) nats
    seconds: float = 0.0  # until the last symbol
    over: bool = False

    @property
    def written(self) -> int:
        return self.x.shape[1] - self.task.known

    def sent(self, ask: Ask) -> dict[str, Any]:
        """What static/writing.js draws."""
        space, costs = ask.picked.space, torch.full(self.x.shape, torch.nan)
        costs[:, : self.costs.shape[1]] = self.costs
        rows = []
        for symbols, cost in zip(self.x.tolist(), costs, strict=True):
            n = symbols.index(0) + 1 if space.encoding == "lines" and 0 in symbols else len(symbols)
            rows.append({"text": "".join(space.alphabet[k] for k in symbols[:n]), "costs": coded(cost[:n])})
        return {
            "run": ask.run,
            "entry": ask.picked.name,
            "seed": ask.seed,
            "fresh": self.task.fresh,
            "first": self.task.first,
            "known": self.task.known,
            "total": self.x.shape[1] if self.over else self.task.x.shape[1],
            "options": ask.options,
            "rows": rows,
            "over": self.over,
        }

    def line(self, ask: Ask) -> str:
        """What stands below the button."""
        lines, rows, wanted = ask.picked.space.encoding == "lines", len(self.x), self.task.wanted
        count = int((self.x[:, self.task.known :] != 0).sum()) if lines else self.written
        what = f"{rows} line{'s' * (rows > 1)}" if lines else f"{count} character{'s' * (count > 1)}"
        rate = (
            f", {count / self.seconds:.0f} characters a second" if lines else f", {count / self.seconds:.0f} a second"
        )
        rate = rate if self.seconds > 0 and count else ""
        if not self.over:
            so_far = f"{self.written} of {wanted} characters"
            return f"stopped after {so_far}" if ask.stopped else so_far + rate
        seeds = ask.seed + self.task.first
        seeded = f"seeds {seeds} to {seeds + rows - 1}" if rows > 1 else f"seed {seeds}"
        long = self.task.fresh and self.task.known > ask.picked.space.size
        forgot = f"; of the prompt only the last {ask.picked.space.size} characters count at most" if long else ""
        return f"{what} in {self.seconds:.2g} s{rate}, {seeded}{forgot}"


def pages(ask: Ask, model: GenerativeModel, task: Task) -> Iterator[Page]:
    """The text every 0.05 s, each symbol's cost whenever there is time for it, and all of them in the end."""
    begun = shown = time.monotonic()
    spent, frames, lines = 0.0, _frames(ask, model, task), ask.picked.space.encoding == "lines"
    page = Page(task, task.x[:, : task.known], torch.empty(len(task.x), 0))
    for x in frames:
        now = time.monotonic()
        page.x, page.seconds = x, now - begun
        page.over = x.shape[1] == task.x.shape[1] or (lines and bool((x == 0).any(1).all()))
        if page.over or ask.stopped:
            break
        if now - shown < LIVE or not page.written:
            continue
        if spent <= SHARE * page.seconds:
            page.costs = _costs(model, x)
            spent += time.monotonic() - now
        yield page
        shown = time.monotonic()
    frames.close()
    if page.x.shape[1] > LENGTH // 4:  # the costs of a long text take a while: it stands there before
        yield page
    page.costs = _costs(model, page.x)
    yield page


def _frames(ask: Ask, model: GenerativeModel, task: Task) -> Iterator[Tensor]:
    """What is written so far, (B, m) on the CPU; symbol i of row k is drawn with the noise of its seed at i."""
    known = torch.zeros_like(task.x, dtype=torch.bool)
    known[:, : task.known] = True
    seeds = range(ask.seed + task.first, ask.seed + task.first + len(task.x))
    x, known = task.x.to(model.device), known.to(model.device)
    for frame in zoo.stepped(model.complete(x, known, Noise(seeds, model.device), **ask.options)):
        yield frame.x.cpu()


def _costs(model: GenerativeModel, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return -model.log_probs(x.to(model.device)).float().cpu()


def coded(costs: Tensor) -> str:
    """Nats (n,) as base64 of uint16: a nat is UNIT, UNKNOWN stands for NaN."""
    whole = torch.nan_to_num((costs * UNIT).round().clamp(0, UNKNOWN - 1), UNKNOWN)
    return base64.b64encode(whole.numpy().astype("<u2").tobytes()).decode()


# ---- what comes next ----------------------------------------------------------------------------------------------


def _next(tab: Tab):
    def next_symbol(visit: Visit, asked: dict) -> dict[str, Any]:
        """The log-probabilities of what follows a text, as base64 of float32, in the order of the alphabet."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        if not suits(picked):
            raise BadInput(f"{picked.name} writes no text; choose another entry.")
        x = symbols_of(asked.get("text"), picked, LONGEST)
        model = picked.model()
        with torch.inference_mode():
            log = model.next_distribution(x[None])[0]
        return {"log": base64.b64encode(log.float().numpy().astype(np.dtype("<f4")).tobytes()).decode()}

    return next_symbol


PANEL = Panel("Write", (Completes, Predicts), frozenset({"text"}), mount)
