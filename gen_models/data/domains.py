"""Two sets of pictures without pairs, for translation from one to the other: sets by name, and two that people bring.

Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu, Park, Isola and Efros, 2017),
arXiv 1703.10593. Digits over photos are the MNIST-M of Domain-Adversarial Training of Neural Networks (Ganin et al.,
2016), arXiv 1505.07818, with photos of CIFAR-10.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from gen_models.data import emoji
from gen_models.data.hub import HUB_SETS, load_hub_set
from gen_models.data.images import Images, in_range
from gen_models.data.pictures import from_pictures, members_of
from gen_models.data.reading import DAMAGE, FORMATS
from gen_models.interface import BadInput, Batch, Data, Space
from gen_models.noise import mixed

Split = Literal["train", "valid", "test"]


class Domains:
    """Two domains in memory: uint8 (N, C, H, W) and (M, C, H, W) for each of the three splits.

    `paired`: the validation and test splits hold twins, row for row, to evaluate with; the training split never does.
    `said` tells what was done to make the two fit, `skipped` names what could not be read.
    """

    log_prob = None

    def __init__(
        self,
        space: Space,
        splits: Mapping[str, tuple[Tensor, Tensor]],
        *,
        paired: bool = False,
        labels: Mapping[str, Tensor] | None = None,
        said: tuple[str, ...] = (),
        skipped: tuple[str, ...] = (),
    ):
        """`labels`: (N,) class indices of the splits whose rows are twins."""
        self.space, self.splits, self.paired, self.labels = space, splits, paired, labels or {}
        self.said, self.skipped = said, skipped

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n training pictures of each domain, drawn independently with replacement; no labels."""
        a, b = (in_range(x[torch.randint(len(x), (n,), generator=rng)]) for x in self.splits["train"])
        return Batch(a, None, b)

    def split(self, name: Split) -> Batch:
        """Every picture of a split: `x` of domain A, `other` of domain B; of different lengths where nothing pairs."""
        a, b = self.splits[name]
        return Batch(in_range(a), self.labels.get(name), in_range(b))


# ---- digits over photos ----------------------------------------------------------------------------------------


def over(digit: Tensor, photo: Tensor) -> Tensor:
    """|digit - photo| per colour: uint8 (N, 1, H, W), (N, 3, H, W) -> (N, 3, H, W)."""
    return (digit.short() - photo.short()).abs().byte()


class OverPhotos:
    """Digits drawn over pieces of photos by their difference, with the digits' labels: (n, 3, 28, 28).

    A training batch puts random digits over random pieces; in a split digit i lies over a fixed piece of photo i.
    """

    log_prob = None

    def __init__(self, space: Space, digits: Images, photos: Images):
        self.space, self._digits, self._photos = space, digits, photos

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        digits, label = self._digits.splits["train"]
        rows = torch.randint(len(digits), (n,), generator=rng)
        return Batch(in_range(over(digits[rows], self.pieces("train", n, rng))), label[rows])

    def pieces(self, name: Split, n: int, rng: torch.Generator) -> Tensor:
        """n random pieces of random photos of a split, as large as the digits: uint8 (n, 3, H, W)."""
        photos = self._photos.splits[name][0]
        return self._cut(photos, torch.randint(len(photos), (n,), generator=rng), rng)

    def _cut(self, photos: Tensor, rows: Tensor, rng: torch.Generator) -> Tensor:
        height, width = self.space.shape[1:]
        views = photos.unfold(2, height, 1).unfold(3, width, 1)  # (N, 3, tops, lefts, H, W), nothing copied
        top, left = (torch.randint(views.shape[k], (len(rows),), generator=rng) for k in (2, 3))
        return views[rows, :, top, left]

    def in_bytes(self, name: Split) -> Tensor:
        """The split as uint8 (N, 3, H, W)."""
        digits, photos = self._digits.splits[name][0], self._photos.splits[name][0]
        rng = torch.Generator().manual_seed(mixed("digits over photos", name))
        return over(digits, self._cut(photos, torch.arange(len(digits)) % len(photos), rng))

    def split(self, name: Split) -> Batch:
        return Batch(in_range(self.in_bytes(name)), self._digits.splits[name][1])


class DigitsAndPhotos:
    """Digits in three equal colours against digits over photos; no training digit is in both domains.

    A fixed random half of the training digits is domain A, the other half lies over photos in domain B.
    """

    log_prob = None
    paired, said, skipped = True, (), ()

    def __init__(self, space: Space, digits: Images, photos: Images):
        x, label = digits.splits["train"]
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(mixed("digits", "halves")))
        plain, covered = ({**digits.splits, "train": (x[half], label[half])} for half in order.tensor_split(2))
        self.space = space
        self._digits = Images(digits.space, plain)
        self._over = OverPhotos(space, Images(digits.space, covered), photos)

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        """n training pictures of each domain, drawn independently; no labels."""
        return Batch(_coloured(self._digits.batch(n, rng).x), None, self._over.batch(n, rng).x)

    def split(self, name: Split) -> Batch:
        """Of valid and test, row i of `other` is digit i of `x` over a photo, and `label` is of both."""
        x, label = self._digits.split(name)[:2]
        return Batch(_coloured(x), None if name == "train" else label, self._over.split(name).x)


def _coloured(x: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, 3, H, W)."""
    return x.expand(-1, 3, -1, -1)


# ---- what a person brings ----------------------------------------------------------------------------------------


def from_two(path_a: str | Path, path_b: str | Path, *, size: int = 32) -> Domains:
    """Two folders or zips of pictures as two domains, each picture cropped at its centre to a square of `size` pixels.

    Each side is read and split as `from_pictures` does; nothing pairs. Grey throughout on both sides stays grey,
    otherwise all is colour. BadInput where a side has fewer than two pictures that can be read.
    """
    sides, names = [], _names(path_a, path_b)
    for which, path in (("first", path_a), ("second", path_b)):
        if not str(path or "").strip():
            raise BadInput(f"Choose the {which} folder or zip of pictures too: translation needs two.")
        sides.append(from_pictures(path, size=size))
    grey = [all(_grey(x) for x, _ in side.splits.values()) for side in sides]
    said = [line for path, name in zip((path_a, path_b), names, strict=True) for line in _fitting(path, name, size)]
    if grey[0] != grey[1]:
        said.append(f"{names[grey.index(True)]} is grey, {names[grey.index(False)]} is not: both are taken as colour.")
    colours = slice(1) if all(grey) else slice(3)
    splits = {name: tuple(side.splits[name][0][:, colours].contiguous() for side in sides) for name in sides[0].splits}
    skipped = tuple(f"{name}/{line}" for name, side in zip(names, sides, strict=True) for line in side.skipped)
    space = Space("image", (1 if all(grey) else 3, size, size), domains=names)
    return Domains(space, splits, said=tuple(said), skipped=skipped)


def _names(path_a: str | Path, path_b: str | Path) -> tuple[str, str]:
    a, b = (Path(path or "").name.removesuffix(".zip") or "pictures" for path in (path_a, path_b))
    return (a, b) if a != b else (f"{a} (A)", f"{b} (B)")


def _grey(x: Tensor) -> bool:
    return bool((x == x[:, :1]).all())


def _fitting(path: str | Path, name: str, size: int) -> list[str]:
    """What `from_pictures` had to do to the pictures at `path`, in words."""
    sizes: Counter[tuple[int, int]] = Counter()
    animated = printed = 0
    with members_of(Path(path).expanduser()) as members:
        for _, read in members:
            try:
                with Image.open(io.BytesIO(read()), formats=FORMATS) as image:
                    sizes[image.size] += 1
                    animated += getattr(image, "n_frames", 1) > 1
                    printed += image.mode == "CMYK"
            except (BadInput, Image.DecompressionBombError, *DAMAGE):
                continue  # `skipped` names it
    said = []
    if set(sizes) - {(size, size)}:
        (width, height), _ = sizes.most_common(1)[0]
        many = f"of {len(sizes)} sizes, most often {width} x {height}" if len(sizes) > 1 else f"{width} x {height}"
        said.append(f"{name}: {many}, made {size} x {size}.")
    if animated:
        said.append(f"{name}: {animated} animated, the first frame of each is taken.")
    if printed:
        said.append(f"{name}: {printed} in the colours of print (CMYK), made RGB.")
    return said


# ---- sets by name ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DomainSet:
    """A set by name: where its pictures lie, and whose work they are."""

    name: str
    title: str
    source: str
    space: Space
    build: Callable[[DomainSet], Data]


def _emoji(item: DomainSet) -> Domains:
    held = emoji.held()
    noto, blob = (emoji.halved(emoji.pictures(style)) for style in ("noto", "blob"))
    group, has = (torch.tensor([known[k] for known in emoji.listed()]) for k in (2, 3))
    row = has.cumsum(0) - 1  # of an emoji's Blob
    splits = {name: (noto[rows], blob[row[rows[has[rows]]]]) for name, rows in held._asdict().items()}
    labels = {name: group[rows] for name, rows in held._asdict().items() if name != "train"}
    return Domains(item.space, splits, paired=True, labels=labels)


def _noto(item: DomainSet) -> Images:
    noto, group = emoji.halved(emoji.pictures("noto")), torch.tensor([known.group for known in emoji.listed()])
    return Images(item.space, {name: (noto[rows], group[rows]) for name, rows in emoji.held()._asdict().items()})


def _digits_and_photos(item: DomainSet) -> DigitsAndPhotos:
    return DigitsAndPhotos(item.space, load_hub_set("mnist"), load_hub_set("cifar10"))


def _over_photos(item: DomainSet) -> OverPhotos:
    return OverPhotos(item.space, load_hub_set("mnist"), load_hub_set("cifar10"))


def load_domain_set(name: str) -> Data:
    """The set, read once per process; BadInput that says how to get it where it is missing."""
    with _LOCKS[name]:
        if name not in _LOADED:
            _LOADED[name] = DOMAIN_SETS[name].build(DOMAIN_SETS[name])
        return _LOADED[name]


_DIGITS = HUB_SETS["mnist"].space.labels
_MADE = f"{HUB_SETS['mnist'].source} {HUB_SETS['cifar10'].source}"

# Labels name the classes of digits over photos; what is translated between two domains is not told its class.
DOMAIN_SETS = {
    item.name: item
    for item in (
        DomainSet(
            "emoji", "Emoji, Noto and Blob", emoji.SOURCE, Space("image", (3, 32, 32), domains=("Noto", "Blob")), _emoji
        ),
        DomainSet("noto-emoji", "Noto emoji", emoji.SOURCE, Space("image", (3, 32, 32), labels=emoji.GROUPS), _noto),
        DomainSet(
            "mnist-photo",
            "Digits and digits over photos",
            _MADE,
            Space("image", (3, 28, 28), domains=("digits", "digits over photos")),
            _digits_and_photos,
        ),
        DomainSet(
            "digits-over-photos",
            "Digits over photos",
            _MADE,
            Space("image", (3, 28, 28), labels=_DIGITS),
            _over_photos,
        ),
    )
}

_LOADED: dict[str, Data] = {}
_LOCKS = {name: threading.Lock() for name in DOMAIN_SETS}
