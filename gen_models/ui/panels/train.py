"""Training in front of one's eyes: data, model and recipe; curves and previews while it runs; the model to keep."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from torch import Tensor

from gen_models import checkpoint, render, zoo
from gen_models.interface import BadInput, Data, GenerativeModel, Opens, Predicts, options
from gen_models.training import Progress
from gen_models.ui.fields import Field
from gen_models.ui.live import live
from gen_models.ui.panels import sources
from gen_models.ui.panels.report import Line, Report, spoken
from gen_models.ui.tabs import Panel, Tab
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask, Form, columns, downloads, note, side, stage

AT_ONCE = 2  # trainings of this process; the others wait in line
LANE = 8  # trainings and those that wait with a message; more wait in Gradio's queue
FEW = {  # previews while training, where sampling takes steps
    "image": {"steps": 6, "solver": "dpm++2m", "guidance": 1.0},
    "points": {"steps": 8, "solver": "dpm++2m"},
    "text": {"length": 160},
    "music": {"bars": 8},
}
HELD_OUT = 8  # stretches or 128 lines of the validation split, read at every preview of a text
KEPT = (checkpoint.CARD, checkpoint.WEIGHTS, zoo.PREVIEW)  # what goes into the zip, beside README.md
HINT = "Press Train and watch it learn. Stop keeps what was learnt."
README = """# {name}

{title}, trained for {steps} steps in gen_models. `card.json` tells everything, `model.safetensors` holds the weights.

Unpack this folder into the folder of gen_models, write these lines into a file there and run it:

```python
from pathlib import Path

from gen_models import render, zoo

folder = Path("{name}")
model = zoo.load(folder.name, zoo.Shelf(folder.parent))
print(type(model).__name__, model.space.shape, sum(p.numel() for p in model.parameters()), "parameters")
for frame in zoo.sample(model, seed=0, n=16):
    x = frame.x  # the last one is the sample
print("samples:", tuple(x.shape))
picture = render.grid(x, model.space, height=448)
picture.save("samples.png")
```
"""
TRANSLATING = """# {name}

{title}, trained for {steps} steps in gen_models. `card.json` tells everything, `model.safetensors` holds the weights.

Unpack this folder into the folder of gen_models, write these lines into a file there and run it. It takes the first
picture of `preview.png`, one of {a}; put the path of a picture of yours in its place.

```python
from pathlib import Path

import torch
from PIL import Image

from gen_models import data, render, zoo

folder = Path("{name}")
model = zoo.load(folder.name, zoo.Shelf(folder.parent))
picture = Image.open(folder / "preview.png").crop((0, 0, {width}, {height}))
x = data.picture(picture, model.space)[None]
y = model.translate(x, "B")  # {b}
back = model.translate(y, "A")  # {a}
print("translated:", tuple(y.shape), "and back with a mean absolute error of", ((back - x).abs().mean() / 2).item())
render.grid(torch.cat([x, y, back]), model.space, columns=3, height=256).save("translated.png")
```
"""


LINE = Line(AT_ONCE)


class Trained(NamedTuple):
    """The model of the last training on the panel; `model` only where it could not be saved."""

    name: str
    entry: zoo.Entry
    title: str
    steps: int
    model: GenerativeModel | None = None


class TrainForm(Form):
    """A form whose fields follow from the data set and the model chosen in it, whatever entry is picked."""

    def wanted(self, picked: Picked, settings: Mapping[str, Any]) -> list[Field]:
        return sources.fields(self.tab.family, settings)


# ---- the panel ------------------------------------------------------------------------------------------------


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    key = tab.family.key
    with columns():
        with side():
            form = TrainForm(tab, "train", lambda picked: sources.fields(tab.family, {}), "Train", HINT, follow=False)
        with stage():
            view = live(
                "train",
                {"bring": sources.bring},
                tab.visits,
                events=("choose",),
                value=None,
                source=_source(tab, {}),
                form=form.id,
                elem_id=f"{form.id}-view",
            )
            downloads(form, {"Download model": lambda visit: _packed(visit, form)})

    def choose(settings: Any) -> tuple[gr.HTML, gr.HTML]:
        settings = settings if isinstance(settings, Mapping) else {}
        try:
            fields = [field.sent() for field in sources.fields(tab.family, settings)]
            return gr.HTML(fields=fields), gr.HTML(source=_source(tab, settings))
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from None

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    view.choose(choose, [form.view], [form.view, view], **quiet)

    def work(ask: Ask) -> Iterator[dict[Any, Any] | str]:
        """Trains a model of the family. settings: data, model, steps, batch_size, lr, seed and the model's own options.

        data "own-points" takes csv (one x, y per line); "own-text" takes text, and lines: true where each stands alone.
        Answers with curves and previews from seeds 0, 1, ..
        """
        ticket = LINE.join()
        try:
            yield from wait_for_place(ask, ticket)
            source = yield from _read(ask)
            if source is not None:
                yield from _train(tab, form, view, ask, source)
        finally:
            LINE.leave(ticket)

    done = form.job(work, [view], api_name=f"{key}_train", lane="training", most=LANE)
    tab.choose_trained(done)


def _source(tab: Tab, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage shows before a training: the data."""
    name = settings.get("data", sources.offered(tab.family)[0])
    space = sources.space_of(name, settings)
    sent = {"name": name, "title": sources.title_of(name), "model": settings.get("model"), "kind": space.kind}
    sent |= {"domains": bool(space.domains), "real": None}
    if name in sources.data.NAMES and space.kind == "points":  # others are read when they are needed
        sent["real"] = sources.real(sources.data.load(name))
    return sent


def wait_for_place(ask: Ask, ticket: str) -> Iterator[str]:
    """Says how many are before this one, until it may begin or is stopped."""
    while (ahead := LINE.ahead(ticket)) and not ask.stopped:
        others = f"{ahead} before you" if ahead > 1 else "you are next"
        yield f"{AT_ONCE} trainings are running on this server, and it takes no more at once: {others}."
        time.sleep(0.25)


def _read(ask: Ask) -> Iterator[str]:
    """The data, while saying so; None when Stop was pressed meanwhile."""
    name = ask.values["data"]
    future, begun = sources.reading(name, ask.values, ask.visit), time.monotonic()
    while not future.done() and not ask.stopped:
        wait([future], timeout=0.25)
        if not future.done():
            yield f"reading {sources.title_of(name)}, {time.monotonic() - begun:.0f} s"
    if ask.stopped:
        yield "stopped before the training began"
        return None
    return future.result()


def _train(tab: Tab, form: Form, view: gr.HTML, ask: Ask, source: Data) -> Iterator[dict[Any, Any]]:
    """One training with its reports; however it ends, what was learnt is saved, shown and chosen."""
    entry, visit = _entry(tab, ask, source), ask.visit
    title = f"{sources.model_title(entry.model)} on {sources.title_of(ask.values['data'])}"
    report, looked, name = Report(title, source, ask.run), {}, _name(entry.model, ask)
    if source.space.kind == "text":
        report.beat(sources.OWN.submit(sources.yardsticks, source))
    steps = zoo.run(
        entry,
        source,
        seed=ask.seed,
        device=tab.device,
        folder=visit.shelf.root / name,
        resume=False,
        stop_publishes=True,
        look=_look(looked, source),
    )
    trouble, stopped = "", False
    try:
        for progress in steps:
            report.add(progress)
            yield {view: report.sent("training"), form.message: note(report.line())}
            if stopped := ask.stopped:
                break
    except (BadInput, OSError) as error:
        trouble = str(error)
    finally:  # a closed tab comes here too
        trouble = _closed(steps) or trouble
        if "*" in visit.stopped:  # the visit was freed while this was saved into it
            shutil.rmtree(visit.folder, ignore_errors=True)
    saved = name in visit.shelf.names()
    model = None if saved else looked.get("model")
    if saved or (model is not None and report.at):
        visit.kept[form.id] = Trained(name, entry, title, report.at, model)
    if saved:
        visit.trained[tab.family.key] = name
        if entry.data is None and (source.space.kind == "points" or source.space.domains):
            visit.kept[sources.HELD + name] = sources.held_out(source)
        report.look(_final(visit.shelf, name, source))
    phase = "failed" if trouble else "stopped" if stopped else "done"
    yield {view: report.sent(phase, film=True), form.message: note(_end(report, phase, saved))}
    if trouble:
        raise BadInput(trouble)


def _closed(steps: Iterator[Progress]) -> str:
    """Ends a training, which saves what was learnt; what went wrong with that, in words."""
    try:
        steps.close()
    except (BadInput, OSError) as error:
        return str(error)
    return ""


def _entry(tab: Tab, ask: Ask, source: Data) -> zoo.Entry:
    values = ask.values
    models = {model.__name__: model for model in sources.models_for(tab.family, source.space)}
    model = models[values.get("model", next(iter(models)))]
    name = values["data"] if values["data"] in sources.data.NAMES else None
    recipe = {key: values[key] for key in ("steps", "batch_size", "lr") if key in values}
    return zoo.live(model, source.space, name, **recipe, **ask.options)


def _name(model: type[GenerativeModel], ask: Ask) -> str:
    """A name for the shelf that says what it is; a second one of the same second gets a mark."""
    name = f"{model.__name__}-{ask.values['data']}-{time.strftime('%H%M%S')}".lower()
    return name if not (ask.visit.shelf.root / name).exists() else f"{name}-{secrets.token_hex(2)}"


def _end(report: Report, phase: str, saved: bool) -> str:
    if phase == "stopped" and not report.at:
        return "stopped before the first step"
    took = spoken(report.seconds)
    what = f"stopped at step {report.at} of {report.total}" if phase == "stopped" else f"{report.at} steps in {took}"
    return f"{what}; the model is chosen above, as yours" if saved else what


def _look(looked: dict[str, Any], source: Data) -> Callable[[GenerativeModel], dict[str, Any]]:
    """Previews from seeds 0, 1, .., in few steps where sampling takes steps; of text also what held-out text costs.

    A model that translates shows the same held-out pictures every time.
    """
    held = None
    pairs = zoo.held_pairs(source) if source.space.domains else None
    if source.space.kind == "text":
        held = source.split("valid").x[: HELD_OUT * (16 if source.space.encoding == "lines" else 1)]

    def look(model: GenerativeModel) -> dict[str, Any]:
        looked["model"] = model
        seen = _samples(model, few=True) if pairs is None else _translations(model, pairs)
        if held is not None and isinstance(model, Predicts):
            nats = model.log_probs(held.to(model.device))
            seen["held"] = float(-nats.sum() / (nats != 0).sum())
        return seen

    return look


def _final(shelf: zoo.Shelf, name: str, source: Data) -> dict[str, Any]:
    """The last preview: what was saved, sampled with the model's own defaults."""
    model = zoo.load(name, shelf)
    return _translations(model, zoo.held_pairs(source)) if source.space.domains else _samples(model, few=False)


def _translations(model: GenerativeModel, pairs: tuple[Tensor, Tensor]) -> dict[str, Any]:
    a, b = model.space.domains
    return sources.shown(zoo.both_ways(model, *pairs), model.space, (a, f"→ {b}", b, f"→ {a}"))


def _samples(model: GenerativeModel, *, few: bool) -> dict[str, Any]:
    space, values = model.space, {}
    if few:
        known = options(type(model).sample, zoo.limits(model))
        values = {k: v for k, v in FEW[space.kind].items() if k in known and not known[k].fixed}
    *_, last = zoo.sample(model, 0, zoo.few(space), **values)
    return sources.shown(last.x, space)


# ---- the model to keep ------------------------------------------------------------------------------------------


def _packed(visit: Visit, form: Form) -> Path:
    """card.json, model.safetensors and ten lines of Python that load it and sample, as a zip."""
    trained: Trained | None = visit.kept.get(form.id)
    if trained is None:
        raise BadInput("Nothing has been trained in this visit yet: press Train, then save the model.")
    folder = visit.shelf.root / trained.name
    if trained.name not in visit.shelf.names():  # the disk was full when the training ended
        checkpoint.save(folder, zoo.card_of(trained.entry), trained.model)
    readme = _readme(trained)
    files = {file: (folder / file).read_bytes() for file in KEPT if (folder / file).exists()}
    files |= {"README.md": readme.encode()}
    path = visit.file(f"{trained.name}.zip")
    try:
        path.write_bytes(render.zip_of({f"{trained.name}/{file}": content for file, content in files.items()}))
    except OSError as error:
        raise BadInput(f"The zip could not be written ({error.strerror}). Free some disk space; try again.") from None
    return path


def _readme(trained: Trained) -> str:
    facts = {"name": trained.name, "title": trained.title, "steps": trained.steps}
    space = trained.entry.where
    if not space.domains:
        return README.format(**facts)
    (a, b), (height, width) = space.domains, space.shape[1:]
    return TRANSLATING.format(a=a, b=b, height=height, width=width, **facts)


PANEL = Panel("Train", (GenerativeModel,), frozenset({"image", "points", "text", "music"}), mount, never=(Opens,))
