"""Picture, reconstruction and difference of drawn, uploaded and test pictures, with error and terms of the bound."""

from __future__ import annotations

import random
from collections.abc import Mapping
from concurrent.futures import wait
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from gen_models import data, render
from gen_models.interface import BadInput, Batch, GenerativeModel, Opens, Option, Range, Reconstructs, Scores, Turn
from gen_models.ui import pad
from gen_models.ui.live import live
from gen_models.ui.panels.sources import Readings
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import columns, side, stage

ROW = 8  # test pictures in a row
PATIENCE = 0.5  # seconds a live call waits for a data set that is being read; then the page asks again

TESTS = Readings()


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    name = f"{tab.family.key}-reconstruct"
    with columns():
        with side():
            drawing = live("pad", pad.serve(tab), tab.visits, value=None, name=f"{name}-pad", **pad.props(tab.first))
        with stage():
            view = live(
                "reconstruct",
                {"look": _look(tab), "tests": _tests(tab)},
                tab.visits,
                pad=f"{name}-pad",
                elem_id=f"{name}-view",
                **_props(tab.first),
            )
    tab.on_pick(pad.follow, [drawing])
    tab.on_pick(lambda picked: gr.HTML(**_props(picked)), [view])


def _props(picked: Picked) -> dict[str, Any]:
    known = picked.entry.data in data.NAMES
    return {
        "entry": picked.name,
        "data": picked.entry.data if known else "",
        "title": data.title_of(picked.entry.data) if known else "",
        "labels": list(picked.space.labels),
        "tests": not issubclass(picked.entry.model, Opens),
        "suits": picked.space.kind == "image" and issubclass(picked.entry.model, Reconstructs),
    }


# ---- one picture, large ---------------------------------------------------------------------------------------


def _look(tab: Tab):
    def look(visit: Visit, asked: dict) -> dict[str, Any]:
        """Picture, reconstruction and difference of what was drawn, or of test picture `test`."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model = _model(picked, tab.device)
        label = None
        if asked.get("test") is not None:
            x, labels = _split(picked)
            row = Option("index", Range(0, len(x) - 1), 0, int).check(asked["test"])
            label = None if labels is None else labels[row : row + 1]
            x = data.in_range(x[row : row + 1])
        else:
            x = pad.received(asked.get("drawn"), picked.space)[None]
        with torch.inference_mode():
            y = model.reconstruct(x.to(model.device), label=_rows(model, label)).cpu()
            terms = _terms(model, x, label)
        space = picked.space
        return {
            "picture": render.data_url(render.picture(x[0], space)),
            "reconstruction": render.data_url(render.picture(y[0], space)),
            "difference": render.data_url(render.difference(x[0], y[0], space)),
            "error": _errors(x, y)[0],
            "terms": terms,
        }

    return look


def _model(picked: Picked, device: str) -> GenerativeModel:
    model = picked.nearby(device)
    if not isinstance(model, Reconstructs) or picked.space.kind != "image":
        raise BadInput(f"{picked.name} does not reconstruct pictures. Choose another entry.")
    return model


def _errors(x: Tensor, y: Tensor) -> list[float]:
    """Mean squared error per picture, pixels from 0 (black) to 1 (white)."""
    return ((x - y) / 2).square().flatten(1).mean(1).tolist()


def _rows(model: GenerativeModel, label: Tensor | None) -> Tensor | None:
    return model.label_rows(label, 0 if label is None else len(label)) if label is not None else None


def _terms(model: GenerativeModel, x: Tensor, label: Tensor | None) -> dict[str, float]:
    """The named terms of the bound in nats, with one fixed draw of the code."""
    if not isinstance(model, Scores):
        return {}
    turn = Turn(model.players[0], "training", 0, 1.0, torch.Generator().manual_seed(0))
    return {name: float(value.float().mean()) for name, value in model.loss(Batch(x, label), turn).show.items()}


# ---- test pictures ----------------------------------------------------------------------------------------------


def _tests(tab: Tab):
    def tests(visit: Visit, asked: dict) -> dict[str, Any]:
        """A row of test pictures from `index` on, or random ones, of a class if given; {"waiting"} while reading."""
        picked = tab.visits.picked(asked.get("entry"), visit)
        model = _model(picked, tab.device)
        if picked.entry.data not in data.NAMES:
            raise BadInput("The test pictures of your own data are not kept. Draw or upload a picture.")
        future = TESTS.of(picked.entry.data, lambda: test_pictures(picked.entry.data))
        wait([future], timeout=PATIENCE)
        if not future.done():
            return {"waiting": True}
        x, labels = future.result()
        rows = _chosen(asked, len(x), labels, picked.space.labels)
        some = data.in_range(x[rows])
        with torch.inference_mode():
            known = None if labels is None else labels[rows]
            y = model.reconstruct(some, label=_rows(model, known))
        items = [
            {
                "index": int(row),
                "label": "" if labels is None else picked.space.labels[labels[row]],
                "picture": render.data_url(render.picture(a, picked.space)),
                "reconstruction": render.data_url(render.picture(b, picked.space)),
                "error": error,
            }
            for row, a, b, error in zip(rows.tolist(), some, y, _errors(some, y), strict=True)
        ]
        return {"items": items, "total": len(x)}

    return tests


def test_pictures(name: str) -> tuple[Tensor, Tensor | None]:
    """The test split as bytes: a quarter of the memory."""
    batch = data.load(name).split("test")
    return data.in_bytes(batch.x), batch.label


def _split(picked: Picked) -> tuple[Tensor, Tensor | None]:
    if picked.entry.data not in data.NAMES:
        raise BadInput("The test pictures of your own data are not kept. Draw or upload a picture.")
    return TESTS.of(picked.entry.data, lambda: test_pictures(picked.entry.data)).result()


def _chosen(asked: Mapping[str, Any], total: int, labels: Tensor | None, names: tuple[str, ...]) -> Tensor:
    """Indices of the row: of class `label`, from `index` on, or random ones; around the end it goes on at the start."""
    pool = torch.arange(total)
    if asked.get("label") not in (None, "") and labels is not None:
        if asked["label"] not in names:
            raise BadInput(f"There is no class {asked['label']!r}; choose one of {', '.join(names)}.")
        pool = pool[labels == names.index(asked["label"])]
    if asked.get("random"):
        return pool[random.sample(range(len(pool)), min(ROW, len(pool)))]
    index = Option("index", Range(0, total - 1), 0, int).check(asked.get("index", 0))
    start = int((pool < index).sum())
    return pool[(start + torch.arange(min(ROW, len(pool)))) % len(pool)]


PANEL = Panel("Reconstruct", (Reconstructs,), frozenset({"image"}), mount)
