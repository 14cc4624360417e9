"""Samples, previews and decoded codes of a loaded model, with everything a person asks for checked first.

What does not fit into memory at once is made in parts, which come as one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from gen_models import device, render
from gen_models.interface import (
    BadInput,
    Choices,
    Clusters,
    Completes,
    Data,
    Decodes,
    Denoises,
    Frame,
    GenerativeModel,
    Opens,
    Range,
    Samples,
    Space,
    State,
    Translates,
    checked,
    checked_seed,
)
from gen_models.noise import Noise
from gen_models.zoo import lending
from gen_models.zoo.parts import Run, in_parts, in_turn
from gen_models.zoo.shelf import Shelf, load, standing

Made = TypeVar("Made")


def label_rows(labels: Sequence[str], n: int, label: str | int | Tensor | None = None, first: int = 0) -> Tensor | None:
    """One-hot rows (n, K): the class asked for by name or index, or class (first + k) mod K for sample k.

    Rows (n, K) stay as they are. None for an entry without classes; BadInput for a class that it does not have.
    """
    if isinstance(label, Tensor):
        if label.shape != (n, len(labels)):
            raise BadInput(f"Label rows of {n} samples are ({n}, {len(labels)}), not {tuple(label.shape)}.")
        return label.float()
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
    if isinstance(model, Opens):
        config |= model.config
    if isinstance(model, Clusters):
        config["components"] = len(model.components().weight)
    return type(model).limits(model.space, config)


def sample(
    model: GenerativeModel,
    seed: int,
    n: int,
    *,
    label: str | int | Tensor | None = None,
    first: int = 0,
    start: State | None = None,
    **values: Any,
) -> Run:
    """Frames of n samples with seeds seed .. seed + n - 1; options and seeds are checked before the first frame.

    `label` may be rows (n, K) too: one-hot, mixed, or zero for none. `first` is the number of the first of them in a
    larger set, which decides its class where no label is asked for. `start` goes on from a frame's state: the frames
    are those of the steps that are left, and cost those alone; BadInput for a model that does not denoise.
    What does not fit into memory at once is drawn in parts, and `said` of what is returned says so. On ZeroGPU models
    of the Hub draw on the GPU that is lent for it; their frames arrive on the CPU.
    """
    told: list[str] = []
    if device.lends() and isinstance(model, Opens) and (place := standing(model)):
        asked = {"seed": seed, "n": n, "label": label, "first": first, "start": start, **values}
        return Run(_lent(place, asked, told), told)
    return drawn(model, seed, n, label=label, first=first, start=start, **values)


def drawn(
    model: GenerativeModel,
    seed: int,
    n: int,
    *,
    label: Any = None,
    first: int = 0,
    start: State | None = None,
    **values: Any,
) -> Run:
    """`sample` where the model is."""
    told: list[str] = []

    def frames() -> Iterator[Frame]:
        if not isinstance(model, Samples):
            raise BadInput("This entry does not sample.")
        lowest = checked_seed(seed, n)
        chosen = checked(type(model).sample, values, limits(model))
        rows = label_rows(model.labels, n, label, first)
        if start is not None and not isinstance(model, Denoises):
            raise BadInput("This entry cannot go on from a step of its own: it does not denoise.")

        def part(which: slice) -> Iterator[Frame]:
            noise = Noise(range(lowest, lowest + n)[which], model.device)
            begun = {} if start is None else {"start": _rows_of(start, which, model.device)}
            asked = None if rows is None else rows[which].to(model.device)
            return stepped(model.sample(noise, label=asked, **begun, **chosen))

        yield from in_parts(part, n, model, told)

    return Run(frames(), told)


def _rows_of(state: State, which: slice, where: torch.device) -> State:
    """The state of some of its samples, where the model is."""
    history = tuple((t, x0[which].to(where)) for t, x0 in state.history)
    return state._replace(x=state.x[which].to(where), history=history)


def _lent(place: tuple[str, str], asked: Mapping[str, Any], told: list[str]) -> Iterator[Frame]:
    """The frames of `drawn` for the model that stands at `place`, from the GPU that is lent."""
    try:
        for kind, content in _on_gpu(*place, lending.packed(asked)):
            if kind == "wrong":
                raise BadInput(content)
            if kind == "said":
                told.append(content)
            else:
                yield lending.landed(content)
    except Exception as error:
        if refusal := device.refused(error):
            raise BadInput(f"No GPU is lent at the moment: {refusal}") from None
        raise


@device.gpu(lending.seconds)
def _on_gpu(root: str, name: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each frame packed, a word for the person when there is one, and what is wrong as a word: errors lose theirs."""
    try:
        run, said = drawn(load(name, Shelf(root), device.LENT), **lending.landed(asked)), ""
        for frame in run:
            if run.said != said:
                said = run.said
                yield "said", said
            yield "frame", lending.packed(frame)
    except BadInput as error:
        yield "wrong", str(error)


def complete(
    model: GenerativeModel,
    x: Tensor,
    known: Tensor,
    seed: int,
    *,
    label: str | int | None = None,
    **values: Any,
) -> Run:
    """Frames of x (n, ...) whose unknown places are filled in, with seeds seed .. seed + n - 1; checked beforehand."""
    told: list[str] = []

    def frames() -> Iterator[Frame]:
        if not isinstance(model, Completes):
            raise BadInput("This entry does not go on with what is there.")
        start = checked_seed(seed, len(x))
        chosen = checked(type(model).complete, values, limits(model))
        rows = label_rows(model.labels, len(x), label)

        def part(which: slice) -> Iterator[Frame]:
            noise = Noise(range(start, start + len(x))[which], model.device)
            given = [None if t is None else t[which].to(model.device) for t in (x, known, rows)]
            return stepped(model.complete(given[0], given[1], noise, label=given[2], **chosen))

        yield from in_parts(part, len(x), model, told)

    return Run(frames(), told)


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

    def part(which: slice) -> Tensor:
        rows = None if label is None else label[which].to(model.device)
        return model.decode(z[which].to(model.device), label=rows)

    with torch.inference_mode():
        return in_turn(part, len(z), model)


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
        return in_turn(lambda which: model.translate(x[which].to(model.device), to).cpu(), len(x), model)


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
