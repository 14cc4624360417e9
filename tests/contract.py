"""What the contract tests share: every entry, small, with data of its space, and what it draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import source_for

from gen_models import zoo
from gen_models.interface import Frame, options
from gen_models.noise import Noise

FEW = {"steps": 4, "length": 12, "bars": 2}  # of denoising, and of characters


def able(*abilities: type) -> pytest.MarkDecorator:
    """Every entry whose model has these abilities."""
    names = [name for name, entry in zoo.ZOO.items() if all(issubclass(entry.model, ability) for ability in abilities)]
    return pytest.mark.parametrize("name", names)


def rows(name: str, n: int) -> Tensor | None:
    return zoo.label_rows(zoo.ZOO[name].labels, n)


def some(name: str, n: int = 3) -> Tensor:
    """Data of the entry's space, (n, *shape)."""
    return source_for(zoo.ZOO[name]).split("test").x[:n]


def drawn(model, seeds, label=None, **values) -> list[Frame]:
    known = options(type(model).sample, zoo.limits(model))
    few = {name: value for name, value in FEW.items() if name in known and not known[name].fixed}
    with torch.no_grad():
        return list(model.sample(Noise(seeds), label=label, **few | values))


def values_of(model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
