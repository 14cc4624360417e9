"""What a sample begins with: the noise that a model draws first, and which models begin with the very same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gen_models.interface import BadInput, GenerativeModel, Samples
from gen_models.noise import Noise
from gen_models.zoo.sampling import label_rows


class _Watched(Noise):
    """Noise that remembers its first draw: the numbers where they are normal ones, else None."""

    first: Tensor | None = None
    drawn = False

    def normal(self, *shape: int) -> Tensor:
        return self._kept(super().normal(*shape), True)

    def uniform(self, *shape: int) -> Tensor:
        return self._kept(super().uniform(*shape), False)

    def _kept(self, x: Tensor, normal: bool) -> Tensor:
        if not self.drawn:
            self.drawn, self.first = True, x.cpu() if normal else None
        return x


def beginnings(model: GenerativeModel, seeds: Sequence[int]) -> Tensor | None:
    """The normal numbers (n, *latent_shape) that the samples of these seeds begin with, before any temperature.

    None for a model that does not begin with normal noise: it chooses symbol after symbol, or a component first.
    """
    if not isinstance(model, Samples):
        raise BadInput("This entry does not sample.")
    noise = _Watched(seeds, model.device)
    with torch.inference_mode():
        frames = model.sample(noise, label=label_rows(model.labels, len(seeds)))
        while not noise.drawn and next(frames, None) is not None:
            pass
    return noise.first


def shared(begun: Mapping[str, Tensor | None]) -> list[list[str]]:
    """The names in groups that begin with the very same numbers, whatever their shape; the largest group first.

    Names whose numbers nobody shares are groups of one; last come those that do not begin with noise, each alone.
    """
    groups: list[tuple[Tensor | None, list[str]]] = []
    for name, numbers in begun.items():
        flat = None if numbers is None else numbers.flatten(1)
        same = (group for kept, group in groups if _equal(kept, flat))
        group = next(same, None)
        if group is None:
            groups.append((flat, [name]))
        else:
            group.append(name)
    return [names for _, names in sorted(groups, key=lambda group: (group[0] is None, -len(group[1])))]


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
