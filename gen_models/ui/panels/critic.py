"""What a discriminator says of generated, test and one's own pictures: its scores, from the least real to the most.

Generative Adversarial Networks (Goodfellow et al., 2014), arXiv 1406.2661.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, render, zoo
from gen_models.interface import BadInput, Criticises, GenerativeModel, Samples
from gen_models.noise import mixed
from gen_models.ui import pad
from gen_models.ui.fields import Field, label, option_fields, seed, slider
from gen_models.ui.live import live
from gen_models.ui.panels import reconstruct
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form, columns, note, side, stage

FEWEST, COUNT, MOST = 8, 24, 64  # pictures of one origin
OWN = 16  # pictures that a person brings, at most
PATIENCE = 0.3  # seconds between two words while test pictures are being read
HINT = "Which pictures does the discriminator take for real? Bring your own and see where they land."
LEVEL = "All are judged as this. Every class has a level of its own, so one class at a time."
NO_TESTS = "there are no test pictures of your own data to compare with: it is not kept."
ENDLESS = "The scores are not numbers: this training has diverged. Choose another entry."


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    with columns():
        with side():
            form = Form(tab, "critic", _fields, run="Judge", hint=HINT)
            own = live("own", pad.serve(tab), tab.visits, value=[], name=form.id, most=OWN, **pad.props(tab.first))
        with stage():
            view = live(
                "critic",
                {"score": _score(tab)},
                tab.visits,
                value=None,
                form=form.id,
                elem_id=f"{form.id}-view",
                **_facts(tab.first),
            )
    tab.on_pick(pad.follow, [own])
    tab.on_pick(lambda picked: gr.HTML(value=None, **_facts(picked)), [view])

    def work(ask: Ask, own: Any) -> Iterator[dict[Any, Any] | str]:
        """A discriminator's scores of pictures. settings: n generated, tests, seed, label and the model's options.

        Where there are classes all are of the one asked for and judged as that: scores of two classes do not compare.
        own: null, or up to 16 pictures, each {"pixels": base64 of H * W grey or H * W * 3 colour bytes, "name"}.
        A higher score is more real; scores have no unit. `share`: how often a test picture beats a generated one.
        """
        critic = _critic(ask.picked, tab.device)
        found: dict[str, Any] = {"entry": ask.picked.name, "seed": ask.seed, "label": ask.values.get("label")}
        found |= {"groups": [], "share": None, "pairs": 0, "note": "", "done": False}
        if len(mine := brought(own, ask.picked)):
            found["yours"] = scores(critic, mine, ask.label)
        *_, last = zoo.sample(critic, ask.seed, ask.values["n"], label=ask.label, **ask.options)
        drawn = scores(critic, last.x, ask.label)
        names = [f"seed {ask.seed + k}" for k in range(len(drawn))]
        found["groups"] = [_group("generated", last.x, drawn, names, ask.picked)]
        yield {view: dict(found), form.message: note("the generated ones are judged")}
        if ask.values.get("tests", 0) and not ask.stopped:
            try:
                yield from _read(ask)
                if not ask.stopped:
                    group, real = _tested(ask, critic)
                    found["groups"] = [*found["groups"], group]
                    found |= {"share": share(real, drawn), "pairs": len(real) * len(drawn)}
            except BadInput as error:
                found["note"] = str(error)
        elif ask.picked.entry.data not in data.NAMES:
            found["note"] = NO_TESTS
        found["done"] = not ask.stopped
        yield {view: dict(found), form.message: note(_said(found, ask.stopped))}

    form.job(work, [view], [own], api_name=f"{tab.family.key}_critic")


def _fields(picked: Picked) -> list[Field]:
    if not PANEL.suits(picked.entry.model, picked.space.kind):
        return []
    found = [slider("n", "Generated pictures", FEWEST, MOST, COUNT, step=1)]
    if picked.entry.data in data.NAMES:
        found.append(slider("tests", "Test pictures among them", 0, MOST, COUNT, step=1))
    classes = [field._replace(info=LEVEL) for field in label(picked, any_too=False)]
    return [*found, seed(), *classes, *option_fields(picked.entry.model.sample, picked.entry.limits())]


def _facts(picked: Picked) -> dict[str, Any]:
    """What the browser must know of the entry; entry "" where there is no discriminator of pictures."""
    suits = PANEL.suits(picked.entry.model, picked.space.kind) and card_time(picked.shelf, picked.name) > 0
    return {"entry": picked.name if suits else "", "labels": list(picked.labels), "size": list(picked.space.shape[1:])}


def _said(found: dict[str, Any], stopped: bool) -> str:
    if stopped:
        return "stopped; what is judged stays"
    counts = [f"{len(group['scores'])} {group['origin']}" for group in found["groups"]]
    kind = f" as {found['label']}" if found["label"] else ""
    return f"{' and '.join(counts)} pictures are judged{kind}, seed {found['seed']}"


# ---- what is judged -------------------------------------------------------------------------------------------------


def _critic(picked: Picked, device: str = "cpu") -> GenerativeModel:
    """The entry's model, which criticises pictures; BadInput otherwise."""
    if refusal := PANEL.refusal(picked.entry.model, picked.space.kind):
        raise BadInput(refusal)
    return picked.model(device)


def scores(critic: Any, x: Tensor, label: int | None) -> list[float]:
    """The discriminator's scores of pictures (B, C, H, W) as class `label`; BadInput if some are no numbers."""
    rows = zoo.label_rows(critic.labels, len(x), label)
    with torch.inference_mode():
        found = critic.criticise(x.to(critic.device), label=None if rows is None else rows.to(critic.device)).cpu()
    if not found.isfinite().all():
        raise BadInput(ENDLESS)
    return found.tolist()


def share(tests: list[float], generated: list[float]) -> float:
    """The part of pairs in which the test picture has the higher score, a tie counting half: 0.5 is guessing."""
    above = torch.tensor(tests, dtype=torch.float64)[:, None] - torch.tensor(generated, dtype=torch.float64)
    return (0.5 + 0.5 * above.sign()).mean().item()


def _read(ask: Ask) -> Iterator[str]:
    """Waits for the test pictures, while saying so."""
    name = ask.picked.entry.data
    future = reconstruct.TESTS.of(name, lambda: reconstruct.test_pictures(name))
    while not future.done() and not ask.stopped:
        wait([future], timeout=PATIENCE)
        if not future.done():
            yield f"reading {data.title_of(name)}"


def _tested(ask: Ask, critic: GenerativeModel) -> tuple[dict[str, Any], list[float]]:
    """Test pictures that the seed draws, of the class asked for, and their scores."""
    name = ask.picked.entry.data
    whole, labels = reconstruct.TESTS.of(name, lambda: reconstruct.test_pictures(name)).result()
    pool = torch.arange(len(whole))
    if ask.label is not None and labels is not None:
        pool = pool[labels == ask.label]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(mixed(ask.seed, "critic")))
    rows = pool[order[: ask.values["tests"]]]
    if not len(rows):
        raise BadInput("there is no test picture of this class.")
    x = data.in_range(whole[rows])
    real = scores(critic, x, ask.label)
    return _group("test", x, real, [f"no. {row}" for row in rows.tolist()], ask.picked), real


def _group(origin: str, x: Tensor, found: list[float], names: list[str], picked: Picked) -> dict[str, Any]:
    """Pictures of one origin as static/critic.js takes them: a sheet, and a score and a name for each."""
    sheet, across = render.sheet([render.picture(one, picked.space) for one in x])
    return {"origin": origin, "picture": render.data_url(sheet), "columns": across, "scores": found, "names": names}


# ---- one's own pictures ---------------------------------------------------------------------------------------------


def brought(own: Any, picked: Picked) -> Tensor:
    """What a person brought as (B, C, H, W) in [-1, 1]; BadInput unless it is a list of at most OWN pictures."""
    if own is None:
        own = []
    if not isinstance(own, list | tuple) or len(own) > OWN:
        raise BadInput(f"Your own pictures are a list of at most {OWN}.")
    return torch.stack([pad.received(one, picked.space) for one in own]) if own else torch.empty(0)


def _score(tab: Tab):
    def score(visit: Visit, asked: dict) -> list[float]:
        """Scores of one's own pictures, as the class asked for, while they are drawn."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        critic, wanted = _critic(picked), None
        if picked.labels:
            wanted = picked.labels.index(label(picked, any_too=False)[0].option.check(asked.get("label")))
        x = brought(asked.get("own"), picked)
        return scores(critic, x, wanted) if len(x) else []

    return score


PANEL = Panel("Critic", (Criticises, Samples), frozenset({"image"}), mount)
