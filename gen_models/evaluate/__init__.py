"""Honest numbers: which measures an entry gets, control rows, and evaluation.json beside its checkpoint.

Every figure on the page, in a card or in the README comes from here.
"""

from gen_models.evaluate.figures import FIGURES, Figure, written
from gen_models.evaluate.record import RECORD, read, stale
from gen_models.evaluate.running import CONTROLS, SEEDS, N, Step, run
from gen_models.evaluate.subject import Judges, judges_of
from gen_models.evaluate.tables import between, controls, fill, likely, markdown
from gen_models.evaluate.targets import TARGETS, TRIED, verdicts
from gen_models.evaluate.texts import ORDERS

__all__ = [
    "CONTROLS",
    "FIGURES",
    "ORDERS",
    "RECORD",
    "SEEDS",
    "TARGETS",
    "TRIED",
    "Figure",
    "Judges",
    "N",
    "Step",
    "between",
    "controls",
    "fill",
    "judges_of",
    "likely",
    "markdown",
    "read",
    "run",
    "stale",
    "verdicts",
    "written",
]
