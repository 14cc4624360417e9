"""Samples on the way from one seed's noise to another's, each a full run of the sampler, all of them one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from gen_models import device
from gen_models.interface import BadInput, Frame, GenerativeModel, Opens, Samples, checked, checked_seed
from gen_models.steering import Between
from gen_models.zoo.parts import Run, in_parts
from gen_models.zoo.sampling import label_rows, limits, stepped


def between(
    model: GenerativeModel,
    a: int,
    b: int,
    weights: Sequence[float],
    *,
    label: str | int | Tensor | None = None,
    **values: Any,
) -> Run:
    """Frames of len(weights) samples whose noise is that of seed a at weight 0, of seed b at 1, and between them else.

    Everything is checked before the first frame, as by `sample`, whose samples those at 0 and 1 are; label: a class, or
    rows (n, K). BadInput where models of the Hub sample on a GPU that is lent for each call.
    """
    told: list[str] = []

    def frames() -> Iterator[Frame]:
        if not isinstance(model, Samples):
            raise BadInput("This entry does not sample.")
        if device.lends() and isinstance(model, Opens):
            raise BadInput("Models of the Hub are not walked between noises where their GPU is lent for each call.")
        ends = checked_seed(a), checked_seed(b)
        chosen = checked(type(model).sample, values, limits(model))
        rows = label_rows(model.labels, len(weights), label)

        def part(which: slice) -> Iterator[Frame]:
            noise = Between(*ends, weights[which], model.device)
            asked = None if rows is None else rows[which].to(model.device)
            return stepped(model.sample(noise, label=asked, **chosen))

        yield from in_parts(part, len(weights), model, told)

    return Run(frames(), told)
