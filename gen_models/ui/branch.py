"""A branch: what is asked for at a step of a track, checked, and the walk that goes on from there."""

from __future__ import annotations

import base64
import binascii
import io
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen_models import branching, render, zoo
from gen_models.interface import BadInput, Choices, Denoises, Frame, Option, Range, State, Text, checked_seed
from gen_models.noise import Noise
from gen_models.solvers import REMEMBER
from gen_models.ui.fields import ANY, SOLVERS, Field, label, option_fields, seed, slider
from gen_models.ui.tree import Tree
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.walk import NOISE, Moment, Walk
from gen_models.ui.widgets import Ask, Form

NOTHING = "There is no run to branch from yet: press Denoise first."
POINTS = "Points are not painted on: a brush would have no place of its own among them. All else can be changed."
ONTO = ("nothing", "x_t", "x0")
LONGEST = 2_000_000  # characters of a painting
LAST = 1_000_000  # the highest number that a step may have


# ---- what can be asked ----------------------------------------------------------------------------------------


def fields(picked: Picked) -> list[Field]:
    """The controls of a branch; from the page they arrive filled in, from the API what is left out stays unchanged."""
    offered, most = [], 1
    if issubclass(picked.entry.model, Denoises):
        found = option_fields(picked.entry.model.sample, picked.entry.limits(), ("guidance",))
        offered = [field._replace(info="") for field in found if field.option.name != "steps"]
        most = next(int(field.option.allowed.high) for field in found if field.option.name == "steps")
    guidance = [field for field in offered if not field.more]
    back = slider("back", "Add noise back to t (0: none)", 0.0, 1.0, 0.0, step=0.01)
    left = slider("left", "Steps left", 0, most, 0, info="0 keeps the run's times.", more=True)
    shown = [*label(picked), *guidance, back, seed(), *(field for field in offered if field.more), left]
    return [*shown, *_hidden()]


def _hidden() -> list[Field]:
    """Where the branch leaves, and what was painted there."""
    options = (
        Option("track", Text(20), "", str),
        Option("step", Range(0, LAST), 0, int),
        Option("sample", Range(0, 1000), 0, int),
        Option("onto", Choices(ONTO), ONTO[0], str),
        Option("paint", Text(LONGEST), "", str),
    )
    return [Field(option, "hidden", option.name) for option in options]


class BranchForm(Form):
    """The form of a branch: what a request leaves out is as the track has it where the branch leaves."""

    trunk = ""  # the form of the run, under whose name the visit keeps the tree

    def asked(self, visit: Visit, entry: Any, settings: Any, *, count: str = "") -> Ask:
        tree = kept(visit, self.trunk)
        picked = tree.trunk.picked
        if entry != picked.name:
            raise BadInput(f"The run that is kept is of {picked.name}: choose that entry, or press Denoise first.")
        if not isinstance(settings, Mapping) or "step" not in settings:
            raise BadInput("settings is an object with the step to branch from, and what to change there.")
        step = Option("step", Range(0, LAST), 0, int).check(settings["step"])
        owner, walk, _ = tree.at(settings.get("track") or tree.chosen, step)
        known = {field.option.name for field in self.fields(picked)}
        given = {name: value for name, value in walk.chosen().items() if name in known}
        ask = super().asked(visit, entry, {**given, **settings, "track": owner.key}, count=count)
        checked_seed(ask.seed, tree.trunk.count)
        return ask


def kept(visit: Visit, key: str) -> Tree:
    """The tree that the visit keeps; BadInput before the first run."""
    tree = visit.kept.get(key)
    if tree is None:
        raise BadInput(NOTHING)
    return tree


def painting(text: str, onto: str, sample: int, picked: Picked) -> branching.Painting | None:
    """What the page painted, a PNG of the sample's size with alpha as a data URL; None for nothing."""
    if onto == "nothing":
        return None
    if picked.space.kind != "image":
        raise BadInput(POINTS)
    size = picked.space.shape[:0:-1]
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2] or text, validate=True)))
        if image.size == size:
            pixels = torch.from_numpy(np.array(image.convert("RGBA"))).permute(2, 0, 1).float() / 255
    except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        raise BadInput("Nothing is painted, or it did not arrive whole: paint it again.") from None
    if image.size != size:
        raise BadInput(f"The painting is {image.size[0]} x {image.size[1]}, the picture {size[0]} x {size[1]} pixels.")
    colour = pixels[:3] if picked.space.shape[0] == 3 else pixels[:1]
    return branching.Painting(sample, "x_t" if onto == "x_t" else "x0", 2 * colour - 1, pixels[3:])


# ---- the plan: where a branch begins, and how it goes on --------------------------------------------------------


class Plan(NamedTuple):
    """A branch before its first step."""

    walk: Walk
    name: str
    change: dict[str, Any]
    state: State
    rows: Tensor | None  # labels (B, K)


@torch.inference_mode()
def planned(parent: Walk, moment: Moment, ask: Ask, model: Denoises) -> Plan:
    """The branch of a walk at one of its moments; BadInput says what cannot be."""
    picked, count, wanted = parent.picked, parent.count, ask.values
    asked = None if wanted.get("label", ANY) == ANY else wanted["label"]
    paint = painting(wanted["paint"], wanted["onto"], wanted["sample"], picked)
    state, changed = _begun(parent, moment, model, paint, new_label=asked != parent.asked)
    guess, calls = None, 0
    if paint is not None:
        if paint.sample >= count:
            raise BadInput(f"There are {count} samples; sample {paint.sample + 1} cannot be painted on.")
        if paint.onto == "x0":
            guess, calls = guessed(parent, state, model)
        state = branching.painted(model, state, paint, None if guess is None else guess[0][paint.sample])
    if wanted["back"]:
        state = branching.renoised(model, state, wanted["back"], Noise(range(ask.seed, ask.seed + count)))
    if state.t <= 0:
        raise BadInput("At t = 0 nothing is left to denoise: add noise back, or go to an earlier step.")
    options, left = dict(ask.options), wanted["left"]
    most = int(zoo.limits(model)["steps"].high)
    options["steps"] = branching.steps_for(left, state.t, most) if left else parent.options["steps"]
    walk = Walk(picked, ask.seed, ask.labels(count), asked, options, count, parent.most)
    walk.start, walk.t, walk.calls, walk.keeps, walk.changed = state.step, state.t, calls, True, changed
    walk.total = walk.start + branching.steps_left(options["steps"], state.t)
    walk.moments.append(_first(walk, moment, state, paint, guess))
    return Plan(walk, named(parent, moment, ask), _change(ask), state, zoo.label_rows(model.labels, count, asked))


def _begun(parent: Walk, moment: Moment, model: Denoises, paint: Any, new_label: bool) -> tuple[State, int | None]:
    """The state at the moment and the sample that has no history in it; without any where that holds of all.

    Two samples that were painted on at the same step, one after the other, leave none to any.
    """
    state, changed = _on(moment.state, model.device), None if paint is None else paint.sample
    old = parent.changed if moment.step == parent.start else None
    if new_label or (None not in (old, changed) and old != changed):
        return state._replace(history=()), None
    return state, old if changed is None else changed


def _on(state: State, device: torch.device) -> State:
    history = tuple((t, x0.to(device)) for t, x0 in state.history)
    return state._replace(x=state.x.to(device), history=history)


def guessed(parent: Walk, state: State, model: Denoises) -> tuple[tuple[Tensor, Tensor], int]:
    """What the parent's walk says of (x0, eps) at a state, and the calls it took: at t = 0 x is the guess."""
    if state.t <= 0:
        return (state.x, torch.zeros_like(state.x)), 0
    rows = zoo.label_rows(model.labels, parent.count, parent.asked)
    rows = None if rows is None else rows.to(state.x)
    found = model.denoise(state.x, state.t, label=rows, guidance=parent.options.get("guidance", 1.0))
    return (found.x0, found.eps), 1


def _first(walk: Walk, moment: Moment, state: State, paint: branching.Painting | None, guess) -> Moment:
    """The branch's first moment: the parent's where nothing moved, else what was made of it."""
    held = State(state.t, state.x.cpu(), state.step, tuple((t, x0.cpu()) for t, x0 in state.history))
    if state.step != moment.step or (paint is not None and guess is None):
        return Moment(state.step, state.t, state.t, walk.small(state.x), None, None, 0.0, held)
    if paint is None:
        return moment._replace(state=held)
    x0, eps = guess
    x0 = x0.clone()
    x0[paint.sample] = paint.over(x0[paint.sample])
    norm = float(eps.flatten(1).norm(dim=1).mean())
    small = (walk.small(state.x), walk.small(x0), walk.small(eps, NOISE))
    return Moment(state.step, state.t, state.t, *small, norm, held)


def _change(ask: Ask) -> dict[str, Any]:
    """What the API takes to make the branch again."""
    names = ["track", "step", "label", "seed", "back", "left"]
    names += ["onto", "sample", "paint"] if ask.values["onto"] != "nothing" else []
    return {name: ask.values[name] for name in names if name in ask.values} | ask.options


def named(parent: Walk, moment: Moment, ask: Ask) -> str:
    """A branch by what was changed: "label 3 → 8 at t = 0.6"."""
    old, new, parts = parent.chosen(), ask.values, []
    where = f"at t = {moment.t:.2g}"
    if new["onto"] != "nothing":
        parts.append(f"painted {'x̂0' if new['onto'] == 'x0' else 'x_t'} at step {moment.step}")
        where = ""
    if new["back"]:
        parts.append(f"noise back to t = {new['back']:.3g}" + (f", seed {new['seed']}" if not parts else ""))
        where = ""
    for name in ("label", "solver", "guidance", "eta"):
        if name in old and new[name] != old[name]:
            parts.append(f"{name} {_word(name, old[name])} → {_word(name, new[name])}")
    if new["seed"] != old["seed"] and not (new["back"] and new["onto"] == "nothing"):
        parts.append(f"seed {new['seed']}")
    if new["left"]:
        parts.append(f"{new['left']} steps left")
    return f"{', '.join(parts) or 'unchanged'} {where}".strip()


def _word(name: str, value: Any) -> str:
    if name == "solver":
        return SOLVERS.get(value, value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---- walking --------------------------------------------------------------------------------------------------


def frames(plan: Plan, model: Denoises) -> Iterator[Frame]:
    """The branch's frames after its first moment, with the calls that the plan took on top."""

    def begin(start: State, sample: int | None) -> Iterator[Frame]:
        first, n = (0, plan.walk.count) if sample is None else (sample, 1)
        rows = None if plan.rows is None else plan.rows[first : first + n]
        return zoo.sample(model, plan.walk.seed + first, n, label=rows, start=start, **plan.walk.options)

    spent = plan.walk.calls
    remembers = plan.walk.options.get("solver") in REMEMBER
    run = branching.walked(begin, plan.state, plan.walk.changed if remembers else None)
    try:
        next(run)
        for frame in run:
            yield frame._replace(calls=frame.calls + spent)
    finally:
        run.close()


def stepped(walk: Walk, run: Iterator[Frame]) -> bool:
    """Adds the next frame, and the time it took; False where there is none."""
    begun = time.monotonic()
    frame = next(run, None)
    walk.seconds += time.monotonic() - begun
    if frame is not None:
        walk.add(frame)
    return frame is not None


def look(tree: Tree, asked: Mapping[str, Any], model: Denoises) -> dict[str, Any]:
    """The sample that is painted on, x_t or the clean guess of it, as a picture of its own size."""
    sample, step = asked.get("sample"), asked.get("step")
    if not isinstance(sample, int) or not 0 <= sample < tree.trunk.count or asked.get("onto") not in ONTO[1:]:
        raise BadInput("There is no such sample to paint on: press Denoise first.")
    if tree.trunk.picked.space.kind != "image":
        raise BadInput(POINTS)
    _, walk, moment = tree.at(asked.get("track"), step if isinstance(step, int) else -1)
    state = _on(moment.state, model.device)
    with torch.inference_mode():
        if asked["onto"] == "x0":
            branching.movable(model, state.t)
            x = guessed(walk, state, model)[0][0][sample]
        else:
            x = state.x[sample]
    space = tree.trunk.picked.space
    picture = render.picture(x.float().cpu(), space).convert("RGB")
    return {"picture": render.data_url(picture), "size": list(space.shape[1:])}
