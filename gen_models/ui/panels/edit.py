"""A picture of one's own edited by a denoiser: noised and walked back, redrawn under a brush, inverted to its noise."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from gen_models import data, editing, render
from gen_models.interface import BadInput, Denoises, Range
from gen_models.ui import cost, edit_films, edits, film, held_out, pad
from gen_models.ui.edit_films import Edited
from gen_models.ui.edits import INPAINT, INVERT, MODES, NONE, Asked
from gen_models.ui.fields import ANY, Field, choice, number, option_fields, seed, slider, text
from gen_models.ui.live import live
from gen_models.ui.panels import raster
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

LIVE = 0.05  # seconds between two frames of a run, at least
ORIENTATION = 0x0112  # of EXIF
WAIT = 0.2  # seconds between two looks at pictures that are being read
FIRST = ("guidance", "steps")
USUAL = {INPAINT: {"steps": 20, "solver": "ddpm", "resample": 5}, INVERT: {"steps": 25}}  # what a mode begins with
NO_PICTURE = "There is no picture yet: draw one, upload one, or choose a held-out one."
EMPTY = "Press Run: every step of the edit appears here."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-edit"
    with columns():
        with side():
            drawn = {"name": f"{name}-pad", "elem_classes": ["gm-pad-compact", "gm-edit-pad"], **pad.props(tab.first)}
            drawing = live("pad", _pads(tab, name), tab.visits, value=None, **drawn)
            form = Form(tab, "edit", _fields, run="Run")
        with stage():
            with gr.Row(elem_classes="gm-edit-row"):
                serve = {"look": _look(form, name), "plan": _plan(form, tab.device)}
                view = live("edit", serve, tab.visits, pad=f"{name}-pad", form=name, **_facts(tab.first))
                files = {"PNG": Edited.png, "GIF": Edited.gif, "ZIP": Edited.zip}
                player = film.player(tab.visits, name, tuple(files), value=None, empty=EMPTY)
            facts = live("edit_facts", {"take": _take(tab, name)}, tab.visits, value=None, pad=f"{name}-pad", form=name)
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(name, edit_films.NOTHING, edit_films.named, files))
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: [gr.HTML(**_facts(picked)), None, None], [view, player, facts])

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Edits a picture. settings: mode ("picture to picture", "inpaint" or "invert") and what the mode takes.

        The picture is `picture`, a data URL of any size, else held-out picture number `test`. picture to picture:
        strength 0..1, or strengths as a list ("0.2, 0.4, .., 0.8"). inpaint: mask, a data URL of the picture's own
        size, light where it is to be redrawn; resample 1..10. invert: method, rounds, from (the picture's class), to.
        All: n, seed, label (a class, "any" in turn, or "none") and the options of the entry's model.
        """
        model = _model(ask.picked, tab.device)
        found = _asked(ask, model)
        while found is None and not ask.stopped:
            yield "reading the held-out pictures"
            time.sleep(WAIT)
            found = _asked(ask, model)
        if found is None:
            return
        made, told, drawn = Edited(found), [], 0.0
        moments = edits.run(found, model, told)
        while not ask.stopped or made.last is None:
            begun = time.monotonic()
            moment = next(moments, None)
            made.seconds += time.monotonic() - begun
            if moment is None:
                break
            made.add(moment)
            if moment.step < moment.total and time.monotonic() - drawn >= LIVE:
                drawn = time.monotonic()
                yield {player: made.film(live=True), form.message: note(_progress(made))}
        moments.close()
        ask.visit.kept[name] = made
        line = "; ".join([made.said(), *told])
        yield {player: made.film(), facts: made.facts(), form.message: note(line)}

    form.job(work, [player, facts], api_name=f"{tab.family.key}_edit")


def _fields(picked: Picked) -> list[Field]:
    """All modes' controls; static/edit.css shows those of the chosen one."""
    url = edits.PICTURE_LIMIT
    hidden = [
        choice("mode", "Mode", MODES),
        text("picture", "Picture", limit=url),
        text("mask", "Mask", limit=url),
        Field(raster.Perhaps("test", Range(0, 1_000_000), 0, int), "number", "Held-out picture"),
    ]
    again = "Steps back up after each step, so that both parts fit better."
    own = [
        slider("strength", "Strength", 0, 1, 0.7, step=0.05),
        text("strengths", "Or a row of them: 0.2, 0.4, .., 1", limit=200),
        slider("resample", "Resample", 1, 10, 1, info=again),
        choice("method", "Method", editing.METHODS, shown=("Heun", "Euler (DDIM)", "Euler, fixed point")),
        number("rounds", "Rounds of the fixed point", 2, 10, 4),
        seed(),
    ]
    count = number("n", "Pictures", 1, 16, 9, more=True)
    model, offered = picked.entry.model, []  # another entry of the tab may not denoise: it has no panel then
    if issubclass(model, Denoises):
        found = option_fields(model.sample, picked.entry.limits(), FIRST)
        offered = [field._replace(info="") if field.option.name in FIRST else field for field in found]
    return [*(field._replace(kind="hidden") for field in hidden), *own, *_classes(picked), *offered, count]


def _classes(picked: Picked) -> list[Field]:
    labels = picked.labels
    if not labels:
        return []
    word = "digit" if labels == tuple("0123456789") else "class"
    return [
        choice("label", word.capitalize(), (NONE, ANY, *labels), shown=("left open", "any (in turn)", *labels)),
        choice("from", f"Its {word}", (NONE, *labels), shown=("left open", *labels)),
        choice("to", "Then redraw it as", (ANY, NONE, *labels), shown=(f"every {word}", "nothing else", *labels)),
    ]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry."""
    suits = issubclass(picked.entry.model, Denoises) and picked.space.kind == "image"
    ready = suits and card_time(picked.shelf, picked.name) > 0
    usual: dict[str, dict[str, Any]] = {mode: {} for mode in MODES}
    options = {field.option.name: field.option for field in _fields(picked)} if suits else {}
    for mode, found in usual.items():
        for setting in ("steps", "solver", "resample"):
            if option := options.get(setting):
                found[setting] = _within(option, USUAL.get(mode, {}).get(setting, option.default))
    return {
        "entry": picked.name if ready else "",
        "size": list(picked.space.shape[1:]) if suits else [28, 28],
        "classes": list(picked.labels),
        "usual": usual,
    }


def _within(option: Any, value: Any) -> Any:
    """The value where the entry takes it, else the entry's own."""
    try:
        return option.check(value)
    except BadInput:
        return option.default


def _model(picked: Picked, device: str) -> Denoises:
    if not issubclass(picked.entry.model, Denoises) or picked.space.kind != "image":
        raise BadInput(f"{picked.name} does not denoise pictures; choose another entry.")
    return picked.model(device)


def _progress(made: Edited) -> str:
    step, total = made.last.step, made.last.total
    left = f", {made.seconds / step * (total - step):.1f} s left" if step else ""
    return f"step {step} of {total}{left}"


# ---- the picture ----------------------------------------------------------------------------------------------------


def _source(ask: Ask) -> tuple[Tensor, str, int] | None:
    """The picture (1, C, H, W), its name and its class, -1 where that is not known; None while pictures are being read.

    A data URL, else the held-out picture of that number, or a sample of the entry's preview where its data is not at
    hand. BadInput where there is neither.
    """
    if ask.values["picture"]:
        return data.picture(edits.bytes_of(ask.values["picture"]), ask.picked.space)[None], "your picture", -1
    number = ask.values["test"]
    if number is None:
        raise BadInput(NO_PICTURE)
    try:
        held = held_out.held(ask.picked, ask.visit)
    except BadInput:
        samples = held_out.stand_in(ask.picked)
        if samples is None:
            raise
        return samples[number % len(samples)][None], f"sample {number % len(samples)} of the preview", -1
    if held is None:
        return None
    row = number % len(held.x)
    batch = held.rows(torch.tensor([row]))
    return batch.x, f"held-out picture {row}", -1 if batch.label is None else int(batch.label[0])


def _asked(ask: Ask, model: Denoises) -> Asked | None:
    """The whole request, checked; None while pictures are being read."""
    given = _source(ask)
    return None if given is None else edits.asked(ask, model, *given[:2])


# ---- live calls -----------------------------------------------------------------------------------------------------


def _pads(tab: Tab, key: str) -> dict[str, Callable[[Visit, dict], Any]]:
    """The pad's server, which remembers in what size a file came."""
    read = pad.serve(tab)["picture"]

    def picture(visit: Visit, asked: dict) -> dict[str, Any]:
        found = read(visit, asked)
        visit.kept[f"{key}-file"] = _sides(base64.b64decode(asked["file"])), tuple(found["size"])
        return found

    return {"picture": picture}


def _sides(file: bytes) -> tuple[int, int]:
    """Width and height of a picture file, as it is looked at."""
    with Image.open(io.BytesIO(file)) as image:
        return image.size[::-1] if image.getexif().get(ORIENTATION, 1) >= 5 else image.size  # 5 to 8 lie on their side


def _look(form: Form, key: str) -> Callable[[Visit, dict], dict[str, Any]]:
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """The picture as the model gets it, its class and how it was fitted; {"waiting"} while pictures are read."""
        ask = form.asked(visit, asked.get("entry"), asked.get("settings"))
        given = _source(ask)
        if given is None:
            return {"waiting": True}
        x, name, label = given
        sent = {"url": render.data_url(render.picture(x[0], ask.picked.space)), "name": name, "how": ""}
        if asked.get("file") and f"{key}-file" in visit.kept:
            (width, height), (rows, across) = visit.kept[f"{key}-file"]
            cut = "" if width * rows == height * across else ", its middle cut out"
            sent["how"] = f"{height} × {width} pixels{cut}, resized to {rows} × {across}"
            sent["how"] = "" if (height, width) == (rows, across) else sent["how"]
        return sent | {"label": ask.picked.labels[label] if 0 <= label < len(ask.picked.labels) else ""}

    return look


def _plan(form: Form, device: str) -> Callable[[Visit, dict], dict[str, Any]]:
    def plan(visit: Visit, asked: dict) -> dict[str, Any]:
        """What a run would cost, and why it cannot be started as things are."""
        ask = form.asked(visit, asked.get("entry"), asked.get("settings"))
        model = _model(ask.picked, device)
        try:
            found = _asked(ask, model)
        except BadInput as error:
            return {"cost": "", "remark": "", "blocked": str(error)}
        if found is None:
            return {"waiting": True}
        words = edits.cost(found, cost.pace(ask.picked, device))
        return {"cost": words, "remark": edits.remark(found, model), "blocked": ""}

    return plan


def _take(tab: Tab, key: str) -> Callable[[Visit, dict], dict[str, Any]]:
    def take(visit: Visit, asked: dict) -> dict[str, Any]:
        """A result's bytes, H * W * 3, to be put on the pad."""
        x, name = edit_films.taken(key, visit, asked.get("cell"))
        space = visit.kept[key].asked.picked.space
        pixels = render.picture(x, space).convert("RGB")
        return {"pixels": base64.b64encode(pixels.tobytes()).decode(), "size": list(space.shape[1:]), "name": name}

    return take


PANEL = Panel("Edit", (Denoises,), frozenset({"image"}), mount)
