"""Editing a picture as a job: what is asked, checked and counted before it runs, and the run moment by moment."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gen_models import editing, zoo
from gen_models.interface import BadInput, Denoises, Frame, Option, Range, State, listed
from gen_models.noise import Noise
from gen_models.solvers import REMEMBER
from gen_models.ui.cost import duration
from gen_models.ui.fields import ANY
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask
from gen_models.zoo.parts import in_parts

REDRAW, INPAINT, INVERT = MODES = ("picture to picture", "inpaint", "invert")
NONE = "none"  # the label choice that leaves the class open
STRENGTH = Option("strength", Range(0.0, 1.0, 0.05), 0.7, float)
AT_LEAST = 0.015  # seconds of a network call, however few pictures are in it
ROW = 8  # strengths side by side, at most
PICTURE_LIMIT = 3_000_000  # characters of a data URL
NO_MASK = "Nothing is painted over: brush over what is to be redrawn."
CLEAN = "the picture itself comes back and no network is asked"


class Moment(NamedTuple):
    """A step of a run: what stands on each track then, None where a track has not begun."""

    step: int
    total: int
    calls: int
    notes: tuple[str, ...]
    x: tuple[Tensor | None, ...]  # (N, C, H, W) each, on the CPU


class Asked(NamedTuple):
    """A checked request with its picture."""

    ask: Ask
    mode: str
    x: Tensor  # (1, C, H, W)
    name: str
    redraw: Tensor | None  # (1, H, W) bool, of INPAINT
    strengths: tuple[float, ...]  # of REDRAW
    steps: int  # of solver and inversion together
    calls: int  # of the network

    @property
    def picked(self) -> Picked:
        return self.ask.picked

    @property
    def count(self) -> int:
        """Pictures that come out of it."""
        if self.mode == INVERT:
            return len(targets(self.ask)) or 1
        return self.ask.values["n"] * max(1, len(self.strengths))

    @property
    def columns(self) -> int | None:
        """Of the grid of results; None for a near-square one."""
        if self.mode == INVERT:
            return math.ceil(math.sqrt(self.count))
        return len(self.strengths) if len(self.strengths) > 1 else None


# ---- what is asked --------------------------------------------------------------------------------------------------


def mask(ask: Ask) -> Tensor:
    """(1, H, W) bool, True where the picture is to be redrawn: what is light in a grey picture of the very size."""
    size = tuple(ask.picked.space.shape[1:])
    if not ask.values["mask"]:
        raise BadInput(NO_MASK)
    file = io.BytesIO(bytes_of(ask.values["mask"]))
    try:
        with Image.open(file, formats=("PNG",)) as image:
            there = image.size[::-1]
            light = image.convert("L").tobytes() if there == size else b""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadInput("The mask is no picture that can be read: paint it again.") from None
    if there != size:
        pixels = " x ".join(map(str, there))
        raise BadInput(f"The mask is {pixels} pixels, the picture {size[0]} x {size[1]}: paint it again.")
    found = (torch.frombuffer(bytearray(light), dtype=torch.uint8) > 127).view(1, *size)
    if not found.any():
        raise BadInput(NO_MASK)
    return found


def bytes_of(url: str) -> bytes:
    """What a data URL of a picture holds; BadInput where it holds none."""
    kind, _, coded = url.partition(",")
    if not kind.startswith("data:image/") or not kind.endswith(";base64"):
        raise BadInput("A picture or mask travels as a data URL: data:image/png;base64,...")
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("The picture did not arrive whole. Send it again.") from None


def asked(ask: Ask, model: Denoises, x: Tensor, name: str) -> Asked:
    """The whole request for a picture (1, C, H, W), checked before anything runs; BadInput says what is wrong."""
    mode, values = ask.values["mode"], ask.values
    found = Asked(ask, mode, x, name, None, (), 0, 0)
    solver, steps = ask.options.get("solver", "euler"), ask.options["steps"]
    if mode == INPAINT:
        redraw = mask(ask)
        if redraw.all():  # plain sampling
            return found._replace(redraw=redraw, steps=steps, calls=editing.calls(model, solver, editing.times(steps)))
        once, last = (editing.calls(model, solver, t) for t in (editing.times(steps), (1 / steps, 0.0)))
        total = values["resample"] * (once - last) + last
        return found._replace(redraw=redraw, steps=editing.visits(steps, values["resample"]), calls=total)
    if mode == INVERT:
        there = {"euler": 1, "heun": 2, "fixed point": values["rounds"]}[values["method"]] * steps
        back = editing.calls(model, editing.BACK[values["method"]], editing.times(steps))
        return found._replace(steps=2 * steps, calls=there + back * (2 if targets(ask) else 1))
    text = values["strengths"].strip()
    strengths = tuple(listed(text, STRENGTH, ROW)) if text else (values["strength"],)
    walks = [editing.times(steps, strength) for strength in strengths]
    total = sum(editing.calls(model, solver, walk) for walk in walks)
    return found._replace(strengths=strengths, steps=sum(len(walk) - 1 for walk in walks), calls=total)


def rows(ask: Ask, choice: str, n: int) -> Tensor | None:
    """Label rows (n, K) of a class, of all in turn, or empty ones; None for a model without classes."""
    labels = ask.picked.labels
    if not labels:
        return None
    if choice == NONE:
        return torch.zeros(n, len(labels))
    return zoo.label_rows(labels, n, None if choice == ANY else choice)


def targets(ask: Ask) -> list[str]:
    """The classes that an inverted picture is redrawn as."""
    if not ask.picked.labels or ask.values["to"] == NONE:
        return []
    return list(ask.picked.labels[:16]) if ask.values["to"] == ANY else [ask.values["to"]]


# ---- in words -------------------------------------------------------------------------------------------------------


def cost(found: Asked, pace: float | None = None) -> str:
    """What it will cost, said before it runs; pace: seconds per call and picture, where one was measured."""
    pictures = f"{found.count} picture{'s' * (found.count > 1)}"
    batch = 1 if found.mode == INVERT else found.ask.values["n"]  # most of an inversion is of one picture
    seconds = "" if pace is None or not found.calls else f", {duration(found.calls * max(AT_LEAST, pace * batch))}"
    return f"{pictures}, {found.steps} steps, {found.calls} network calls{seconds}"


def remark(found: Asked, model: Denoises) -> str:
    """What is worth knowing of just this request."""
    if found.mode == INPAINT:
        share = float(found.redraw.float().mean())
        if share == 1:
            return "All is painted over: nothing is kept, so these are the plain samples of these seeds."
        multistep = found.ask.options.get("solver") in REMEMBER
        first = " A mended picture has no history, so this solver takes steps of order 1." if multistep else ""
        return f"{share:.0%} is redrawn, the rest comes back pixel for pixel.{first}"
    if found.mode == INVERT:
        return "The way there is walked without guidance: only the plain flow ends in normal noise and leads back."
    schedule = editing.levels(model)
    if len(found.strengths) > 1:
        return "Each column is one strength, each row one seed."
    (strength,) = found.strengths
    if strength == 0:
        return f"Strength 0: {CLEAN}."
    alpha, sigma = schedule(strength)
    if strength == 1:
        left = "nothing of the picture is left, so these are the plain samples of these seeds"
        return f"Strength 1: {left if alpha == 0 else f'{alpha:.2%} of the picture is left in pure noise'}."
    return f"It starts from {alpha:.2f} × picture + {sigma:.2f} × noise."


# ---- the run --------------------------------------------------------------------------------------------------------


def run(found: Asked, model: Denoises, told: list[str]) -> Iterator[Moment]:
    """The run moment by moment; `told` gets a word where it had to be done otherwise than asked."""
    return {REDRAW: _redrawn, INPAINT: _inpainted, INVERT: _inverted}[found.mode](found, model, told)


def _at(t: float) -> str:
    return f"t = {t:.3g}"


def _redrawn(found: Asked, model: Denoises, told: list[str]) -> Iterator[Moment]:
    """One strength after the other, each a batch of all seeds."""
    ask, n = found.ask, found.ask.values["n"]
    seeds, x = range(ask.seed, ask.seed + n), found.x.expand(n, *found.x.shape[1:])
    starts = [editing.begun(model, x, strength, Noise(seeds)) for strength in found.strengths]
    held, guesses, step, spent = [state.x for state in starts], [state.x for state in starts], 0, 0
    label = rows(ask, ask.values.get("label", NONE), n)

    def moment(t: float, calls: int) -> Moment:
        guess = torch.stack(guesses, 1).flatten(0, 1) if step else None
        notes = (_at(t), f"strength {strength:g}" if len(starts) > 1 else "")
        return Moment(step, found.steps, calls, notes, (torch.stack(held, 1).flatten(0, 1), guess))

    strength = found.strengths[0]
    yield moment(strength, 0)
    for k, strength in enumerate(found.strengths):
        if strength == 0:
            continue
        frames = zoo.sample(model, ask.seed, n, label=label, start=starts[k], **ask.options)
        for frame in frames:
            told[:] = [frames.said] if frames.said else []
            if frame.step:
                held[k], guesses[k], step = frame.x.cpu(), frame.x0.cpu(), step + 1
                yield moment(frame.state.t, spent + frame.calls)
        spent += frame.calls


def _inpainted(found: Asked, model: Denoises, told: list[str]) -> Iterator[Moment]:
    ask, n = found.ask, found.ask.values["n"]
    label, seeds = rows(ask, ask.values.get("label", NONE), n), range(ask.seed, ask.seed + n)
    known = ~found.redraw.expand(found.x.shape[1:])

    def part(which: slice) -> Iterator[Frame]:
        mine = seeds[which]
        x, kept = found.x.expand(len(mine), *found.x.shape[1:]).to(model.device), known.to(model.device)
        asked_for = None if label is None else label[which].to(model.device)
        options = {"solver": "euler", **ask.options, "resample": ask.values["resample"], "label": asked_for}
        return zoo.stepped(editing.inpainted(model, x, kept, Noise(mine, model.device), **options))

    if known.any():
        frames = in_parts(part, n, model, told)
    else:
        frames = zoo.sample(model, ask.seed, n, label=label, **ask.options)
    for frame in frames:
        guess = None if frame.x0 is None else frame.x0.cpu()
        yield Moment(frame.step, frame.total, frame.calls, (_at(frame.state.t), ""), (frame.x.cpu(), guess))


def _inverted(found: Asked, model: Denoises, told: list[str]) -> Iterator[Moment]:
    """To the noise; then back, and beside that under the classes asked for."""
    ask, steps, method = found.ask, found.ask.options["steps"], found.ask.values["method"]
    own, other = rows(ask, ask.values.get("from", NONE), 1), targets(ask)
    x = found.x.to(model.device)
    there = {"steps": steps, "method": method, "rounds": ask.values["rounds"]}
    own_there = None if own is None else own.to(model.device)
    for frame in zoo.stepped(editing.inverted(model, x, label=own_there, **there)):
        guess = None if other or frame.x0 is None else frame.x0.cpu()
        notes = (f"{_at(frame.state.t)}, to the noise", "")
        yield Moment(frame.step, 2 * steps, frame.calls, notes, (frame.x.cpu(), guess))
    spent, plain = frame.calls, {"guidance": 1.0} if "guidance" in ask.options else {}
    options = ask.options | {"solver": editing.BACK[method]}
    start = State(1.0, frame.x)
    back = zoo.sample(model, ask.seed, 1, label=own, start=start, **options | plain)
    if not other:
        for frame in back:
            if frame.step:
                notes = (f"{_at(frame.state.t)}, back", "")
                x = (frame.x.cpu(), frame.x0.cpu())
                yield Moment(steps + frame.step, 2 * steps, spent + frame.calls, notes, x)
        return
    many = start._replace(x=start.x.expand(len(other), *start.x.shape[1:]))
    label = torch.cat([rows(ask, name, 1) for name in other])
    edits = zoo.sample(model, ask.seed, len(other), label=label, start=many, **options)
    for frame, edit in zip(back, edits, strict=True):
        told[:] = [edits.said] if edits.said else []
        calls, notes = spent + frame.calls + edit.calls, (f"{_at(frame.state.t)}, back", _at(edit.state.t))
        if frame.step:
            yield Moment(steps + frame.step, 2 * steps, calls, notes, (frame.x.cpu(), edit.x.cpu()))
