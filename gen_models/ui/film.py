"""What the player shows, as plain data: frames of pictures in sprite sheets, frames of points as packed numbers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen_models import data, render
from gen_models.ui.live import live
from gen_models.ui.tabs import picture_of
from gen_models.ui.visits import Picked, Visits

LIMIT = 4.5  # points are shown in [-LIMIT, LIMIT]^2, as in render.points
REAL = 1000  # real points behind the generated ones


def player(
    visits: Visits, form: str, saves: Sequence[str], *, serve: Mapping[str, Callable] | None = None, **props: Any
) -> gr.HTML:
    """The player of static/player.js, whose value is a film; `saves` are titles of the form's `downloads`.

    Their buttons stand in the player's bar; put `downloads(...)` itself into a column of class "gm-behind".
    """
    saves = {title: f"{form}-{title.lower().replace(' ', '-')}" for title in saves}
    return live("player", serve or {}, visits, saves=saves, elem_id=f"{form}-film", **props)


def pictures(frames: Sequence[Image.Image], *, live: bool = False) -> dict[str, Any]:
    """Frames of one size as a track's sprite sheet: PNG, or JPEG for those that are replaced at once."""
    sheet, columns = render.sheet(frames)
    if sheet.mode in ("LA", "RGBA") and frames[0].mode == sheet.mode[:-1]:
        sheet = sheet.convert(frames[0].mode)  # only the empty places of the sheet were transparent
    url = render.data_url(sheet, "jpeg" if live else "png")
    return {"sheet": {"url": url, "columns": columns, "size": list(frames[0].size)}}


def packed(points: Tensor) -> dict[str, Any]:
    """Points (..., N, 2) as base64 of int16, LIMIT being 32767; those outside are left at the edge of the view."""
    values = torch.nan_to_num(points.float(), 2 * LIMIT).cpu().numpy() * (32767 / LIMIT)
    values = np.clip(np.rint(values), -32768, 32767).astype("<i2")
    return {"data": base64.b64encode(values.tobytes()).decode(), "count": points.shape[-2]}


def cloud(frames: Sequence[Tensor]) -> dict[str, Any]:
    """Frames of points, (N, 2) each, as a track."""
    return {"points": packed(torch.stack(list(frames)))}


def still(picked: Picked) -> dict[str, Any] | None:
    """The entry's preview.png as the single frame of a track, before any weight is loaded; None where there is none."""
    url = picture_of(picked.shelf, picked.name) if picked.name in picked.shelf.names() else ""
    if not url:
        return None
    cells = {"cells": cells_of(picked, 16, gap=2), "still": True} if picked.space.kind == "image" else {}
    return {"frames": [url], **cells}


def cells_of(picked: Picked, count: int, gap: int = 0) -> dict[str, Any]:
    """How `render.grid` lays out `count` pictures at their own size, for a track whose frames are such grids."""
    size = list(picked.space.shape[:0:-1])
    return {"count": count, "columns": render.columns_for(count), "size": size, "gap": gap}


def real_points(picked: Picked) -> Tensor | None:
    """Points of the entry's data (REAL, 2), always the same ones; None where there are none at hand."""
    if picked.space.kind != "points" or picked.entry.data not in data.NAMES:
        return None
    return data.load(picked.entry.data).batch(REAL, torch.Generator().manual_seed(0)).x


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of 0 .. count - 1, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]
