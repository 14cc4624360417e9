"""The table of entries: which model, data and recipe make one; building, loading and training them by name."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import __version__, checkpoint, data, render
from gen_models.interface import (
    BadInput,
    Choices,
    Data,
    Decodes,
    Frame,
    GenerativeModel,
    Range,
    Samples,
    Space,
    checked,
    checked_seed,
    options,
)
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.models.gan import GAN, R3GAN, WGANGP
from gen_models.models.vae import VAE, BetaVAE
from gen_models.noise import Noise, mixed
from gen_models.training import Progress, Recipe, Stage, Training

BUNDLED_ROOT = Path(__file__).resolve().parent.parent / "checkpoints"
STATE = "training.safetensors"  # an unfinished training, beside the checkpoint it will become
PREVIEW = "preview.png"
SAVE_EVERY = 30.0  # seconds
CACHE_BYTES = 1 << 30


class Family(NamedTuple):
    """A tab: its key in names and addresses, its title, and its models."""

    key: str
    title: str
    models: tuple[type[GenerativeModel], ...]


FAMILIES: dict[str, Family] = {
    family.key: family
    for family in (
        Family("vae", "VAE", (VAE, BetaVAE)),
        Family("gan", "GAN", (GAN, WGANGP, R3GAN)),
        Family("diffusion", "Diffusion", (FlowMatching, DDPM)),
    )
}


@dataclass(frozen=True)
class Entry:
    """A model on a data set with a recipe; `space` is filled in once the data is known."""

    family: str
    model: type[GenerativeModel]
    data: str | None
    recipe: Recipe
    config: Mapping[str, Any] = field(default_factory=dict)
    space: Space | None = None
    hub: str | None = None  # "owner/repo@revision"
    teacher: str | None = None

    @property
    def where(self) -> Space:
        """The entry's space: its own, else its data set's."""
        return self.space or data.space_of(self.data)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes this entry can be asked for."""
        return self.where.labels if self.config.get("conditional") else ()

    def limits(self) -> Mapping[str, Range | Choices]:
        return self.model.limits(self.where, self.config)


def _recipe(steps: int, **values: Any) -> Recipe:
    return Recipe({"training": Stage(steps, turns=values.pop("turns", {}))}, **values)


_DENOISER = {"betas": (0.9, 0.99), "weight_decay": 0.01, "warmup": 50, "clip": 1.0}
_GAME = {"optimizer": "adam", "betas": (0.0, 0.99), "ema": 0.999}
_POINTS_GAME = {"optimizer": "adam", "betas": (0.0, 0.9), "ema": 0.99, "batch_size": 256}

ZOO: dict[str, Entry] = {
    "vae-mnist": Entry(
        "vae", VAE, "mnist", _recipe(24000, batch_size=256, ema=0.999, warmup=200, clip=50.0),
        {"latent_dim": 16, "hidden": 400, "likelihood": "bernoulli"},
    ),
    "vae-mnist-plane": Entry(
        "vae", VAE, "mnist", _recipe(16000, batch_size=256, ema=0.999, warmup=200, clip=50.0),
        {"latent_dim": 2, "hidden": 400, "likelihood": "bernoulli"},
    ),
    "beta-vae-fashion": Entry(
        "vae", BetaVAE, "fashion-mnist", _recipe(16000, batch_size=256, ema=0.999, warmup=200, clip=500.0),
        {"latent_dim": 16, "hidden": 400, "likelihood": "gaussian", "beta": 4.0},
    ),
    "vae-8gaussians": Entry(
        "vae", VAE, "8gaussians", _recipe(8000, batch_size=256, lr=2e-3, ema=0.99),
        {"latent_dim": 2, "hidden": 128, "beta_warmup": 0.3},
    ),
    "gan-mnist": Entry(
        "gan", R3GAN, "mnist", _recipe(4500, batch_size=64, lr=6e-4, warmup=100, **_GAME),
        {"channels": 24, "gamma": 5.0, "penalty_every": 4, "conditional": True},
    ),
    "wgan-gp-fashion": Entry(
        "gan", WGANGP, "fashion-mnist",
        _recipe(2000, batch_size=64, lr=6e-4, turns={"critic": 3}, **_GAME),
        {"channels": 16, "conditional": True},
    ),
    "gan-stacked-mnist": Entry(
        "gan", R3GAN, "stacked-mnist", _recipe(4000, batch_size=64, lr=6e-4, warmup=100, **_GAME),
        {"channels": 24, "gamma": 5.0, "penalty_every": 4},
    ),
    "gan-8gaussians": Entry(
        "gan", R3GAN, "8gaussians", _recipe(4000, lr=5e-4, **_POINTS_GAME), {"latent_dim": 8, "gamma": 0.2},
    ),
    "diffusion-mnist": Entry(
        "diffusion", FlowMatching, "mnist", _recipe(7000, batch_size=64, lr=3e-3, ema=0.998, **_DENOISER),
        {"channels": 32, "conditional": True},
    ),
    "diffusion-fashion": Entry(
        "diffusion", FlowMatching, "fashion-mnist", _recipe(5000, batch_size=64, lr=3e-3, ema=0.998, **_DENOISER),
        {"channels": 32, "conditional": True},
    ),
    "ddpm-mnist": Entry(
        "diffusion", DDPM, "mnist", _recipe(4500, batch_size=64, lr=2e-3, ema=0.998, **_DENOISER),
        {"channels": 16, "network": "diffusers"},
    ),
    "diffusion-8gaussians": Entry(
        "diffusion", FlowMatching, "8gaussians", _recipe(6000, batch_size=512, lr=3e-3, ema=0.995, **_DENOISER),
    ),
}  # fmt: skip

# What trains in front of an audience: config and recipe by model and kind of data, for a laptop with two cores.
_LIVE: dict[tuple[type[GenerativeModel], str], tuple[dict[str, Any], Recipe]] = {
    (VAE, "points"): ({"latent_dim": 2, "hidden": 128}, _recipe(3000, batch_size=256, lr=2e-3, ema=0.99)),
    (VAE, "image"): ({"latent_dim": 8}, _recipe(900, batch_size=128, lr=2e-3, ema=0.99, clip=500.0)),
    (BetaVAE, "points"): ({"latent_dim": 2, "hidden": 128}, _recipe(3000, batch_size=256, lr=2e-3, ema=0.99)),
    (BetaVAE, "image"): ({"latent_dim": 8}, _recipe(900, batch_size=128, lr=2e-3, ema=0.99, clip=500.0)),
    (GAN, "points"): ({"latent_dim": 8}, _recipe(1500, lr=1e-3, **_POINTS_GAME)),
    (GAN, "image"): ({"channels": 16}, _recipe(1000, batch_size=64, lr=1e-3, **_GAME | {"ema": 0.99})),
    (WGANGP, "points"): (
        {"latent_dim": 8, "penalty": 1.0},
        _recipe(600, lr=1e-3, turns={"critic": 3}, **_POINTS_GAME),
    ),
    (WGANGP, "image"): (
        {"channels": 16},
        _recipe(500, batch_size=64, lr=1e-3, turns={"critic": 3}, **_GAME | {"ema": 0.99}),
    ),
    (R3GAN, "points"): ({"latent_dim": 8, "gamma": 0.2}, _recipe(1000, lr=1e-3, **_POINTS_GAME)),
    (R3GAN, "image"): (
        {"channels": 16, "gamma": 5.0, "penalty_every": 4},
        _recipe(1000, batch_size=64, lr=1e-3, **_GAME | {"ema": 0.99}),
    ),
    (FlowMatching, "points"): ({}, _recipe(2000, batch_size=256, lr=3e-3, ema=0.99, **_DENOISER)),
    (FlowMatching, "image"): ({"channels": 16}, _recipe(1000, batch_size=32, lr=4e-3, ema=0.99, **_DENOISER)),
    (DDPM, "points"): ({}, _recipe(2000, batch_size=256, lr=3e-3, ema=0.99, **_DENOISER)),
    (DDPM, "image"): ({"channels": 16}, _recipe(1000, batch_size=32, lr=4e-3, ema=0.99, **_DENOISER)),
}


def live(
    model: type[GenerativeModel],
    space: Space,
    data_name: str | None = None,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **config: Any,
) -> Entry:
    """The entry for a short training of `model` on data of this space; what is None keeps the recipe's value."""
    family = next(family for family in FAMILIES.values() if model in family.models)
    base, recipe = _LIVE[model, space.kind]
    possible = options(model.__init__)
    automatic: dict[str, Any] = {}
    if "conditional" in possible:
        automatic["conditional"] = bool(space.labels)
    if "likelihood" in possible:
        automatic["likelihood"] = "bernoulli" if space.kind == "image" and space.shape[0] == 1 else "gaussian"
    stage = recipe.stages["training"]
    recipe = dataclasses.replace(
        recipe,
        stages={"training": dataclasses.replace(stage, steps=stage.steps if steps is None else steps)},
        batch_size=recipe.batch_size if batch_size is None else batch_size,
        lr=recipe.lr if lr is None else lr,
    )
    return Entry(family.key, model, data_name, recipe, checked(model.__init__, automatic | base | config), space)


# ---- cards: an entry as JSON and back --------------------------------------------------------------------------


def card_of(entry: Entry) -> dict[str, Any]:
    """The entry as plain JSON, its space filled in."""
    values = dataclasses.asdict(dataclasses.replace(entry, space=entry.where))
    return {"format": 1, "version": __version__} | values | {"model": _class_name(entry.model)}


_DIMENSIONS = {"points": 1, "image": 3}


def entry_of(card: Mapping[str, Any]) -> Entry:
    """The entry that a card describes, without the zoo; only classes of `gen_models.models` are known."""
    try:
        model = _class_of(card["model"])
        space = Space(**{k: tuple(v) if isinstance(v, list) else v for k, v in card["space"].items()})
        recipe = dict(card["recipe"])
        recipe["stages"] = {name: Stage(**stage) for name, stage in recipe["stages"].items()}
        recipe["betas"] = tuple(recipe["betas"])
        config = checked(model.__init__, card["config"])
        sizes = all(type(n) is int and 0 < n <= 1024 for n in space.shape)
        if len(space.shape) != _DIMENSIONS.get(space.kind) or not sizes:
            raise BadInput(f"{space.kind} of shape {space.shape} is beyond what this playground builds")
        if card["family"] not in FAMILIES or model not in FAMILIES[card["family"]].models:
            raise BadInput(f"{card['model']} is no model of the family {card['family']!r}")
        known = {name: card.get(name) for name in ("data", "hub", "teacher")}
        return Entry(card["family"], model, recipe=Recipe(**recipe), config=config, space=space, **known)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"This card does not describe a model that this version ({__version__}) knows: {error}."
        ) from None


def _class_name(model: type[GenerativeModel]) -> str:
    return f"{model.__module__.rsplit('.', 1)[-1]}.{model.__name__}"


def _class_of(name: str) -> type[GenerativeModel]:
    if not re.fullmatch(r"[a-z_]{1,40}\.[A-Za-z0-9]{1,40}", name):
        raise BadInput(f"{name!r} is no model's name")
    module, _, kind = name.partition(".")
    try:
        model = getattr(importlib.import_module(f"gen_models.models.{module}"), kind, None)
    except ModuleNotFoundError:
        model = None
    if not (isinstance(model, type) and issubclass(model, GenerativeModel) and _class_name(model) == name):
        raise BadInput(f"there is no model {name!r}")
    return model


# ---- building and loading --------------------------------------------------------------------------------------

_building = threading.Lock()


def build(entry: Entry, seed: int = 0) -> GenerativeModel:
    """A fresh model; constructors draw from the global generator, which is left as it was."""
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(seed, "build"))
        return entry.model(entry.where, **entry.config)


class Shelf:
    """A folder of checkpoints: the bundled one, or what a visitor trained."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def names(self) -> list[str]:
        """Finished checkpoints: the zoo's first and in its order, then the others, oldest first."""
        found = {card.parent.name: card.stat().st_mtime for card in self.root.glob(f"*/{checkpoint.CARD}")}
        known = [name for name in ZOO if name in found]
        return known + sorted((name for name in found if name not in ZOO), key=found.get)

    def folder(self, name: str) -> Path:
        """The checkpoint's folder; BadInput for a name that is not on the shelf."""
        return checkpoint.locate(str(name), [self.root])

    def card(self, name: str) -> dict[str, Any]:
        return checkpoint.read_card(self.folder(name))

    def entry(self, name: str) -> Entry:
        return entry_of(self.card(name))

    def preview(self, name: str) -> Path | None:
        path = self.folder(name) / PREVIEW
        return path if path.exists() else None


BUNDLED = Shelf(BUNDLED_ROOT)

_cache: OrderedDict[tuple[str, str, str], GenerativeModel] = OrderedDict()
_cache_lock = threading.Lock()


def load(name: str, shelf: Shelf = BUNDLED, device: str | torch.device = "cpu") -> GenerativeModel:
    """The model of a checkpoint in eval mode; kept, newest use last, up to CACHE_BYTES."""
    folder = shelf.folder(name)
    card = checkpoint.read_card(folder)
    key = (str(folder), str(card.get("weights")), str(device))
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    model = build(entry_of(card))
    checkpoint.restore(model, folder)
    model.to(device).eval().requires_grad_(False)
    with _cache_lock:
        _cache[key] = model
        while len(_cache) > 1 and sum(map(_bytes, _cache.values())) > CACHE_BYTES:
            _cache.popitem(last=False)
    return model


def forget(shelf: Shelf) -> None:
    """Drops the shelf's models from memory."""
    with _cache_lock:
        for key in [key for key in _cache if Path(key[0]).is_relative_to(shelf.root)]:
            del _cache[key]


def _bytes(model: GenerativeModel) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


# ---- sampling --------------------------------------------------------------------------------------------------


def label_rows(labels: Sequence[str], n: int, label: str | int | None = None, first: int = 0) -> Tensor | None:
    """One-hot rows (n, K): the class asked for by name or index, or class (first + k) mod K for sample k.

    None for an entry without classes; BadInput for a class that it does not have.
    """
    if not labels:
        if label is None:
            return None
        raise BadInput("This entry has no classes; leave the label out.")
    if label is None:
        index = torch.arange(first, first + n) % len(labels)
    elif str(label) in labels:
        index = torch.full((n,), list(labels).index(str(label)))
    elif str(label) in map(str, range(len(labels))):
        index = torch.full((n,), int(label))
    else:
        raise BadInput(f"There is no class {label!r}; choose one of {', '.join(labels)}.")
    return torch.nn.functional.one_hot(index, len(labels)).float()


def sample(
    model: GenerativeModel, seed: int, n: int, *, label: str | int | None = None, first: int = 0, **values: Any
) -> Iterator[Frame]:
    """Frames of n samples with seeds seed .. seed + n - 1; options and seeds are checked before the first frame.

    `first` is the number of the first of them in a larger set, which decides its class where no label is asked for.
    """
    if not isinstance(model, Samples):
        raise BadInput("This entry does not sample.")
    seed = checked_seed(seed, n)
    config = {"conditional": bool(model.labels)}
    chosen = checked(type(model).sample, values, type(model).limits(model.space, config))
    rows = label_rows(model.labels, n, label, first)
    noise = Noise(range(seed, seed + n), model.device)
    frames = model.sample(noise, label=None if rows is None else rows.to(model.device), **chosen)
    while True:
        with torch.inference_mode():  # never across a yield: the caller may go on in another thread
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


# ---- training --------------------------------------------------------------------------------------------------


def run(
    entry: Entry,
    source: Data,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    folder: str | Path | None = None,
    resume: bool = True,
    stop_publishes: bool = False,
    look: Callable[[GenerativeModel], Any] | None = None,
) -> Iterator[Progress]:
    """Trains the entry on `source` and saves into `folder`, atomically, every 30 seconds and at the end.

    An unfinished training is kept beside the checkpoint and gone on with; closing the iterator saves it too, as a
    checkpoint of its own where `stop_publishes`. BadInput when the state belongs to another entry, or the disk is full.
    """
    entry = dataclasses.replace(entry, space=source.space)
    seed = checked_seed(seed)
    training = Training(build(entry, seed), source, entry.recipe, seed=seed, device=device, look=look)
    card = card_of(entry)
    store = _Store(Path(folder), card, seed) if folder is not None else None
    figures = store.resume(training) if store and resume else {}
    saved = time.monotonic()
    try:
        for progress in training:
            figures = dict(progress.show) or figures
            yield progress
            if store and time.monotonic() - saved > SAVE_EVERY:
                store.save(training, figures)
                saved = time.monotonic()
    finally:
        if store and training.begun:
            if training.finished or (stop_publishes and training.examples):
                store.publish(training, entry, figures)
            elif training.examples:
                store.save(training, figures)


class _Store:
    """Where a training is kept: its state while it runs, the checkpoint when it ends."""

    def __init__(self, folder: Path, card: Mapping[str, Any], seed: int):
        self.folder, self.card, self.seed = folder, card, seed
        self.identity = str(mixed(json.dumps(card, sort_keys=True, default=str), seed))

    @property
    def path(self) -> Path:
        return self.folder / STATE

    def resume(self, training: Training) -> dict[str, float]:
        """Brings the training to where it was; the figures last reported."""
        if not self.path.exists():
            return {}
        state = checkpoint.load_state(self.path)
        if state.get("identity") != self.identity:
            raise BadInput(
                f"{self.path} is an unfinished training with another recipe, data set or seed; "
                "go on with those, or start anew (on the command line: --restart)."
            )
        training.load_state_dict(state["training"])
        return state.get("figures", {})

    def save(self, training: Training, figures: Mapping[str, float]) -> None:
        state = {"identity": self.identity, "figures": figures, "training": training.state_dict()}
        checkpoint.save_state(self.path, state)

    def publish(self, training: Training, entry: Entry, figures: Mapping[str, float]) -> None:
        """card.json, weights and preview; the state goes when they are in place."""
        model, total = training.shown, sum(stage.steps for stage in entry.recipe.stages.values())
        name = entry.data if entry.data in data.NAMES else None
        facts = {
            "seed": self.seed,
            "seconds": round(training.seconds, 1),
            "device": str(training.device),
            "threads": torch.get_num_threads(),
            "examples": training.examples,
            "steps": total if training.finished else training.step,
            "finished": training.finished,
            "terms": {name: round(value, 5) for name, value in figures.items()},
        }
        source = data.source_of(name) if name else "a visitor's own data"
        card = dict(self.card) | {"source": source, "licence": "Apache-2.0 (weights)", "training": facts}
        checkpoint.save(self.folder, card, model, half=entry.where.kind == "image")
        if isinstance(model, Samples):
            picture = preview(model)
            (self.folder / PREVIEW).write_bytes(render.png(picture, {"entry": self.folder.name, "seed": 0}))
        self.path.unlink(missing_ok=True)


def preview(model: GenerativeModel, n: int | None = None):
    """The picture of an entry before it is loaded: 16 samples with seeds 0 .. 15, or 1000 points."""
    n = n or (1000 if model.space.kind == "points" else 16)
    *_, last = sample(model, 0, n)
    return render.grid(last.x.cpu(), model.space)


def decoded(model: GenerativeModel, z: Tensor, label: Tensor | None = None) -> Tensor:
    """decode without gradients; BadInput for a model that cannot."""
    if not isinstance(model, Decodes):
        raise BadInput("This entry has no decoder.")
    with torch.inference_mode():
        return model.decode(z.to(model.device), label=label)
