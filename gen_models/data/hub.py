"""Picture sets from the Hugging Face Hub, decoded once and kept in this user's cache folder."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from gen_models.data.images import Images, Stacked
from gen_models.interface import BadInput, Data, Space

HELD_OUT = 5_000  # the last pictures of the Hub's training file are the validation split
_FILES = ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet")


@dataclass(frozen=True)
class HubSet:
    """A data set of the Hub: where it lies, what is in it, and whose work it is."""

    name: str
    title: str
    source: str
    space: Space
    build: Callable[[HubSet], Data]
    repo: str
    folder: str  # of the two parquet files
    column: str = "image"  # a struct of bytes and path; the classes are in `label`


# ---- fetching -------------------------------------------------------------------------------------------------


def _fetch(item: HubSet, file: str) -> Path:
    """The file in the Hub's local cache, downloaded where it is missing."""
    from huggingface_hub import errors, hf_hub_download

    where = {"repo_id": item.repo, "filename": f"{item.folder}/{file}", "repo_type": "dataset", "revision": "main"}
    with contextlib.suppress(errors.LocalEntryNotFoundError):
        return Path(hf_hub_download(**where, local_files_only=True))
    try:
        return Path(hf_hub_download(**where))
    except Exception as error:  # offline, blocked, refused, disk full: what helps is the same for all of them
        raise BadInput(
            f"{item.title} is not on this machine and could not be downloaded ({type(error).__name__}). "
            f"Start once with network and room on the disk, or run: hf download {item.repo} --repo-type dataset"
        ) from error


def _decoded(item: HubSet, path: Path) -> tuple[Tensor, Tensor]:
    """Pictures uint8 (N, C, H, W) and class indices (N,) of one parquet file."""
    import pyarrow
    import pyarrow.parquet

    channels, height, width = item.space.shape
    try:
        table = pyarrow.parquet.read_table(path, columns=[item.column, "label"])
        files = table[item.column].combine_chunks().field("bytes")
        label = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
        x = np.empty((len(files), height, width, channels), np.uint8)
        for row, file in zip(x, files, strict=True):
            with Image.open(io.BytesIO(file.as_buffer()), formats=("PNG", "JPEG")) as image:
                row[:] = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(row.shape)
    except (pyarrow.ArrowException, KeyError, OSError, SyntaxError, ValueError, TypeError) as error:
        raise BadInput(
            f"The file of {item.title} at {path} cannot be read ({error}). "
            f"Delete it and run: hf download {item.repo} --repo-type dataset"
        ) from error
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), label


# ---- the decoded copy -----------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where decoded pictures are kept: $GEN_MODELS_CACHE, else this system's cache folder of the user."""
    if chosen := os.environ.get("GEN_MODELS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        root = Path("~/Library/Caches").expanduser()
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return root / "gen_models"


def restored(path: Path, key: str) -> dict[str, Tensor] | None:
    """The tensors written under the same key; None where there are none that can be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a mapping)
    except (OSError, safetensors.SafetensorError):
        return None


def keep(path: Path, key: str, tensors: dict[str, Tensor]) -> None:
    """Writes the tensors whole or not at all; a folder that cannot be written costs time at the next start only."""
    with contextlib.suppress(OSError, safetensors.SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            file = Path(folder, path.name)
            safetensors.torch.save_file(tensors, file, metadata={"key": key})
            os.replace(file, path)


# ---- loading --------------------------------------------------------------------------------------------------


def _images(item: HubSet) -> Images:
    paths = [_fetch(item, file) for file in _FILES]
    key = " ".join(f"{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in paths)
    kept = cache_folder() / f"{item.name}.safetensors"
    tensors = restored(kept, key)
    if tensors is None:
        (x, label), (test_x, test_label) = (_decoded(item, path) for path in paths)
        tensors = {"x": x, "label": label, "test_x": test_x, "test_label": test_label}
        keep(kept, key, tensors)
    x, label = tensors["x"], tensors["label"]
    return Images(
        item.space,
        {
            "train": (x[:-HELD_OUT], label[:-HELD_OUT]),
            "valid": (x[-HELD_OUT:], label[-HELD_OUT:]),
            "test": (tensors["test_x"], tensors["test_label"]),
        },
    )


def _stacked(item: HubSet) -> Stacked:
    return Stacked(item.space, load_hub_set("mnist"))


def load_hub_set(name: str) -> Data:
    """The set, read once per process; BadInput that says how to get it where it is missing."""
    with _LOCKS[name]:
        if name not in _LOADED:
            _LOADED[name] = HUB_SETS[name].build(HUB_SETS[name])
        return _LOADED[name]


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_MNIST = ("ylecun/mnist", "mnist")
_MNIST_SOURCE = (
    "MNIST by Yann LeCun, Corinna Cortes and Christopher Burges (1998), from the Hub's ylecun/mnist, "
    "which states MIT; often given as CC BY-SA 3.0."
)

HUB_SETS = {
    item.name: item
    for item in (
        HubSet("mnist", "MNIST digits", _MNIST_SOURCE, Space("image", (1, 28, 28), labels=_DIGITS), _images, *_MNIST),
        HubSet(
            "fashion-mnist",
            "Fashion-MNIST",
            "Fashion-MNIST by Han Xiao, Kashif Rasul and Roland Vollgraf (Zalando, 2017), "
            "from the Hub's zalando-datasets/fashion_mnist; MIT.",
            Space("image", (1, 28, 28), labels=_CLOTHES),
            _images,
            "zalando-datasets/fashion_mnist",
            "fashion_mnist",
        ),
        HubSet(
            "cifar10",
            "CIFAR-10",
            "CIFAR-10 by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton (2009), from the Hub's uoft-cs/cifar10; "
            "no formal licence is stated.",
            Space("image", (3, 32, 32), labels=_THINGS),
            _images,
            "uoft-cs/cifar10",
            "plain_text",
            "img",
        ),
        HubSet(
            "stacked-mnist",
            "Stacked MNIST",
            f"Three random digits as the colours of one picture (Metz et al., 2016). {_MNIST_SOURCE}",
            Space("image", (3, 28, 28)),
            _stacked,
            *_MNIST,
        ),
    )
}

_LOADED: dict[str, Data] = {}
_LOCKS = {name: threading.Lock() for name in HUB_SETS}
