"""A folder or zip of pictures as a data set."""

from __future__ import annotations

import contextlib
import itertools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from gen_models.data.images import Images
from gen_models.data.reading import DAMAGE, DAMAGED, KINDS, check_bytes, file_bytes, fitted
from gen_models.interface import BadInput, Option, Range, Space
from gen_models.noise import mixed

MOST_FILES = 100_000
MOST_BYTES = 1 << 30  # of the data set in memory
MOST_UNPACKED = 4 << 30  # of all files in a zip
SIZES = Range(8, 256)
_SUFFIXES = (
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)

_Member = tuple[PurePosixPath, Callable[[], bytes]]


def from_pictures(path: str | Path, *, size: int = 32, grey: bool = False) -> Images:
    """The pictures in a folder or zip as a data set, each cropped at its centre to a square of `size` pixels.

    The names of sub-folders are the classes where every picture lies in one and there are 2 to 100 of them. A fixed
    random tenth is held out for validation and another for the test; below ten pictures each split is the whole set.
    What cannot be read is left out and named in `.skipped`. BadInput where fewer than two pictures remain.
    """
    size = Option("size", SIZES, 32, int).check(size)
    if not str(path or "").strip():
        raise BadInput("Choose a folder or a zip file of pictures first.")
    path, shape = Path(path).expanduser(), (1 if grey else 3, size, size)
    with members_of(path) as members:
        if not members:
            raise BadInput(f"{path.name} holds no pictures. Put {KINDS} files into it.")
        if len(members) * shape[0] * size * size > MOST_BYTES:
            raise BadInput(f"{len(members):,} pictures of this size need too much memory. Choose a smaller size.")
        with ThreadPoolExecutor(2) as pool:
            read = list(pool.map(partial(_read, shape=shape), members))
    good = [(name, x) for (name, _), x in zip(members, read, strict=True) if isinstance(x, Tensor)]
    skipped = tuple(f"{name}: {x}" for (name, _), x in zip(members, read, strict=True) if isinstance(x, str))
    if len(good) < 2:
        why = "".join(f" {line}" for line in skipped[:3])
        raise BadInput(f"{path.name}: at least 2 pictures that can be read are needed, there {_are(len(good))}.{why}")
    names, label = _classes([name for name, _ in good])
    x = torch.stack([x for _, x in good])
    return Images(Space("image", shape, labels=names), _split(x, label), skipped)


def _are(n: int) -> str:
    return "is 1" if n == 1 else "are none" if n == 0 else f"are {n}"


def _read(member: _Member, shape: tuple[int, ...]) -> Tensor | str:
    """The picture as uint8 (C, H, W), or why it cannot be read."""
    try:
        return fitted(member[1](), shape)
    except BadInput as error:
        return str(error)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *DAMAGE):
        return DAMAGED


def _classes(names: list[PurePosixPath]) -> tuple[tuple[str, ...], Tensor | None]:
    """Class names and one index per file, from the first folder in which the files differ."""
    folders = [name.parts[:-1] for name in names]
    shared = len(list(itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))))
    found = [parts[shared] if len(parts) > shared else None for parts in folders]
    labels = sorted(set(found) - {None}, key=_natural)
    if None in found or not 2 <= len(labels) <= 100:
        return (), None
    index = {label: i for i, label in enumerate(labels)}
    return tuple(labels), torch.tensor([index[label] for label in found])


def _split(x: Tensor, label: Tensor | None) -> dict[str, tuple[Tensor, Tensor | None]]:
    held = len(x) // 10
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(mixed("pictures", len(x))))
    x, label = x[order], None if label is None else label[order]
    rows = {"train": slice(2 * held, None), "valid": slice(held), "test": slice(held, 2 * held)}
    if not held:
        rows = dict.fromkeys(rows, slice(None))
    return {name: (x[part], None if label is None else label[part]) for name, part in rows.items()}


def _natural(name: object) -> list[str | int]:
    """A key that sorts "2" before "10"; text and numbers alternate, so like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(name))]


# ---- folders and zips -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def members_of(path: Path) -> Iterator[list[_Member]]:
    """The picture files of a folder or zip, by name, each with a way to read its bytes while this is open."""
    if path.is_dir():
        files = ((PurePosixPath(file.relative_to(path).as_posix()), file) for file in path.rglob("*"))
        chosen = itertools.islice(((name, file) for name, file in files if _wanted(name)), MOST_FILES + 1)
        members = [(name, partial(file_bytes, file)) for name, file in chosen if file.is_file()]
        _few_enough(path, len(members))
        yield sorted(members, key=lambda member: _natural(member[0]))
    elif path.is_file():
        with _archive(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            named = [(PurePosixPath(info.filename.replace("\\", "/")), info) for info in infos]
            chosen = [(name, info) for name, info in named if _wanted(name)]
            _few_enough(path, len(infos))
            if sum(info.file_size for info in infos) > MOST_UNPACKED:
                raise BadInput(f"{path.name} unpacks to more than {MOST_UNPACKED >> 30} GiB. Put fewer files into it.")
            if any(info.flag_bits & 1 for _, info in chosen):
                raise BadInput(f"{path.name} is locked with a password. Pack the pictures again without one.")
            members = [(name, partial(_zipped_bytes, archive, info)) for name, info in chosen]
            yield sorted(members, key=lambda member: _natural(member[0]))
    else:
        raise BadInput(f"{path} does not exist. Choose a folder or a zip file of pictures.")


def _few_enough(path: Path, files: int) -> None:
    if files > MOST_FILES:
        raise BadInput(f"{path.name} holds more than {MOST_FILES:,} files. Put fewer into it.")


def _wanted(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return not hidden and name.suffix.lower() in _SUFFIXES


def _zipped_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    check_bytes(info.file_size)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a bound
        raise BadInput("packed in an unusual way. Pack the pictures as an ordinary .zip.")
    with archive.open(info) as file:
        return file.read(info.file_size)  # by count: a file that unpacks to more than it says is cut off


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        if _directory_bytes(path) > 200 * MOST_FILES:
            raise BadInput(f"{path.name} holds more than {MOST_FILES:,} files. Put fewer into it.")
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OSError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path.name} is not a zip file, or it is damaged. Choose a folder of pictures, or pack them as .zip again."
        ) from error


def _directory_bytes(path: Path) -> int:
    """Length of a zip's list of files by its own account, so that a huge one is refused before it fills the memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or end + 16 > len(tail):
        raise zipfile.BadZipFile
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    if tail[max(0, end - 20) : end].startswith(b"PK\6\7") and end >= 76:  # zip64: the length has moved
        size = int.from_bytes(tail[end - 36 : end - 28], "little")
    return size
