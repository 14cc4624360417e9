"""Samples, previews and decoded codes of a loaded model, with everything a person asks for checked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from gen_models import render
from gen_models.interface import (
    BadInput,
    Choices,
    Clusters,
    Completes,
    Data,
    Decodes,
    Frame,
    GenerativeModel,
    Range,
    Samples,
    Space,
    Translates,
    checked,
    checked_seed,
)
from gen_models.noise import Noise

Made = TypeVar("Made")


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


def limits(model: GenerativeModel) -> Mapping[str, Range | Choices]:
    """The bounds of a built model's sampling options."""
    config: dict[str, Any] = {"conditional": bool(model.labels)}
    if isinstance(model, Clusters):
        config["components"] = len(model.components().weight)
    return type(model).limits(model.space, config)


def sample(
    model: GenerativeModel, seed: int, n: int, *, label: str | int | None = None, first: int = 0, **values: Any
) -> Iterator[Frame]:
    """Frames of n samples with seeds seed .. seed + n - 1; options and seeds are checked before the first frame.

    `first` is the number of the first of them in a larger set, which decides its class where no label is asked for.
    """
    if not isinstance(model, Samples):
        raise BadInput("This entry does not sample.")
    seed = checked_seed(seed, n)
    chosen = checked(type(model).sample, values, limits(model))
    rows = label_rows(model.labels, n, label, first)
    noise = Noise(range(seed, seed + n), model.device)
    yield from stepped(model.sample(noise, label=None if rows is None else rows.to(model.device), **chosen))


def complete(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    seed: int,
    *,
    label: str | int | None = None,
    **values: Any,
) -> Iterator[Frame]:
    """Frames of x (n, ...) whose unknown places are filled in, with seeds seed .. seed + n - 1; checked beforehand."""
    if not isinstance(model, Completes):
        raise BadInput("This entry does not go on with what is there.")
    seed = checked_seed(seed, len(x))
    chosen = checked(type(model).complete, values, limits(model))
    rows = label_rows(model.labels, len(x), label)
    noise = Noise(range(seed, seed + len(x)), model.device)
    rows = None if rows is None else rows.to(model.device)
    yield from stepped(model.complete(x.to(model.device), known.to(model.device), noise, label=rows, **chosen))


def stepped(frames: Iterator[Made]) -> Iterator[Made]:
    """What a model makes step by step, without gradients; not across a yield: the caller may change its thread."""
    while True:
        with torch.inference_mode():
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def few(space: Space) -> int:
    """How many samples stand for a model: 1000 points, one long text, four pieces of music, or 16 pictures or lines."""
    return {"points": 1000, "text": 16 if space.encoding == "lines" else 1, "music": 4}.get(space.kind, 16)


def preview(model: GenerativeModel, n: int | None = None) -> Any:
    """The picture of an entry before it is loaded: samples with seeds 0, 1, .."""
    n = n or few(model.space)
    *_, last = sample(model, 0, n)
    return render.grid(last.x.cpu(), model.space)


def decoded(model: GenerativeModel, z: Tensor, label: Tensor | None = None) -> Tensor:
    """decode without gradients; BadInput for a model that cannot."""
    if not isinstance(model, Decodes):
        raise BadInput("This entry has no decoder.")
    with torch.inference_mode():
        return model.decode(z.to(model.device), label=label)


# ---- from one domain to the other --------------------------------------------------------------------------------


def domain(space: Space, to: Any) -> Literal["A", "B"]:
    """The domain that is meant by A, B or its name; BadInput names those that there are."""
    for letter, name in zip("AB", space.domains, strict=False):
        if isinstance(to, str) and to.casefold() in (letter.casefold(), name.casefold()):
            return letter
    known = " or ".join(f"{letter} ({name})" for letter, name in zip("AB", space.domains, strict=False))
    raise BadInput(f"There is no domain {to!r}; choose {known}." if known else "This entry knows one domain only.")


def translated(model: GenerativeModel, x: Tensor, to: str) -> Tensor:
    """x (B, *shape) of the other domain redrawn as one of `to` (A, B or a name), without gradients, on the CPU."""
    if not isinstance(model, Translates):
        raise BadInput("This entry does not translate.")
    to = domain(model.space, to)
    with torch.inference_mode():
        return model.translate(x.to(model.device), to).cpu()


def held_pairs(source: Data, n: int = 4) -> tuple[Tensor, Tensor]:
    """n pictures of each domain that were held out of training, evenly chosen: of few, the test split's too."""
    valid = source.split("valid")
    a, b = valid.x, valid.other
    if min(len(a), len(b)) < n:
        test = source.split("test")
        a, b = torch.cat([a, test.x]), torch.cat([b, test.other])
    return tuple(x[torch.linspace(0, len(x) - 1, n).round().long()] for x in (a, b))


def both_ways(model: GenerativeModel, a: Tensor, b: Tensor) -> Tensor:
    """Pictures (n, C, H, W) of each domain, in rows of four: of A, as B, of B, as A; (4 n, C, H, W)."""
    parts = [a.cpu(), translated(model, a, "B"), b.cpu(), translated(model, b, "A")]
    return torch.stack(parts, 1).flatten(0, 1)
