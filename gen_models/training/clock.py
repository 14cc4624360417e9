"""The clock of a training: what the consumer of its reports does between two of them does not count."""

from __future__ import annotations

import time

LOOK = 0.25  # seconds between two looks, at least
LOOK_SHARE = 6  # a look that took s seconds is followed by at least LOOK_SHARE * s seconds of training


class Clock:
    """Time spent inside the iterator."""

    def __init__(self):
        self._last = self._since = time.perf_counter()
        self._next_look = self._last + LOOK

    def lap(self) -> float:
        now = time.perf_counter()
        self._last, before = now, self._last
        return now - before

    def resume(self) -> None:
        away = time.perf_counter() - self._last
        self._last, self._since, self._next_look = self._last + away, self._since + away, self._next_look + away

    def reset(self) -> int:
        self._since = self._last
        return 0

    def report_due(self, seconds: float) -> bool:
        return self._last - self._since >= seconds

    @property
    def look_due(self) -> bool:
        return self._last >= self._next_look

    def looked(self) -> None:
        took = time.perf_counter() - self._last
        self._next_look = self._last + took + max(LOOK, LOOK_SHARE * took)

    def rate(self, examples: int) -> float:
        return examples / max(self._last - self._since, 1e-9)
