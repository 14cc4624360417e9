"""Public models that are known to open, to begin with; what is said of them was read on the Hub's pages."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """A repository by its address: the class it holds, about how much is fetched, its licence, and a few words."""

    id: str  # "owner/name" or "owner/name@revision"
    kind: str
    bytes: int  # approximate
    licence: str
    words: str
    safe: bool = True  # the weights were seen as safetensors; else as pickles alone, which are refused


_MB = 10**6

KNOWN = (
    Known("google/ddpm-cifar10-32", "DDPMPipeline", 143 * _MB, "apache-2.0", "CIFAR-10 pictures of 32 x 32"),
    Known(
        "anton-l/ddpm-butterflies-128", "DDPMPipeline", 455 * _MB, "",
        "butterflies of 128 x 128; its page names no licence",
    ),
    Known(
        "google/ddpm-celebahq-256", "DDPMPipeline", 455 * _MB, "apache-2.0",
        "faces of 256 x 256, in pickles only when last seen", False,
    ),
    Known(
        "google/ddpm-ema-church-256", "DDPMPipeline", 455 * _MB, "apache-2.0",
        "churches of 256 x 256, in pickles only when last seen", False,
    ),
    Known(
        "google/ncsnpp-celebahq-256", "ScoreSdeVePipeline", 263 * _MB, "apache-2.0",
        "faces by a score-based model, in pickles only when last seen", False,
    ),
    Known(
        "facebook/DiT-XL-2-256@refs/pr/1", "DiTPipeline", 3380 * _MB, "cc-by-nc-4.0",
        "ImageNet's classes at 256 x 256; the safetensors stand in a proposed change, not by its authors",
    ),
    Known("stabilityai/sd-turbo", "StableDiffusionPipeline", 5200 * _MB, "other", "text to picture in 1 to 4 steps"),
    Known(
        "stabilityai/sdxl-turbo", "StableDiffusionXLPipeline", 6940 * _MB, "sai-nc-community",
        "text to picture in 1 to 4 steps, larger; in half precision",
    ),
    Known(
        "segmind/tiny-sd@refs/pr/6", "StableDiffusionPipeline", 1060 * _MB, "creativeml-openrail-m",
        "a small text to picture model; the safetensors stand in a proposed change, not by its authors",
    ),
    Known(
        "stabilityai/sd-vae-ft-mse", "AutoencoderKL", 335 * _MB, "mit",
        "the autoencoder of Stable Diffusion, fine-tuned",
    ),
    Known("madebyollin/taesd", "AutoencoderTiny", 10 * _MB, "mit", "a tiny autoencoder with Stable Diffusion's codes"),
    Known("madebyollin/taesdxl", "AutoencoderTiny", 10 * _MB, "mit", "a tiny autoencoder with SDXL's codes"),
    Known("hf-internal-testing/tiny-dit-pipe", "DiTPipeline", 1 * _MB, "", "random weights, to try how it works"),
)  # fmt: skip
