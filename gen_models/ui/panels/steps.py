"""The walk from noise to data, step by step; and, from any step, other ways on: a tree of tracks with a common past."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from gen_models import zoo
from gen_models.interface import BadInput, Denoises, Refines
from gen_models.ui import branch, tree_files, tree_film
from gen_models.ui.branch import BranchForm, kept
from gen_models.ui.fields import Field, label, number, option_fields, seed, words_first
from gen_models.ui.live import live
from gen_models.ui.panels.sample import FIRST, usual
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.tree import LEAST, ROOM, Tree, bytes_of
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.walk import Walk
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

LIVE = 0.05  # seconds between two frames of a run, at least
MOST = 120  # steps that travel to the browser, besides the start
NUMBERS = 4_000_000  # of one track that travel, at most
HINT = "Press Denoise, then drag the slider: the clean guess knows what it will be long before the noise is gone."
NOTHING = "Nothing has been denoised yet: press Denoise, then save."
TOO_LARGE = "Too much to keep for a branch: run with fewer samples, then branch."
LATENT = (
    "{} walks in the latent space of an autoencoder, where there is no x to paint on or to noise again: its steps can "
    "be watched, not branched."
)
FILES = {
    "Strip": tree_files.strip,
    "GIF": tree_files.gif,
    "ZIP": tree_files.frames,
    "Tree": tree_files.picture,
    "GIFs": tree_files.gifs,
}


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            switch = live(
                "branch",
                {"look": lambda visit, asked: _looked(tab, form.id, visit, asked)},
                tab.visits,
                elem_id=f"{tab.family.key}-switch",
                run=f"{tab.family.key}-steps",
                form=f"{tab.family.key}-branch",
                **_switch(tab.first),
            )
            form = Form(tab, "steps", _fields, run="Denoise", hint=HINT)
            other = BranchForm(tab, "branch", branch.fields, run="Branch from here")
            other.trunk = form.id
        with stage():
            saves = {title: f"{form.id}-{title.lower()}" for title in FILES}
            view = live(
                "timeline",
                _served(form.id),
                tab.visits,
                elem_id=f"{form.id}-film",
                saves=saves,
                form=form.id,
                value=before(tab.first),
                empty="This entry has no checkpoint yet. Choose another one, or train it.",
            )
            with gr.Column(elem_classes="gm-behind"):
                files = {title: _whole(make) for title, make in FILES.items()}
                downloads(form, kept_files(form.id, NOTHING, _named, files))
    tab.on_pick(before, [view])
    tab.on_pick(lambda picked: gr.HTML(**_switch(picked)), [switch])
    form.job(_runs(tab, form, view), [view], api_name=f"{tab.family.key}_steps")
    other.job(_branches(tab, form, other, view), [view], api_name=f"{tab.family.key}_branch")


# ---- jobs -----------------------------------------------------------------------------------------------------


def _runs(tab: Tab, form: Form, view: gr.HTML) -> Callable[[Ask], Iterator]:
    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Denoises and keeps the steps. settings: n, seed, label and the options of the entry's model.

        The answer is a film: up to 120 evenly chosen steps of x_t, the clean guess and the predicted noise; under
        `tree` stands what it can be branched from.
        """
        model = ask.picked.model(tab.device)
        walk, why = _begun(ask)
        frames, drawn = zoo.sample(model, ask.seed, walk.count, label=ask.label, **ask.options), 0.0
        branch.stepped(walk, frames)
        tree = ask.visit.kept[form.id] = Tree(walk, tree_film.levels(model), why)
        try:
            while not ask.stopped and branch.stepped(walk, frames):
                if walk.last < walk.total and time.monotonic() - drawn >= LIVE:
                    drawn = time.monotonic()
                    said = note(_with(_progress(walk), frames.said))
                    yield {view: tree_film.view_of(tree, "0", live=True), form.message: said}
        finally:
            frames.close()
            tree.finish("0")
        yield {view: tree_film.view_of(tree), form.message: note(_with(_done(walk), frames.said))}

    return work


def _branches(tab: Tab, form: Form, other: Form, view: gr.HTML) -> Callable[[Ask], Iterator]:
    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Goes on from a step of the run that this visit made last, with something changed, as a track of its own.

        settings: `step`, and `track` where it is not the one chosen last ("0" is the run, "1", "2", .. its branches);
        what to change of label, seed and the options of the entry's model (what is left out stays as it was there);
        `left`, the number of steps still to take; `back`, a later time t to which noise is added first; `onto` (x_t or
        x0) with `sample` and `paint`, a PNG of that sample's size with alpha, in base64. It costs the network calls of
        its own steps, one more where x0 is painted on. The answer is the film of the new track and, under `tree`, all
        tracks.
        """
        tree = kept(ask.visit, form.id)
        owner, walk, moment = tree.at(ask.values["track"], ask.values["step"])
        model = tree.trunk.picked.model(tab.device)
        plan = branch.planned(walk, moment, ask, model)
        track = tree.grow(owner, plan.name, plan.walk, plan.change)
        frames, drawn = branch.frames(plan, model), 0.0
        try:
            while tree.runs(track.key) and not ask.stopped and ask.visit.kept.get(form.id) is tree:
                if not branch.stepped(plan.walk, frames):
                    break
                if plan.walk.last < plan.walk.total and time.monotonic() - drawn >= LIVE:
                    drawn = time.monotonic()
                    shown = tree_film.view_of(tree, track.key, live=True)
                    yield {view: shown, other.message: note(_progress(plan.walk))}
        finally:
            frames.close()
            tree.finish(track.key)
        if ask.visit.kept.get(form.id) is not tree:
            yield "another run has taken the place of the one that this branch was of"
        elif track.key not in tree.tracks:
            said = f"removed while it ran, after {plan.walk.calls} network calls"
            yield {view: tree_film.view_of(tree), other.message: note(said)}
        else:
            yield {view: tree_film.view_of(tree, track.key), other.message: note(_done(plan.walk))}

    return work


def _fields(picked: Picked) -> list[Field]:
    points = picked.space.kind == "points"
    count = number("n", "Points", 100, 1000, 500) if points else number("n", "Samples", 1, 16, usual(picked))
    model = picked.entry.model  # another entry of the tab may not denoise: it has no panel then
    offered = option_fields(model.sample, picked.entry.limits(), FIRST) if issubclass(model, Refines) else []
    return words_first([seed(), *label(picked)], [*offered, count._replace(more=True)])


def _begun(ask: Ask) -> tuple[Walk, str]:
    """The walk that is asked for, and why it cannot be branched."""
    count, space = ask.values["n"], ask.picked.space
    asked = None if ask.label is None else ask.picked.labels[ask.label]
    most = max(12, min(MOST, NUMBERS // (count * space.size)))
    walk = Walk(ask.picked, ask.seed, ask.labels(count), asked, ask.options, count, most)
    why = _cannot(ask.picked) or (TOO_LARGE if LEAST * bytes_of(walk) > ROOM // 2 else "")
    walk.keeps = not why
    if walk.keeps:
        walk.most = min(most, ROOM // 2 // bytes_of(walk))
    return walk, why


def _cannot(picked: Picked) -> str:
    """Why no run of the entry can be branched; "" where it can."""
    return "" if issubclass(picked.entry.model, Denoises) else LATENT.format(picked.name)


def _switch(picked: Picked) -> dict[str, Any]:
    """What the left column knows of the entry."""
    points = branch.POINTS if picked.space.kind == "points" else ""
    return {"entry": picked.name, "why": _cannot(picked), "unpainted": points, "colour": picked.space.shape[:1] == (3,)}


def before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview, on screen before any weight is loaded; None where it has no checkpoint."""
    if not issubclass(picked.entry.model, Refines) or not card_time(picked.shelf, picked.name):
        return None
    return tree_film.before(picked)


# ---- words ----------------------------------------------------------------------------------------------------


def _progress(walk: Walk) -> str:
    done = walk.last - walk.start
    left = f", {walk.seconds / done * (walk.total - walk.last):.1f} s left" if done else ""
    return f"step {walk.last} of {walk.total}{left}"


def _with(words: str, said: str) -> str:
    """The words, and what the sampler had to do otherwise than asked."""
    return f"{words}; {said}" if said else words


def _done(walk: Walk) -> str:
    what = "points" if walk.picked.space.kind == "points" else "samples"
    if walk.last < walk.total:
        return f"stopped at step {walk.last} of {walk.total}; the steps until then are kept"
    steps = walk.total - walk.start
    took = f"{walk.count} {what} in {walk.seconds:.2g} s: {steps} steps, {tree_film.each(walk)}"
    return f"{took}, {walk.calls} network calls"


# ---- live calls and files -------------------------------------------------------------------------------------


def _served(key: str) -> dict[str, Callable[[Visit, dict], Any]]:
    """The server functions of the timeline."""

    def choose(visit: Visit, asked: dict) -> bool:
        """Which track and sample the files are of."""
        kept(visit, key).choose(asked.get("track"), asked.get("cell"))
        return True

    def remove(visit: Visit, asked: dict) -> dict[str, Any]:
        """Takes a track away."""
        kept(visit, key).remove(asked.get("track"))
        return tree_film.told(kept(visit, key))

    def undo(visit: Visit, asked: dict) -> dict[str, Any]:
        """Brings back what was removed last."""
        kept(visit, key).undo()
        return tree_film.told(kept(visit, key))

    def track(visit: Visit, asked: dict) -> dict[str, Any]:
        """The film of a track's own moments."""
        tree = kept(visit, key)
        if tree.track(asked.get("track")).running:
            raise BadInput("That track is still running.")
        return tree_film.view_of(tree, asked.get("track"))

    return {"choose": choose, "remove": remove, "undo": undo, "track": track}


def _looked(tab: Tab, key: str, visit: Visit, asked: dict) -> dict[str, Any]:
    tree = kept(visit, key)
    return branch.look(tree, asked, tree.trunk.picked.model(tab.device))


def _named(tree: Tree) -> str:
    return f"{tree.trunk.picked.name}-seed{tree.recipe()['seed']}-"


def _whole(make: Callable[[Tree], tuple[str, bytes]]) -> Callable[[Tree], tuple[str, bytes]]:
    """The same of a tree that nobody changes meanwhile."""

    def made(tree: Tree) -> tuple[str, bytes]:
        with tree.lock:
            return make(tree)

    made.__doc__ = make.__doc__
    return made


PANEL = Panel("Steps", (Refines,), frozenset({"image", "points"}), mount)
