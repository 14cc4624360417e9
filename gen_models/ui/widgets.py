"""What a person can touch: a form with run and Stop, messages, downloads, and the layout of a panel."""

from __future__ import annotations

import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from gen_models.interface import BadInput, checked_seed
from gen_models.noise import SEEDS
from gen_models.ui.fields import ANY, Field
from gen_models.ui.live import live
from gen_models.ui.visits import Picked, Visit

if TYPE_CHECKING:
    from gen_models.ui.tabs import Tab

log = logging.getLogger(__name__)


# ---- a form ---------------------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """A checked request: what a panel's job works from."""

    picked: Picked
    visit: Visit
    values: dict[str, Any]  # every field by name
    options: dict[str, Any]  # those that the model's method takes
    run: str  # names this run; "" from the API

    @property
    def seed(self) -> int:
        return self.values["seed"]

    @property
    def label(self) -> int | None:
        """The class asked for, None for every class in turn."""
        return self.picked.labels.index(self.values["label"]) if self.values.get("label", ANY) != ANY else None

    def labels(self, count: int) -> list[int] | None:
        """The class of each of `count` samples; None where the entry has no classes."""
        if not self.picked.labels:
            return None
        return [k % len(self.picked.labels) if self.label is None else self.label for k in range(count)]

    @property
    def stopped(self) -> bool:
        """A person pressed Stop or left: finish with what there is."""
        return self.run in self.visit.stopped or "*" in self.visit.stopped


class Form:
    """A panel's control column: fields, one button that runs and stops, and a message below it.

    fields: the controls for an entry, called again when another one is picked (unless `follow` is False), and for every
    request to check it.
    """

    def __init__(
        self,
        tab: Tab,
        name: str,
        fields: Callable[[Picked], list[Field]],
        run: str = "",
        hint: str = "",
        follow: bool = True,
    ):
        self.tab, self.id, self.fields = tab, f"{tab.family.key}-{name}", fields
        self.view = live(
            "form",
            {},
            tab.visits,
            events=("run", "stop", "leave", "input"),
            elem_id=f"{self.id}-form",
            value={field.option.name: field.option.default for field in fields(tab.first)},
            fields=[field.sent() for field in fields(tab.first)],
            first=[field.sent() for field in fields(tab.first)],
            run=run,
            hint=hint,
            form=self.id,
            entry=tab.first.name,
        )
        self.message = gr.HTML(elem_id=f"{self.id}-message", elem_classes="gm-message", apply_default_css=False)
        if follow:
            tab.on_pick(
                lambda picked: (gr.HTML(fields=[field.sent() for field in fields(picked)], entry=picked.name), ""),
                [self.view, self.message],
            )
        self.view.stop(self._stop, [self.view], None, queue=False, api_visibility="private")

    def wanted(self, picked: Picked, settings: Mapping[str, Any]) -> list[Field]:
        """The fields that a request is checked against; a form whose fields depend on each other overrides this."""
        return self.fields(picked)

    def asked(self, visit: Visit, entry: Any, settings: Any, *, count: str = "n") -> Ask:
        """The checked request; BadInput says what is wrong."""
        picked = self.tab.visits.picked(entry, visit)
        fields, values = self.checked(picked, settings, count)
        passed = {field.option.name: values[field.option.name] for field in fields if field.passed}
        return Ask(picked, visit, values, passed, run_of(settings))

    def checked(self, picked: Picked, settings: Any, count: str) -> tuple[list[Field], dict[str, Any]]:
        """The fields for this entry and a value for each, an empty seed drawn; BadInput says what is wrong."""
        if settings is None:
            settings = {}
        if not isinstance(settings, Mapping):
            raise BadInput("settings is an object with the names of the form's fields.")
        wanted = self.wanted(picked, settings)
        fields = {field.option.name: field for field in wanted}
        unknown = [str(name) for name in settings if name not in fields and name != "run"]
        if unknown:
            raise BadInput(f"Unknown setting {', '.join(unknown)}; this panel has {', '.join(fields)}.")
        values = {}
        for name, field in fields.items():
            value = settings.get(name, field.option.default)
            if field.kind == "seed":
                value = secrets.randbelow(SEEDS - 10_000) if value is None else checked_seed(value, 1)
            values[name] = value if field.kind == "seed" else field.option.check(value)
        if "seed" in values and count in values:
            checked_seed(values["seed"], values[count])
        return wanted, values

    def job(
        self,
        work: Callable[..., Iterator],
        outputs: Sequence,
        inputs: Sequence = (),
        *,
        api_name: str,
        lane: str = "compute",
        most: int = 2,
    ):
        """Runs `work(ask, *inputs)` on the form's button; returns the Dependency after the work.

        `work` is a generator of {component: value}; a bare string goes to the message below the button. It looks at
        `ask.stopped` after every yield and ends early with what there is. Its docstring is the API's description.
        Jobs of one lane share its `most` places; the others wait in Gradio's queue.
        """

        def run(request: gr.Request, entry, settings, *rest):
            visit = self.tab.visits.of(request)
            page = isinstance(settings, Mapping) and bool(settings.get("run"))
            steps = None
            try:
                steps = work(self.asked(visit, entry, settings), *rest)
                for update in steps:
                    yield {self.message: note(update)} if isinstance(update, str) else update
            except BadInput as error:
                if not page:
                    raise gr.Error(str(error), print_exception=False) from None
                yield {self.message: wrong(str(error))}
            except Exception as error:
                log.exception("%s failed", api_name)
                if not page:
                    raise gr.Error("That did not work; the cause is in the server's log.") from error
                yield {self.message: wrong("That did not work, and the cause is in the server's log.")}
            finally:
                if steps is not None:
                    steps.close()
                if page:
                    visit.stopped.discard(str(settings["run"]))

        _described(run, work, inputs)
        event = self.view.run(
            run,
            [self.tab.chosen, self.view, *inputs],
            [*outputs, self.message],
            api_name=api_name,
            show_progress="minimal",
            show_progress_on=[self.message],
            trigger_mode="once",
            concurrency_id=lane,
            concurrency_limit=most,
        )
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.view.leave(lambda: note("left the queue"), None, [self.message], cancels=[event], **quiet)
        return event.then(
            None, None, None, js=f"() => {{ window.gm.ended('{self.id}'); return []; }}", api_visibility="private"
        )

    def _stop(self, request: gr.Request, settings) -> None:
        if isinstance(settings, Mapping) and settings.get("run"):
            self.tab.visits.of(request).stopped.add(str(settings["run"]))


def run_of(settings: Any) -> str:
    """The name of the run that the browser started; "" from the API."""
    return str(settings.get("run", "")) if isinstance(settings, Mapping) else ""


def _described(run: Callable, work: Callable, inputs: Sequence) -> None:
    """Gives the event the docstring of the work and names for its inputs: that is what the API page shows."""
    rest = list(inspect.signature(work).parameters.values())[1 : 1 + len(inputs)]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["request", "entry", "settings", *(parameter.name for parameter in rest)]
    run.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    run.__annotations__ = {"request": gr.Request}
    run.__doc__, run.__name__ = work.__doc__, work.__name__


# ---- messages and downloads -----------------------------------------------------------------------------------


def note(message: str) -> str:
    """A quiet line below the button: progress, or what was done."""
    return f"<p class='gm-note' role='status'>{html.escape(message)}</p>" if message else ""


def wrong(message: str) -> str:
    """A message that asks for something."""
    return f"<p class='gm-wrong' role='alert'>{html.escape(message)}</p>"


def downloads(form: Form, files: Mapping[str, Callable[[Visit], Path]]) -> None:
    """One button per file ("PNG": make), downloaded with one click; `make(visit)` writes `visit.file(name)`.

    BadInput from `make` is shown below the form's button.
    """
    with gr.Row(elem_classes="gm-downloads"):
        hidden = gr.DownloadButton("Save the file", elem_id=f"{form.id}-file", visible="hidden")
        for title, make in files.items():
            key = f"{form.id}-{title.lower().replace(' ', '-')}"
            button = gr.Button(title, size="sm", elem_id=key, elem_classes="gm-small", min_width=0)

            def ready(request: gr.Request, make=make):
                try:
                    return str(make(form.tab.visits.of(request))), ""
                except BadInput as error:
                    return None, wrong(str(error))

            ready.__doc__ = make.__doc__
            event = button.click(ready, None, [hidden, form.message], api_visibility="private", show_progress="hidden")
            event.then(
                None,
                None,
                None,
                js=f"() => {{ window.gm.download('{form.id}-file'); return []; }}",
                api_visibility="private",
            )


def kept_files(
    key: str, nothing: str, named: Callable[[Any], str], files: Mapping[str, Callable[[Any], tuple[str, bytes]]]
) -> dict[str, Callable[[Visit], Path]]:
    """`downloads` of what the visit keeps under `key`: make(kept) gives how a file's name ends, and its bytes.

    named(kept) is how all their names begin. BadInput(nothing) where nothing is kept yet.
    """

    def maker(make: Callable[[Any], tuple[str, bytes]]) -> Callable[[Visit], Path]:
        def made(visit: Visit) -> Path:
            if key not in visit.kept:
                raise BadInput(nothing)
            kept = visit.kept[key]
            ending, content = make(kept)
            path = visit.file(named(kept) + ending)
            path.write_bytes(content)
            return path

        made.__doc__ = make.__doc__
        return made

    return {title: maker(make) for title, make in files.items()}


# ---- layout ---------------------------------------------------------------------------------------------------


def columns() -> gr.Row:
    """A panel's two columns: `with columns(): with side(): ...; with stage(): ...`."""
    return gr.Row(elem_classes="gm-columns", equal_height=False)


def side() -> gr.Column:
    """The narrow column of controls."""
    return gr.Column(elem_classes="gm-side", min_width=0)


def stage() -> gr.Column:
    """The result, as large as fits."""
    return gr.Column(elem_classes="gm-stage", min_width=0)
