"""The tree of a run and its branches: tracks with a common past, each of which can be removed and brought back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from gen_models.interface import BadInput
from gen_models.ui.walk import Moment, Walk

MOST = 12  # tracks that stand at once
ROOM = 128 * 2**20  # bytes of states that a visit keeps in this panel
LEAST = 12  # steps of a branch that can be gone on from, at least
RUN = "run"  # the name of the trunk
FIRST = "0"  # its key


@dataclass(frozen=True)
class Track:
    """A walk from where it leaves its parent; without a parent it begins at the noise."""

    key: str
    parent: str | None
    name: str
    walk: Walk
    change: dict[str, Any] = field(default_factory=dict)  # as the API takes it; {} of the trunk
    before: tuple[Walk, ...] = ()  # what it took over from parents that were removed, in the order of the steps
    edition: int = 0  # changes with `before`
    running: bool = False

    @property
    def parts(self) -> list[tuple[Walk, list[Moment]]]:
        """Its walks and their moments: its own, after those that it took over."""
        return [*((walk, walk.moments) for walk in self.before), (self.walk, self.walk.shown())]

    @property
    def own(self) -> list[Moment]:
        """All its moments."""
        return [moment for _, moments in self.parts for moment in moments]

    @property
    def start(self) -> int:
        """The step of its first moment."""
        return self.before[0].moments[0].step if self.before else self.walk.start

    def upto(self, step: int) -> tuple[Walk, ...]:
        """Its walks as far as they lie before a step."""
        cut = [(walk, [moment for moment in moments if moment.step < step]) for walk, moments in self.parts]
        return tuple(replace(walk, moments=moments) for walk, moments in cut if moments)

    @property
    def last(self) -> int:
        """The step that it has come to; of a running one, that it will come to."""
        return self.walk.total if self.running else self.walk.last


def bytes_of(walk: Walk) -> int:
    """Of one moment's state: x and the guess that a multistep solver remembers, in float32."""
    return 2 * 4 * walk.count * walk.picked.space.size


class Tree:
    """The tracks of one run. Every method may be called from any thread; BadInput says what is wrong."""

    def __init__(self, walk: Walk, levels: Tensor | None = None, why: str = ""):
        """levels (2, n): alpha and sigma at n times from 0 to 1; why: why it cannot be branched, "" where it can."""
        self.levels, self.why, self.cell, self.chosen = levels, why, 0, FIRST
        self.tracks = {FIRST: Track(FIRST, None, RUN, walk, running=True)}
        self.made: dict[str, tuple[str, dict[str, Any]]] = {}  # key -> the parent it was branched from, and the change
        self.version = 0
        self._run: dict[str, Any] = {}  # the trunk's recipe, when it is finished
        self._bin: list[tuple[Track, dict[str, Track]]] = []  # what was removed, and what its children were before
        self.lock = threading.RLock()

    # ---- looking ------------------------------------------------------------------------------------------------

    @property
    def trunk(self) -> Walk:
        """A walk that has all that the tracks share: entry and number of samples."""
        return next(iter(self.tracks.values())).walk

    def track(self, key: Any) -> Track:
        """The track of that key."""
        found = self.tracks.get(str(key))
        if found is None:
            gone = str(key) in self.made or str(key) == FIRST
            raise BadInput(
                f"{'That track was removed' if gone else f'There is no track {key!r}'}; choose one of "
                f"{', '.join(f'{track.key} ({track.name})' for track in self.tracks.values())}."
            )
        return found

    def path(self, key: Any) -> list[tuple[Track, Moment]]:
        """Every moment on the way from the noise to the end of a track, and the track that it belongs to."""
        with self.lock:
            track, found, until = self.track(key), [], None
            while True:
                part = [(track, moment) for moment in track.own if until is None or moment.step < until]
                found = part + found
                if track.parent is None:
                    return found
                track, until = self.track(track.parent), track.start

    def at(self, key: Any, step: Any) -> tuple[Track, Walk, Moment]:
        """The moment at a step of a track's path, with its state; whose it is, and the walk that made it."""
        with self.lock:
            if self.track(key).running:
                raise BadInput("That track is still running: wait until it is finished, or press Stop, then branch.")
            if self.why:
                raise BadInput(self.why)
            path = self.path(key)
        found = [pair for pair in path if pair[1].step == step]
        if not found:
            near = sorted({moment.step for _, moment in path}, key=lambda known: abs(known - step))[:3]
            raise BadInput(f"Step {step} is not kept; near it are {', '.join(map(str, sorted(near)))}.")
        if found[0][1].state is None:
            raise BadInput("This run is too large to keep what a branch goes on from: run it with fewer samples.")
        owner, moment = found[0]
        return owner, next(walk for walk, moments in owner.parts if any(one is moment for one in moments)), moment

    # ---- changing -----------------------------------------------------------------------------------------------

    def room(self) -> int:
        """Bytes that are left for the states of another branch."""
        held = {id(m.state.x): bytes_of(track.walk) for track in self._all() for m in track.own if m.state is not None}
        return ROOM - sum(held.values())

    def _all(self) -> list[Track]:
        return [*self.tracks.values(), *(old for removed, olds in self._bin for old in (removed, *olds.values()))]

    def grow(self, parent: Track, name: str, walk: Walk, change: dict[str, Any]) -> Track:
        """A new track, running, whose walk is still empty; it is chosen. What was removed makes room where it must."""
        with self.lock:
            self.track(parent.key)
            if len(self.tracks) >= MOST:
                raise BadInput(f"There are {MOST} tracks, which is the most: remove one first.")
            size = bytes_of(walk)
            while self._bin and self.room() < LEAST * size:
                self._bin.pop(0)
            if self.room() < LEAST * size:
                raise BadInput("The tracks fill the memory kept for them: remove one, or run with fewer samples.")
            walk.most = min(walk.most, self.room() // size)
            key = str(len(self.made) + 1)
            self.made[key] = (parent.key, change)
            self.tracks[key] = Track(key, parent.key, name, walk, change, running=True)
            self.chosen = key
            self.version += 1
            return self.tracks[key]

    def finish(self, key: str) -> None:
        """The track runs no more; without a moment of its own it is gone."""
        with self.lock:
            if key not in self.tracks:
                return
            track = self.tracks[key]
            track.walk.settle()
            self.tracks[key] = replace(track, running=False)
            self.version += 1
            if key == FIRST:
                self._run = track.walk.recipe()
            if not track.walk.moments:
                self._drop(track)

    def runs(self, key: str) -> bool:
        """Whether the track stands there and is to go on."""
        track = self.tracks.get(key)
        return track is not None and track.running

    def remove(self, key: Any) -> None:
        """Takes a track away, also a running one, whose walk then ends; the last one stays.

        Its children keep their past: the one that left it latest takes over the part up to where it left, and the
        others hang on that one.
        """
        with self.lock:
            track = self.track(key)
            if len(self.tracks) == 1:
                raise BadInput("This is the only track: press Denoise for another run.")
            children = self._drop(track)
            if track.own:
                self._bin = [*self._bin[1 - MOST :], (track, children)]

    def _drop(self, track: Track) -> dict[str, Track]:
        children = {key: child for key, child in self.tracks.items() if child.parent == track.key}
        del self.tracks[track.key]
        if children:
            heir = max(children.values(), key=lambda child: child.start)
            for child in children.values():
                self.tracks[child.key] = replace(child, parent=heir.key)
            part = track.upto(heir.start) + heir.before
            self.tracks[heir.key] = replace(heir, parent=track.parent, before=part, edition=heir.edition + 1)
        if self.chosen == track.key:
            keys = [track.parent, *children, *self.tracks]
            self.chosen = next(key for key in keys if key in self.tracks)
        self.version += 1
        return children

    def undo(self) -> None:
        """Brings back what was removed last, with its children as they were."""
        with self.lock:
            if not self._bin:
                raise BadInput("There is nothing to bring back.")
            if len(self.tracks) >= MOST:
                raise BadInput(f"There are {MOST} tracks, which is the most: remove one first.")
            track, children = self._bin.pop()
            if track.parent is not None and track.parent not in self.tracks:
                self._bin.append((track, children))
                raise BadInput("What it branched from is gone: it cannot be brought back.")
            self.tracks[track.key] = replace(track, running=False)
            for key, child in children.items():
                if now := self.tracks.get(key):
                    self.tracks[key] = replace(child, edition=now.edition + 1, running=now.running)
            self._hang()
            self.chosen = track.key
            self.version += 1

    def _hang(self) -> None:
        """A track that leaves its parent before that one begins hangs on the parent's parent."""
        for key in list(self.tracks):
            while (parent := self.tracks.get(self.tracks[key].parent or "")) and parent.parent is not None:
                if self.tracks[key].start > parent.start:
                    break
                self.tracks[key] = replace(self.tracks[key], parent=parent.parent)

    def choose(self, key: Any = None, cell: Any = None) -> None:
        """Which track and which sample the files are of."""
        if key is not None:
            self.chosen = self.track(key).key
        if cell is not None:
            if not isinstance(cell, int) or not 0 <= cell < self.trunk.count:
                raise BadInput(f"There is no such sample; there are {self.trunk.count}.")
            self.cell = cell

    # ---- telling ------------------------------------------------------------------------------------------------

    def order(self) -> list[Track]:
        """The tracks as they stand: each below its parent, those that leave it later first."""

        def below(parent: str | None) -> list[Track]:
            found = [track for track in self.tracks.values() if track.parent == parent]
            found.sort(key=lambda track: (-track.start, int(track.key)))
            return [one for track in found for one in (track, *below(track.key))]

        with self.lock:
            return below(None)

    def can_undo(self) -> bool:
        """Whether something was removed that can come back."""
        return bool(self._bin)

    def recipe(self, key: str | None = None) -> dict[str, Any]:
        """Enough to make the tracks again, or the one of that key: the run, and every change on the way, in order.

        Numbers are those that the API gives when the branches are made in this order; `tracks` are those that stand
        there, the others are only on the way to them.
        """
        with self.lock:
            wanted = [key] if key is not None else [track.key for track in self.order()]
            needed: set[str] = set()
            for one in wanted:
                while one != FIRST and one not in needed:
                    needed.add(one)
                    one = self.made[one][0]
            numbers, branches = {FIRST: FIRST}, []
            for one, (parent, change) in self.made.items():
                if one in needed:
                    numbers[one] = str(len(numbers))
                    branches.append({"branch": numbers[one], **change, "track": numbers[parent]})
            run = self._run or self.tracks[FIRST].walk.recipe()
            return run | {"branches": branches, "tracks": [numbers[one] for one in wanted]}
