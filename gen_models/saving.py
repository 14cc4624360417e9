"""Samples as files: a grid, an array, a text, a piece of music, or a folder with a file for each.

Many of them come batch by batch, from one process or from several, and are joined at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gen_models import data, music, render
from gen_models.interface import BadInput, Space

HEARD = (".mid", ".wav")  # files of one piece of music


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """BadInput for what goes wrong on the disk."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise BadInput(f"{out} cannot be written ({why}); choose another place for --out.") from None


def save(
    out: Path, x: np.ndarray, space: Any, recipe: Mapping[str, Any], labels: Sequence[str], first: int = 0
) -> None:
    """x (n, *shape) as a grid, the raw array, one piece or text, or one file per sample; BadInput where that fails.

    `recipe` says how to make them again: seed, label, of music the tempo, of translations the pictures. `first` is the
    number of the first of them in a larger set, for a folder.
    """
    with _writing(out):
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
            for k, row in enumerate(x, first):
                _one(out, k, row, space, recipe, labels)


class Parts:
    """The samples of one process, kept on the disk as they come; process 0 joins those of all.

    `mine`: their numbers, without a gap. What several processes write lies in one folder, so they share a disk. A
    folder gets its files at once; for anything else each process appends to an array beside it.
    """

    def __init__(self, out: Path, mine: range, rank: int = 0):
        self.out, self.mine, self.rank = out, mine, rank
        self.part = self._part(rank)
        with _writing(out):
            (out if self._files else out.parent).mkdir(parents=True, exist_ok=True)
        self.drop()  # a killed process may have left one

    @property
    def _files(self) -> bool:
        return not self.out.suffix

    def _part(self, rank: int) -> Path:
        return self.out.with_name(f".{self.out.name}.{rank}.part")

    def add(self, first: int, x: np.ndarray, space: Any, recipe: Mapping[str, Any], labels: Sequence[str]) -> None:
        """The next batch: samples first .. first + len(x) - 1."""
        if self._files:
            save(self.out, x, space, recipe, labels, first)
            return
        with _writing(self.out), open(self.part, "wb" if first == self.mine.start else "ab") as stream:
            if first == self.mine.start:
                _begin(stream, (len(self.mine), *x.shape[1:]), x.dtype)
            stream.write(np.ascontiguousarray(x).tobytes())

    def join(self, n: int, ranks: int, space: Any, recipe: Mapping[str, Any], labels: Sequence[str]) -> None:
        """All n samples into `out`, when the parts of all processes are complete; on process 0."""
        if self._files:
            return
        with _writing(self.out):
            parts = [np.load(path, mmap_mode="r") for path in map(self._part, range(ranks)) if path.exists()]
            if sum(map(len, parts)) != n:
                raise BadInput(f"{self.out} is incomplete: all processes must see the same folder.")
            if self.out.suffix != ".npy":
                save(self.out, np.concatenate(parts), space, recipe, labels)
                return
            if len(parts) > 1:
                with open(self.part, "ab") as stream:  # its header is rewritten below: as long, for it is padded
                    for x in parts[1:]:
                        for k in range(0, len(x), 1024):
                            stream.write(x[k : k + 1024].tobytes())
                with open(self.part, "r+b") as stream:
                    _begin(stream, (n, *parts[0].shape[1:]), parts[0].dtype)
            os.replace(self.part, self.out)

    def drop(self) -> None:
        """Removes what this process has put beside `out`."""
        with contextlib.suppress(OSError):
            self.part.unlink()


def _begin(stream: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """The head of a .npy file, which says how many numbers follow."""
    head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, head)


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
