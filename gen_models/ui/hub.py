"""The Hub tab: a model of the Hugging Face Hub is looked at, fetched and used like any other; one's own are pushed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import gradio as gr

from gen_models import hub, zoo
from gen_models.interface import BadInput, Opens
from gen_models.ui.live import live
from gen_models.ui.panels import PANELS
from gen_models.ui.tabs import Tab, whole
from gen_models.ui.visits import Visit, Visits
from gen_models.ui.widgets import run_of

PAGE = "https://huggingface.co/"
LONGEST = 500  # characters of an address
AT_ONCE = 4  # downloads of this process; the others wait in Gradio's queue
PATIENCE = 0.1  # seconds a live call waits for the Hub; then the page asks again
REPORT = 0.2  # seconds between two reports of a download
RECENT = 4.0  # seconds that its speed is measured over
LOOKED, ARRIVED = "hub looked", "hub arrived"  # what a visit keeps: what was found, the family whose picker grew
STOPPED = "Stopped. What has come is kept, and Fetch goes on with it."

_WORKERS = ThreadPoolExecutor(8, "hub")  # looks and pushes: they wait for the network, so more than there are cores

log = logging.getLogger(__name__)


def build(visits: Visits, where: str, others: Sequence[Tab]) -> Tab:
    """Builds the tab; `others` are those of the families, whose pickers get what is in our own format."""
    desk = _Desk(visits)
    view = live(
        "hub",
        {name: getattr(desk, name) for name in ("known", "look", "cancel", "own", "push")},
        visits,
        events=("fetch",),
        value=None,
        known=[known._asdict() | {"size": hub.gigabytes(known.bytes)} for known in hub.KNOWN],
        local=visits.may_edit_bundled,
        elem_id="hub-desk",
    )
    tab = Tab(zoo.HUB, visits, where)
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    done = view.fetch(
        desk.fetch,
        [view],
        [view],
        api_name="hub_fetch",
        show_progress="hidden",
        trigger_mode="once",
        concurrency_id="hub",
        concurrency_limit=AT_ONCE,
    ).then(None, None, None, js="() => { window.gm.fetched(); return []; }", api_visibility="private")
    tab.choose_trained(done)
    tab.build(PANELS)
    pickers = [other.chosen for other in others]
    done.then(_arrivals(visits, others), pickers, pickers, **quiet)
    return tab


class _Found(NamedTuple):
    """What stands at an address, and the token that it was looked at with."""

    text: str
    offer: zoo.Offer
    token: str | bool | None

    @property
    def family(self) -> zoo.Family:
        """The tab that it belongs to; BadInput where there is none."""
        families = (zoo.HUB, *zoo.FAMILIES.values())
        found = next((family for family in families if self.offer.model in family.models), None)
        if found is None:
            raise BadInput(f"{self.offer.look.address} is a {self.offer.model.__name__}, and no tab here shows those.")
        return found


class _Job(NamedTuple):
    asked: Any
    future: Future


class _Desk:
    """The server functions of the desk. They bypass Gradio's queue, so what may take long runs beside them."""

    def __init__(self, visits: Visits):
        self.visits = visits

    def known(self, visit: Visit, asked: dict) -> list[str]:
        """Those of the list that open without a network."""
        return [known.id for known in hub.KNOWN if hub.kept(hub.address(known.id, local=False))]

    def look(self, visit: Visit, asked: dict) -> dict[str, Any]:
        """What stands at `address`, before anything is fetched; {"waiting"} until the Hub has answered."""
        text, token = _text(asked.get("address"), LONGEST), self._token(asked.get("token"))
        return _beside(visit, "look", asked, lambda: self._looked(visit, text, token))

    def cancel(self, visit: Visit, asked: dict) -> None:
        """Stops the download that was begun as `run`."""
        visit.stopped.add(_text(asked.get("run"), 100))

    def own(self, visit: Visit, asked: dict) -> list[dict[str, str]]:
        """The entries that can be pushed, the visit's own first."""
        return [
            {"name": name, "whose": whose}
            for shelf, whose in ((visit.shelf, "yours"), (self.visits.bundled, "shipped"))
            for name in shelf.names()
            if _is_ours(shelf, name)
        ]

    def push(self, visit: Visit, asked: dict) -> dict[str, str]:
        """The address of the repository that `entry` was pushed to; {"waiting"} until it was."""
        picked, repo = self.visits.picked(asked.get("entry"), visit), _text(asked.get("repo"), LONGEST)
        token, private = self._token(asked.get("token")), asked.get("private") is True

        def pushed() -> dict[str, str]:
            return {"url": zoo.push(picked.name, picked.shelf, repo, token=token, private=private), "repo": repo}

        return _beside(visit, "push", asked, pushed)

    # ---- fetching ----------------------------------------------------------------------------------------------

    def fetch(self, request: gr.Request, asked):
        """Fetches a model of the Hub, and makes it an entry of this visit. asked: {"address": "owner/name@revision"}.

        The answer says how far it is, at last the entry's name and family: hub_sample and the like take it then.
        With "token", the models that this token may read are fetched too.
        """
        visit, run = self.visits.of(request), run_of(asked)
        try:
            asked = asked if isinstance(asked, Mapping) else {"address": asked}
            found = self._found(visit, asked)
            for report in self._fetched(visit, found, run):
                yield {"run": run, "address": found.text, **report}
        except BadInput as error:
            if not run:
                raise gr.Error(str(error), print_exception=False) from None
            yield {"run": run, "phase": "failed", "words": str(error)}
        except Exception as error:
            log.exception("hub_fetch failed")
            if not run:
                raise gr.Error("That did not work; the cause is in the server's log.") from error
            yield {"run": run, "phase": "failed", "words": "That did not work; the cause is in the server's log."}
        finally:
            visit.stopped.discard(run)

    def _found(self, visit: Visit, asked: Mapping[str, Any]) -> _Found:
        """What the visitor has looked at, else what stands at the address now."""
        text = _text(asked.get("address"), LONGEST)
        if (found := visit.kept.get(LOOKED)) is not None and found.text == text and not asked.get("token"):
            return found
        told = self._looked(visit, text, self._token(asked.get("token")))
        if told["refused"]:
            raise BadInput(told["refused"])
        return visit.kept[LOOKED]

    def _fetched(self, visit: Visit, found: _Found, run: str) -> Iterator[dict[str, Any]]:
        """Reports of the download; the last one names the entry."""

        def stopped() -> bool:
            return run in visit.stopped or "*" in visit.stopped

        folder, speed, shown, report = None, Speed(), 0.0, None
        for report in hub.fetch(found.offer.look, token=found.token, stop=stopped):
            speed.add(report.done)
            folder = report.folder
            if folder is None and time.monotonic() - shown >= REPORT:
                shown = time.monotonic()
                yield {"phase": "fetching", "words": speed.words(report), **_bytes(report)}
        if folder is None or stopped():
            yield {"phase": "stopped", "words": STOPPED, **(_bytes(report) if report else {})}
            return
        yield {"phase": "opening", "words": "all is here; putting it on your shelf", **_bytes(report)}
        name, family = zoo.shelve(found.offer, folder, visit.shelf), found.family
        if family is zoo.HUB:
            visit.trained[family.key] = name
        else:
            visit.kept[ARRIVED] = family.key
        yield {"phase": "done", "words": "", "name": name, "family": family.key, "title": family.title}

    # ---- looking -----------------------------------------------------------------------------------------------

    def _looked(self, visit: Visit, text: str, token: str | bool | None) -> dict[str, Any]:
        visit.kept.pop(LOOKED, None)
        look = hub.look(self._address(text), token=token)
        told = _facts(look)
        try:
            offer = zoo.offer(look)
            found = _Found(text, offer, token)
            told |= _use(found)
        except BadInput as error:
            return told | {"refused": str(error)}
        visit.kept[LOOKED] = found
        return told

    def _address(self, text: str) -> hub.Address:
        return hub.address(text, local=self.visits.may_edit_bundled)

    def _token(self, given: Any) -> str | bool | None:
        """The visitor's own; else this machine's where the page is its person's alone, and none where it is not."""
        if given:
            return _text(given, LONGEST)
        return None if self.visits.may_edit_bundled else False


# ---- words ------------------------------------------------------------------------------------------------------


def _facts(look: hub.Look) -> dict[str, Any]:
    """What can be said of anything that was found."""
    where = look.address
    return {
        "name": where.repo if not where.folder else str(where.folder),
        "page": "" if where.folder else f"{PAGE}{where.repo}",
        "revision": where.revision,
        "commit": look.commit[:7],
        "kind": "checkpoint of gen_models" if look.kind == hub.OURS else look.kind or "unknown",
        "licence": look.licence or "none stated",
        "size": hub.gigabytes(look.bytes),
        "files": len(look.files),
        "gated": look.gated,
        "here": bool(where.folder) or hub.kept(where) is not None,
        "refused": "",
        "makes": "",
        "can": [],
    }


def _use(found: _Found) -> dict[str, Any]:
    """What it makes here, and the panels it gets."""
    offer, space = found.offer, found.offer.space
    shape = " × ".join(map(str, space.shape[1:] if space.kind == "image" else space.shape))
    what = {"image": "pictures", "points": "points", "text": "text", "music": "music"}[space.kind]
    makes = f"{what}, {shape}" + (f", {len(space.labels)} classes" if space.labels else "")
    kind = offer.model.__name__ if offer.look.kind == hub.OURS else offer.look.kind
    panels = [panel.name for panel in PANELS if panel.suits(offer.model, space.kind)]
    return {"makes": makes, "kind": kind, "can": panels, "family": found.family.key, "title": found.family.title}


def _bytes(report: hub.Fetched) -> dict[str, Any]:
    return {"done": report.done, "total": report.total, "file": report.file}


class Speed:
    """How fast bytes come, over the last few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.past = clock, deque()

    def add(self, done: int) -> None:
        now = self.clock()
        self.past.append((now, done))
        while len(self.past) > 2 and now - self.past[0][0] > RECENT:
            self.past.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second; 0 as long as it is not known."""
        (begun, first), (now, last) = self.past[0], self.past[-1]
        return (last - first) / (now - begun) if now - begun > 0.5 else 0.0

    def words(self, report: hub.Fetched) -> str:
        """ "12 MB of 143 MB, 3 MB/s, 44 s left"."""
        words = f"{hub.gigabytes(report.done)} of {hub.gigabytes(report.total)}"
        if not self.rate:
            return words
        left = (report.total - report.done) / self.rate
        time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
        return f"{words}, {hub.gigabytes(round(self.rate))}/s, {time_left} left"


# ---- below ------------------------------------------------------------------------------------------------------


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise BadInput(f"This is a text of at most {most} characters.")
    return value.strip()


def _is_ours(shelf: zoo.Shelf, name: str) -> bool:
    try:
        return not issubclass(shelf.entry(name).model, Opens)
    except BadInput:
        return False


def _beside(visit: Visit, what: str, asked: dict, work: Callable[[], Any]) -> Any:
    """What `work` gives; {"waiting"} while it is under way, one at a time. Asked again, it is not begun again."""
    key = f"hub {what}"
    job: _Job | None = visit.kept.get(key)
    if job is None or job.asked != asked:
        if job is not None and not job.future.done():
            return {"waiting": True}
        job = visit.kept[key] = _Job(asked, _WORKERS.submit(work))
    wait([job.future], timeout=PATIENCE)
    if not job.future.done():
        return {"waiting": True}
    visit.kept.pop(key, None)
    return job.future.result()


def _arrivals(visits: Visits, tabs: Sequence[Tab]) -> Callable[..., list]:
    """A checkpoint of ours stands in its own family's picker, which keeps what is chosen there."""

    def arrived(request: gr.Request, *chosen):
        visit = visits.of(request)
        family = visit.kept.pop(ARRIVED, None)
        return [
            whole(tab.chosen, gr.HTML(value=value, cards=tab.cards(visit))) if tab.family.key == family else gr.skip()
            for tab, value in zip(tabs, chosen, strict=True)
        ]

    return arrived
