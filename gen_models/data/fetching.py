"""Sets of a single file that lies at an address: fetched once, checked, and kept in this user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gen_models.data.hub import cache_folder
from gen_models.interface import BadInput, Space

MOST_BYTES = 8 << 20
_SECONDS = 30.0  # until a download that stands still is given up


@dataclass(frozen=True)
class FetchedSet:
    """A set by name: whose work it is, where its x lives, and the file that it is read from."""

    name: str
    title: str
    source: str
    space: Space
    address: str
    sha256: str


def fetch(item: FetchedSet) -> bytes:
    """The set's file: from the cache, the folder that $GEN_MODELS_DATA names, or its address, and then kept.

    BadInput says how to get one that is missing.
    """
    kept = _kept(item)
    places = [kept]
    if folder := os.environ.get("GEN_MODELS_DATA"):
        names = {kept.name, kept.name.replace("-", ""), PurePosixPath(item.address).name}
        places += [Path(folder, name) for name in sorted(names)]
    for place in places:
        with contextlib.suppress(OSError):
            if _right(found := place.read_bytes(), item):
                return found
    try:
        with urllib.request.urlopen(item.address, timeout=_SECONDS) as answer:
            found = answer.read(MOST_BYTES)
    except (OSError, urllib.error.URLError) as error:
        raise _missing(item, type(error).__name__) from error
    if not _right(found, item):
        raise _missing(item, "what came was another file")
    with contextlib.suppress(OSError):  # a folder that cannot be written costs a download at the next start only
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            part = Path(folder, kept.name)
            part.write_bytes(found)
            os.replace(part, kept)
    return found


def _kept(item: FetchedSet) -> Path:
    """Where the set's file is kept: it has the set's name and the ending of the address."""
    return cache_folder() / f"{item.name}{PurePosixPath(item.address).suffix}"


def _right(found: bytes, item: FetchedSet) -> bool:
    return hashlib.sha256(found).hexdigest() == item.sha256


def _missing(item: FetchedSet, why: str) -> BadInput:
    return BadInput(
        f"{item.title} is not on this machine and could not be downloaded ({why}). Start once with network, or save "
        f"{item.address} as {_kept(item)}"
    )
