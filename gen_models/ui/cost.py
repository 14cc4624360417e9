"""What a long run costs, said before it starts: network calls, and seconds from a timed call on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import torch

from gen_models.interface import Denoises, Opens
from gen_models.solvers import calls_of
from gen_models.ui.live import live
from gen_models.ui.visits import Picked, Visit, card_time
from gen_models.ui.widgets import Ask, Form

TIMED = 32  # samples in the call that is timed
_PACES: dict[tuple, float] = {}
_LOCK = threading.Lock()


def calls(options: Mapping[str, Any]) -> int:
    """Network calls of one walk with these options."""
    return calls_of(options.get("solver", ""), int(options.get("steps", 1)))


def pace(picked: Picked, device: str) -> float | None:
    """Seconds of a network call for each sample in it, timed once per checkpoint; None where that itself is slow."""
    if not issubclass(picked.entry.model, Denoises) or issubclass(picked.entry.model, Opens):
        return None
    key = (str(picked.shelf.root), picked.name, card_time(picked.shelf, picked.name), device)
    with _LOCK:
        if key not in _PACES:
            model = picked.model(device)
            x = torch.zeros(TIMED, *picked.space.shape, device=model.device)
            took = []
            with torch.inference_mode():
                for _ in range(3):
                    begun = time.perf_counter()
                    model.denoise(x, 0.5).x0.cpu()
                    took.append((time.perf_counter() - begun) / TIMED)
            _PACES[key] = min(took)
    return _PACES[key]


def duration(seconds: float) -> str:
    """As a person says it: "under a second", "about 40 s", "about 3 min"."""
    if seconds < 1:
        return "under a second"
    if seconds < 100:
        return f"about {seconds:.0f} s" if seconds < 10 else f"about {round(seconds / 5) * 5} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def before_the_run(form: Form, words: Callable[[Ask], str]) -> gr.HTML:
    """A line that says `words(ask)` of the form as it stands, or what is wrong with it; renewed at every change."""

    def said(visit: Visit, asked: dict) -> str:
        return words(form.asked(visit, asked.get("entry"), asked.get("settings")))

    return live("cost", {"cost": said}, form.tab.visits, form=form.id, elem_id=f"{form.id}-cost")
