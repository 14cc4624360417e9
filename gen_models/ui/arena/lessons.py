"""Failures to provoke with one click, each with its cure."""

from __future__ import annotations

from typing import Any, NamedTuple

from gen_models import zoo

FIXED = ":fixed"  # ends the name of a lesson whose cure trains beside it


class Lesson(NamedTuple):
    """A failure: what breaks it, what to see, and what mends it."""

    key: str
    title: str
    words: str
    fix: str
    broken: zoo.Setting
    fixed: zoo.Setting
    data: str = "8gaussians"


def _pair(model: str, broken: dict[str, Any], cured: dict[str, Any], names: tuple[str, str]) -> dict[str, zoo.Setting]:
    """Two settings of one model by its name."""
    kind = next(one for one in zoo.live_models("points") if one.__name__ == model)
    return {"broken": zoo.Setting(kind, name=names[0], **broken), "fixed": zoo.Setting(kind, name=names[1], **cured)}


LESSONS: dict[str, Lesson] = {
    lesson.key: lesson
    for lesson in (
        Lesson(
            "collapse", "Mode collapse",
            "The generator moves five times for every move of the discriminator, so it chases whatever fools it now: "
            "its samples huddle in a few of the eight modes and jump between them.",
            "as many moves of the discriminator",
            **_pair("GAN", {"recipe": {"turns": {"generator": 5}}}, {}, ("5 to 1", "1 to 1")),
        ),
        Lesson(
            "penalty", "WGAN without its penalty",
            "Nothing holds the slope of the critic: its scores grow without bound, and its gradients with them.",
            "hold the gradient at norm 1",
            **_pair("WGANGP", {"config": {"penalty": 0.0}}, {}, ("no penalty", "penalty 1")),
        ),
        Lesson(
            "posterior", "Posterior collapse",
            "With beta at 8 a code costs more than it brings: the encoder says the same about every point, and the "
            "decoder answers with one broad blob.",
            "beta = 1, the bound itself",
            **_pair("BetaVAE", {"config": {"beta": 8.0}}, {"config": {"beta": 1.0}}, ("8", "1")),
        ),
        Lesson(
            "start", "EM in a bad start",
            "Eight components begin at eight random points. Two share a mode, one has to bridge two, and no round of "
            "EM, which only ever climbs, gets them out.",
            "k-means++ and the best of 8 starts",
            **_pair(
                "GaussianMixture",
                {"config": {"components": 8, "init": "random points", "restarts": 1}},
                {"config": {"components": 8}},
                ("random start", "k-means++"),
            ),
        ),
        Lesson(
            "steps", "Too few diffusion steps",
            "The network learns as well as ever, but its samples are taken in two steps: they stop half way, between "
            "the modes.",
            "20 steps of Heun's method",
            **_pair(
                "FlowMatching",
                {"sampling": {"steps": 2, "solver": "euler"}},
                {"sampling": {"steps": 20, "solver": "heun"}},
                ("2 steps", "20 steps"),
            ),
        ),
        Lesson(
            "strong", "A discriminator that is too strong",
            "The discriminator learns a hundred times faster than the generator: it tells most samples apart, and its "
            "slope turns before the generator has followed it. Two in five samples end up between the modes.",
            "one learning rate for both",
            **_pair("GAN", {"recipe": {"lr": {"discriminator": 1e-2, "generator": 1e-4}}}, {}, ("strong", "balanced")),
        ),
    )
}  # fmt: skip
