"""Where training data comes from: sets by name, points that were drawn, text that was pasted, pictures as a zip."""

from __future__ import annotations

import base64
import dataclasses
import math
import shutil
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from gradio.utils import get_upload_folder
from torch import Tensor

from gen_models import data, evaluate, metrics, render, zoo
from gen_models.interface import BadInput, Data, GenerativeModel, Maximises, Space
from gen_models.ui.fields import Field, check, choice, number, option_fields, seed, text
from gen_models.ui.visits import Visit

POINTS, PICTURES, TEXT, TWO = "own-points", "own-pictures", "own-text", "own-domains"
TITLES = {
    POINTS: "your own points",
    PICTURES: "your own pictures (zip)",
    TEXT: "your own text",
    TWO: "your own two sets (zips)",
}
ZIPS = {"zip": "zip of pictures", "zip-a": "first zip of pictures", "zip-b": "second zip of pictures"}  # in a visit
SIZES = (28, 32, 64)
KINDS = ("points", "image", "text", "music")
HELD = "held out of "  # + an entry's name: where a visit keeps what was held out of data that a person brought
HELD_PICTURES = 500  # of each domain
CSV_LIMIT = 4_000_000  # characters
TEXT_LIMIT = 2_000_000  # characters
ZIP_LIMIT = 64 << 20  # bytes, as in app.py
WORDS = {  # a model's option -> its label and what to know about it
    "latent_dim": ("Latent dimensions", "Numbers in a code. 2 gives a plane to click on."),
    "hidden": ("Hidden units", ""),
    "likelihood": ("Likelihood", "Bernoulli suits black and white, Gaussian the rest."),
    "beta": ("Beta", "Weight of the KL term."),
    "beta_warmup": ("Beta warm-up", "Part of the training during which beta rises from 0."),
    "channels": ("Channels", "Width of the network: more learns better and slower."),
    "conditional": ("By class", "Learns the classes, so that one can be asked for."),
    "penalty": ("Gradient penalty", "Holds the norm of the critic's gradient at 1."),
    "gamma": ("Gamma", "Weight of the gradient penalties R1 and R2."),
    "penalty_every": ("Penalty every", "Steps between two penalties: more is faster."),
    "label_dropout": ("Label dropout", "Part of the examples whose class is hidden: guidance needs it."),
    "network": ("Network", ""),
    "fold": ("Pixels in a cell", "Pixels that are written together: more is faster."),
    "bins": ("Bins", "On each axis: more are sharper and need more data."),
    "quantiser": ("Quantiser", "ema learns its codebook; fsq rounds to a fixed grid."),
    "codes": ("Codes", "Size of the codebook."),
    "dim": ("Numbers in a code", ""),
    "width": ("Width", "Numbers that stand for a symbol: more learns better and slower."),
    "layers": ("Layers", ""),
    "heads": ("Heads", "Places that a layer can look at at once."),
    "blocks": ("Blocks", "Residual blocks of a generator: more learn better and slower."),
    "cycle": ("Cycle weight, A", "How much a picture of the first domain should come back as it was."),
    "back": ("Cycle weight, B", "The same of the second domain; lower where the first cannot show all of it."),
    "identity": ("Identity weight", "How far a picture that is already of the domain stays as it is."),
    "invents": ("Invents", "Numbers from which the way to B draws what A does not show; 0: none."),
    "noise": ("Noise on the way back", "Keeps the generators from hiding things; pixels from -1 to 1."),
    "disturb": ("Disturbed on the way back", "Recoloured, and mixed with other pictures: what must not matter."),
    "dropout": ("Dropout", "Part of the activations that is hidden: against learning by heart."),
    "window": ("Window", "Events of a piece that the discriminator hears."),
    "softness": ("Softness", "Of the choices that gradients go through."),
    "matching": ("Feature matching", "Its weight beside the game."),
    "anchor": ("Anchor", "Weight of the likelihood during the game: without it the music is forgotten."),
}


MODELS = {
    "GaussianMixture": "Mixture, EM",
    "MixtureOfFactorAnalyzers": "Mixture of factor analysers",
    "BetaVAE": "beta-VAE",
    "GAN": "GAN, non-saturating",
    "WGANGP": "WGAN-GP",
    "NeuralSpline": "Spline flow",
    "FlowMatching": "Flow matching",
    "Autoregressive2D": "x, then y, over bins",
    "CRNNGAN": "C-RNN-GAN",
    "ChoraleTransformer": "Transformer of voices",
    "VQVAE": "VQ-VAE",
}


# ---- fields ---------------------------------------------------------------------------------------------------


def fields(family: zoo.Family, settings: Mapping[str, Any]) -> list[Field]:
    """The controls of a training: the data set and model of `settings` decide on the others and on their defaults."""
    names = offered(family)
    titles = [TITLES.get(name) or data.title_of(name) for name in names]
    source = choice("data", "Data", names, names[0], shown=tuple(titles))
    name = source.option.check(settings.get("data", source.option.default))
    space = space_of(name, settings)
    models = {model.__name__: model for model in models_for(family, space)}
    kind = choice("model", "Model", tuple(models), shown=tuple(map(model_title, models.values())))
    asked = settings.get("model")  # one of the family that is not for this data gives way to the first that is
    other = any(asked == model.__name__ for model in family.models) and asked not in models
    model = models[kind.option.check(kind.option.default if asked is None or other else asked)]
    found = [source, *_own(name), *([kind] if len(models) > 1 else [])]
    return [*found, *_recipe(model, space), seed(), *_options(model, space, name)]


def offered(family: zoo.Family) -> tuple[str, ...]:
    """The data that some model of the family can be trained on here; music first where its first entry makes music."""
    found = [name for name in (*data.NAMES, *TITLES) if models_for(family, space_of(name))]
    tune = next((entry.where.kind for entry in zoo.ZOO.values() if entry.family == family.key), "") == "music"
    return tuple(sorted(found, key=lambda name: tune and space_of(name).kind != "music"))


def models_for(family: zoo.Family, space: Space) -> tuple[type[GenerativeModel], ...]:
    """The models of the family that can be trained here on data of this space."""
    known = zoo.live_models(zoo.sort_of(space))
    return tuple(model for model in known if model in family.models)


def space_of(name: str, settings: Mapping[str, Any] | None = None) -> Space:
    """Where the data's x lives; that of own pictures follows from size and grey of `settings`."""
    if name == POINTS:
        return Space("points", (2,))
    if name == PICTURES:
        size, grey = (field.option for field in _own(PICTURES))
        wanted = settings or {}
        side = size.check(wanted.get("size", size.default))
        return Space("image", (1 if grey.check(wanted.get("grey", grey.default)) else 3, side, side))
    if name == TWO:  # their names, and whether both are grey, are known once they are read
        (size,) = (field.option for field in _own(TWO))
        side = size.check((settings or {}).get("size", size.default))
        return Space("image", (3, side, side), domains=("A", "B"))
    if name == TEXT:  # its characters are known once it is read
        lines = bool((settings or {}).get("lines"))
        return Space("text", (64,), alphabet=("\n", " "), encoding="lines" if lines else "plain")
    return data.space_of(name)


def title_of(name: str) -> str:
    """The data's name as people write it."""
    return TITLES[name].partition(" (")[0] if name in TITLES else data.title_of(name)


def model_title(model: type[GenerativeModel]) -> str:
    """The model's name as people write it."""
    return MODELS.get(model.__name__, model.__name__)


def _own(name: str) -> list[Field]:
    if name == POINTS:
        return [text("csv", "Points as CSV", limit=CSV_LIMIT, info="One x, y per line: draw, paste, or bring a file.")]
    if name in (PICTURES, TWO):
        shown = tuple(f"{size} × {size}" for size in SIZES)
        size = choice("size", "Size in pixels", SIZES, 32, shown=shown)
        return [size] if name == TWO else [size, check("grey", "Grey", False)]
    if name == TEXT:
        info = "Any language: paste it, or bring a file. A fifth of it is held out."
        lines = "For names, words or verses; else it is one long text."
        return [
            text("text", "Text", limit=TEXT_LIMIT, info=info),
            check("lines", "Each line by itself", False, info=lines),
        ]
    return []


def _recipe(model: type[GenerativeModel], space: Space) -> list[Field]:
    recipe = zoo.live(model, space).recipe
    if issubclass(model, Maximises):  # closed-form rounds over all of the data: nothing else to set
        return [number("steps", "Rounds", 1, 10_000, sum(stage.steps for stage in recipe.stages.values()))]
    lr = recipe.lr if isinstance(recipe.lr, float) else next(iter(recipe.lr.values()))
    return [
        number("steps", "Steps", 1, 1_000_000, sum(stage.steps for stage in recipe.stages.values())),
        number("batch_size", "Batch size", 2, 4096, recipe.batch_size, more=True),
        number("lr", "Learning rate", 1e-7, 10.0, lr, more=True),
    ]


def _options(model: type[GenerativeModel], space: Space, name: str) -> list[Field]:
    """The model's own options with a live training's defaults; what the data leaves no choice about is not shown."""
    config = zoo.live(model, space).config
    senseless = {"likelihood", "network"} if space.kind == "points" else set()
    if not space.labels and name != PICTURES:
        senseless |= {"conditional", "label_dropout"}
    found = []
    for field in option_fields(model.__init__):
        option = field.option
        if option.name in senseless:
            continue
        label, info = WORDS.get(option.name, (field.label, field.info))
        field = field._replace(option=dataclasses.replace(option, default=config[option.name]), label=label, info=info)
        if option.name == "conditional" and name == PICTURES:  # whether there are classes is known once the zip is read
            field = field._replace(option=dataclasses.replace(option, default=False))
        found.append(field._replace(kind="number") if option.type is int else field)
    return found


# ---- reading, without holding anybody up -------------------------------------------------------------------------


class Readings:
    """Slow reads by key, each done once in the background; one that failed is tried anew when it is asked for again."""

    def __init__(self, workers: int = 2):
        self._pool = ThreadPoolExecutor(workers, "reading")
        self._lock = threading.Lock()
        self._futures: dict[Hashable, Future] = {}

    def of(self, key: Hashable, read: Callable[[], Any]) -> Future:
        """The future of `read()`: under way, done, or begun now."""
        with self._lock:
            future = self._futures.get(key)
            if future is None or (future.done() and future.exception() is not None):
                future = self._futures[key] = self._pool.submit(read)
            return future


SETS = Readings()
OWN = ThreadPoolExecutor(2, "own-data")


def reading(name: str, values: Mapping[str, Any], visit: Visit) -> Future:
    """The data of a checked request, being read: a Data, or a BadInput that says what to do."""
    if name == POINTS:
        return OWN.submit(lambda: data.from_points(data.points_from_csv(values["csv"])))
    if name == PICTURES:
        path = visit.kept.get("zip")
        if path is None:
            raise BadInput("Upload a zip file of pictures first.")
        return OWN.submit(lambda: data.from_pictures(path, size=values["size"], grey=values["grey"]))
    if name == TWO:
        a, b = visit.kept.get("zip-a"), visit.kept.get("zip-b")
        if a is None or b is None:
            missing = "two zip files" if a is b else f"the {'first' if a is None else 'second'} zip file"
            raise BadInput(f"Upload {missing} of pictures first: translation needs two sets.")
        return OWN.submit(lambda: data.from_two(a, b, size=values["size"]))
    if name == TEXT:
        return OWN.submit(lambda: data.from_text(values["text"], lines=values["lines"]))
    return SETS.of(name, lambda: data.load(name))


def yardsticks(source: Data) -> dict[str, float]:
    """What must be beaten on the validation split of a text, in nats per character: counting, and knowing nothing."""
    space, train, held = source.space, source.split("train").x, source.split("valid").x
    lines, order = space.encoding == "lines", evaluate.ORDERS[space.encoding]
    if not lines:
        train, held = train.flatten(), held.flatten()
    counted = metrics.kneser_ney(train, held, order, len(space.alphabet), lines=lines)
    return {f"Kneser-Ney {order}-gram, held out": counted, "uniform": math.log(len(space.alphabet))}


def bring(visit: Visit, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Takes over a zip that the browser uploaded to Gradio: {"waiting": True} until it is read, then what is in it.

    asked: path, name, as what it is kept (slot, one of ZIPS), and for one of two the size that both are brought to.
    Asked again without a path it answers for the zip under way; one that is refused leaves the one before in place.
    """
    slot = asked.get("slot", "zip")
    if slot not in ZIPS:
        raise BadInput(f"slot is one of {', '.join(ZIPS)}.")
    arriving = f"{slot}-arriving"
    if asked.get("path"):
        name = str(asked.get("name") or "pictures.zip")[:80]
        size = space_of(TWO, {"size": asked.get("size") or SIZES[0]}).shape[-1]
        path = _stored(visit, name, str(asked["path"]))
        pair = [path if slot == other else visit.kept.get(other) for other in ("zip-a", "zip-b")]
        pair = pair if path in pair and None not in pair else []
        visit.kept[arriving] = path, name, OWN.submit(_unpacked, path, pair, size)
    path, name, future = visit.kept.get(arriving) or (None, "", None)
    if future is None:
        raise BadInput(f"Upload a {ZIPS[slot]} first.")
    wait([future], timeout=0.5)
    if not future.done():
        return {"waiting": True}
    del visit.kept[arriving]
    try:
        found, two = future.result()
    except BadInput:
        path.unlink(missing_ok=True)
        raise
    if old := visit.kept.get(slot):
        old.unlink(missing_ok=True)
    visit.kept[slot] = path
    return {"line": f"{name}: {_contents(found)}", "real": real(two or found), "said": list(two.said if two else ())}


def _unpacked(path: Path, pair: Sequence[Path], size: int) -> tuple[Any, Any]:
    """The pictures in a zip, and where it is one of a pair the two domains, brought to one size."""
    return data.from_pictures(path, size=SIZES[-1]), data.from_two(*pair, size=size) if pair else None


def _stored(visit: Visit, name: str, path: str) -> Path:
    folder, path = Path(get_upload_folder()).resolve(), Path(path).resolve()
    if not path.is_relative_to(folder) or not path.is_file():  # a path of the server's that is no upload
        raise BadInput(f"{name} did not arrive. Upload it again.")
    if path.stat().st_size > ZIP_LIMIT:
        raise BadInput(f"{name} is larger than {ZIP_LIMIT >> 20} MB. Put fewer or smaller pictures into it.")
    try:
        return Path(shutil.copyfile(path, visit.file(_harmless(name))))
    except OSError as error:
        raise BadInput(f"{name} could not be stored ({error.strerror}). Free some disk space and try again.") from None


def _contents(found: Any) -> str:
    train, valid, test = (len(found.splits[split][0]) for split in ("train", "valid", "test"))
    count = train if train == valid else train + valid + test  # below ten pictures each split is the whole set
    classes = f", {len(found.space.labels)} classes" if found.space.labels else ""
    skipped = _skipped(found)
    return f"{count} pictures{classes}{f'; {skipped}' if skipped else ''}"


def _skipped(found: Any) -> str:
    skipped = getattr(found, "skipped", ())
    return f"{len(skipped)} could not be read, such as {skipped[0]}" if skipped else ""


def said(source: Data) -> list[str]:
    """What was done to make two domains fit, and what of them could not be read."""
    return [*getattr(source, "said", ()), *filter(None, [_skipped(source)])] if source.space.domains else []


def _harmless(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._- " else "_" for c in Path(name).name)[-60:]
    return kept if kept.lower().endswith(".zip") else kept + ".zip"


# ---- as the browser draws it -------------------------------------------------------------------------------------


def coded(x: Tensor) -> str:
    """Points (N, 2) as base64 of int16 pairs, 3000 being 1; what is not finite lies in the corner."""
    whole = (torch.nan_to_num(x.detach().float().cpu(), 10.9, 10.9, -10.9) * 3000).round().clamp(-32767, 32767)
    return base64.b64encode(whole.to(torch.int16).numpy().tobytes()).decode()


def shown(x: Tensor, space: Space, heads: Sequence[str] = ()) -> dict[str, Any]:
    """Samples for static/train.js: points, texts, rolls, or pictures in a grid; `heads` name parts of its width."""
    if space.kind == "points":
        return {"points": coded(x)}
    if space.kind == "text":
        return {"texts": [data.decoded(row, space) for row in x.cpu()]}
    if space.kind == "music":
        rolls = render.grid(x[:3], space, columns=1, height=720, gap=0)  # each three times as wide as high: a square
        return {"picture": render.data_url(rolls), "columns": 1, "count": 1, "size": list(rolls.size)}
    sheet, columns = render.sheet([render.picture(row, space) for row in x.cpu()])
    sent = {"picture": render.data_url(sheet), "columns": columns, "count": len(x), "size": list(space.shape[:0:-1])}
    return sent | ({"heads": list(heads)} if heads else {})


def held_out(source: Data) -> Any:
    """What a visit keeps of own data after a training: test points, or pictures of both domains as bytes."""
    test = source.split("test")
    if not source.space.domains:
        return test.x
    return tuple(data.in_bytes(x[:HELD_PICTURES]) for x in (test.x, test.other))


def real(source: Data) -> dict[str, Any]:
    """A fixed draw from the data: 1000 points, 16 pictures or lines, or a stretch of a text; domain beside domain."""
    space, rng = source.space, torch.Generator().manual_seed(0)
    if space.domains:
        a, b = (x.unflatten(0, (-1, 2)) for x in source.batch(8, rng)[::2])  # (4, 2, C, H, W) each
        return shown(torch.cat([a, b], 1).flatten(0, 1), space, space.domains)
    return shown(source.batch(zoo.few(space), rng).x, space)
