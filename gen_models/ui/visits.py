"""A visitor's own place: a shelf of trained entries, what was shown last, and Stop; freed when the tab closes."""

from __future__ import annotations

import atexit
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from gen_models import zoo
from gen_models.checkpoint import CARD
from gen_models.interface import BadInput, GenerativeModel, Opens, Space

CAPACITY = 400  # visits kept at most: the least recently used goes first
IN_FLIGHT = 4  # live calls one visitor may have under way


class Visit:
    """What the server holds for one open page. `kept` is any panel's own, small, and freed with the visit."""

    def __init__(self, root: Path):
        self.key = secrets.token_urlsafe(24)
        self.folder = root / self.key
        self.folder.mkdir()
        self.shelf = zoo.Shelf(self.folder / "entries")
        self.kept: dict[str, Any] = {}
        self.trained: dict[str, str] = {}  # family -> the entry to choose next
        self.stopped: set[str] = set()  # runs that were asked to stop
        self.live = threading.BoundedSemaphore(IN_FLIGHT)

    def file(self, name: str) -> Path:
        """A fresh path for a file to download, with this very name."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / name


class Picked(NamedTuple):
    """An entry by its name, and the shelf it stands on."""

    name: str
    entry: zoo.Entry
    shelf: zoo.Shelf

    @property
    def space(self) -> Space:
        return self.entry.where

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes it can be asked for; () if it cannot."""
        return self.entry.labels

    def model(self, device: str = "cpu") -> GenerativeModel:
        """The trained model in eval mode, cached by the zoo; BadInput when the checkpoint is missing or broken."""
        if not card_time(self.shelf, self.name):
            raise BadInput(f"{self.name} is not trained yet: run `python -m gen_models train {self.name}`.")
        return zoo.load(self.name, self.shelf, device)

    def nearby(self, device: str) -> GenerativeModel:
        """The model for live calls: on the CPU, where small ones answer soonest; one of the Hub on the device."""
        return self.model(device if issubclass(self.entry.model, Opens) else "cpu")


def card_time(shelf: zoo.Shelf, name: Any) -> int:
    """When the entry's checkpoint was written, in nanoseconds; 0 where the shelf has none of that name."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        return 0
    try:
        return (shelf.root / name / CARD).stat().st_mtime_ns
    except OSError:
        return 0


class Visits:
    """All open pages of this process; `may_edit_bundled`: they are this machine's own person's, nobody else's."""

    def __init__(self, bundled: zoo.Shelf, may_edit_bundled: bool = False):
        self.bundled, self.may_edit_bundled = bundled, may_edit_bundled
        self._root = Path(tempfile.mkdtemp(prefix="gen_models-"))
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Visit] = OrderedDict()
        self._keys: dict[str, Visit] = {}
        self._entries: dict[tuple[str, str], tuple[int, zoo.Entry]] = {}
        atexit.register(shutil.rmtree, self._root, ignore_errors=True)

    def of(self, request: gr.Request) -> Visit:
        """The visit of an event's session, made at its first event."""
        session = request.session_hash or "without a session"
        with self._lock:
            if session not in self._sessions:
                visit = self._sessions[session] = Visit(self._root)
                self._keys[visit.key] = visit
            self._sessions.move_to_end(session)
            visit = self._sessions[session]
            excess = [self._sessions.popitem(last=False)[1] for _ in range(len(self._sessions) - CAPACITY)]
        for old in excess:
            self._free(old)
        return visit

    def by_key(self, key: Any) -> Visit:
        """The visit of a live call, which carries the key; BadInput when the server does not know it."""
        visit = self._keys.get(key) if isinstance(key, str) else None
        if visit is None:
            raise BadInput("The server has been restarted or this page was idle for long: reload the page.")
        return visit

    def close(self, request: gr.Request) -> None:
        """Frees a visit: its folder, its entries and what it kept."""
        with self._lock:
            visit = self._sessions.pop(request.session_hash or "", None)
        if visit is not None:
            self._free(visit)

    def picked(self, name: Any, visit: Visit | None = None) -> Picked:
        """The entry of that name, of the visit's own first; BadInput when there is none."""
        for shelf in ([visit.shelf] if visit is not None else []) + [self.bundled]:
            if written := card_time(shelf, name):
                key = (str(shelf.root), name)
                if self._entries.get(key, (0,))[0] != written:
                    self._entries[key] = (written, shelf.entry(name))
                return Picked(name, self._entries[key][1], shelf)
        if isinstance(name, str) and name in zoo.ZOO:
            return Picked(name, zoo.ZOO[name], self.bundled)
        raise BadInput(f"There is no entry {name!r}; choose one of {', '.join(zoo.ZOO)}.")

    def may_edit(self, picked: Picked) -> bool:
        """Whether a person may write into the entry's card: their own entries', and where all is theirs any."""
        return self.may_edit_bundled or picked.shelf is not self.bundled

    def _free(self, visit: Visit) -> None:
        self._keys.pop(visit.key, None)
        visit.stopped.add("*")
        zoo.forget(visit.shelf)
        for key in [key for key in self._entries if key[0] == str(visit.shelf.root)]:
            self._entries.pop(key, None)
        visit.kept.clear()
        shutil.rmtree(visit.folder, ignore_errors=True)
