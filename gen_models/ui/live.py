"""The one live component: its JavaScript asks a server function, a few calls in flight, and the newest answer wins.

Live calls bypass Gradio's queue and its limits, so the limits are here: a few calls per visitor, and as many at work
at once as there are cores. Errors travel as data, because the browser sees an exception only as `undefined`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from gen_models.interface import BadInput
from gen_models.ui.visits import Visit, Visits

PATIENCE = 2.0  # seconds a live call waits for its turn before it gives up
WORKERS = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

log = logging.getLogger(__name__)


def live(
    component: str,
    serve: Mapping[str, Callable[[Visit, dict], Any]],
    visits: Visits,
    *,
    events: tuple[str, ...] = (),
    **props: Any,
) -> gr.HTML:
    """A gr.HTML drawn by `window.gm.<component>(element, props, server, trigger, watch)` in static/<component>.js.

    serve: server functions by name. Each gets the visit and what JavaScript passed to
    `gm.ask(server.<name>, {...})`, and returns plain data (never numpy). BadInput is shown to the person.
    events: names that JavaScript may trigger and Python may listen to.
    """
    heard = ", ".join(f"'{name}'" for name in events)  # Gradio knows an event by its name in quotes
    return gr.HTML(
        html_template="",
        js_on_load=f"/* {heard} */ window.gm.{component}(element, props, server, trigger, watch, upload)",
        apply_default_css=False,
        server_functions=[_served(name, work, visits) for name, work in serve.items()],
        **props,
    )


def _served(name: str, work: Callable[[Visit, dict], Any], visits: Visits) -> Callable:
    def answer(asked: dict) -> dict:
        try:
            visit = visits.by_key(asked.get("visit") if isinstance(asked, dict) else None)
            if not visit.live.acquire(blocking=False):
                return {"busy": True}
            try:
                if not WORKERS.acquire(timeout=PATIENCE):
                    return {"busy": True}
                try:
                    return {"value": work(visit, asked)}
                finally:
                    WORKERS.release()
            finally:
                visit.live.release()
        except BadInput as error:
            return {"error": str(error)}
        except Exception:
            log.exception("The live call %s failed", name)
            return {"error": "That did not work, and the cause is in the server's log. Try another position."}

    answer.__name__ = name
    return answer
