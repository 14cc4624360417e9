"""One repository in the cache that the Hub's own libraries share, so that what any of them fetched is found by all.

Its layout is documented: refs/<revision> holds a commit, snapshots/<commit>/<path> points to blobs/<digest>.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from gen_models.hub.contents import File, is_safe
from gen_models.interface import BadInput

COMMIT = re.compile(r"[0-9a-f]{40}")
_PIECE = 1 << 22
_GUARDED = ".guarded"  # a file of ours beside refs, snapshots and blobs


class Store:
    """Where the files of one repository are kept."""

    def __init__(self, repo: str):
        self.cache = Path(constants.HF_HUB_CACHE)
        self.folder = "models--" + repo.replace("/", "--")
        self.root = self.cache / self.folder

    def snapshot(self, commit: str) -> Path:
        return self.root / "snapshots" / commit

    def blob(self, file: File) -> Path:
        name = file.digest or hashlib.sha1(file.name.encode()).hexdigest()
        return self.root / "blobs" / name

    def part(self, file: File) -> Path:
        """What has come of a file so far; a later try goes on with it."""
        return self.blob(file).with_name(self.blob(file).name + ".incomplete")

    def has(self, commit: str, file: File) -> bool:
        try:
            return (self.snapshot(commit) / file.name).stat().st_size == file.size
        except OSError:
            return False

    def come(self, file: File) -> int:
        """Bytes of an unfinished file."""
        try:
            return self.part(file).stat().st_size
        except OSError:
            return 0

    def lock(self, file: File) -> Any:
        """A filelock.FileLock: one program at a time fetches a file; the Hub's libraries use the same lock."""
        from filelock import FileLock  # half a second, for downloads alone

        path = self.cache / ".locks" / self.folder / f"{self.blob(file).name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, thread_local=False)

    def is_right(self, file: File, go_on: Callable[[], None]) -> bool:
        """Whether the finished part is the file that was promised; `go_on` may raise to give up."""
        return not file.digest or _digest(self.part(file), len(file.digest), go_on) == file.digest

    def keep(self, commit: str, file: File, right: bool = True) -> None:
        """The finished part becomes a blob; where it is not right it is thrown away: BadInput."""
        blob, part = self.blob(file), self.part(file)
        if not right:
            part.unlink()
            raise BadInput(
                f"What came is not the {file.name} that the Hub promised (its checksum differs). It was thrown away; "
                "try again."
            )
        if not blob.exists():
            os.replace(part, blob)
        self._point(self.snapshot(commit) / file.name, blob)

    def _point(self, pointer: Path, blob: Path) -> None:
        pointer.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            pointer.unlink()
        try:
            pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:  # a system without symbolic links
            shutil.move(blob, pointer)

    def note(self, revision: str, commit: str) -> None:
        """Remembers which commit a branch or tag stood at, for when there is no network."""
        if COMMIT.fullmatch(revision):
            return
        ref = self.root / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)

    @property
    def guarded(self) -> bool:
        """Whether it was fetched by a token that a stranger to this machine does not have."""
        return (self.root / _GUARDED).exists()

    def guard(self) -> None:
        """Keeps what is fetched from those who have no token for it, also when the Hub cannot be asked."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / _GUARDED).touch()

    def commit_of(self, revision: str) -> str:
        """The commit that a revision stood at when it was fetched; "" where it never was."""
        if COMMIT.fullmatch(revision):
            return revision if self.snapshot(revision).is_dir() else ""
        try:
            commit = (self.root / "refs" / revision).read_text().strip()
        except (OSError, ValueError):
            return ""
        return commit if COMMIT.fullmatch(commit) and self.snapshot(commit).is_dir() else ""


def listing(folder: Path) -> dict[str, File]:
    """The files of a folder and of the folders in it, by path."""
    found = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        with contextlib.suppress(OSError):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                found[name] = File(name, path.stat().st_size, is_safe(name))
    return found


def _digest(path: Path, length: int, go_on: Callable[[], None]) -> str:
    """SHA-256 of a file, or, 40 digits long, the SHA-1 that git gives it."""
    digest = hashlib.sha256() if length == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as stream:
        while piece := stream.read(_PIECE):
            go_on()
            digest.update(piece)
    return digest.hexdigest()
