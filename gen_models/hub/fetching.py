"""Fetching what was looked at, into the cache that the Hub's own libraries share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from gen_models.hub.bringing import Fetched, brought
from gen_models.hub.looking import Look
from gen_models.hub.reach import Token, checked_token
from gen_models.hub.store import Store
from gen_models.interface import BadInput


def fetch(look: Look, *, token: Token = None, stop: Callable[[], bool] | None = None) -> Iterator[Fetched]:
    """Brings the files of a look into the cache: a report every TICK, `folder` in the last one.

    It ends without a folder as soon as `stop` says so; closing the iterator stops it too. What has come is kept, and
    gone on with the next time. BadInput says what to do where that fails.
    """
    if look.refused:
        raise BadInput(look.refused)
    if look.address.folder:
        yield Fetched(look.bytes, look.bytes, folder=look.address.folder)
        return
    store = Store(look.address.repo)
    if look.gated or look.private:
        store.guard()
    yield from brought(store, look.address.repo, look.commit, look.files, checked_token(token), stop)
    if all(store.has(look.commit, file) for file in look.files):
        with contextlib.suppress(OSError):  # without it only the revision's name is not known where there is no network
            store.note(look.address.revision, look.commit)
        yield Fetched(look.bytes, look.bytes, folder=store.snapshot(look.commit))
