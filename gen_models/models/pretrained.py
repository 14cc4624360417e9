"""Diffusion pipelines of pictures in the format of diffusers, opened as models of ours; and a model of ours as one.

What all pipelines share stands here: the facts in their JSON files, and how their parts are opened.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen_models.interface import BadInput, Batch, Frame, GenerativeModel, Guess, Loss, Opens, Space, State, Turn
from gen_models.models.diffusion import DDPM, Eta, Steps, Walks
from gen_models.models.pretrained_levels import Exploding, Levels
from gen_models.noise import Noise
from gen_models.solvers import Solver, step

INDEX = "model_index.json"
JSON_LIMIT = 2**20  # bytes; the names of a thousand classes take 40 kB
LARGEST = 512  # pixels of a side that a network on pixels may have
PREDICTIONS = ("epsilon", "v_prediction", "sample")


# ---- what the JSON files say -----------------------------------------------------------------------------------


def facts(path: Path) -> dict[str, Any]:
    """The JSON object in a file; BadInput where there is none."""
    name = f"{path.parent.name}/{path.name}"
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= JSON_LIMIT else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{name} is missing or no JSON object, so this cannot be opened; fetch it again.")
    return found


def part(files: Path, name: str) -> Path:
    """The folder of a part: its own, else the root, where the oldest pipelines keep all."""
    return files / name if (files / name).is_dir() else files


def component(files: Path, name: str, kinds: Sequence[str]) -> dict[str, Any]:
    """The configuration of a pipeline's part, which must be of one of these classes; BadInput otherwise."""
    said = facts(files / INDEX).get(name)
    kind = said[1] if isinstance(said, list) and len(said) == 2 else None
    if kind not in kinds:
        raise BadInput(f"Its part {name!r} is {kind or 'missing'}; only {' or '.join(kinds)} can be opened here.")
    config = facts(part(files, name) / "config.json")
    if config.get("quantization_config"):
        raise BadInput(f"Its part {name!r} is quantised; ask for a repository with plain weights.")
    return config


def sides(value: Any, factor: int = 1) -> tuple[int, int]:
    """`sample_size` of a configuration, a number or (height, width), times the factor; BadInput for anything else."""
    pair = [value, value] if type(value) is int else value
    if not isinstance(pair, list | tuple) or len(pair) != 2 or any(type(n) is not int or n < 1 for n in pair):
        raise BadInput(f"Its configuration does not say how large the pictures are (sample_size is {value!r}).")
    return pair[0] * factor, pair[1] * factor


def count(config: Mapping[str, Any], name: str) -> int:
    """A whole number above 0 in a configuration; BadInput where it is none."""
    value = config.get(name)
    if type(value) is not int or value < 1:
        raise BadInput(f"Its configuration has no usable {name} (it is {value!r}).")
    return value


def scheduler_facts(files: Path) -> dict[str, Any]:
    """The scheduler's configuration, its class under "kind"; BadInput where its noise levels are not those of DDPM."""
    said = facts(files / INDEX).get("scheduler")
    kind = str(said[1]) if isinstance(said, list) and len(said) == 2 else ""
    config = facts(part(files, "scheduler") / "scheduler_config.json") | {"kind": kind}
    if config.get("prediction_type", "epsilon") not in PREDICTIONS:
        raise BadInput(f"Its network predicts {config['prediction_type']!r}; known are {', '.join(PREDICTIONS)}.")
    if config.get("thresholding"):
        raise BadInput("Its scheduler thresholds each guess (Imagen's way), which no solver here does.")
    return config


# ---- opening ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither library's advice nor bars: what fails is said in our words."""
    import diffusers
    import transformers

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    before = [library.get_verbosity() for library in libraries]
    bars = transformers.utils.logging.is_progress_bar_enabled()
    for library in libraries:
        library.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()


def opened(kind: type, files: Path, name: str) -> nn.Module:
    """A part of a pipeline in float32 with every one of its weights from safetensors; BadInput where that fails."""
    weights = [path.name for path in part(files, name).glob("*.safetensors")]
    if not weights:
        raise BadInput(f"There are no safetensors weights in {name!r}; ask the author for them, or convert them.")
    variant = "fp16" if all(".fp16" in path for path in weights) else None
    number = "torch_dtype" if kind.__module__.startswith("diffusers") else "dtype"
    asked = {"local_files_only": True, "use_safetensors": True, "variant": variant, number: torch.float32}
    try:
        with quiet():
            model, found = kind.from_pretrained(str(part(files, name)), output_loading_info=True, **asked)
    except Exception as error:  # whatever the libraries make of files from anywhere
        why = " ".join(str(error).split())[:300]
        raise BadInput(f"The weights in {name!r} do not fit its configuration, or are damaged: {why}") from None
    lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if lacking:
        raise BadInput(f"The weights in {name!r} lack what its configuration promises: {', '.join(lacking[:3])}.")
    return model.eval().requires_grad_(False)


class LabelRows(nn.Module):
    """An embedding of classes that takes rows (B, K), mixtures too; an empty row is the class K, or nothing."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        self.weight = embedding.weight  # (K or K + 1, D)

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.weight.dtype)
        if len(self.weight) > rows.shape[1]:
            rows = torch.cat([rows, 1 - rows.sum(1, keepdim=True)], 1)
        return rows @ self.weight


class Pretrained(GenerativeModel, Opens):
    """A model trained elsewhere; it keeps the options it was opened with."""

    def __init__(self, space: Space, **config: Any):
        super().__init__(space, conditional=bool(config.get("conditional")))
        self.config = config

    def loss(self, batch: Batch, turn: Turn) -> Loss:
        raise BadInput("A fetched model is not trained here; choose an entry of the zoo to train.")


# ---- pipelines on pixels ---------------------------------------------------------------------------------------


class PixelPipeline(Pretrained, Walks):
    """UNet2DModel on pixels: DDPM, DDIM and PNDM pipelines, and score networks whose noise explodes.

    Any solver draws from any of them; the step noise is drawn as diffusers draws it, so "ddpm" and "ddim" give the
    pictures of its pipelines. They compute in float32 everywhere.
    """

    opens = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "ScoreSdeVePipeline", "KarrasVePipeline")
    about = r"""
**What it is.** A diffusion model on pixels that somebody trained and put on the Hub, in the format of diffusers. It is
walked here by our solvers, whichever one its authors used: from pure noise at $t = 1$ to the picture at $t = 0$.

**Try first.** *Steps*: watch the clean guess, then change the solver or paint on a guess and go on from there.

**Where it fails.** Large pictures take minutes on a CPU: lower the number of steps and draw one at a time.

**Papers.** Ho et al. 2020, [arXiv 2006.11239](https://arxiv.org/abs/2006.11239); Song et al. 2021,
[arXiv 2010.02502](https://arxiv.org/abs/2010.02502) and [arXiv 2011.13456](https://arxiv.org/abs/2011.13456).
"""

    def __init__(self, space: Space, *, files: Path, conditional: bool = False):
        super().__init__(space, conditional=conditional)
        from diffusers import UNet2DModel

        config = scheduler_facts(files)
        self.noise_levels = Exploding(config) if _explodes(files) else Levels(config)
        self.network = opened(UNet2DModel, files, "unet")
        if conditional:
            self.network.class_embedding = LabelRows(self.network.class_embedding)

    @classmethod
    def described(cls, files: Path) -> tuple[Space, dict[str, Any]]:
        unet = component(files, "unet", ("UNet2DModel",))
        scheduler_facts(files)
        channels, given = count(unet, "in_channels"), count(unet, "out_channels")
        height, width = sides(unet.get("sample_size"))
        if channels not in (1, 3) or given not in (channels, 2 * channels):
            raise BadInput(
                f"Its pictures have {channels} channels and its answers {given}; here they are grey or colour."
            )
        if max(height, width) > LARGEST:
            raise BadInput(f"Its pictures are {height} x {width}; here they are up to {LARGEST} on a side.")
        if unet.get("class_embed_type") is not None:
            raise BadInput(f"It takes classes as {unet['class_embed_type']!r}; here they are embedded by number.")
        classes = count(unet, "num_class_embeds") if unet.get("num_class_embeds") is not None else 0
        labels = tuple(map(str, range(classes)))
        return Space("image", (channels, height, width), labels=labels), {"conditional": bool(labels)}

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        return self.noise_levels.schedule(t)

    def denoise(self, x_t: Tensor, t: float | Tensor, *, label: Tensor | None = None, guidance: float = 1.0) -> Guess:
        """`guidance` changes nothing: these networks know no unconditional answer."""
        return self._guess(x_t, t, label)

    def _guess(self, x_t: Tensor, t: float | Tensor, label: Tensor | None, as_predicted: bool = False) -> Guess:
        times = torch.as_tensor(t, dtype=torch.float64).cpu().expand(len(x_t))
        explodes = isinstance(self.noise_levels, Exploding)
        if explodes:  # the network sees y at the spread s
            alpha = self.schedule(times)[0].to(x_t.device, x_t.dtype).view(-1, 1, 1, 1)
            asked, at = (x_t / alpha + 1) / 2, self.noise_levels.spread(times).to(x_t.device, x_t.dtype)
        else:
            asked, at = x_t, self.noise_levels.timestep(times).to(x_t.device)
        rows = self.label_rows(label, len(x_t))
        predicted = self.network(asked, at, class_labels=rows, return_dict=False)[0]
        predicted = predicted[:, : x_t.shape[1]]  # the rest is a learned variance
        return self.noise_levels.guess(x_t, times, predicted, as_predicted=as_predicted)

    def advance(
        self,
        solver: Solver,
        state: State,
        t: float,
        noise: Noise,
        eta: float,
        label: Tensor | None,
        guidance: float,
    ) -> tuple[State, Guess, int]:
        guess = partial(self._guess, label=label, as_predicted=solver == "ddim")
        after, guessed, calls = step(solver, guess, self.levels, state, t, noise, eta)
        more = self.noise_levels.more_noise(state.t, t) if solver == "ddpm" else 0.0
        if more:
            after = after._replace(x=after.x + more * noise.at(state.step).normal(*state.x.shape[1:]))
        return after, guessed, calls

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        steps: Steps = 50,
        solver: Solver = "ddim",
        eta: Eta = 0.0,
        start: State | None = None,
    ) -> Iterator[Frame]:
        """x_t, the guess of x0 and the predicted noise at every step; eta is for the solver ddim."""
        return self.walk(noise, label, steps, solver, 1.0, eta, start)


def _explodes(files: Path) -> bool:
    return facts(files / INDEX).get("_class_name") in ("ScoreSdeVePipeline", "KarrasVePipeline")


def as_pipeline(model: GenerativeModel, folder: Path) -> None:
    """Writes the model as a diffusers DDPMPipeline, which draws the pictures of our solver "ddpm".

    Given one torch.Generator per seed and as many steps. BadInput where the network is not one of diffusers'.
    """
    if not (isinstance(model, DDPM) and model.diffusers):
        raise BadInput("Only a DDPM whose network is that of diffusers can be written as a diffusers pipeline.")
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        variance_type="fixed_small",
        clip_sample=False,
        prediction_type="epsilon",
        timestep_spacing="trailing",
    )
    with quiet():
        DDPMPipeline(model.network, scheduler).save_pretrained(str(folder), safe_serialization=True)
