"""The table: every shipped entry with its recipe, and the short recipes for training in front of an audience."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gen_models.interface import BadInput, GenerativeModel, Space, checked, options
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
from gen_models.models.sagan import SAGAN
from gen_models.models.transformer import Transformer
from gen_models.models.vae import IMPORTANCE, VAE, BetaVAE
from gen_models.models.vqvae import VQVAE
from gen_models.training import Recipe, Stage
from gen_models.zoo.entries import FAMILIES, Entry


def _recipe(steps: int, **values: Any) -> Recipe:
    return Recipe({"training": Stage(steps, turns=values.pop("turns", {}))}, **values)


def _rounds(most: int, points: int = 0) -> Recipe:
    """Expectation maximisation on so many examples, drawn once; 0: on the whole training split."""
    return Recipe({"training": Stage(most, batch_size=points)})


_DENOISER = {"betas": (0.9, 0.99), "weight_decay": 0.01, "warmup": 50, "clip": 1.0}
_GAME = {"optimizer": "adam", "betas": (0.0, 0.99), "ema": 0.999}
_POINTS_GAME = {"optimizer": "adam", "betas": (0.0, 0.9), "ema": 0.99, "batch_size": 256}

_EXACT = {"ema": 0.99, "clip": 10.0}
_CODES = {"optimizer": "muon", "betas": (0.9, 0.99), "weight_decay": 0.05, "clip": 1.0, "precision": "bfloat16"}
_TEXT = {"optimizer": "muon", "betas": (0.9, 0.95), "weight_decay": 0.1, "clip": 1.0, "precision": "bfloat16"}


def _jumping(steps: int, **values: Any) -> Recipe:
    return _recipe(steps, **{"batch_size": 128, "lr": 2e-3, "ema": 0.999, "precision": "bfloat16"} | _DENOISER | values)


def _codes(autoencoder: int, prior: int, **values: Any) -> Recipe:
    """First the codes of pictures, then how they follow each other; so many steps of 64 and of 32 pictures."""
    stages = {
        "autoencoder": Stage(autoencoder, turns={"prior": 0}, batch_size=64),
        "prior": Stage(prior, turns={"autoencoder": 0}),
    }
    lr = {"autoencoder": 2e-3, "prior": 5e-3}
    return Recipe(stages, batch_size=32, lr=lr, warmup=100, ema=0.998, **_CODES | values)


def _attending(steps: int, **values: Any) -> Recipe:
    rates = {"discriminator": 8e-4, "generator": 4e-4}
    game = {"optimizer": "adam", "betas": (0.0, 0.9), "warmup": 50, "ema": 0.999, "precision": "bfloat16"}
    return _recipe(steps, **{"batch_size": 32, "lr": rates} | game | values)


def _cycle(steps: int, **values: Any) -> Recipe:
    rates = {"discriminators": 1e-3, "generators": 5e-4}
    game = {"optimizer": "adam", "betas": (0.5, 0.99), "warmup": 20, "clip": 10.0, "precision": "bfloat16"}
    return _recipe(steps, **{"batch_size": 16, "lr": rates, "ema": 0.998} | game | values)


def _played(likelihood: int, judging: int, game: int, **values: Any) -> Recipe:
    """First the generator by likelihood, then the discriminator alone, then the game."""
    stages = {
        "likelihood": Stage(likelihood, turns={"discriminator": 0}),
        "discriminator": Stage(judging, turns={"generator": 0}),
        "game": Stage(game),
    }
    rates = {"generator": 1e-3, "discriminator": 1e-3}
    usual = {"betas": (0.9, 0.99), "weight_decay": 0.01, "warmup": 50, "clip": 1.0, "precision": "bfloat16"}
    return Recipe(stages, **{"batch_size": 32, "lr": rates, "ema": 0.998} | usual | values)


ZOO: dict[str, Entry] = {
    "mixture-8gaussians": Entry("mixture", GaussianMixture, "8gaussians", _rounds(200, 50_000), {"components": 8}),
    "mixture-mnist": Entry(
        "mixture", MixtureOfFactorAnalyzers, "mnist", _rounds(40), {"components": 200, "factors": 8},
    ),
    "vae-mnist": Entry(
        "vae", VAE, "mnist",
        Recipe(
            {"training": Stage(36000), IMPORTANCE: Stage(6000)},
            batch_size=256, weight_decay=0.001, ema=0.999, warmup=200, clip=50.0,
        ),
        {"latent_dim": 32, "hidden": 400, "likelihood": "bernoulli"},
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
        "gan", R3GAN, "mnist", _recipe(6000, batch_size=128, lr=8e-4, warmup=100, precision="bfloat16", **_GAME),
        {"channels": 24, "gamma": 0.3, "penalty_every": 4, "conditional": True},
    ),
    "wgan-gp-fashion": Entry(
        "gan", WGANGP, "fashion-mnist",
        _recipe(2000, batch_size=64, lr=6e-4, turns={"critic": 3}, **_GAME),
        {"channels": 16, "conditional": True},
    ),
    "gan-stacked-mnist": Entry(
        "gan", R3GAN, "stacked-mnist", _recipe(12000, batch_size=32, lr=6e-4, warmup=100, **_GAME),
        {"channels": 24, "gamma": 0.3, "penalty_every": 4},
    ),
    "gan-8gaussians": Entry(
        "gan", R3GAN, "8gaussians", _recipe(4000, lr=5e-4, **_POINTS_GAME), {"latent_dim": 8, "gamma": 0.2},
    ),
    "gan-cifar10": Entry(
        "gan", GAN, "cifar10",
        _recipe(5000, batch_size=64, lr=6e-4, warmup=100, precision="bfloat16", **_GAME),
        {"channels": 32, "conditional": True},
    ),
    "sagan-cifar10": Entry("gan", SAGAN, "cifar10", _attending(12000), {"conditional": True}),
    "sagan-cifar10-plain": Entry(
        "gan", SAGAN, "cifar10", _attending(12000), {"attention": False, "conditional": True},
    ),
    "sagan-emoji": Entry(
        "gan", SAGAN, "noto-emoji", _attending(7000), {"augment": True, "conditional": True},
    ),
    "cyclegan-emoji": Entry(
        "cyclegan", CycleGAN, "emoji", _cycle(2000, lr=6e-4),
        {"identity": 0.3, "noise": 0.1, "through": False, "close": 0.6, "augment": True, "smooth": True},
    ),
    "cyclegan-mnist-photo": Entry(
        "cyclegan", CycleGAN, "mnist-photo", _cycle(6000, lr=1e-3),
        {"noise": 0.1, "invents": 48, "disturb": 0.4, "lent": 0.7, "through": False, "trust": 0.0},
    ),
    "crnngan-chorales": Entry("crnngan", CRNNGAN, "chorales", _played(4000, 400, 600), {"width": 160, "window": 40}),
    "crnngan-names": Entry(
        "crnngan", CRNNGAN, "names",
        _played(4000, 500, 800, batch_size=128), {"width": 160, "window": 16, "dropout": 0.2},
    ),
    "pixelcnn-mnist": Entry(
        "autoregressive", PixelCNN, "mnist",
        _recipe(
            16000, batch_size=32, lr=4e-3, betas=(0.9, 0.99), weight_decay=0.01, warmup=100, clip=50.0, ema=0.999,
            precision="bfloat16",
        ),
        {"channels": 48, "layers": 6, "fold": 4},
    ),
    "flow-8gaussians": Entry(
        "flow", NeuralSpline, "8gaussians", _recipe(3000, batch_size=512, lr=2e-3, **_EXACT),
        {"layers": 4, "bins": 32, "waves": 8},
    ),
    "flow-2spirals": Entry(
        "flow", NeuralSpline, "2spirals", _recipe(3000, batch_size=512, lr=2e-3, **_EXACT),
        {"layers": 4, "bins": 32, "waves": 8},
    ),
    "glow-mnist": Entry(
        "flow", Glow, "mnist",
        _recipe(5000, batch_size=64, lr=3e-3, betas=(0.9, 0.99), warmup=50, clip=300.0, ema=0.998),
        {"conditional": True},
    ),
    "transformer-shakespeare": Entry(
        "autoregressive", Transformer, "tiny-shakespeare",
        _recipe(3600, batch_size=16, lr=1e-2, warmup=50, ema=0.995, **_TEXT),
        {"width": 256, "layers": 6, "heads": 4, "dropout": 0.1},
    ),
    "transformer-names": Entry(
        "autoregressive", Transformer, "names", _recipe(3000, batch_size=128, lr=5e-3, warmup=50, ema=0.995, **_TEXT),
        {"width": 96, "layers": 4, "heads": 4, "dropout": 0.1},
    ),
    "transformer-chorales": Entry(
        "autoregressive", ChoraleTransformer, "chorale-tokens",
        _recipe(3000, batch_size=16, lr=1e-2, warmup=50, ema=0.995, **_TEXT),
        {"width": 128, "layers": 4, "heads": 4, "dropout": 0.1},
    ),
    "autoregressive-8gaussians": Entry(
        "autoregressive", Autoregressive2D, "8gaussians",
        _recipe(2000, batch_size=512, lr=5e-3, betas=(0.9, 0.99), ema=0.99), {"bins": 96},
    ),
    "vqvae-mnist": Entry("vqvae", VQVAE, "mnist", _codes(3500, 5000), {"conditional": True}),
    "vqvae-fashion": Entry(
        "vqvae", VQVAE, "fashion-mnist", _codes(3000, 3500), {"quantiser": "fsq", "conditional": True},
    ),
    "vqvae-cifar10": Entry("vqvae", VQVAE, "cifar10", _codes(3000, 3000), {"codes": 256, "conditional": True}),
    "diffusion-mnist": Entry(
        "diffusion", FlowMatching, "mnist",
        _recipe(12000, batch_size=64, lr=3e-3, ema=0.999, precision="bfloat16", **_DENOISER),
        {"channels": 32, "conditional": True},
    ),
    "diffusion-fashion": Entry(
        "diffusion", FlowMatching, "fashion-mnist", _recipe(4000, batch_size=64, lr=3e-3, ema=0.998, **_DENOISER),
        {"channels": 32, "conditional": True},
    ),
    "ddpm-mnist": Entry(
        "diffusion", DDPM, "mnist", _recipe(4500, batch_size=64, lr=2e-3, ema=0.998, **_DENOISER),
        {"channels": 16, "network": "diffusers"},
    ),
    "diffusion-8gaussians": Entry(
        "diffusion", FlowMatching, "8gaussians", _recipe(6000, batch_size=512, lr=3e-3, ema=0.995, **_DENOISER),
    ),
    "flowmap-mnist": Entry(
        "diffusion", FlowMap, "mnist", _jumping(4000), {"channels": 32, "conditional": True}, teacher="diffusion-mnist",
    ),
    "flowmap-fashion": Entry(
        "diffusion", FlowMap, "fashion-mnist", _jumping(4000), {"channels": 32, "conditional": True},
        teacher="diffusion-fashion",
    ),
}  # fmt: skip

_JUDGE = {"batch_size": 128, "lr": 5e-3, "weight_decay": 0.01, "warmup": 100}

# Two per data set, of two shapes: features come from A and accuracy from B, so that nothing is tuned on its own judge.
JUDGES: dict[str, Entry] = {
    f"judge-{name}-{letter}": Entry(
        "judge", Judge, name, _recipe(steps, **_JUDGE | recipe), {"network": network, **config}
    )
    for name, steps, recipe, config in (
        ("mnist", 5000, {}, {"channels": 24}),
        ("fashion-mnist", 6000, {}, {"channels": 24, "mirrored": True, "turn": 0.05}),
        (
            "cifar10",
            7000,
            {"precision": "bfloat16"},
            {"channels": 48, "stem": "full", "mirrored": True, "turn": 0.0, "shift": 0.25},
        ),
        ("digits-over-photos", 4000, {"precision": "bfloat16"}, {"channels": 24}),
        ("noto-emoji", 800, {"precision": "bfloat16"}, {"channels": 24, "mirrored": True}),
    )
    for letter, network in (("a", "residual"), ("b", "plain"))
}

# What trains in front of an audience: config and recipe by model and kind of data, for a laptop with two cores.
_LIVE: dict[tuple[type[GenerativeModel], str], tuple[dict[str, Any], Recipe]] = {
    (GaussianMixture, "points"): ({"components": 32}, _rounds(200)),
    (MixtureOfFactorAnalyzers, "image"): ({"components": 20, "factors": 6}, _rounds(15, 6000)),
    (VAE, "points"): ({"latent_dim": 2, "hidden": 128}, _recipe(3000, batch_size=256, lr=2e-3, ema=0.99)),
    (VAE, "image"): ({"latent_dim": 8}, _recipe(500, batch_size=128, lr=2e-3, ema=0.99, clip=500.0)),
    (BetaVAE, "points"): (
        {"latent_dim": 2, "hidden": 128, "beta": 1.5, "beta_warmup": 0.5},  # from 2 on the codes of points collapse
        _recipe(3000, batch_size=256, lr=2e-3, ema=0.99),
    ),
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
        {"channels": 16, "gamma": 0.5, "penalty_every": 4},
        _recipe(1000, batch_size=64, lr=1e-3, **_GAME | {"ema": 0.99}),
    ),
    (SAGAN, "image"): ({"channels": 24}, _attending(600, lr=1e-3, warmup=20, ema=0.99, precision="float32")),
    (CycleGAN, "domains"): (
        {"channels": 16, "cycle": 3.0, "back": 3.0, "identity": 0.1},
        _cycle(500, ema=0.99, precision="float32"),
    ),
    (CRNNGAN, "events"): (
        {"width": 96, "window": 32, "anchor": 4.0},
        _played(300, 50, 50, lr={"generator": 3e-3, "discriminator": 1e-3}, ema=0.98),
    ),
    (CRNNGAN, "text"): (
        {"width": 96, "window": 16, "anchor": 4.0},
        _played(400, 50, 50, lr={"generator": 3e-3, "discriminator": 1e-3}, ema=0.98),
    ),
    (NeuralSpline, "points"): ({"layers": 4, "waves": 8}, _recipe(2000, batch_size=256, lr=3e-3, **_EXACT)),
    (RealNVP, "points"): ({"layers": 12, "waves": 8}, _recipe(2000, batch_size=256, lr=3e-3, **_EXACT)),
    (Glow, "image"): (
        {},
        _recipe(300, batch_size=32, lr=3e-3, betas=(0.9, 0.99), warmup=50, clip=300.0, ema=0.99),
    ),
    (VQVAE, "image"): (
        {"channels": 16, "hidden": 64, "layers": 3},
        Recipe(
            {"autoencoder": Stage(600, turns={"prior": 0}), "prior": Stage(700, turns={"autoencoder": 0})},
            batch_size=32,
            lr=4e-3,
            warmup=50,
            ema=0.99,
            **_CODES,
        ),
    ),
    (ChoraleTransformer, "tokens"): (
        {"width": 64, "layers": 3},
        _recipe(200, batch_size=8, lr=1e-2, warmup=20, ema=0.95, **_TEXT | {"precision": "float32"}),
    ),
    (Transformer, "text"): (
        {"layers": 3},
        _recipe(300, batch_size=16, lr=1e-2, warmup=20, ema=0.95, **_TEXT | {"precision": "float32"}),
    ),
    (PixelCNN, "image"): (
        {"channels": 32, "layers": 5},
        _recipe(500, batch_size=32, lr=6e-3, betas=(0.9, 0.99), warmup=50, clip=100.0, ema=0.98),
    ),
    (Autoregressive2D, "points"): (
        {"bins": 96},
        _recipe(1500, batch_size=256, lr=5e-3, betas=(0.9, 0.99), ema=0.99),
    ),
    (FlowMatching, "points"): ({}, _recipe(2000, batch_size=256, lr=3e-3, ema=0.99, **_DENOISER)),
    (FlowMatching, "image"): ({"channels": 16}, _recipe(1100, batch_size=32, lr=4e-3, ema=0.99, **_DENOISER)),
    (DDPM, "points"): ({}, _recipe(2000, batch_size=256, lr=3e-3, ema=0.99, **_DENOISER)),
    (DDPM, "image"): ({"channels": 16}, _recipe(1000, batch_size=32, lr=4e-3, ema=0.99, **_DENOISER)),
}


# What a live recipe is for, and the kind of Space that it is: music by its encoding, pictures by their domains.
SORTS = {"points": "points", "image": "image", "domains": "image", "text": "text", "events": "music", "tokens": "music"}


def sort_of(space: Space) -> str:
    """The one of SORTS that data of this space is."""
    return "domains" if space.domains else space.encoding if space.kind == "music" else space.kind


def live_models(sort: str) -> tuple[type[GenerativeModel], ...]:
    """The models that can be trained in front of an audience on data of this sort, family by family."""
    return tuple(model for family in FAMILIES.values() for model in family.models if (model, sort) in _LIVE)


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
    sort = sort_of(space)
    if (model, sort) not in _LIVE:
        what = {"domains": "image of two domains", "events": "music as events", "tokens": "music as tokens"}.get(
            sort, sort
        )
        raise BadInput(f"{model.__name__} is not for {what}; choose another model of its family.")
    family = next(family for family in FAMILIES.values() if model in family.models)
    base, recipe = _LIVE[model, sort]
    possible = options(model.__init__)
    automatic: dict[str, Any] = {}
    if "conditional" in possible:
        automatic["conditional"] = bool(space.labels)
    if "likelihood" in possible:
        automatic["likelihood"] = "bernoulli" if space.kind == "image" and space.shape[0] == 1 else "gaussian"
    recipe = dataclasses.replace(
        recipe,
        stages=_shared(recipe.stages, steps),
        batch_size=recipe.batch_size if batch_size is None else batch_size,
        lr=recipe.lr if lr is None else lr,
    )
    return Entry(family.key, model, data_name, recipe, checked(model.__init__, automatic | base | config), space)


def _shared(stages: Mapping[str, Stage], steps: int | None) -> dict[str, Stage]:
    """The stages with so many steps in all, at least one each, in the proportion that they have; None: as they are."""
    if steps is None:
        return dict(stages)
    total, counts, before = sum(stage.steps for stage in stages.values()), {}, 0
    for name, stage in stages.items():
        first, last = (round(steps * done / total) for done in (before, before + stage.steps))
        counts[name], before = max(1, last - first), before + stage.steps
    longest = max(counts, key=counts.get)  # gives what the shortest were lent
    counts[longest] = max(1, counts[longest] - (sum(counts.values()) - steps))
    return {name: dataclasses.replace(stage, steps=counts[name]) for name, stage in stages.items()}
