"""Entries: a model on a data set with a recipe, as a row of the table, as a card, and built."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gen_models import __version__, data
from gen_models.interface import BadInput, Choices, GenerativeModel, Opens, Range, Space, checked
from gen_models.models.bins import Autoregressive2D
from gen_models.models.chorales import ChoraleTransformer
from gen_models.models.crnngan import CRNNGAN
from gen_models.models.cyclegan import CycleGAN
from gen_models.models.diffusion import DDPM, FlowMatching
from gen_models.models.factor import MixtureOfFactorAnalyzers
from gen_models.models.fewstep import FlowMap
from gen_models.models.flow import Glow, NeuralSpline, RealNVP
from gen_models.models.gan import GAN, R3GAN, WGANGP
from gen_models.models.judge import Judge
from gen_models.models.mixture import GaussianMixture
from gen_models.models.pixelcnn import PixelCNN
from gen_models.models.pretrained import PixelPipeline
from gen_models.models.pretrained_codes import PretrainedAutoencoder
from gen_models.models.pretrained_latent import ClassPipeline, LatentPipeline, TextPipeline
from gen_models.models.sagan import SAGAN
from gen_models.models.transformer import Transformer
from gen_models.models.vae import VAE, BetaVAE
from gen_models.models.vqvae import VQVAE
from gen_models.noise import mixed
from gen_models.training import Recipe, Stage

LARGEST = 3 * 512 * 512  # numbers in one x that a card may ask for, of a model that is built here
LARGEST_OPENED = 3 * 1024 * 1024  # and of one whose layers are those of its files
MOST_SYMBOLS = 8192  # of an alphabet


class Family(NamedTuple):
    """A tab: its key in names and addresses, its title, and its models."""

    key: str
    title: str
    models: tuple[type[GenerativeModel], ...]


FAMILIES: dict[str, Family] = {
    family.key: family
    for family in (
        Family("mixture", "Mixture", (GaussianMixture, MixtureOfFactorAnalyzers)),
        Family("vae", "VAE", (VAE, BetaVAE)),
        Family("gan", "GAN", (GAN, WGANGP, R3GAN, SAGAN)),
        Family("cyclegan", "CycleGAN", (CycleGAN,)),
        Family("crnngan", "C-RNN-GAN", (CRNNGAN,)),
        Family("autoregressive", "Autoregressive", (PixelCNN, Transformer, ChoraleTransformer, Autoregressive2D)),
        Family("vqvae", "VQ-VAE", (VQVAE,)),
        Family("flow", "Flow", (NeuralSpline, RealNVP, Glow)),
        Family("diffusion", "Diffusion", (FlowMatching, DDPM, FlowMap)),
    )
}
JUDGE = Family("judge", "Judge", (Judge,))  # no tab: it draws nothing, it says how good what others draw is
HUB = Family(  # what a visitor fetches
    "hub", "Hub", (PixelPipeline, LatentPipeline, ClassPipeline, TextPipeline, PretrainedAutoencoder)
)
_KNOWN = FAMILIES | {family.key: family for family in (JUDGE, HUB)}


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
        conditional = self.config.get("conditional") or issubclass(self.model, Opens)
        return self.where.labels if conditional else ()

    def limits(self) -> Mapping[str, Range | Choices]:
        return self.model.limits(self.where, self.config)


# ---- cards: an entry as JSON and back --------------------------------------------------------------------------


def card_of(entry: Entry) -> dict[str, Any]:
    """The entry as plain JSON, its space filled in."""
    values = dataclasses.asdict(dataclasses.replace(entry, space=entry.where))
    return {"format": 1, "version": __version__} | values | {"model": _class_name(entry.model)}


_DIMENSIONS = {("points", "plain"): 1, ("image", "plain"): 3, ("text", "plain"): 1, ("text", "lines"): 1}
_DIMENSIONS |= {("music", "events"): 2, ("music", "tokens"): 1}


def entry_of(card: Mapping[str, Any]) -> Entry:
    """The entry that a card describes, without the zoo; only classes of `gen_models.models` are known."""
    try:
        model = _class_of(card["model"])
        space = Space(**{k: tuple(v) if isinstance(v, list) else v for k, v in card["space"].items()})
        recipe = dict(card["recipe"])
        recipe["stages"] = {name: Stage(**stage) for name, stage in recipe["stages"].items()}
        recipe["betas"] = tuple(recipe["betas"])
        config = checked(model.__init__, card["config"])
        _check(space, LARGEST_OPENED if issubclass(model, Opens) else LARGEST)
        if card["family"] not in _KNOWN or model not in _KNOWN[card["family"]].models:
            raise BadInput(f"{card['model']} is no model of the family {card['family']!r}")
        known = {name: card.get(name) for name in ("data", "hub", "teacher")}
        return Entry(card["family"], model, recipe=Recipe(**recipe), config=config, space=space, **known)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"This card does not describe a model that this version ({__version__}) knows: {error}."
        ) from None


def _check(space: Space, largest: int) -> None:
    """BadInput for what no model here is built for: a card may come from anywhere."""
    sizes = all(type(n) is int and 0 < n <= 1024 for n in space.shape)
    known = len(space.shape) == _DIMENSIONS.get((space.kind, space.encoding))
    if not (known and sizes) or math.prod(space.shape) > largest or len(space.domains) not in (0, 2):
        raise BadInput(f"{space.encoding} {space.kind} of shape {space.shape} is beyond what this playground builds")
    if len(space.alphabet) > MOST_SYMBOLS or len(set(space.alphabet)) < len(space.alphabet):
        raise BadInput(f"an alphabet of {len(space.alphabet)} symbols, or with repeats, is beyond this playground")


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


# ---- building -------------------------------------------------------------------------------------------------

_building = threading.Lock()


def build(entry: Entry, seed: int = 0, files: Path | None = None) -> GenerativeModel:
    """A fresh model; constructors draw from the global generator, which is left as it was.

    files: the folder with the weights of a model in another format.
    """
    if issubclass(entry.model, Opens) != (files is not None):
        raise BadInput(
            f"{entry.model.__name__} is {'opened from files' if files is None else 'not opened from files'}."
        )
    extra = {} if files is None else {"files": files}
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(seed, "build"))
        return entry.model(entry.where, **extra, **entry.config)
