"""Autoencoders that were trained elsewhere, in diffusers' format: the codes in which latent diffusion works.

High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2021), arXiv 2112.10752.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gen_models.interface import BadInput, Decodes, Encodes, Range, Reconstructs, Space
from gen_models.models.pretrained import Pretrained, facts, opened

SIZES = (128, 256, 512)  # pixels that a person may choose from
SIZE = 256
FOLDERS = ("", "vae", "vqvae")  # where the autoencoder lies in a repository of its own, or of a pipeline
CONFIG = "config.json"


class PretrainedAutoencoder(Pretrained, Encodes, Decodes, Reconstructs):
    """An encoder to a small grid of codes and a decoder back: AutoencoderKL, AutoencoderTiny or VQModel.

    `encode` gives the mean of the posterior of an AutoencoderKL, never a draw from it. Codes are shifted and scaled as
    the config says, to about unit variance, as diffusion models on them expect; `decode` undoes that. A VQModel rounds
    to its codebook when it decodes, so that its codes can be interpolated too.
    """

    opens: ClassVar[tuple[str, ...]] = ("AutoencoderKL", "AutoencoderTiny", "VQModel")
    normal = False
    about = r"""
**What it is.** The half of latent diffusion that knows about pixels: an encoder turns a picture into a grid of codes,
an eighth of its width or so, and a decoder draws it again. Diffusion then happens among the codes.
$$z = s\,(\mathbb{E}[q(z \mid x)] - \mu), \qquad \hat x = D(z / s + \mu),$$
with the scale $s$ and the shift $\mu$ of its config. *AutoencoderKL* was trained with a faint pull of its codes to a
normal distribution, *VQModel* rounds them to a codebook, *AutoencoderTiny* imitates another one's codes in 1 MB.

**Try first.** *Reconstruct* a photograph with small letters or faces in it. Then *Interpolate* between two uploads.

**Where it fails.** Fine texture, letters and faces from afar: what the codes have no room for is made up. Halfway
between two pictures lies a double exposure rather than a picture: the codes are a sketch of it, place by place.

**Papers.** Rombach et al. 2021, [arXiv 2112.10752](https://arxiv.org/abs/2112.10752); VQ-VAE: van den Oord et al. 2017,
[arXiv 1711.00937](https://arxiv.org/abs/1711.00937).
"""

    def __init__(self, space: Space, *, files: Path, size: Annotated[int, Range(16, 512, 8)] = SIZE):
        """Loads the weights in `files`, from safetensors only; BadInput where they are missing or do not fit."""
        import diffusers  # costs seconds

        super().__init__(space, size=size)
        config, folder = _config(Path(files)), _folder(Path(files))
        _, step = _described(config, size)
        if space.kind != "image" or space.shape != (3, size, size):
            raise BadInput(f"This autoencoder was opened for pictures of shape (3, {size}, {size}); got {space.shape}.")
        self.latent_shape = (config["latent_channels"], size // step, size // step)
        self.network = opened(getattr(diffusers, config["_class_name"]), folder.parent, folder.name)
        self._scaling(config)

    @classmethod
    def described(cls, files: Path, size: int | None = None) -> tuple[Space, dict[str, Any]]:
        """The space and the options, from config.json alone.

        size: pixels of a side, one of SIZES; without it those it was trained on, SIZE at most.
        """
        config = _config(Path(files))
        if size is None:
            trained = config.get("sample_size", SIZE)
            trained = trained[0] if isinstance(trained, list) and trained else trained
            size = min(SIZE, trained) if isinstance(trained, int) else SIZE
        size, _ = _described(config, size)
        return Space("image", (3, size, size)), {"size": size}

    def _scaling(self, config: Mapping[str, Any]) -> None:
        """z = scale (code - shift), each a number or one for every channel."""
        shift = config.get("latents_mean") or [config.get("shift_factor") or 0.0]
        spread = config.get("latents_std") or [1.0]
        scale = torch.tensor(float(config.get("scaling_factor") or 1.0)) / torch.tensor(spread, dtype=torch.float32)
        self.register_buffer("scale", scale.view(-1, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def encode(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """x (B, 3, S, S) -> z (B, *latent_shape), the mean where the encoder gives a distribution."""
        found = self.network.encode(x)
        code = found.latents if hasattr(found, "latents") else found.latent_dist.mean
        return self.scale * (code - self.shift)

    def decode(self, z: Tensor, *, label: Tensor | None = None) -> Tensor:
        """z (B, *latent_shape) -> x (B, 3, S, S) in [-1, 1]."""
        return self.network.decode(z / self.scale + self.shift).sample.clamp(-1, 1)

    def reconstruct(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(x))


# ---- files ------------------------------------------------------------------------------------------------------


def _folder(files: Path) -> Path:
    """The folder that the autoencoder itself lies in."""
    for name in FOLDERS:
        if (files / name / CONFIG).is_file():
            return files / name
    raise BadInput(f"There is no autoencoder in {files.name}: it needs {CONFIG}, or a folder vae that holds it.")


def _config(files: Path) -> dict[str, Any]:
    """The config of an autoencoder that this class opens."""
    config = facts(_folder(files) / CONFIG)
    kind = config.get("_class_name")
    if kind not in PretrainedAutoencoder.opens:
        known = ", ".join(PretrainedAutoencoder.opens)
        raise BadInput(f"{files.name} holds a {kind}; autoencoders that are opened here are {known}.")
    return {"latent_channels": 3 if kind == "VQModel" else 4} | config


def _described(config: Mapping[str, Any], size: int) -> tuple[int, int]:
    """(pixels of a side, pixels of a code's side) where pictures of that size can be put into codes."""
    channels = config.get("in_channels", 3), config.get("out_channels", 3)
    if channels != (3, 3):
        raise BadInput(f"This autoencoder is of pictures of {channels[0]} channels; pictures here have 3, in colour.")
    levels = config.get("num_encoder_blocks" if config["_class_name"] == "AutoencoderTiny" else "block_out_channels")
    step = 2 ** (len(levels) - 1) if isinstance(levels, list) and levels else 0
    if not isinstance(config["latent_channels"], int) or not 1 <= step <= 64:
        raise BadInput(f"{CONFIG} does not say how large the codes are (block_out_channels, latent_channels).")
    if not isinstance(size, int) or not 16 <= size <= max(SIZES) or size % max(8, step):
        raise BadInput(f"Pictures of {size} pixels cannot be put into codes of {step}; choose one of {SIZES}.")
    return size, step
