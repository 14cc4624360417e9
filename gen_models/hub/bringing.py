"""Downloads that can be watched, stopped within a moment, and gone on with another time."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx2
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from gen_models.hub.contents import File, gigabytes, is_plain
from gen_models.hub.reach import Token
from gen_models.hub.store import Store
from gen_models.hub.trouble import explained
from gen_models.interface import BadInput

TICK = 0.1  # seconds between two reports, and until a stop is noticed
TRIES = 4  # attempts in a row that bring nothing
PAUSE = 1.0  # seconds between them
TIMEOUT = (5.0, 10.0, 10.0, 10.0)  # seconds: to connect, read, write, and for a free connection
SPARE = 64 << 20  # bytes that stay free on the disk


class Fetched(NamedTuple):
    """Bytes that are here, of all that are needed, and the file at work; the last one says where they lie."""

    done: int
    total: int
    file: str = ""
    folder: Path | None = None


def brought(
    store: Store,
    repo: str,
    commit: str,
    files: Sequence[File],
    token: Token = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Fetched]:
    """Reports while the files that are missing come; a thread reads, so that one that hangs can be left behind."""
    if strange := [file.name for file in files if not is_plain(file.name)]:
        raise BadInput(f"{repo} names a file that leaves its folder ({strange[0][:80]!r}), so nothing is fetched.")
    missing = [file for file in files if not store.has(commit, file)]
    if not missing:
        return
    _room(store, missing)
    worker = _Worker(store, repo, commit, missing, token)
    total = sum(file.size for file in files)
    here = total - sum(file.size for file in missing)
    threading.Thread(target=worker.run, name="hub", daemon=True).start()
    try:
        while not worker.finished.wait(TICK):
            yield Fetched(here + worker.done + worker.come, total, worker.file)
            if stop is not None and stop():
                return
    finally:
        worker.halt()
    if worker.error is not None:
        raise explained(worker.error, repo, commit, token) from None


def _room(store: Store, files: Sequence[File]) -> None:
    needed = sum(file.size - store.come(file) for file in files) + SPARE
    place = next(folder for folder in (store.cache, *store.cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise BadInput(
            f"{gigabytes(needed)} are needed in {store.cache}, and {gigabytes(free)} are free. Free some space, or let "
            "HF_HOME name a folder on a larger disk."
        )


class _Stopped(Exception):
    """The download was given up."""


class _Worker:
    """Fetches files one after the other; once halted it neither writes nor holds a lock, wherever it hangs."""

    def __init__(self, store: Store, repo: str, commit: str, files: Sequence[File], token: Token):
        self.store, self.repo, self.commit, self.files, self.token = store, repo, commit, files, token
        self.file, self.done, self.come = "", 0, 0  # done: bytes of whole files; come: of the file at work
        self.error: Exception | None = None
        self.finished, self.halted = threading.Event(), threading.Event()
        self._writing = threading.Lock()
        self._lock = None

    def run(self) -> None:
        try:
            self.headers = build_hf_headers(token=self.token) | {"Accept-Encoding": "identity"}
            for file in self.files:
                self.file, self.come = file.name, 0
                self._fetch(file)
                self.done, self.come = self.done + file.size, 0
        except _Stopped:
            pass
        except Exception as error:  # it is raised again where the reports are read
            self.error = error
        finally:
            self.finished.set()

    def halt(self) -> None:
        with self._writing:
            self.halted.set()
            if self._lock is not None:
                self._lock.release()

    def _fetch(self, file: File) -> None:
        with self._alone(file):
            if self.store.has(self.commit, file):  # another brought it meanwhile
                return
            if not self.store.blob(file).exists():
                self._download(file)
            right = self.store.blob(file).exists() or self.store.is_right(file, self._go_on)
            with self._writing:
                self._go_on()
                self.store.keep(self.commit, file, right)

    @contextlib.contextmanager
    def _alone(self, file: File) -> Iterator[None]:
        """Holds the file's lock; while somebody else does, their progress is shown."""
        lock = self.store.lock(file)
        while True:
            with self._writing:
                self._go_on()
                with contextlib.suppress(TimeoutError):  # filelock's own is one
                    lock.acquire(blocking=False)
                    self._lock = lock
                    break
            self.come = self.store.come(file)
            self.halted.wait(TICK)
        try:
            yield
        finally:
            with self._writing:
                self._lock = None
                lock.release()

    def _go_on(self) -> None:
        if self.halted.is_set():
            raise _Stopped

    def _download(self, file: File) -> None:
        """All bytes of the file in its part: interrupted, it goes on where it was."""
        part, tries = self.store.part(file), TRIES
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        while (before := self.store.come(file)) < file.size:
            why = "the connection ended early"
            try:
                self._stream(file, part, before)
            except httpx2.TransportError as error:
                why = type(error).__name__
            come = self.store.come(file)
            tries = TRIES if come > before else tries - 1
            if come < file.size and not tries:
                raise BadInput(
                    f"Only {come:,} of {file.size:,} bytes of {file.name} came ({why}). They are kept: try again to "
                    "go on; if that ends there too, the file on the Hub is truncated."
                )
            if come <= before:
                self.halted.wait(PAUSE)
            self._go_on()

    def _stream(self, file: File, part: Path, before: int) -> None:
        self.come = before
        url = hf_hub_url(self.repo, file.name, revision=self.commit, endpoint=constants.ENDPOINT)
        headers = self.headers | ({"Range": f"bytes={before}-"} if before else {})
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # the file that is served ends before this byte
                return
            hf_raise_for_status(response)
            goes_on = response.status_code == 206
            self.come = before if goes_on else 0
            with open(part, "ab" if goes_on else "wb", buffering=0) as out:
                for piece in response.iter_bytes():
                    with self._writing:
                        self._go_on()
                        out.write(piece[: file.size - self.come])
                    self.come += len(piece)
                    if self.come > file.size:
                        self.come = file.size
                        return
