"""What is measured: every figure's name, unit and meaning, and how it is written with its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Figure(NamedTuple):
    """A measured number: its key in evaluation.json, how it is shown, and which way is better."""

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher", ""]
    digits: int  # after the point
    words: str


FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        Figure("fd", "FD_clf", "", "lower", 2, "Fréchet distance to the test set in the judge's 64 features. Not FID."),
        Figure("kid", "KID", "x 1000", "lower", 2, "Kernel distance to the test set in the judge's features."),
        Figure("density", "Density", "", "higher", 2, "How often samples fall where real ones are dense; 1 is usual."),
        Figure("coverage", "Coverage", "", "higher", 3, "Share of real ones with a sample in their neighbourhood."),
        Figure("accuracy", "Class accuracy", "", "higher", 3, "Share of samples in which judge B sees their class."),
        Figure("modes", "Modes of 1000", "", "higher", 0, "Different triples of digits among 2.6 n samples."),
        Figure("kl", "KL of modes", "nats", "lower", 3, "Modes against uniform; a perfect sampler has 999 / (2 N)."),
        Figure("nearer", "Nearer to train", "", "", 3, "Share nearer to a training picture than to a held-out one."),
        Figure("copies", "Exact copies", "", "lower", 4, "Share of samples that are a training example, bit by bit."),
        Figure("energy", "Energy distance", "x 1000", "lower", 2, "Energy distance to the test points; 0 is perfect."),
        Figure("inside", "On the data", "", "higher", 3, "Share of samples where 99 % of the truth lies."),
        Figure("nats", "Negative log-likelihood", "nats", "lower", 3, "Of the test set; a VAE's is an upper bound."),
        Figure("truth", "Entropy of the data", "nats", "", 3, "The least negative log-likelihood that there is."),
        Figure("elbo", "Negative ELBO", "nats", "lower", 2, "The evidence bound with one draw per test example."),
        Figure("bits_per_dim", "Bits per dimension", "bits", "lower", 3, "Of the test set, dequantised."),
        Figure("copied", "Copied stretches", "", "", 4, "Share of 16 characters in a row that the training text has."),
        Figure("distinct", "Written once", "", "", 3, "Share of samples that no other sample equals."),
        Figure("nats_per_symbol", "Nats per character", "nats", "lower", 4, "Of the test split."),
        Figure("nats_apart", "Nats, windows apart", "nats", "lower", 4, "Per character; each window begins anew."),
        Figure("nats_unseen", "Nats, unseen lines", "nats", "lower", 4, "Per character of lines not in training."),
        Figure("kneser_ney", "Kneser-Ney n-gram", "nats", "", 4, "Per character, by counting alone: to be beaten."),
        Figure("nats_per_note", "Nats per note", "nats", "lower", 4, "Per sixteenth and voice, of whole test pieces."),
        Figure("hold", "Hold or table", "nats", "", 4, "Per sixteenth and voice, of a held pitch or a table's."),
        Figure("scale", "Scale consistency", "", "", 3, "Share of a piece's notes in the scale that fits best."),
        Figure("polyphony", "Polyphony", "", "", 3, "Share of onsets at which two or more voices begin."),
        Figure("span", "Tone span", "semitones", "", 1, "From the lowest to the highest of a piece's notes."),
        Figure("unique", "Different pitches", "", "", 1, "Among the first 100 notes of a piece."),
        Figure("repeats2", "Repeated pairs", "", "", 1, "Pairs of notes that come again, of a piece's first 100."),
        Figure("repeats3", "Repeated triples", "", "", 1, "Three notes that come again, of a piece's first 100."),
        Figure("w_pitch_classes", "Pitch classes off", "semitones", "lower", 3, "Wasserstein-1 to the test's degrees."),
        Figure("w_intervals", "Intervals off", "semitones", "lower", 3, "Wasserstein-1 to the test's melodic steps."),
        Figure("w_durations", "Durations off", "sixteenths", "lower", 3, "Wasserstein-1 to the test's note lengths."),
        Figure("copied_chords", "Longest copy", "chords", "", 1, "Chords in a row that a training piece has, any key."),
        Figure("mse", "Reconstruction error", "", "lower", 5, "Mean squared, of test pictures; pixels go from 0 to 1."),
        Figure("live", "Live codes", "", "higher", 3, "Share of the codebook that the test pictures use."),
        Figure("perplexity", "Perplexity of codes", "", "higher", 1, "As many codes, used alike, would be as varied."),
        Figure("code_nats", "Nats of codes", "nats", "lower", 2, "Of test pictures' codes under the prior."),
        Figure("kept", "Label kept", "", "higher", 3, "Share whose class judge B of the new domain still sees."),
        Figure("twin_l1", "Error to the twin", "", "lower", 4, "Mean absolute, to the true twin; pixels from 0 to 1."),
        Figure("ssim", "SSIM to the twin", "", "higher", 3, "Structural similarity to the true twin; 1 is equal."),
        Figure("cycle_l1", "Cycle error", "", "lower", 4, "Mean absolute, there and back; pixels from 0 to 1."),
        Figure("error", "Test error", "", "lower", 4, "Share of the test set that the judge gets wrong."),
    )
}  # fmt: skip

_SCALE = {"x 1000": 1000.0}


def written(key: str, cell: Mapping[str, Any] | None) -> str:
    """A cell of figures in words: "0.981 (0.978 to 0.984)", "1.20 ± 0.05"; "" where there is none."""
    if not cell or cell.get("value") is None:
        return ""
    figure = FIGURES[key]
    scale = _SCALE.get(figure.unit, 1.0)

    def number(value: float) -> str:
        return f"{scale * value:.{figure.digits}f}"

    if cell.get("low") is not None:
        return f"{number(cell['value'])} ({number(cell['low'])} to {number(cell['high'])})"
    spread = cell.get("se") if cell.get("se") is not None else cell.get("sd")
    return number(cell["value"]) + (f" ± {number(spread)}" if spread is not None else "")
