"""Pictures that are written pixel by pixel, in reading order: where one comes from, and how it travels as bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen_models import data, zoo
from gen_models.interface import BadInput, Completes, Frame, GenerativeModel, Option, Range, Scores
from gen_models.noise import Noise
from gen_models.ui import pad
from gen_models.ui.fields import ANY, Field, choice, option_fields
from gen_models.ui.panels import reconstruct
from gen_models.ui.visits import Picked, card_time

PATIENCE = 0.3  # seconds a live call waits for a data set that is being read; then the page asks again
OWN = "The test pictures of your own data are not kept. Draw or upload a picture, or begin with nothing."
UNWRITTEN = 128  # the byte of a pixel where nothing stands yet


class Given(NamedTuple):
    """The picture to begin with."""

    x: Tensor | None  # (1, 1, H, W), -1 or 1 where the model is of black and white pixels; None for nothing at all
    name: str
    recipe: dict[str, Any]  # what a recipe needs to have it again


class Perhaps(Option):
    """An option that may be left empty, which is None."""

    def check(self, value: Any) -> Any:
        return None if value is None or value == "" else super().check(value)


# ---- entries ------------------------------------------------------------------------------------------------------


def suits(picked: Picked, *needs: type) -> bool:
    """Whether such a panel shows this entry: it is trained, grey, and can do what is needed."""
    model, space = picked.entry.model, picked.space
    able = all(issubclass(model, need) for need in needs)
    return able and space.kind == "image" and space.shape[0] == 1 and card_time(picked.shelf, picked.name) > 0


def model_of(picked: Picked, *needs: type, device: str = "cpu") -> Any:
    """The model; BadInput when it is not trained, or not one that writes grey pictures pixel by pixel."""
    model = picked.model(device)
    if not all(isinstance(model, need) for need in needs) or picked.space.kind != "image" or picked.space.shape[0] != 1:
        raise BadInput(f"{picked.name} does not write pictures pixel by pixel; choose another entry.")
    return model


def fields(picked: Picked) -> list[Field]:
    """Temperature and class, in which "any" leaves the model to find out."""
    if not (issubclass(picked.entry.model, Completes) and picked.space.kind == "image"):
        return []
    classes = [choice("label", "Class", (ANY, *picked.labels))] if picked.labels else []
    found = option_fields(picked.entry.model.sample, picked.entry.limits(), ("temperature",))
    words = {"temperature": "0 takes the likelier value every time."}
    return [*classes, *(field._replace(info=words.get(field.option.name, field.info)) for field in found)]


def rows(picked: Picked, label: int | None, count: int, device: Any) -> Tensor | None:
    """One-hot rows (count, K) of a class; None leaves it open."""
    if label is None:
        return None
    return torch.eye(len(picked.labels), device=device)[label].expand(count, -1)


def size_of(picked: Picked) -> tuple[int, int]:
    """Rows and columns of the entry's pictures; MNIST's where it makes none."""
    return tuple(picked.space.shape[1:]) if picked.space.kind == "image" else (28, 28)


# ---- pictures -----------------------------------------------------------------------------------------------------


def reading(picked: Picked) -> Future:
    """The test pictures as bytes with their labels, being read."""
    if picked.entry.data not in data.NAMES:
        raise BadInput(OWN)
    name = picked.entry.data
    return reconstruct.TESTS.of(name, lambda: reconstruct.test_pictures(name))


def ready(picked: Picked, drawn: Any, test: Any) -> bool:
    """Whether `given` need not wait; after PATIENCE at most."""
    if drawn or test is None:
        return True
    future = reading(picked)
    wait([future], timeout=PATIENCE)
    return future.done()


def given(picked: Picked, drawn: Any, test: Any) -> Given:
    """What was drawn or brought, else the test picture of that number, else nothing; grey becomes black or white."""
    if drawn:
        x = binarised(picked, pad.received(drawn, picked.space)[None])
        name = str(drawn.get("name") or "your picture")[:80] if drawn.get("kind") == "file" else "your drawing"
        return Given(x, name, {"picture": packed(x)})
    if test is None:
        return Given(None, "nothing", {})
    tests, _ = reading(picked).result()
    row = Option("test", Range(0, len(tests) - 1), 0, int).check(test)
    return Given(binarised(picked, data.in_range(tests[row : row + 1])), f"test picture {row}", {"test": row})


def binarised(picked: Picked, x: Tensor) -> Tensor:
    """Pictures with their brightness as the probability of white, always the same draw, as log_prob has it."""
    model = picked.entry.model
    if not issubclass(model, Scores) or model.measure(picked.space, picked.entry.config) != "binary":
        return x
    u = Noise([0] * len(x)).uniform(*x.shape[1:])
    return torch.where(u < (x + 1) / 2, 1.0, -1.0)


def known_until(x: Tensor, count: int) -> Tensor:
    """The first `count` pixels in reading order as a mask of x's shape (B, 1, H, W)."""
    return (torch.arange(x[0].numel()) < count).view(1, *x.shape[1:]).expand_as(x)


def written(x: Tensor) -> int:
    """How many pixels of x (B, 1, H, W), in reading order, stand in all pictures: 0 is where nothing stands."""
    return int((x != 0).all(0).flatten().long().cumprod(0).sum())


def frames(
    model: GenerativeModel, x: Tensor, count: int, noise: Noise, label: Tensor | None, options: Mapping[str, Any]
) -> Iterator[Frame]:
    """The model's frames from the first `count` pixels of x on, on the CPU."""
    known = known_until(x, count).to(model.device)
    for frame in zoo.stepped(model.complete(x.to(model.device), known, noise, label=label, **options)):
        yield frame._replace(x=frame.x.cpu())


# ---- bytes --------------------------------------------------------------------------------------------------------


def coded(x: Tensor) -> str:
    """Pixels in [-1, 1] of any shape as base64 of bytes, UNWRITTEN where they are 0."""
    return base64.b64encode(data.in_bytes(x.detach().cpu()).numpy().tobytes()).decode()


def packed(x: Tensor) -> str:
    """Black and white pixels as base64 of bits, the first pixel the highest bit of the first byte."""
    bits = (x.flatten() > 0).long()
    bits = torch.nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
    values = (bits * torch.tensor([128, 64, 32, 16, 8, 4, 2, 1])).sum(1)
    return base64.b64encode(bytes(values.tolist())).decode()


def arrived(text: Any, picked: Picked, count: int) -> Tensor:
    """The first `count` pixels that a browser sent as base64 of bytes, as (1, 1, H, W), 0 after them; BadInput."""
    height, width = size_of(picked)
    try:
        whole = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    if len(whole) != height * width:
        raise BadInput(f"A picture of this entry has {height} x {width} pixels, a byte each. Start again.")
    if set(whole[:count]) - {0, 255}:
        raise BadInput("Written pixels are black (0) or white (255). Start again.")
    x = data.in_range(torch.frombuffer(bytearray(whole), dtype=torch.uint8)).view(1, 1, height, width)
    return torch.where(known_until(x, count), x, 0.0)
