"""Figures from arrays: how far samples are from data, how varied they are, what is copied, and how sure that is.

Pure functions: rows of any float type in, plain numbers out, float64 inside, on the CPU.
"""

from gen_models.metrics.counts import LEVELS, bits_per_dim, mean_error, modes_and_kl, modes_covered, wilson
from gen_models.metrics.differences import energy_distance, frechet, kernel_distance
from gen_models.metrics.neighbours import copies, density_coverage, nearer, nearest

__all__ = [
    "LEVELS",
    "bits_per_dim",
    "copies",
    "density_coverage",
    "energy_distance",
    "frechet",
    "kernel_distance",
    "mean_error",
    "modes_and_kl",
    "modes_covered",
    "nearer",
    "nearest",
    "wilson",
]
