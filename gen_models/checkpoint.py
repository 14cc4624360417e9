"""A checkpoint is a folder with card.json and model.safetensors, written atomically and never pickled."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from gen_models.interface import BadInput

CARD, WEIGHTS = "card.json", "model.safetensors"
CARD_LIMIT = 2**20  # bytes; a card is a few kilobytes
HALF_LIMIT = torch.finfo(torch.float16).max
STALE = 600  # seconds after which a temporary file was left behind by a kill, not by a writer at work
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


# ---- the model and its card ------------------------------------------------------------------------------------


def save(folder: str | Path, card: Mapping[str, Any], model: nn.Module | Mapping[str, Tensor], half: bool = False):
    """Writes model.safetensors and card.json; the card gains "weights": sha256, bytes and number of parameters.

    half: float32 tensors are stored as float16 where they fit. Until both files are complete the previous checkpoint
    stays; BadInput when the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    state = model.state_dict() if isinstance(model, nn.Module) else model
    counted = (
        model.parameters() if isinstance(model, nn.Module) else (t for t in state.values() if t.is_floating_point())
    )
    data = to_bytes({name: _stored(tensor, half) for name, tensor in state.items()})
    weights = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in counted),
    }
    _write({folder / WEIGHTS: data, folder / CARD: _json({**card, "weights": weights})})


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes a file of facts beside a checkpoint, whole or not at all; BadInput when it cannot be written."""
    _write({Path(path): _json(value)})


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of a checkpoint; BadInput where it is missing, absurdly large or no JSON object."""
    path = Path(folder) / CARD
    try:
        data = path.read_bytes() if path.stat().st_size <= CARD_LIMIT else b""
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"There is no {CARD} in {folder}; a checkpoint is a folder with {CARD} and {WEIGHTS}.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    if not data:
        raise BadInput(f"{path} is empty or larger than {CARD_LIMIT >> 20} MiB, so it is no card; fetch it again.")
    try:
        card = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not JSON; fetch the checkpoint again, or train it anew.") from None
    if not isinstance(card, dict):
        raise BadInput(f"{path} holds no JSON object, so it is no card; fetch the checkpoint again, or train it anew.")
    return card


def restore(model: nn.Module, folder: str | Path) -> None:
    """Loads model.safetensors into the model, converted to the model's number types.

    Names and shapes must agree exactly and the file must be the one that the card describes; otherwise BadInput, and
    the model stays as it was.
    """
    path = Path(folder) / WEIGHTS
    said = read_card(folder).get("weights")
    if not isinstance(said, dict) or not isinstance(said.get("sha256"), str):
        raise BadInput(f"The card in {folder} does not say which weights it belongs to; save the checkpoint again.")
    data = _read(path)
    _refuse_foreign(data, path)
    if len(data) != said.get("bytes", len(data)):
        raise BadInput(
            f"{path} has {len(data)} bytes where its card says {said['bytes']}: it is truncated or belongs to another "
            "card. Fetch the checkpoint again."
        )
    if hashlib.sha256(data).hexdigest() != said["sha256"]:
        raise BadInput(f"{path} is not the file that its card describes (SHA-256 differs); fetch the checkpoint again.")
    tensors, _ = _parsed(data, path)
    wrong = _differences(model.state_dict(), tensors)
    if wrong:
        raise BadInput(f"The weights in {folder} do not match the model that its card describes: {wrong}.")
    model.load_state_dict(tensors)


def locate(name_or_path: str | Path, roots: Iterable[str | Path]) -> Path:
    """The folder of a checkpoint: a `str` is a name to look for under the roots, a `Path` is taken as it stands.

    Names are letters, digits, '.', '_' and '-', so that what arrives over a network cannot leave the roots. BadInput
    when there is none, with names that come close.
    """
    if isinstance(name_or_path, Path):
        folder = name_or_path.parent if name_or_path.name in (CARD, WEIGHTS) else name_or_path
        if not (folder / CARD).is_file():
            raise BadInput(f"There is no checkpoint in {folder}: it needs {CARD} and {WEIGHTS}.")
        return folder
    if not NAME.fullmatch(name_or_path):
        raise BadInput(f"{name_or_path!r} is no name of a checkpoint: use letters, digits, '.', '_' and '-' only.")
    roots = [Path(root) for root in roots]
    for root in roots:
        if (root / name_or_path / CARD).is_file():
            return root / name_or_path
    known = sorted({card.parent.name for root in roots for card in root.glob(f"*/{CARD}")})
    near = get_close_matches(name_or_path, known, n=3) or known[:8]
    raise BadInput(f"There is no checkpoint {name_or_path!r}" + (f"; there is {', '.join(near)}." if near else "."))


# ---- the state of a training -----------------------------------------------------------------------------------


def save_state(path: str | Path, state: Any) -> None:
    """Writes nested dicts, lists and tuples of tensors, numbers, strings, bools and None as one safetensors file.

    Keys of dicts may be any of str, int, float, bool and None. Atomic; BadInput when the disk is full or the folder
    cannot be written, TypeError for anything else in the state.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_packed(state, tensors))
    _write({Path(path): to_bytes(tensors, {"structure": structure})})


def load_state(path: str | Path) -> Any:
    """What `save_state` wrote, tensors on the CPU; BadInput where the file is missing, truncated or something else."""
    path = Path(path)
    data = _read(path)
    _refuse_foreign(data, path)
    tensors, metadata = _parsed(data, path)
    try:
        return _unpacked(json.loads(metadata["structure"]), tensors)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BadInput(f"{path} does not hold the state of a training; delete it to start afresh.") from None


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON; tensors are put aside under their number."""
    if isinstance(value, Tensor):
        tensors[name := str(len(tensors))] = _stored(value)
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_scalar(key), _packed(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_packed(item, tensors) for item in value]}
    return _scalar(value)


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(item, tensors) for key, item in content}
    return {"list": list, "tuple": tuple}[kind](_unpacked(item, tensors) for item in content)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"A state holds tensors, numbers, strings, bools and None; got {type(value).__name__}.")


# ---- tensors and numbers in the form that a file takes ---------------------------------------------------------


def _stored(tensor: Tensor, half: bool = False) -> Tensor:
    """A copy of its own: safetensors refuses tensors that share memory or are not contiguous."""
    tensor = tensor.detach()
    if half and tensor.dtype == torch.float32 and not bool((tensor.abs() > HALF_LIMIT).any()):
        tensor = tensor.half()
    return tensor.cpu().clone(memory_format=torch.contiguous_format)


def _plain(value: Any) -> Any:
    """The value as strict JSON takes it: numbers of numpy and torch become Python's, NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], most: int = 3) -> str:
    """What keeps the tensors found from being those wanted, in words; empty if nothing does."""

    def fits(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and a.is_floating_point() == b.is_floating_point()

    def kind(tensor: Tensor) -> str:
        return f"{'' if tensor.is_floating_point() else 'integer '}{tuple(tensor.shape)}"

    shared = [name for name in wanted if name in found and not fits(wanted[name], found[name])]
    lists = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [f"{n} {kind(found[n])} instead of {kind(wanted[n])}" for n in shared],
    }
    return "; ".join(
        f"{len(names)} {word}: {', '.join(names[:most])}{', ...' if len(names) > most else ''}"
        for word, names in lists.items()
        if names
    )


# ---- files -----------------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"There is no {path.name} in {path.parent}; fetch the checkpoint again, or train it.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None


def _refuse_foreign(data: bytes, path: Path) -> None:
    if data[8:9] == b"{":  # a header follows its own length, whose first byte may be anything, a pickle's mark too
        return
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise BadInput(f"{path} is not a safetensors file but a pickle, which can run code: it is refused unread.")
    if data.startswith(b"version https://git-lfs"):
        raise BadInput(f"{path} is a Git LFS pointer, not the weights themselves; run `git lfs pull`.")
    raise BadInput(f"{path} is not a safetensors file: it is refused. Save or fetch it as safetensors.")


def _parsed(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    try:
        tensors = from_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError):
        raise BadInput(f"{path} is no safetensors file, or a truncated one: it is refused. Fetch it again.") from None
    return tensors, header.get("__metadata__", {})


def _write(files: Mapping[Path, bytes]) -> None:
    """Writes files of one folder, all or none: complete under temporary names first, then renamed one by one."""
    folder = next(iter(files)).parent
    parts = {target: _beside(target) for target in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, part in parts.items():
            _sweep(target)
            _fill(part, files[target])
        _rename(parts)
    except OSError as error:
        raise BadInput(_trouble(error, folder)) from error
    finally:
        for part in parts.values():
            _remove(part)


def _fill(path: Path, data: bytes) -> None:
    """A new file that is on the disk itself when this returns; its mode follows the umask, unlike tempfile's."""
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _rename(parts: Mapping[Path, Path]) -> None:
    """Moves each part to its target; when one fails, those already moved get their old contents back."""
    kept = {target: _beside(target) for target in parts}
    moved: list[Path] = []
    try:
        for target, part in parts.items():
            with contextlib.suppress(OSError):  # no old file, or a file system without hard links
                os.link(target, kept[target])
            os.replace(part, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            os.replace(kept[target], target) if kept[target].exists() else _remove(target)
        raise
    finally:
        for old in kept.values():
            _remove(old)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _sweep(target: Path) -> None:
    """Removes temporary files that a killed process left beside the target."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()


def _trouble(error: OSError, folder: Path) -> str:
    kept = "What was saved there before is unchanged."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: nothing could be saved in {folder}. Free some space or choose another folder. {kept}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission to write in {folder}. Choose another folder or change its permissions. {kept}"
    return f"Nothing could be saved in {folder} ({error.strerror or error}). Choose another folder. {kept}"
