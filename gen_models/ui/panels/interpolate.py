"""A walk through latent space past key points: seeds, samples that were taken, pictures that were drawn or uploaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from gen_models import __version__, latent, render, zoo
from gen_models.interface import BadInput, Decodes, Encodes, Samples, checked_seed, options
from gen_models.noise import Noise
from gen_models.ui import film, pad
from gen_models.ui.fields import ANY, Field, check, choice, slider
from gen_models.ui.live import live
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, downloads, kept_files, note, side, stage

MOST = 8  # key points
FRAMES = (2, 240)
FPS = 20
HEIGHT = 280  # pixels of a frame in a file, about
THUMBS = 24  # frames of the strip, at most
SPREADS = ("temperature", "truncation")  # options by which a model scales the noise that it decodes
STARTS = (0, 1, 2, 3)  # seeds that stand there before anybody chooses
HINT = "Press Interpolate and watch one sample become the next. Key points can be seeds, taken samples or drawings."
WAYS = "Slerp keeps the code's length, where samples lie; lerp passes closer to the average."
NOTHING = "Nothing has been interpolated yet: press Interpolate, then save."


class Shown(NamedTuple):
    """A walk as it was shown: enough to save it, with its recipe."""

    x: Tensor  # (frames, *shape) on the CPU
    picked: Picked
    recipe: dict[str, Any]

    def pictures(self, scale: int = 1) -> list[Image.Image]:
        """Frame k of the player and of every file."""
        return [render.picture(x, self.picked.space, scale=scale) for x in self.x]

    @property
    def scale(self) -> int:
        """How often a pixel is repeated in a file."""
        return max(1, HEIGHT // self.picked.space.shape[-2])


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""

    def chips(visit: Visit, asked: dict) -> list[str]:
        picked = tab.visits.picked(asked.get("entry"), visit)
        model, wanted = picked.nearby(tab.device), _class(picked, asked.get("label"))
        z, rows = codes(picked, model, asked.get("keys"), wanted)
        return [render.data_url(render.picture(x, picked.space)) for x in zoo.decoded(model, z, rows).cpu()]

    with columns():
        with side():
            form = Form(tab, "interpolate", _fields, run="Interpolate", hint=HINT)
        with stage(), gr.Column(elem_classes="gm-walk"):
            keys = live(
                "keypoints",
                pad.serve(tab) | {"chips": chips},
                tab.visits,
                events=("input",),
                family=tab.family.key,
                form=form.id,
                elem_id=f"{form.id}-keys",
                elem_classes="gm-beside",
                **_facts(tab.first),
            )
            files = {"Strip": _strip, "GIF": _gif, "MP4": _mp4}
            view = film.player(
                tab.visits,
                form.id,
                tuple(files),
                value=_before(tab.first),
                beside=True,
                empty="This entry has no checkpoint yet. Choose another one, or train it.",
            )
            with gr.Column(elem_classes="gm-behind"):
                downloads(form, kept_files(form.id, NOTHING, _named, files))
    tab.on_pick(lambda picked: (gr.HTML(**_facts(picked)), _before(picked)), [keys, view])

    def work(ask: Ask, keys: Any) -> Iterator[dict[Any, Any] | str]:
        """A walk past key points. settings: frames, how, loop and label (a class, or "any": each key point's own).

        keys: 2 to 8 of {"kind": "seed", "seed": 3} or {"kind": "taken", "seed": 3, "label": 5, "options": {...}}.
        """
        model = ask.picked.model(tab.device)
        yield f"decoding {ask.values['frames']} frames"
        shown, film_ = walked(ask, model, keys)
        ask.visit.kept[form.id] = shown
        message = f"{len(shown.x)} frames past {len(keys)} key points, by {ask.values['how']}"
        yield {view: film_, form.message: note(message)}

    form.job(work, [view], [keys], api_name=f"{tab.family.key}_interpolate")


def _fields(picked: Picked) -> list[Field]:
    straight = not getattr(picked.entry.model, "normal", True)  # slerp is for codes around the origin
    fields = [
        choice(
            "how",
            "Way",
            ("slerp", "lerp"),
            "lerp" if straight else "slerp",
            shown=("slerp: along the sphere", "lerp: straight"),
            info=WAYS,
        ),
        slider(
            "frames", "Frames", *FRAMES, 60 if max(picked.space.shape) <= 64 else 24, step=1, info="Of the whole walk."
        ),
        check("loop", "Loop: back to the first key point", True),
    ]
    if picked.labels:
        names = ("each key point's own", *picked.labels)
        digits = picked.labels == tuple("0123456789")
        fields.insert(0, choice("label", "Digit" if digits else "Class", (ANY, *picked.labels), shown=names))
    return fields


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry, and the key points to begin with."""
    model = picked.entry.model
    suits = issubclass(model, Decodes) and picked.space.kind == "image" and picked.name in picked.shelf.names()
    normal = suits and (model.normal or issubclass(model, Samples))
    count = len(picked.labels)
    starts = [{"kind": "seed", "seed": k, "label": k % count if count else None} for k in STARTS] if normal else []
    known = pad.props(picked) | {"labels": list(picked.labels), "encodes": suits and issubclass(model, Encodes)}
    return known | {"value": starts, "normal": normal, "entry": picked.name if suits else ""}


# ---- key points -----------------------------------------------------------------------------------------------


def codes(picked: Picked, model: Any, keys: Any, wanted: int | None) -> tuple[Tensor, Tensor | None]:
    """z (K, *latent_shape) and label rows (K, classes) of key points; BadInput names the one that is wrong.

    wanted: the class of all of them; None leaves each its own.
    """
    if not isinstance(model, Decodes) or picked.space.kind != "image":
        raise BadInput(f"{picked.name} has no latent space of pictures; choose another entry.")
    if not isinstance(keys, list) or len(keys) > MOST:
        raise BadInput(f"Key points are a list of 2 to {MOST}.")
    z, labels = [], []
    for k, key in enumerate(keys, 1):
        try:
            code, own = _code(picked, model, key)
        except BadInput as error:
            raise BadInput(f"Key point {k}: {error}") from None
        z.append(code)
        labels.append(own if wanted is None else wanted)
    rows = None
    if model.labels:
        rows = torch.nn.functional.one_hot(torch.tensor(labels, dtype=torch.long), len(model.labels)).float()
    return torch.cat(z) if z else torch.empty(0, *model.latent_shape), rows


def _code(picked: Picked, model: Any, key: Any) -> tuple[Tensor, int]:
    """The code of one key point (1, *latent_shape) and its class (0 where there are none)."""
    if not isinstance(key, Mapping) or key.get("kind") not in ("seed", "taken", "picture"):
        raise BadInput("it is a seed, a taken sample or a picture; remove it and add another.")
    count, own = len(model.labels), key.get("label")
    if own is not None and (not isinstance(own, int) or not 0 <= own < max(1, count)):
        raise BadInput(f"there is no class {own!r}; remove it and add another.")
    if key["kind"] == "picture":
        if not isinstance(model, Encodes):
            raise BadInput(f"{picked.name} cannot encode pictures; use seeds or taken samples.")
        x = pad.received(key.get("drawn"), picked.space)[None].to(model.device)
        rows = zoo.label_rows(model.labels, 1, own)
        with torch.inference_mode():
            return model.encode(x, label=rows).cpu(), own or 0
    seed = checked_seed(key.get("seed"))
    if not model.normal:
        return _encoded_sample(picked, model, seed, key)
    z = _spread(picked, key.get("options")) * Noise([seed]).normal(*model.latent_shape)
    return z, (seed % count if count else 0) if own is None else own


def _encoded_sample(picked: Picked, model: Any, seed: int, key: Mapping[str, Any]) -> tuple[Tensor, int]:
    """The code of what the model draws from a seed: of a model whose codes nobody can draw."""
    if not (isinstance(model, Samples) and isinstance(model, Encodes)):
        raise BadInput("this model's codes are not normal; use pictures.")
    count, own = len(model.labels), key.get("label")
    label = (seed % count if own is None else own) if count else None
    known = options(type(model).sample, zoo.limits(model))
    chosen = {name: value for name, value in dict(key.get("options") or {}).items() if name in known}
    *_, last = zoo.sample(model, seed, 1, label=label, **chosen)
    with torch.inference_mode():
        return model.encode(last.x).cpu(), label or 0


def _spread(picked: Picked, chosen: Any) -> float:
    """What the sampler multiplied the noise of a taken sample by; a seed's is the default."""
    known = options(picked.entry.model.sample, picked.entry.limits())
    chosen = chosen if isinstance(chosen, Mapping) else {}
    spread = 1.0
    for name in SPREADS:
        if name in known:
            spread *= known[name].check(chosen.get(name, known[name].default))
    return spread


def _class(picked: Picked, wanted: Any) -> int | None:
    """The class that all key points get, None for their own."""
    if wanted in (None, ANY) or not picked.labels:
        return None
    if wanted not in picked.labels:
        raise BadInput(f"There is no class {wanted!r}; choose one of {', '.join(picked.labels)}.")
    return picked.labels.index(wanted)


# ---- the walk -------------------------------------------------------------------------------------------------


def walked(ask: Ask, model: Any, keys: Any) -> tuple[Shown, dict[str, Any]]:
    """The walk, decoded in one batch, and the player's film of it."""
    frames, how, loop = (ask.values[name] for name in ("frames", "how", "loop"))
    z, rows = codes(ask.picked, model, keys, ask.label)
    places = latent.key_frames(len(z), frames, loop)
    z = latent.walk(z, frames, how, loop)
    if rows is not None:
        rows = latent.walk(rows, frames, "lerp", loop).to(model.device)
    x = zoo.decoded(model, z, rows).cpu()
    recipe = {"entry": ask.picked.name, "keys": keys, **ask.values, "version": __version__}
    shown = Shown(x, ask.picked, recipe)
    return shown, _film(shown, places, loop, f"{how} {id(x)}")


def _film(shown: Shown, places: list[int], loop: bool, name: str) -> dict[str, Any]:
    count = len(shown.x)
    track = {"title": "decoded along the walk", "colour": "generated", "notes": _notes(places, count)}
    return {
        "id": f"{shown.picked.name} {name}",
        "about": f"{shown.picked.name}, a walk past {len(places)} key points",
        "word": "frame",
        "total": count,
        "steps": list(range(1, count + 1)),
        "marks": [place + 1 for place in places],
        "note": f"{count / FPS:.3g} s at {FPS} per second",
        "fps": FPS,
        "at": 0,
        "loop": loop,
        "autoplay": True,
        "tracks": [track | film.pictures(shown.pictures())],
    }


def _notes(places: list[int], count: int) -> list[str]:
    """Where each frame stands between the key points."""
    notes = []
    for k in range(count):
        at = max(j for j, place in enumerate(places) if place <= k)
        end = places[at + 1] if at + 1 < len(places) else count
        share = (k - places[at]) / (end - places[at])
        notes.append(f"{at + 1} → {(at + 1) % len(places) + 1}, {share:.0%}" if share else f"key point {at + 1}")
    return notes


def _before(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview, on screen before any weight is loaded; None where it has no checkpoint."""
    if not issubclass(picked.entry.model, Decodes) or picked.space.kind != "image":
        return None
    if not card_time(picked.shelf, picked.name):
        return None
    track = {"title": "samples of this entry", "colour": "generated", "note": "press Interpolate"}
    bare = {"title": "the walk", "colour": "generated", "empty": "Add two pictures as key points, then Interpolate."}
    tracks = [track | still if (still := film.still(picked)) else bare]
    return {"id": f"{picked.name} before", "about": picked.name, "total": 1, "steps": [1], "tracks": tracks}


# ---- files ----------------------------------------------------------------------------------------------------


def _named(shown: Shown) -> str:
    return f"{shown.picked.name}-walk."


def _gif(shown: Shown) -> tuple[str, bytes]:
    """All frames as an animated GIF."""
    return "gif", render.gif(shown.pictures(shown.scale), FPS, loop=shown.recipe["loop"])


def _mp4(shown: Shown) -> tuple[str, bytes]:
    """All frames as a film in H.264."""
    return "mp4", render.mp4(shown.pictures(shown.scale), FPS)


def _strip(shown: Shown) -> tuple[str, bytes]:
    """Up to 24 evenly chosen frames side by side, as PNG with the recipe inside."""
    chosen = film.evenly(len(shown.x), THUMBS)
    frames = [render.picture(shown.x[k], shown.picked.space, height=112) for k in chosen]
    recipe = shown.recipe | {"shown frames": [k + 1 for k in chosen]}
    return "png", render.png(render.strip(frames, 4, ground="#ffffff"), recipe)


PANEL = Panel("Interpolate", (Decodes,), frozenset({"image"}), mount)
