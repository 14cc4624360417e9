"""An edited picture as it is kept: the film of its steps, what is said of an inversion, and the files to save."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from gen_models import __version__, data, editing, render
from gen_models.interface import BadInput
from gen_models.ui import edits, film
from gen_models.ui.edits import INPAINT, INVERT, Asked, Moment
from gen_models.ui.visits import Visit

MOST = 120  # steps that travel to the browser, besides the start
NUMBERS = 4_000_000  # of one track that travel, at most
NOTHING = "Nothing has been edited yet: press Run, then save."
HELD, GUESS, OTHERS = "x_t, what the solver holds", "x̂_0, the clean guess", "under another class"
NO_GUESS = "The first guess is made in step 1."
WAITS = "From the noise it goes back under another class too."


class Still(NamedTuple):
    """One kept step: what stands on each track as a picture of its own pixels; None where it has not begun."""

    step: int
    notes: tuple[str, ...]
    pictures: tuple[Image.Image | None, ...]


@dataclass
class Edited:
    """A run: its kept steps, chosen evenly beforehand, its last moment and what was asked."""

    asked: Asked
    stills: list[Still] = field(default_factory=list)
    last: Moment | None = None
    noise: Tensor | None = None  # (1, C, H, W), of an inversion
    seconds: float = 0.0
    kept: frozenset[int] = frozenset()

    def add(self, moment: Moment) -> None:
        """Keeps the moment: in place of the last one, where that is not to be kept."""
        if self.last is None:
            size = self.asked.count * self.asked.picked.space.size
            most = max(12, min(MOST, NUMBERS // size))
            self.kept = frozenset(film.evenly(moment.total + 1, most + 1))
        if self.stills and self.stills[-1].step not in self.kept:
            self.stills.pop()
        if self.asked.mode == INVERT and moment.step == moment.total // 2:
            self.noise = moment.x[0]
        self.last = moment
        self.stills.append(Still(moment.step, moment.notes, tuple(map(self._picture, moment.x))))

    def _picture(self, x: Tensor | None) -> Image.Image | None:
        return None if x is None else render.grid(x, self.asked.picked.space, columns=self.asked.columns, gap=0)

    @property
    def finished(self) -> bool:
        return self.last is not None and self.last.step >= self.last.total

    @property
    def results(self) -> Tensor:
        """What came out of it, (N, C, H, W): the edits of an inversion, or what came back where there are none."""
        edited = self.asked.mode == INVERT and self.last.x[1] is not None and edits.targets(self.asked.ask)
        return self.last.x[1 if edited else 0]

    def recipe(self) -> dict[str, Any]:
        """Enough to make it again, picture and mask included."""
        values = {"entry": self.asked.picked.name, "panel": "edit", **self.asked.ask.values, "version": __version__}
        return values | ({} if self.finished else {"stopped": self.last.step})

    # ---- the film ---------------------------------------------------------------------------------------------

    def film(self, live: bool = False) -> dict[str, Any]:
        """The run as the player takes it; live: its last moment alone, to be replaced by the next."""
        stills = self.stills[-1:] if live else self.stills
        others = self.asked.mode == INVERT and edits.targets(self.asked.ask)
        heads = ((HELD, "generated", ""), (OTHERS, "generated", WAITS) if others else (GUESS, "generated", NO_GUESS))
        counts = (1 if self.asked.mode == INVERT else self.asked.count, self.asked.count)
        tracks = []
        for k, (title, colour, empty) in enumerate(heads):
            frames = [still.pictures[k] for still in stills if still.pictures[k] is not None]
            track = {"title": title, "colour": colour, "notes": [still.notes[k] for still in stills]}
            track |= {
                "gaps": list(range(len(stills) - len(frames))),
                "empty": empty,
                "still": self.asked.mode == INVERT,
            }
            tracks.append(track | (film.pictures(frames, live=live) | self._cells(counts[k]) if frames else {}))
        total = self.last.total
        name = self.asked.picked.name
        return {
            "id": f"{name} edit {id(self)}",
            "about": f"{name}, {self.asked.mode} of {self.asked.name}",
            "word": "step",
            "total": total,
            "steps": [still.step for still in stills],
            "span": [0, total if live else max(1, stills[-1].step)],
            "note": "" if live else f"{self.last.calls} network calls",
            "fps": max(4.0, min(24.0, len(stills) / 4)),
            "live": live,
            "marks": [total // 2] if self.asked.mode == INVERT else [],
            "tracks": tracks,
        }

    def _cells(self, count: int) -> dict[str, Any]:
        columns = self.asked.columns or render.columns_for(count)
        size = list(self.asked.picked.space.shape[:0:-1])
        return {"cells": {"count": count, "columns": min(columns, count), "size": size, "gap": 0}}

    # ---- in words and numbers ---------------------------------------------------------------------------------

    def said(self) -> str:
        """What was done, in a line."""
        last, took = self.last, f"{self.seconds:.2g} s"
        if not self.finished:
            return f"stopped at step {last.step} of {last.total}; the steps until then are kept"
        if not last.calls:
            return f"strength 0: {edits.CLEAN}"
        count = self.asked.count
        what = f"{count} picture{'s' * (count > 1)} from {self.asked.name}"
        if self.asked.mode == INVERT:
            what = f"{self.asked.name} to its noise and back"
        return f"{what} in {took}: {last.total} steps, {last.calls} network calls"

    def facts(self) -> dict[str, Any]:
        """What static/edit_facts.js shows below the film."""
        found = {"film": f"{self.asked.picked.name} edit {id(self)}", "mode": self.asked.mode, "done": True}
        found |= {"count": len(self.results), "inversion": None}
        if self.asked.mode != INVERT or self.noise is None:
            return found
        space = self.asked.picked.space
        sent: dict[str, Any] = {"noise": render.data_url(render.picture(self.noise[0], space, spread=3.0))}
        sent |= editing.statistics(self.noise)._asdict()
        if self.finished:
            back = self.last.x[0]
            off = editing.errors(self.asked.x, back)
            sent |= off._asdict() | {"psnr": min(off.psnr, 999.0), "spread": self._spread}
            sent |= {"source": render.data_url(render.picture(self.asked.x[0], space))}
            sent |= {"back": render.data_url(render.picture(back[0], space))}
            sent |= {"difference": render.data_url(self._difference(1))}
        return found | {"inversion": sent}

    @property
    def _spread(self) -> float:
        """The difference, of pixels from 0 to 1, at which the colours of its picture are full: one of few digits."""
        most = editing.errors(self.asked.x, self.last.x[0]).most
        return next((level for level in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if most <= level), 0.5)

    def _difference(self, scale: int) -> Image.Image:
        space = self.asked.picked.space
        return render.difference(self.asked.x[0], self.last.x[0][0], space, scale=scale, spread=2 * self._spread)

    # ---- files ------------------------------------------------------------------------------------------------

    def png(self) -> tuple[str, bytes]:
        """The picture (under its mask, or with its noise, what came back and the difference) beside the results."""
        space, asked = self.asked.picked.space, self.asked
        scale = max(1, 112 // space.shape[1])
        parts = [render.picture(asked.x[0], space, scale=scale)]
        if asked.mode == INPAINT:
            parts.append(render.picture(torch.where(asked.redraw, 0.0, asked.x[0]), space, scale=scale))
        if asked.mode == INVERT and self.noise is not None:
            parts.append(render.picture(self.noise[0], space, scale=scale, spread=3.0))
            if self.finished:
                parts += [render.picture(self.last.x[0][0], space, scale=scale), self._difference(scale)]
        if asked.mode != INVERT or edits.targets(asked.ask):
            results = self.results
            parts.append(render.grid(results, space, columns=asked.columns, scale=scale, gap=4, ground="#ffffff"))
        return "png", render.png(_beside(parts, 12), self.recipe())

    def gif(self) -> tuple[str, bytes]:
        """Both tracks side by side, all kept steps; the last one stays for a second."""
        fps = self.film()["fps"]
        most = max(image.width for still in self.stills for image in still.pictures if image)
        scale = max(1, min(4, 448 // most))
        blank = next((still.pictures[1] for still in reversed(self.stills) if still.pictures[1]), None)
        frames = []
        for still in self.stills:
            pictures = [still.pictures[0]]
            if blank is not None:
                pictures.append(still.pictures[1] or Image.new(blank.mode, blank.size, "white"))
            large = [image.resize((image.width * scale, image.height * scale), 0) for image in pictures]
            frames.append(_beside(large, 12))
        return "gif", render.gif(frames + frames[-1:] * round(fps), fps)

    def zip(self) -> tuple[str, bytes]:
        """The source, every result, every kept step of both tracks, and the recipe."""
        space, asked = self.asked.picked.space, self.asked
        files = {"picture.png": render.png(render.picture(asked.x[0], space))}
        for k, x in enumerate(self.results):
            files[f"results/{k:02d}.png"] = render.png(render.picture(x, space))
        if self.noise is not None:
            files["noise.png"] = render.png(render.picture(self.noise[0], space, spread=3.0))
        for still in self.stills:
            for name, image in zip(("x_t", "beside"), still.pictures, strict=True):
                if image is not None:
                    files[f"{name}/step{still.step:04d}.png"] = render.png(image)
        facts = {"total": self.last.total, "network_calls": self.last.calls, "seconds": round(self.seconds, 3)}
        files["recipe.json"] = json.dumps(self.recipe() | facts, indent=1).encode()
        return "zip", render.zip_of(files)


def _beside(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures of any size side by side on white, their tops in line."""
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    mode = "L" if all(part.mode == "L" for part in parts) else "RGB"
    whole, at = Image.new(mode, (width, max(part.height for part in parts)), "white"), 0
    for part in parts:
        whole.paste(part.convert(mode), (at, 0))
        at += part.width + gap
    return whole


def named(edited: Edited) -> str:
    """How the names of its files begin."""
    asked = edited.asked
    return f"{asked.picked.name}-{asked.mode.replace(' ', '-')}-seed{asked.ask.seed}."


def taken(key: str, visit: Visit, cell: Any) -> tuple[Tensor, str]:
    """A result (C, H, W) to go on with, as a saved picture would have it; BadInput where there is none."""
    found: Edited | None = visit.kept.get(key)
    if found is None or not isinstance(cell, int) or not 0 <= cell < len(found.results):
        raise BadInput("There is no such result: press Run first.")
    return data.in_range(data.in_bytes(found.results[cell])), f"result {cell + 1} of {found.asked.mode}"
