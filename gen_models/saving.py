"""Samples as files: a grid, an array, a text, a piece of music, or a folder with a file for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen_models import data, music, render
from gen_models.interface import BadInput, Space

HEARD = (".mid", ".wav")  # files of one piece of music


def save(out: Path, x: np.ndarray, space: Any, recipe: Mapping[str, Any], labels: Sequence[str]) -> None:
    """x (n, *shape) as a grid, the raw array, one piece or text, or one file per sample; BadInput where that fails.

    `recipe` says how to make them again: seed, label, of music the tempo, of translations the pictures.
    """
    try:
        if out.suffix == ".npy":
            out.parent.mkdir(parents=True, exist_ok=True)
            np.save(out, x)
        elif out.suffix == ".png":
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(render.png(render.grid(torch.from_numpy(x), space), recipe))
        elif out.suffix == ".txt":
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("\n".join(data.decoded(row, space) for row in torch.from_numpy(x)) + "\n", "utf-8")
        elif out.suffix in HEARD:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(_heard(x[0], space, out.suffix, recipe["tempo"]))
        else:
            out.mkdir(parents=True, exist_ok=True)
            for k, row in enumerate(x):
                _one(out, k, row, space, recipe, labels)
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}); choose another place for --out.") from None


def _one(out: Path, k: int, row: np.ndarray, space: Any, recipe: Mapping[str, Any], labels: Sequence[str]) -> None:
    if "pictures" in recipe:  # translations: each is named after what it was made of
        own = {**recipe, "pictures": recipe["pictures"][k : k + 1]}
        name = f"{k:05d}-{Path(own['pictures'][0]).stem}-to-{recipe['to']}.png"
        (out / name).write_bytes(render.png(render.picture(torch.from_numpy(row), space), own))
        return
    seed = recipe["seed"] + k
    label = recipe["label"] if recipe["label"] is not None else (labels[k % len(labels)] if labels else None)
    name = f"{k:05d}-seed{seed}"
    if space.kind == "image":
        own = {**recipe, "seed": seed, "n": 1, "label": label}
        (out / f"{name}.png").write_bytes(render.png(render.picture(torch.from_numpy(row), space), own))
    elif space.kind == "text":
        (out / f"{name}.txt").write_text(data.decoded(torch.from_numpy(row), space), "utf-8")
    elif space.kind == "music":
        for suffix in HEARD:
            (out / f"{name}{suffix}").write_bytes(_heard(row, space, suffix, recipe["tempo"]))
    else:
        (out / f"{name}.json").write_text(json.dumps({"x": row.tolist(), **recipe, "seed": seed}))


def _heard(row: np.ndarray, space: Space, suffix: str, tempo: float) -> bytes:
    """A piece of music as a MIDI file or as sound."""
    grid = music.grid(torch.from_numpy(row), space)
    if suffix == ".wav":
        return render.wav(music.notes(grid), tempo)
    return render.midi(music.notes(grid), tempo, key=music.key_of(grid))
