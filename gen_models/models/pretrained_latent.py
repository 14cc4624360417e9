"""Latent diffusion pipelines in the format of diffusers: unconditional, of classes (DiT), and from text to picture.

The walk is in the latents of an autoencoder, so a walk cannot be branched or painted on; its guesses are decoded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from gen_models.interface import BadInput, Choices, Frame, Guess, Range, Refines, Space, State, Text
from gen_models.models.diffusion import Eta, InOrder, Steps
from gen_models.models.pretrained import (
    INDEX,
    LabelRows,
    Pretrained,
    component,
    count,
    facts,
    opened,
    quiet,
    scheduler_facts,
    sides,
)
from gen_models.models.pretrained_levels import Levels
from gen_models.noise import Noise
from gen_models.solvers import Solver, remaining, step

DECODED = 50  # steps up to which the guess of every step is decoded
LARGEST = 1024  # pixels of a side
MOST_LABELS = 4096
Words = Annotated[str, Text(1000)]


class Told(NamedTuple):
    """What the network is told beside x_t: for the answer wanted, and for the one that guidance leads away from."""

    wanted: tuple[Tensor, ...] = ()  # each (B, ...)
    other: tuple[Tensor, ...] | None = None


class Latent(Pretrained, Refines):
    """What all latent pipelines share: levels of noise, the walk in latents, and the way to pictures."""

    halves: tuple[torch.dtype, ...] = (torch.bfloat16, torch.float16)
    network: nn.Module
    decoder: nn.Module

    def __init__(self, space: Space, *, files: Path, latent_shape: tuple[int, ...], **config: Any):
        super().__init__(space, **config)
        self.noise_levels = Levels(scheduler_facts(files))
        self.latent = latent_shape

    @abstractmethod
    def answer(self, x_t: Tensor, k: Tensor, told: tuple[Tensor, ...]) -> Tensor:
        """The network's output for latents (B, C, h, w) at timesteps k (B,)."""

    def schedule(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        return self.noise_levels.schedule(t)

    def guess(self, x_t: Tensor, t: float, told: Told, guidance: float) -> Guess:
        """(x0, eps) of latents in float32; guidance is one call of 2B."""
        times = torch.full((len(x_t),), t, dtype=torch.float64)
        k, number = self.noise_levels.timestep(times).to(x_t.device), next(self.network.parameters()).dtype
        asked = x_t.to(number)
        if guidance == 1.0 or told.other is None:
            predicted = self.answer(asked, k, told.wanted)
        else:
            pairs = tuple(torch.cat(pair) for pair in zip(told.wanted, told.other, strict=True))
            wanted, other = self.answer(torch.cat([asked, asked]), torch.cat([k, k]), pairs).chunk(2)
            predicted = other + guidance * (wanted - other)
        return self.noise_levels.guess(x_t, times, predicted[:, : x_t.shape[1]].float())

    def draw(
        self, noise: Noise, told: Told, steps: int, solver: Solver, guidance: float, eta: float
    ) -> Iterator[Frame]:
        """Frames of pictures: the last is decoded, of the others the guess where there are few steps."""
        state = State(1.0, self.noise_levels.start * noise.normal(*self.latent).to(self.device))
        stream, calls = InOrder(noise), 0
        denoise = partial(self.guess, told=told, guidance=guidance)
        yield Frame(self.seen(state.x), 0, steps)
        for i, t in enumerate(remaining(steps), 1):
            state, guess, cost = step(solver, denoise, self.noise_levels.plain, state, t, stream, eta)
            calls += cost
            shown = {"eps": self.seen(guess.eps)}
            if i == steps:
                x = x0 = self.decoded(state.x)
            else:
                x, x0 = self.seen(state.x), self.decoded(guess.x0) if steps <= DECODED else self.seen(guess.x0)
            yield Frame(x, i, steps, x0=x0, show=shown, calls=calls)

    def decoded(self, z: Tensor) -> Tensor:
        """Latents (B, C, h, w) as pictures (B, 3, H, W), one by one: a decoder takes more memory than the network."""
        config = self.decoder.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        z = z / config.scaling_factor
        if mean is not None and deviation is not None:
            z = z * z.new_tensor(deviation).view(1, -1, 1, 1) + z.new_tensor(mean).view(1, -1, 1, 1)
        if config.get("force_upcast") and next(self.decoder.parameters()).dtype == torch.float16:
            self.decoder.float()  # it overflows in half precision
        z = z.to(next(self.decoder.parameters()).dtype)
        pictures = [self.decoder.decode(row, return_dict=False)[0] for row in z.split(1)]
        return torch.cat(pictures).float().clamp(-1, 1)

    def seen(self, z: Tensor) -> Tensor:
        """Latents as they are, at no cost: the first three channels, a cell a square of pixels, +-3 as +-1."""
        channels = z[:, :3] if z.shape[1] >= 3 else z[:, :1].expand(-1, 3, -1, -1)
        return nn.functional.interpolate(channels, self.space.shape[1:], mode="nearest").clamp(-3, 3) / 3


def _shapes(files: Path, network: Mapping[str, Any], decoder: Mapping[str, Any]) -> tuple[tuple, tuple]:
    """The shapes of a latent and of its picture; BadInput where network and decoder do not fit each other."""
    blocks, channels = decoder.get("block_out_channels"), count(network, "in_channels")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= 8:
        raise BadInput("The configuration of its autoencoder names no block_out_channels.")
    if channels != count(decoder, "latent_channels") or count(network, "out_channels") not in (channels, 2 * channels):
        raise BadInput("It wants more than noise and words (inpainting, perhaps), which is not offered here.")
    if decoder.get("out_channels", 3) != 3:
        raise BadInput("Its autoencoder draws no colour pictures.")
    size = sides(network.get("sample_size"))
    picture = sides(network.get("sample_size"), 2 ** (len(blocks) - 1))
    if max(picture) > LARGEST:
        raise BadInput(f"Its pictures are {picture[0]} x {picture[1]}; here they are up to {LARGEST} on a side.")
    return (channels, *size), (3, *picture)


# ---- without words ---------------------------------------------------------------------------------------------


class LatentPipeline(Latent):
    """LDMPipeline: an unconditional U-Net in the latents of a VQModel; in float32, for rounding changes the codes.

    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), arXiv 2112.10752.
    """

    opens = ("LDMPipeline",)
    halves = ()
    about = r"""
**What it is.** A diffusion model in the latents of an autoencoder: each cell of the walk is a patch of pixels, so large
pictures cost little. The predicted noise and $x_t$ are latents; the guess is decoded.

**Paper.** Rombach et al. 2022, [arXiv 2112.10752](https://arxiv.org/abs/2112.10752).
"""

    def __init__(self, space: Space, *, files: Path):
        from diffusers import UNet2DModel, VQModel

        super().__init__(space, files=files, latent_shape=self._parts(files)[0])
        self.network = opened(UNet2DModel, files, "unet")
        self.decoder = opened(VQModel, files, "vqvae")

    @staticmethod
    def _parts(files: Path) -> tuple[tuple, tuple]:
        unet = component(files, "unet", ("UNet2DModel",))
        if unet.get("num_class_embeds") is not None or unet.get("class_embed_type") is not None:
            raise BadInput("Its network asks for classes, which pipelines of this kind do not name.")
        return _shapes(files, unet, component(files, "vqvae", ("VQModel",)))

    @classmethod
    def described(cls, files: Path) -> tuple[Space, dict[str, Any]]:
        scheduler_facts(files)
        return Space("image", cls._parts(files)[1]), {}

    def answer(self, x_t: Tensor, k: Tensor, told: tuple[Tensor, ...]) -> Tensor:
        return self.network(x_t, k, return_dict=False)[0]

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        steps: Steps = 50,
        solver: Solver = "ddim",
        eta: Eta = 0.0,
    ) -> Iterator[Frame]:
        """The decoded guess of every step, where there are at most 50; x_t and the noise are latents."""
        return self.draw(noise, Told(), steps, solver, 1.0, eta)


class ClassPipeline(Latent):
    """DiTPipeline: a transformer on latents, asked for a class; mixtures of classes too.

    Scalable Diffusion Models with Transformers (Peebles and Xie, 2023), arXiv 2212.09748.
    """

    opens = ("DiTPipeline",)
    about = r"""
**What it is.** A transformer that denoises the latents of an autoencoder, told a class. Guidance compares its answer
with the one it gives without a class, $\epsilon_\emptyset + w\,(\epsilon_c - \epsilon_\emptyset)$.

**Try first.** One class at guidance 1, then at 4: variety turns into typicality.

**Where it fails.** On a CPU a picture of 256 x 256 takes about a minute for every ten steps.

**Papers.** Peebles and Xie 2023, [arXiv 2212.09748](https://arxiv.org/abs/2212.09748); guidance:
[arXiv 2207.12598](https://arxiv.org/abs/2207.12598).
"""

    def __init__(self, space: Space, *, files: Path, conditional: bool = True):
        from diffusers import AutoencoderKL, DiTTransformer2DModel

        super().__init__(space, files=files, latent_shape=self._parts(files)[0], conditional=conditional)
        self.network = opened(DiTTransformer2DModel, files, "transformer")
        self.decoder = opened(AutoencoderKL, files, "vae")
        for block in self.network.transformer_blocks:
            embedder = block.norm1.emb
            embedder.class_embedder = LabelRows(embedder.class_embedder.embedding_table)

    @staticmethod
    def _parts(files: Path) -> tuple[tuple, tuple]:
        network = component(files, "transformer", ("DiTTransformer2DModel", "Transformer2DModel"))
        return _shapes(files, network, component(files, "vae", ("AutoencoderKL",)))

    @classmethod
    def described(cls, files: Path) -> tuple[Space, dict[str, Any]]:
        scheduler_facts(files)
        classes = count(component(files, "transformer", ("DiTTransformer2DModel", "Transformer2DModel")), _CLASSES)
        if classes > MOST_LABELS:
            raise BadInput(f"It knows {classes} classes; here they are up to {MOST_LABELS}.")
        named = facts(files / INDEX).get("id2label")
        labels = _labels(named if isinstance(named, dict) else {}, classes)
        return Space("image", cls._parts(files)[1], labels=labels), {"conditional": True}

    def answer(self, x_t: Tensor, k: Tensor, told: tuple[Tensor, ...]) -> Tensor:
        return self.network(x_t, timestep=k, class_labels=told[0], return_dict=False)[0]

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        steps: Steps = 50,
        solver: Solver = "ddim",
        guidance: Annotated[float, Range(1.0, 10.0, 0.1)] = 4.0,
        eta: Eta = 0.0,
    ) -> Iterator[Frame]:
        """The decoded guess of every step, where there are at most 50; x_t and the noise are latents."""
        rows = self.label_rows(label, len(noise))
        return self.draw(noise, Told((rows,), (torch.zeros_like(rows),)), steps, solver, guidance, eta)


_CLASSES = "num_embeds_ada_norm"


def _labels(named: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """The first name of each class; its number follows where two share one, and stands alone where there is none."""
    first = [str(named.get(str(k), k)).split(",")[0].strip()[:60] or str(k) for k in range(classes)]
    return tuple(f"{name} ({k})" if first.count(name) > 1 else name for k, name in enumerate(first))


# ---- from text to picture --------------------------------------------------------------------------------------


class TextPipeline(Latent):
    """Stable Diffusion, its XL form, and those distilled to a few steps; words go in through CLIP.

    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), arXiv 2112.10752; SDXL (Podell
    et al., 2023), arXiv 2307.01952; Adversarial Diffusion Distillation (Sauer et al., 2023), arXiv 2311.17042.
    """

    opens = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    about = r"""
**What it is.** A U-Net that denoises the latents of an autoencoder and looks at the words of a prompt while it does.
Guidance leads away from the negative prompt, $\epsilon_- + w\,(\epsilon_+ - \epsilon_-)$; turbo models were distilled
with it inside, so they take no guidance and one to four steps.

**Try first.** The same seed with one word changed: the composition stays.

**Where it fails.** Counting, writing, hands. There is no filter here: what it draws is what its training set held.

**Papers.** [arXiv 2112.10752](https://arxiv.org/abs/2112.10752), [arXiv 2307.01952](https://arxiv.org/abs/2307.01952),
[arXiv 2311.17042](https://arxiv.org/abs/2311.17042).
"""

    def __init__(self, space: Space, *, files: Path, turbo: bool = False):
        from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        super().__init__(space, files=files, latent_shape=self._parts(files)[0], turbo=turbo)
        index = facts(files / INDEX)
        self.large = index["_class_name"] == "StableDiffusionXLPipeline"
        self.blank = self.large and bool(index.get("force_zeros_for_empty_prompt", True))
        self.network = opened(UNet2DConditionModel, files, "unet")
        self.decoder = opened(AutoencoderTiny if index["vae"][1] == "AutoencoderTiny" else AutoencoderKL, files, "vae")
        encoders = [opened(CLIPTextModel, files, "text_encoder")]
        if self.large:
            encoders.append(opened(CLIPTextModelWithProjection, files, "text_encoder_2"))
        self.encoders = nn.ModuleList(encoders)
        self.tokenizers = [_tokenizer(files, name) for name in ("tokenizer", "tokenizer_2")[: len(encoders)]]

    @staticmethod
    def _parts(files: Path) -> tuple[tuple, tuple]:
        unet = component(files, "unet", ("UNet2DConditionModel",))
        large = facts(files / INDEX).get("_class_name") == "StableDiffusionXLPipeline"
        if unet.get("addition_embed_type") != ("text_time" if large else None):
            raise BadInput(
                f"Its network takes {unet.get('addition_embed_type')!r} beside the words; that is unknown here."
            )
        if unet.get("time_cond_proj_dim") is not None:
            raise BadInput("Its network takes the guidance as a number (a consistency model); that is unknown here.")
        component(files, "text_encoder", ("CLIPTextModel",))
        if large:
            component(files, "text_encoder_2", ("CLIPTextModelWithProjection",))
        return _shapes(files, unet, component(files, "vae", ("AutoencoderKL", "AutoencoderTiny")))

    @classmethod
    def described(cls, files: Path) -> tuple[Space, dict[str, Any]]:
        scheduler = scheduler_facts(files)
        few = scheduler["kind"].startswith("Euler") and scheduler.get("timestep_spacing") == "trailing"
        plain = scheduler.get("prediction_type", "epsilon") == "epsilon"
        turbo = few and plain and not scheduler.get("rescale_betas_zero_snr")
        return Space("image", cls._parts(files)[1]), {"turbo": turbo or scheduler["kind"] == "LCMScheduler"}

    @classmethod
    def limits(cls, space: Space, config: Mapping[str, Any]) -> Mapping[str, Range | Choices | Text]:
        if not config.get("turbo"):
            return {}
        one = {"guidance": Range(1.0, 1.0), "negative_prompt": Text(0)}
        return one | {"steps": Range(1, 4), "solver": Choices(("ddim", "ddpm", "euler"))}

    def answer(self, x_t: Tensor, k: Tensor, told: tuple[Tensor, ...]) -> Tensor:
        more = {"text_embeds": told[1], "time_ids": told[2]} if self.large else None
        words = {"encoder_hidden_states": told[0], "added_cond_kwargs": more}
        return self.network(x_t, k, return_dict=False, **words)[0]

    def sample(
        self,
        noise: Noise,
        *,
        label: Tensor | None = None,
        prompt: Words = "",
        negative_prompt: Words = "",
        steps: Annotated[int, Range(1, 200)] = 25,
        solver: Solver = "dpm++2m",
        guidance: Annotated[float, Range(1.0, 20.0, 0.1)] = 7.5,
        eta: Eta = 0.0,
    ) -> Iterator[Frame]:
        """The decoded guess of every step, where there are at most 50; x_t and the noise are latents."""
        wanted = self.words(prompt, len(noise))
        other = self.words(negative_prompt, len(noise)) if guidance != 1.0 else None
        if other and self.blank and not negative_prompt:
            other = (torch.zeros_like(other[0]), torch.zeros_like(other[1]), other[2])
        return self.draw(noise, Told(wanted, other), steps, solver, guidance, eta)

    def words(self, prompt: str, n: int) -> tuple[Tensor, ...]:
        """A prompt as the network takes it, n times: (n, T, D); in the XL form also its sum (n, E) and sizes (n, 6).

        Words beyond what the encoders take are left out.
        """
        found = []
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            most = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
            asked = tokenizer(prompt, padding="max_length", max_length=most, truncation=True, return_tensors="pt")
            mask = asked.attention_mask.to(self.device) if getattr(encoder.config, "use_attention_mask", None) else None
            found.append(encoder(asked.input_ids.to(self.device), attention_mask=mask, output_hidden_states=True))
        if not self.large:
            return (found[0].last_hidden_state.expand(n, -1, -1),)
        text = torch.cat([out.hidden_states[-2] for out in found], -1)
        height, width = self.space.shape[1:]
        sizes = text.new_tensor([height, width, 0, 0, height, width])
        return text.expand(n, -1, -1), found[1].text_embeds.expand(n, -1), sizes.expand(n, -1)


def _tokenizer(files: Path, name: str) -> Any:
    from transformers import CLIPTokenizer

    try:
        with quiet():
            return CLIPTokenizer.from_pretrained(str(files / name), local_files_only=True)
    except Exception as error:  # whatever the library makes of files from anywhere
        why = " ".join(str(error).split())[:300]
        raise BadInput(f"The words in {name!r} cannot be read: {why}") from None
