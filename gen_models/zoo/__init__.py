"""The zoo: the table of entries, and building, loading, sampling and training them by name."""

from gen_models.zoo.arena import Contest, Contestant, Setting
from gen_models.zoo.beginnings import beginnings, shared
from gen_models.zoo.entries import FAMILIES, HUB, JUDGE, Entry, Family, build, card_of, entry_of
from gen_models.zoo.fetched import Offer, export, offer, push, shelve
from gen_models.zoo.lending import place
from gen_models.zoo.parts import Run
from gen_models.zoo.running import STATE, run
from gen_models.zoo.sampling import (
    both_ways,
    complete,
    decoded,
    domain,
    few,
    held_pairs,
    label_rows,
    limits,
    preview,
    sample,
    stepped,
    translated,
)
from gen_models.zoo.shelf import BUNDLED, BUNDLED_ROOT, PREVIEW, Loaded, Shelf, forget, load, loaded, unload
from gen_models.zoo.table import JUDGES, SORTS, ZOO, live, live_models, sort_of

__all__ = [
    "BUNDLED",
    "BUNDLED_ROOT",
    "FAMILIES",
    "HUB",
    "JUDGE",
    "JUDGES",
    "PREVIEW",
    "SORTS",
    "STATE",
    "ZOO",
    "Contest",
    "Contestant",
    "Entry",
    "Family",
    "Loaded",
    "Offer",
    "Run",
    "Setting",
    "Shelf",
    "beginnings",
    "both_ways",
    "build",
    "card_of",
    "complete",
    "decoded",
    "domain",
    "entry_of",
    "export",
    "few",
    "forget",
    "held_pairs",
    "label_rows",
    "limits",
    "live",
    "live_models",
    "load",
    "loaded",
    "offer",
    "place",
    "preview",
    "push",
    "run",
    "sample",
    "shared",
    "shelve",
    "sort_of",
    "stepped",
    "translated",
    "unload",
]
