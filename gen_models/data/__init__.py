"""Data sets by name, and those that a person brings: a Space that is known without reading, and batches of x."""

from __future__ import annotations

from gen_models.data.chorales import CHORALE_SETS, load_chorales
from gen_models.data.densities import DENSITIES, Density
from gen_models.data.domains import DOMAIN_SETS, Domains, DomainSet, from_two, load_domain_set
from gen_models.data.fetching import FetchedSet
from gen_models.data.hub import HUB_SETS, HubSet, load_hub_set
from gen_models.data.images import in_bytes, in_range
from gen_models.data.pictures import from_pictures
from gen_models.data.points import from_points, points_from_csv
from gen_models.data.posteriors import Posterior, posterior
from gen_models.data.reading import picture
from gen_models.data.text import TEXT_SETS, TextSet, decoded, encoded, from_text, load_text_set, read_text
from gen_models.interface import BadInput, Data, Space

__all__ = [
    "NAMES",
    "Domains",
    "Posterior",
    "decoded",
    "encoded",
    "from_pictures",
    "from_points",
    "from_text",
    "from_two",
    "in_bytes",
    "in_range",
    "load",
    "picture",
    "points_from_csv",
    "posterior",
    "read_text",
    "source_of",
    "space_of",
    "title_of",
]

NAMES = (*DENSITIES, *HUB_SETS, *DOMAIN_SETS, *TEXT_SETS, *CHORALE_SETS)


def space_of(name: str) -> Space:
    """Where the set's x lives, without reading it; BadInput for an unknown name, here and below."""
    return _known(name).space


def title_of(name: str) -> str:
    """The set's name as people write it."""
    return _known(name).title


def source_of(name: str) -> str:
    """Whose work the set is, where it comes from and its licence, in a sentence."""
    return _known(name).source


def load(name: str) -> Data:
    """The data set, read once per process and from then on kept; BadInput says how to get one that is missing."""
    known = _known(name)
    if isinstance(known, HubSet):
        return load_hub_set(name)
    if isinstance(known, DomainSet):
        return load_domain_set(name)
    if name in CHORALE_SETS:
        return load_chorales(name)
    return load_text_set(name) if isinstance(known, TextSet) else known


def _known(name: str) -> Density | HubSet | DomainSet | FetchedSet:
    known = DENSITIES.get(name) or HUB_SETS.get(name) or DOMAIN_SETS.get(name)
    known = known or TEXT_SETS.get(name) or CHORALE_SETS.get(name)
    if known is None:
        raise BadInput(f"There is no data set {name!r}. Choose one of {', '.join(NAMES)}.")
    return known
