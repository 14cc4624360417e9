"""Figures from arrays: how far samples are from data, how varied they are, what is copied, and how sure that is.

Pure functions: rows of any float type in, plain numbers out, float64 inside, on the CPU.
"""

from gen_models.metrics.counts import LEVELS, bits_per_dim, mean_error, modes_and_kl, modes_covered, ratio, wilson
from gen_models.metrics.differences import energy_distance, frechet, kernel_distance
from gen_models.metrics.holding import hold_or_unigram
from gen_models.metrics.kneser_ney import KneserNey, kneser_ney
from gen_models.metrics.music import distances, longest_copies, statistics
from gen_models.metrics.neighbours import copies, density_coverage, nearer, nearest
from gen_models.metrics.ssim import ssim
from gen_models.metrics.texts import copied, distinct

__all__ = [
    "LEVELS",
    "KneserNey",
    "bits_per_dim",
    "copied",
    "copies",
    "density_coverage",
    "distances",
    "distinct",
    "energy_distance",
    "frechet",
    "hold_or_unigram",
    "kernel_distance",
    "kneser_ney",
    "longest_copies",
    "mean_error",
    "modes_and_kl",
    "modes_covered",
    "nearer",
    "nearest",
    "ratio",
    "ssim",
    "statistics",
    "wilson",
]
