"""Emoji in two styles, Noto and Blob: 1400 and 1220 pictures on white, the same things under the same names."""

from __future__ import annotations

import csv
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen_models.data.hub import cache_folder, keep, restored
from gen_models.data.reading import DAMAGE
from gen_models.interface import BadInput
from gen_models.noise import mixed

GROUPS = ("smileys", "people", "animals", "food", "travel", "activities", "objects", "symbols")
SOURCE = (
    "Noto Emoji by Google (googlefonts/noto-emoji) and the older Blob style kept by its friends (C1710/blobmoji); "
    "Apache-2.0."
)
_GITHUB = "https://raw.githubusercontent.com"
_STYLES = {
    "noto": f"{_GITHUB}/googlefonts/noto-emoji/b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8/png/128",
    "blob": f"{_GITHUB}/C1710/blobmoji/437784e59a5dc524aca8b8ea520ea1d889d5643e/png/128",
}
_SIDE = 64  # as kept; handed out at half of it
_TEST, _VALID = 0.15, 0.05  # of the names that both styles have
_SECONDS = 30.0  # until a download that stands still is given up
_CONNECTIONS = 8
_TRIES = 3

Fetch = Callable[[str], bytes]


class Emoji(NamedTuple):
    """What is known of one emoji without its picture."""

    code: str  # its file is emoji_u<code>.png
    name: str
    group: int  # index into GROUPS
    blob: bool  # whether there is a Blob of it that differs


class Held(NamedTuple):
    """Rows of `listed()`; valid and test hold names that both styles have, the same for whoever asks."""

    train: Tensor
    valid: Tensor
    test: Tensor


@cache
def listed() -> tuple[Emoji, ...]:
    """Every emoji of the set, in the order of its rows."""
    with Path(__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Emoji(row["code"], row["name"], int(row["group"]), row["blob"] == "1") for row in csv.DictReader(file)
        )


def held() -> Held:
    """A fixed random 15 % of the names in both styles are the test split and 5 % the validation split."""
    both = torch.tensor([row for row, emoji in enumerate(listed()) if emoji.blob])
    order = both[torch.randperm(len(both), generator=torch.Generator().manual_seed(mixed("emoji", "names")))]
    test, valid = round(_TEST * len(both)), round(_VALID * len(both))
    chosen = {"test": order[:test].sort().values, "valid": order[test : test + valid].sort().values}
    out = torch.ones(len(listed()), dtype=torch.bool)
    out[order[: test + valid]] = False
    return Held(out.nonzero().squeeze(1), **chosen)


def halved(x: Tensor) -> Tensor:
    """Half the height and width, each pixel the mean of 2x2, rounded half up: uint8 (N, C, H, W)."""
    n, c, h, w = x.shape
    return ((x.view(n, c, h // 2, 2, w // 2, 2).sum((3, 5), dtype=torch.int16) + 2) // 4).byte()


def pictures(style: str, fetch: Fetch | None = None) -> Tensor:
    """The style's pictures in the order of `listed()`, those that it lacks left out: uint8 (N, 3, 64, 64).

    From this user's cache folder, else from the folder that $GEN_MODELS_DATA names, else from the artists' pinned
    repositories, file by file, and then kept. BadInput where none of the three has them.
    """
    wanted = [emoji for emoji in listed() if style == "noto" or emoji.blob]
    kept, key = cache_folder() / f"{style}-emoji.safetensors", f"{_STYLES[style]} {len(wanted)} {_SIDE}"
    found = restored(kept, key)
    if found is not None and found["x"].shape == (len(wanted), 3, _SIDE, _SIDE):
        return found["x"]
    x = _from_parquet(style, wanted)
    if x is None:
        x = _from_repository(style, wanted, fetch or _download)
    keep(kept, key, {"x": x})
    return x


# ---- from a file -----------------------------------------------------------------------------------------------


def _from_parquet(style: str, wanted: list[Emoji]) -> Tensor | None:
    """The pictures of a prepared file, by name; None where there is none, or it is another one."""
    file = Path(os.environ.get("GEN_MODELS_DATA") or "", f"{style}-emoji-{_SIDE}.parquet")
    if not os.environ.get("GEN_MODELS_DATA") or not file.is_file():
        return None
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file, columns=["image", "name"])
        names = table["name"].to_pylist()
        files = dict(zip(names, table["image"].combine_chunks().field("bytes").to_pylist(), strict=True))
        return torch.stack([drawn(files[emoji.name]) for emoji in wanted])
    except (pyarrow.ArrowException, *DAMAGE):
        return None


# ---- from the artists' repositories --------------------------------------------------------------------------------


def drawn(file: bytes) -> Tensor:
    """A picture file padded to a square on white, at 64 x 64: uint8 (3, 64, 64)."""
    with Image.open(io.BytesIO(file), formats=("PNG",)) as image:
        image = image.convert("RGBA")
    side = max(image.size)
    paper = Image.new("RGBA", (side, side), "white")
    paper.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    image = paper.convert("RGB")
    if side != _SIDE:
        image = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _from_repository(style: str, wanted: list[Emoji], fetch: Fetch) -> Tensor:
    addresses = [f"{_STYLES[style]}/emoji_u{emoji.code}.png" for emoji in wanted]
    pool = ThreadPoolExecutor(_CONNECTIONS)
    try:
        return torch.stack([drawn(file) for file in pool.map(fetch, addresses)])
    except (OSError, *DAMAGE) as error:  # offline, blocked, refused, gone, no picture
        raise BadInput(
            f"The {style.title()} emoji are not on this machine and could not be downloaded ({type(error).__name__}). "
            f"Start once with network: they are read from {_STYLES[style]}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _download(address: str) -> bytes:
    """The file at an address; a connection that breaks is tried again, a refusal is not."""
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            if not left:
                raise
    raise AssertionError("not reached")
