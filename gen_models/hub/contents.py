"""What a repository or folder holds, from its list of files and its small JSON files: the kind, and what is needed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen_models.interface import BadInput

OURS = "gen_models"  # the kind of our own checkpoints
CARD, WEIGHTS, PREVIEW, EVALUATION = "card.json", "model.safetensors", "preview.png", "evaluation.json"
INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
MOST_BYTES = int(os.environ.get("GEN_MODELS_MOST_BYTES") or 8 << 30)  # of one model's files
MOST_JSON = 1 << 20  # bytes of a file that is read before anything is agreed to
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
CONVERT = "https://huggingface.co/spaces/safetensors/convert"

_SAFE = (".safetensors", ".json", ".txt", ".model", ".png", ".md")
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
_UNUSED = ("safety_checker", "feature_extractor", "image_encoder")  # parts that nothing here asks
_WITHOUT_WEIGHTS = re.compile("Scheduler|Tokenizer|Processor|Extractor")
_WORDS = (  # of a tokenizer
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
_CLASS = re.compile(r"[A-Za-z_]\w{0,79}", re.ASCII)


class File(NamedTuple):
    """One file: its path in the repository, its bytes, and whether reading it can run no code."""

    name: str
    size: int
    safe: bool
    digest: str = ""  # SHA-256 (64 hex) of a large file, git's SHA-1 (40 hex) of a small one


class Contents(NamedTuple):
    """The kind of model, the files it needs, and in words why it cannot be opened ("" where it can)."""

    kind: str
    files: tuple[File, ...] = ()
    refused: str = ""


Listing = Mapping[str, File]
Reader = Callable[[Iterable[str]], Path]  # brings these files and gives the folder they lie in


class _Refused(Exception):
    """Why a model cannot be opened, and the files that are to blame."""

    def __init__(self, words: str, files: Iterable[File] = ()):
        super().__init__(words)
        self.files = tuple(files)


def is_safe(name: str) -> bool:
    """A file of numbers or words, by its ending; pickles and programs are not."""
    return name.endswith(_SAFE)


def is_plain(path: str) -> bool:
    """A path that stays within its folder, one level deep at most."""
    parts = path.split("/")
    return len(parts) <= 2 and all(part and not any(mark in part for mark in ("\\", "..", ":")) for part in parts)


def gigabytes(size: int) -> str:
    """ "5.2 GB", "143 MB", "12 KB"; powers of ten, as on the Hub."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.{1 if unit == 10**9 else 0}f} {name}"
    return f"{max(1, round(size / 1000)) if size else 0} KB"


def contents(listing: Listing, read: Reader, local: bool = False) -> Contents:
    """Of a listing by path; `read` is called for the small JSON files. BadInput where one of those is no JSON.

    More than MOST_BYTES are refused, but for a folder that is `local`: of it nothing is fetched.
    """
    kind, most = "", math.inf if local else MOST_BYTES
    try:
        kind, half, files = _of(listing, read, False)
        if _bytes(files) > most and not half:
            kind, half, files = _of(listing, read, True)
        if _bytes(files) > most:
            raise _Refused(
                f"It needs {gigabytes(_bytes(files))}, and at most {gigabytes(MOST_BYTES)} are fetched here. On a "
                "machine of your own, set GEN_MODELS_MOST_BYTES to more.",
                files,
            )
        return Contents(kind, files)
    except _Refused as error:
        return Contents(kind or _kind(listing, read), error.files, str(error))


def _bytes(files: Iterable[File]) -> int:
    return sum(file.size for file in files)


def _kind(listing: Listing, read: Reader) -> str:
    for name in (INDEX, CONFIG):
        if name in listing:
            found = _json(listing, read, name).get("_class_name")
            return found if isinstance(found, str) and _CLASS.fullmatch(found) else ""
    return OURS if CARD in listing else ""


def _of(listing: Listing, read: Reader, half: bool) -> tuple[str, bool, tuple[File, ...]]:
    """Kind, whether half precision was preferred, and the files."""
    if CARD in listing:
        return OURS, True, _ours(listing, read)
    if INDEX in listing:
        kind, files = _pipeline(listing, read, half)
    elif CONFIG in listing:
        kind, files = _model(listing, read, half)
    else:
        pickles = [file for file in listing.values() if file.name.endswith(PICKLES)]
        if pickles:
            raise _pickled(pickles)
        raise _Refused(f"There is no model here that is known: no {CARD}, no {INDEX} and no {CONFIG}.")
    return kind, half, files


def _ours(listing: Listing, read: Reader) -> tuple[File, ...]:
    card = _json(listing, read, CARD)
    if not isinstance(card.get("model"), str):
        raise _Refused(f"Its {CARD} is not one of gen_models.")
    if WEIGHTS not in listing:
        raise _Refused(f"Its {WEIGHTS} is missing; ask its author to push it again.")
    return tuple(listing[name] for name in (CARD, WEIGHTS, PREVIEW, EVALUATION) if name in listing)


def _pipeline(listing: Listing, read: Reader, half: bool) -> tuple[str, tuple[File, ...]]:
    index = _json(listing, read, INDEX)
    kind = index.get("_class_name")
    if not isinstance(kind, str) or not _CLASS.fullmatch(kind):
        raise _Refused("It needs a program of its own beside diffusers, and no program from the Hub is run here.")
    files = {INDEX: listing[INDEX]}
    for name, value in index.items():
        if name in _UNUSED or name.startswith("_") or not _is_part(value):
            continue
        library, cls = value
        if library not in _LIBRARIES or not _CLASS.fullmatch(name):
            raise _Refused(f"Its part {name} needs a program of its own, and no program from the Hub is run here.")
        folder = f"{name}/" if any(path.startswith(f"{name}/") for path in listing) else ""  # old ones lie flat
        small = [folder + file for file in (CONFIG, SCHEDULER, *_WORDS)]
        files |= {path: listing[path] for path in small if path in listing}
        if not _WITHOUT_WEIGHTS.search(cls):
            if folder + CONFIG not in listing:
                raise _Refused(f"Its part {name} is missing: there is no {name}/{CONFIG}.")
            files |= {file.name: file for file in _weights(listing, folder, half)}
    described = [path for path in files if path.rsplit("/", 1)[-1] in (INDEX, CONFIG, SCHEDULER)]
    for path in described:
        _small_enough(listing[path])
    read(described)
    return kind, tuple(files.values())


def _is_part(value: Any) -> bool:
    """[library, class]; other entries are settings, and [null, null] is a part left out."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(word, str) for word in value)


def _model(listing: Listing, read: Reader, half: bool) -> tuple[str, tuple[File, ...]]:
    config = _json(listing, read, CONFIG)
    architectures = config.get("architectures")
    kind = config.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else "")
    if not isinstance(kind, str) or not _CLASS.fullmatch(kind):
        raise _Refused(f"Its {CONFIG} does not say which model of diffusers it is.")
    return kind, (listing[CONFIG], *_weights(listing, "", half))


def _weights(listing: Listing, folder: str, half: bool) -> list[File]:
    """The safetensors of one part, whole or in pieces: full precision unless `half`, else what there is."""
    for variant in ("", ".fp16") if not half else (".fp16", ""):
        for stem in ("diffusion_pytorch_model", "model"):
            whole, index = f"{folder}{stem}{variant}.safetensors", f"{folder}{stem}.safetensors.index{variant}.json"
            if whole in listing:
                return [listing[whole]]
            if index in listing:
                piece = re.compile(rf"{re.escape(folder + stem + variant)}-\d{{5}}-of-\d{{5}}\.safetensors")
                return [listing[index], *(file for path, file in listing.items() if piece.fullmatch(path))]
    pickles = [file for path, file in listing.items() if path.startswith(folder) and path.endswith(PICKLES)]
    raise _pickled(pickles) if pickles else _Refused(f"It has no weights for {folder.rstrip('/') or 'the model'}.")


def _pickled(files: list[File]) -> _Refused:
    return _Refused(
        f"Its weights are pickles ({files[0].name}), which can run programs when they are read, so they are not. Ask "
        f"its author for safetensors, or convert it: {CONVERT}",
        files,
    )


def _small_enough(file: File) -> None:
    if file.size > MOST_JSON:
        raise BadInput(f"{file.name} is {gigabytes(file.size)} large, so it describes no model that is known here.")


def _json(listing: Listing, read: Reader, name: str) -> dict[str, Any]:
    _small_enough(listing[name])
    folder = read([name])
    try:
        found = json.loads((folder / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{name} holds no JSON object, so nothing is known of this model; ask its author.")
    return found
