"""A tab per family: an entry picker, the panels that its classes' abilities earn, and the family's words."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from gen_models import data, hub, zoo
from gen_models.interface import BadInput, Opens, Space
from gen_models.training import Recipe
from gen_models.ui import figures
from gen_models.ui.live import live
from gen_models.ui.visits import Picked, Visit, Visits

KINDS = {"points": "points", "image": "pictures", "text": "text", "music": "music"}
LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]

log = logging.getLogger(__name__)


class Panel(NamedTuple):
    """A panel: what a model must be able to do, which kinds of Space it shows, and how it is mounted into a tab."""

    name: str
    needs: tuple[type, ...]
    kinds: frozenset[str]
    mount: Callable[[Tab], None]
    normal: bool = False  # it draws codes of its own: they must be normal
    never: tuple[type, ...] = ()  # models that do not get it, whatever they can do

    @property
    def key(self) -> str:
        return self.name.lower().replace(" ", "-")

    def suits(self, model: type, kind: str) -> bool:
        return not self.refusal(model, kind)

    def refusal(self, model: type, kind: str) -> str:
        """Why such an entry does not get the panel; "" where it does."""
        if issubclass(model, self.never):
            return f"{self.name} is not for models that come in another format: they are opened, not trained, here."
        missing = [_verb(need) for need in self.needs if not issubclass(model, need)]
        if missing:
            return f"{self.name} needs a model that {' and '.join(missing)}; {model.__name__} does not."
        if self.normal and not getattr(model, "normal", True):
            return f"{self.name} draws codes from a normal distribution; the codes of {model.__name__} are not normal."
        if kind not in self.kinds:
            shows = " and ".join(KINDS[k] for k in KINDS if k in self.kinds)
            return f"{self.name} is for {shows}; this entry makes {KINDS[kind]}."
        return ""


class Tab:
    """What a panel is mounted into: one family's picker, its chosen entry and the samples that were taken."""

    def __init__(self, family: zoo.Family, visits: Visits, device_name: str):
        self.family, self.visits, self.device = family, visits, device_name
        cards = self.cards(None)
        present = next((card["key"] for card in cards if not card["missing"]), cards[0]["key"] if cards else "")
        self.first = visits.picked(present) if present else _nothing(family, visits)
        self._followers: list[tuple[Callable, list]] = []
        self._after: list[gr.events.Dependency] = []
        self.chosen = live(
            "strip",
            {},
            visits,
            events=("pick",),
            value=present,
            cards=cards,
            family=family.key,
            elem_id=f"{family.key}-entries",
        )
        self.taken = live(
            "taken",
            {},
            visits,
            events=("input",),
            value=[],
            family=family.key,
            elem_id=f"{family.key}-taken",
            elem_classes="gm-taken-row",
            render=False,
        )

    # ---- what panels use -----------------------------------------------------------------------------------

    def on_pick(self, update: Callable[[Picked], Any], outputs: Sequence) -> None:
        """`update(picked)` gives the outputs their values whenever another entry is chosen."""
        self._followers.append((update, list(outputs)))

    def choose_trained(self, after: gr.events.Dependency) -> None:
        """After this event the entry that `visit.trained[family.key]` names is in the picker, and chosen."""
        self._after.append(after)

    # ---- the picker ----------------------------------------------------------------------------------------

    def cards(self, visit: Visit | None) -> list[dict[str, Any]]:
        """What the picker shows: shipped entries, then those trained in this visit, newest last."""
        shipped = [name for name, entry in zoo.ZOO.items() if entry.family == self.family.key]
        extra = [name for name in self.visits.bundled.names() if name not in zoo.ZOO]
        own = visit.shelf.names() if visit else []
        found = [self._card(name, self.visits.bundled) for name in [*shipped, *extra] if name not in own]
        found += [self._card(name, visit.shelf, yours=True) for name in own]
        return [card for card in found if card]

    def _card(self, name: str, shelf: zoo.Shelf, yours: bool = False) -> dict[str, Any] | None:
        card: dict[str, Any] = {
            "key": name,
            "name": name,
            "line": "",
            "picture": "",
            "missing": "",
            "at": 0,
            "kind": "",
        }
        try:
            present = name in shelf.names()
            entry = shelf.entry(name) if present and (yours or name not in zoo.ZOO) else zoo.ZOO[name]
            if entry.family != self.family.key:
                return None
            title = data.title_of(entry.data) if entry.data in data.NAMES else (entry.data or "")
            card["kind"] = entry.where.kind
            if not present:
                return card | {"line": title, "missing": f"not trained yet: python -m gen_models train {name}"}
            folder = shelf.root / name
            said = shelf.card(name)
            card |= {"line": _line(said, title), "picture": picture_of(shelf, name)}
            trained = yours and not said.get("origin")
            return card | {"at": folder.joinpath("card.json").stat().st_mtime if trained else 0}
        except (BadInput, OSError, KeyError) as error:
            log.warning("The entry %s cannot be shown: %s", name, error)
            return card | {"missing": str(error)} if name in zoo.ZOO else None

    # ---- building ------------------------------------------------------------------------------------------

    def build(self, panels: Sequence[Panel]) -> None:
        """Mounts every panel that some entry of the family can have, then the words, then wires the picker."""
        kind, possible = self.first.space.kind, self._possible()
        mounted: list[tuple[Panel, gr.Tab]] = []
        with gr.Column(elem_classes="gm-body"):
            self.taken.render()
            self.reasons = live("reasons", {}, self.visits, value={}, family=self.family.key)
            with gr.Tabs(elem_id=f"{self.family.key}-panels", elem_classes="gm-panels", overflow_behavior="wrap"):
                for panel in panels:
                    if not any(panel.suits(model, k) for model, k in possible):
                        continue
                    can = panel.suits(self.first.entry.model, kind)
                    with gr.Tab(
                        panel.name, id=panel.key, interactive=can, elem_id=f"{self.family.key}-{panel.key}"
                    ) as tab:
                        panel.mount(self)
                    mounted.append((panel, tab))
        with gr.Accordion(f"How it works: {self.family.title}", open=False, elem_classes="gm-words"):
            words = gr.Markdown(
                self.first.entry.model.about, latex_delimiters=LATEX, elem_id=f"{self.family.key}-words"
            )
        self.on_pick(lambda picked: picked.entry.model.about, [words])
        self._figures()
        self.on_pick(
            lambda picked: [
                gr.Tab(interactive=panel.suits(picked.entry.model, picked.space.kind)) for panel, _ in mounted
            ],
            [tab for _, tab in mounted],
        )
        self.reasons.value = self._reasons(mounted, self.first)
        self.on_pick(lambda picked: self._reasons(mounted, picked), [self.reasons])
        self._wire()

    def _possible(self) -> set[tuple[type, str]]:
        """Model and kind of data of all that can stand in the picker: shipped, found there, fetched or trained."""
        family, found = self.family, set()
        for name in [*zoo.ZOO, *(name for name in self.visits.bundled.names() if name not in zoo.ZOO)]:
            try:
                entry = zoo.ZOO[name] if name in zoo.ZOO else self.visits.bundled.entry(name)
            except (BadInput, OSError):
                continue  # the picker leaves it out, and says why in the log
            if entry.family == family.key:
                found.add((entry.model, entry.where.kind))
        live = ((model, kind) for sort, kind in zoo.SORTS.items() for model in zoo.live_models(sort))
        opened = {(model, "image") for model in family.models if issubclass(model, Opens)}
        return found | opened | {(model, kind) for model, kind in live if model in family.models}

    def _figures(self) -> None:
        """What was measured of the chosen entry, folded; read anew whenever it is chosen."""

        def card(visit: Visit, asked: dict) -> dict[str, Any]:
            return figures.card(self.visits.picked(asked.get("entry"), visit), visit)

        key, name = self.family.key, self.first.name
        with gr.Accordion(f"Figures: {name}", open=False, elem_classes="gm-words", elem_id=f"{key}-figures") as fold:
            view = live("figures", {"figures": card}, self.visits, value=name, elem_id=f"{key}-figures-card")
        self.on_pick(lambda picked: [gr.Accordion(label=f"Figures: {picked.name}"), picked.name], [fold, view])

    @staticmethod
    def _reasons(mounted: list[tuple[Panel, gr.Tab]], picked: Picked) -> dict[str, str]:
        return {panel.key: panel.refusal(picked.entry.model, picked.space.kind) for panel, _ in mounted}

    def _wire(self) -> None:
        outputs = [component for _, components in self._followers for component in components]

        def follow(picked: Picked) -> list:
            found = []
            for update, components in self._followers:
                values = update(picked)
                values = [values] if len(components) == 1 and not isinstance(values, list | tuple) else list(values)
                found += map(whole, components, values)
            return found

        def pick(request: gr.Request, name):
            try:
                return follow(self.visits.picked(name, self.visits.of(request)))
            except BadInput as error:
                raise gr.Error(str(error), print_exception=False) from None

        def choose(request: gr.Request):
            visit = self.visits.of(request)
            name = visit.trained.pop(self.family.key, None)
            if name is None:
                return [gr.skip()] * (1 + len(outputs))
            return [gr.HTML(value=name, cards=self.cards(visit)), *follow(self.visits.picked(name, visit))]

        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.chosen.pick(pick, [self.chosen], outputs, **quiet)
        for event in self._after:
            event.then(choose, None, [self.chosen, *outputs], **quiet)


def _nothing(family: zoo.Family, visits: Visits) -> Picked:
    """Stands for an entry as long as the family has none: panels are mounted with it, and are not seen."""
    entry = zoo.Entry(family.key, family.models[0], None, Recipe({}), space=Space("image", (3, 32, 32)))
    return Picked("", entry, visits.bundled)


def _verb(ability: type) -> str:
    """An ability as a person says it: "attends within"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", ability.__name__).lower()


def whole(component: Any, update: Any) -> Any:
    """The update with all props of the component: one that was never on screen forgets those that are left out."""
    if isinstance(update, gr.HTML) and isinstance(component, gr.HTML):
        update._constructor_args[0] = {**component.props, **update._constructor_args[0]}
    return update


def picture_of(shelf: zoo.Shelf, name: str) -> str:
    """An entry's preview.png as a data URL; "" where there is none."""
    path = shelf.preview(name)
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if path else ""


def _line(card: dict[str, Any], title: str) -> str:
    """Parameters and data in a few words: "0.64 M · MNIST"; of what was fetched, its size and where from."""
    if card.get("origin") and card.get("bytes"):
        whose = str(card["hub"]).partition("/")[0] if card.get("hub") else "a folder"
        return f"{hub.gigabytes(card['bytes'])} · from {whose}"
    count = (card.get("weights") or {}).get("parameters")
    if not count:
        return title
    size = f"{count / 1e6:.2g} M" if count >= 1e5 else f"{count / 1e3:.3g} k"
    return f"{size} · {title}" if title else size
