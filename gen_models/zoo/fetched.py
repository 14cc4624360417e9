"""Models from the Hub or a folder: which class opens what was found, and the entry that it becomes on a shelf."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen_models import checkpoint, hub, interface
from gen_models.hub import Look
from gen_models.interface import BadInput, GenerativeModel, Opens, Space
from gen_models.models.diffusion import DDPM
from gen_models.models.pretrained import as_pipeline
from gen_models.training import Recipe
from gen_models.zoo.entries import HUB, Entry, build, card_of, entry_of
from gen_models.zoo.shelf import FILES, PREVIEW, Shelf, load
from gen_models.zoo.table import ZOO

MOST_CARRIED = 8 << 20  # bytes of a preview or evaluation that comes with a checkpoint of ours
_CARRIED = (PREVIEW, "evaluation.json")
_SAID = 500  # letters of what a stranger's card says of itself
_FACTS = ("seed", "seconds", "device", "threads", "examples", "steps", "finished")

ABILITIES: tuple[type, ...] = tuple(
    getattr(interface, name)
    for name in (
        "Samples", "Refines", "Denoises", "Imitates", "Decodes", "Encodes", "Reconstructs", "Transforms", "Scores",
        "Completes", "Predicts", "Attends", "AttendsWithin", "Translates", "Quantises", "Criticises",
        "Clusters", "Classifies",
    )
)  # fmt: skip


class Offer(NamedTuple):
    """What can be made of a look: the class that opens it, where its x lives, and what it can do."""

    look: Look
    model: type[GenerativeModel]
    space: Space
    config: Mapping[str, Any]
    can: tuple[str, ...]  # names of abilities
    line: str  # the same in a line: class, space, size, licence


def offer(look: Look) -> Offer:
    """The model that opens what was found, before its weights are fetched; BadInput where nothing here does."""
    if look.refused:
        raise BadInput(f"{look.address} cannot be opened. {look.refused}")
    entry = _ours(look) if look.kind == hub.OURS else _theirs(look)
    can = tuple(ability.__name__ for ability in ABILITIES if issubclass(entry.model, ability))
    shape = " x ".join(map(str, entry.where.shape))
    classes = f", {len(entry.labels)} classes" if entry.labels else ""
    kind = entry.model.__name__ if look.kind == hub.OURS else look.kind
    licence = look.licence or "no licence stated"
    line = f"{kind} · {entry.where.kind} {shape}{classes} · {hub.gigabytes(look.bytes)} · {licence}"
    return Offer(look, entry.model, entry.where, entry.config, can, line)


def _ours(look: Look) -> Entry:
    entry = dataclasses.replace(entry_of(checkpoint.read_card(look.small)), hub=_hub(look))
    if issubclass(entry.model, Opens) or entry.family == HUB.key:
        raise BadInput(f"{look.address} is no checkpoint: its card only points to files that lie elsewhere.")
    return entry


def _theirs(look: Look) -> Entry:
    model = next((model for model in HUB.models if look.kind in model.opens), None)
    if model is None:
        known = ", ".join(sorted({kind for model in HUB.models for kind in model.opens}))
        raise BadInput(f"{look.address} is a {look.kind or 'model of no known class'}; what can be opened: {known}.")
    space, config = model.described(look.small)
    entry = Entry(HUB.key, model, None, Recipe({}), config, space, _hub(look))
    return entry_of(card_of(entry))  # it is checked as any card is


def _hub(look: Look) -> str | None:
    return f"{look.address.repo}@{look.commit}" if look.commit else None


def shelve(offer: Offer, folder: str | Path, shelf: Shelf) -> str:
    """Puts what was fetched into `folder` on the shelf; the name that it can be loaded by.

    A checkpoint of ours is copied, after its weights were seen to be those that its card describes. Of other formats
    the entry says where the files lie. The same model of the same commit keeps its name, another one gets a new one.
    """
    folder, look = Path(folder), offer.look
    entry = _ours(look) if look.kind == hub.OURS else _theirs(look)
    origin = _hub(look) or str(folder)
    name = _name(look.address.repo.rpartition("/")[2], origin, shelf)
    if look.kind == hub.OURS:
        _copy(folder, shelf.root / name, entry, origin)
        return name
    source = f"https://huggingface.co/{look.address.repo}" if look.commit else str(folder)
    card = card_of(entry) | {"origin": origin, "source": source, "licence": look.licence, "bytes": look.bytes}
    weights = [file.name for file in look.files if file.name.endswith(".safetensors")]
    checkpoint.write_json(shelf.root / name / FILES, {"folder": str(folder), "weights": weights})
    checkpoint.write_json(shelf.root / name / checkpoint.CARD, card)
    return name


def push(name: str, shelf: Shelf, repo: str, **asked: Any) -> str:
    """Pushes an entry, as a pipeline of diffusers too where it is one; `asked` and the rest as in `hub.push`."""
    with tempfile.TemporaryDirectory(prefix="gen_models-") as folder:
        pipeline = Path(folder) if is_pipeline(shelf.entry(name)) else None
        if pipeline:
            export(name, shelf, pipeline)
        return hub.push(shelf.folder(name), repo, pipeline=pipeline, **asked)


def export(name: str, shelf: Shelf, folder: Path) -> None:
    """Writes an entry as a pipeline that plain diffusers loads; BadInput where it is none, or it cannot be written."""
    if not is_pipeline(shelf.entry(name)):
        those = ", ".join(known for known, entry in ZOO.items() if is_pipeline(entry))
        raise BadInput(f"{name} is no pipeline of diffusers: its network is our own. {those} can be exported.")
    try:
        as_pipeline(load(name, shelf), folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror or error}); choose another folder.") from None


def is_pipeline(entry: Entry) -> bool:
    """Whether the entry's network is one of diffusers."""
    return issubclass(entry.model, DDPM) and entry.config.get("network") == "diffusers" and entry.where.kind == "image"


def _copy(folder: Path, target: Path, entry: Entry, origin: str) -> None:
    """Card, weights and what belongs to them, once a model has taken the weights; nothing where it refuses them."""
    said = checkpoint.read_card(folder)
    checkpoint.restore(build(entry), folder)
    training = said.get("training") if isinstance(said.get("training"), dict) else {}
    card = card_of(entry) | {name: str(said.get(name) or "")[:_SAID] for name in ("source", "licence", "version")}
    card |= {"origin": origin, "weights": said["weights"]}
    card["training"] = {name: training[name] for name in _FACTS if isinstance(training.get(name), int | float | str)}
    try:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / checkpoint.WEIGHTS, target / checkpoint.WEIGHTS)
        for name in _CARRIED:
            with contextlib.suppress(FileNotFoundError):
                if (folder / name).stat().st_size <= MOST_CARRIED:
                    shutil.copyfile(folder / name, target / name)
    except OSError as error:
        raise BadInput(f"The checkpoint could not be kept in {target} ({error.strerror}); free some space.") from None
    checkpoint.write_json(target / checkpoint.CARD, card)


def _name(repo: str, origin: str, shelf: Shelf) -> str:
    """The repository's own name where it is free on the shelf, else with a number."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", repo).strip(".-_")[:80] or "model"
    taken = set(shelf.names())
    for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
        if name not in taken or shelf.card(name).get("origin") == origin:
            return name
    raise BadInput(f"There are too many models called {stem} on this shelf; remove some.")
