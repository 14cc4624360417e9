"""What several tests share: pictures out of thin air, entries made small, models with nothing at zero."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from gen_models import checkpoint, data, music, zoo
from gen_models.interface import Batch, Data, GenerativeModel, Space, options
from gen_models.noise import mixed

NARROW = {
    "image": {"channels": 8, "hidden": 16, "components": 3, "factors": 2, "codes": 64, "walks": 64},
    "text": {"width": 16, "layers": 1, "heads": 2, "window": 8},
    "music": {"width": 16, "layers": 1, "heads": 2, "window": 8},
}


class FakePictures:
    """Noise with a class-dependent brightness, in any image space: what a model trains on when only the way counts."""

    log_prob = None

    def __init__(self, space: Space, n: int = 16):
        self.space = space
        rng = torch.Generator().manual_seed(mixed("pictures", *space.shape))
        self.label = torch.arange(n) % len(space.labels) if space.labels else None
        bright = 0 if self.label is None else (self.label / len(space.labels)).view(-1, 1, 1, 1)
        self.x = (torch.rand(n, *space.shape, generator=rng) + bright).clamp(0, 1) * 2 - 1

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        rows = torch.randint(len(self.x), (n,), generator=rng)
        return Batch(self.x[rows], None if self.label is None else self.label[rows])

    def split(self, name: str) -> Batch:
        return Batch(self.x, self.label)


def source_for(entry: zoo.Entry) -> Data:
    """The entry's own data where it is drawn on the spot, else pictures, text or music of the same space."""
    if entry.where.kind in ("text", "music"):
        return fake_text(entry.where) if entry.where.kind == "text" else fake_chorales(entry.where)
    if entry.where.domains:
        return fake_domains(entry.where)
    return data.load(entry.data) if entry.where.kind == "points" else FakePictures(entry.where)


def fake_text(space: Space, windows: int = 20) -> Data:
    """Random letters as running text, or lines of them, in any space of text."""
    rng = torch.Generator().manual_seed(mixed("text", *space.shape))
    if space.encoding == "plain":
        symbols = torch.randint(len(space.alphabet), (windows * space.size,), generator=rng)
        return data.text.Text(space, symbols, 3 * space.size, 3 * space.size)
    letters, most = space.alphabet[1:], space.size - 1
    drawn = torch.randint(len(letters), (10 * windows, most), generator=rng).tolist()
    lines = ["".join(letters[k] for k in row[: 1 + i % most]) for i, row in enumerate(drawn)]
    return data.text.Lines(space, lines, windows, windows)


def fake_domains(space: Space, n: int = 16) -> Data:
    """Noise in one domain, and the same upside down in the other: row for row, so that true twins exist."""
    x = data.in_bytes(FakePictures(space, n).x)
    splits = dict.fromkeys(("train", "valid", "test"), (x, x.flip(2)))
    return data.Domains(space, splits, paired=True)


def fake_chorales(space: Space, count: int = 4, steps: int = 400) -> Data:
    """Pieces of four voices that walk up and down at random, each within its own range."""
    rng = torch.Generator().manual_seed(mixed("chorales", count, steps))
    pieces = []
    for _ in range(count):
        walk = torch.randint(-2, 3, (steps // 2, music.VOICES), generator=rng).cumsum(0) % 12
        pieces.append((walk + torch.tensor([66, 58, 50, 42])).repeat_interleave(2, 0))
    return data.chorales.Chorales(space, {"train": pieces, "valid": pieces[:3], "test": pieces[1:]})


def small(entry: zoo.Entry, steps: int = 6, **recipe: Any) -> zoo.Entry:
    """The entry with narrow layers and a few steps: everything else, turns included, is its own."""
    narrow = NARROW.get(entry.where.kind, {})
    narrow = {name: value for name, value in narrow.items() if name in options(entry.model.__init__)}
    stages = {name: dataclasses.replace(stage, steps=steps) for name, stage in entry.recipe.stages.items()}
    changed = dataclasses.replace(entry.recipe, stages=stages, **{"batch_size": 4, "warmup": 0} | recipe)
    return dataclasses.replace(entry, recipe=changed, config={**entry.config, **narrow})


def lively(entry: zoo.Entry, seed: int = 0) -> GenerativeModel:
    """A fresh model in eval mode whose every parameter counts: layers that start at 0 would hide mistakes."""
    model = zoo.build(entry, seed).eval()
    rng = torch.Generator().manual_seed(mixed(seed, "lively"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return model


def teacher_for(entry: zoo.Entry) -> GenerativeModel | None:
    """What a small entry learns from, as small; None where it needs no teacher."""
    return lively(small(zoo.ZOO[entry.teacher]), seed=7) if entry.teacher else None


def put_on_shelf(folder: Path, entry: zoo.Entry) -> None:
    """A checkpoint of the entry in `folder`, as if it had been trained."""
    checkpoint.save(folder, zoo.card_of(entry) | {"training": {"steps": 1, "seconds": 0.1}}, lively(entry))


# ---- pipelines in diffusers' format ----------------------------------------------------------------------------


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module in eval mode with random weights of its own seed, none of them 0."""
    rng = torch.Generator().manual_seed(mixed(seed, "shaken"))
    with torch.no_grad():
        for parameter in module.parameters():
            fan = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.7 / fan**0.5)
    return module.eval()


def unet2d(channels: int = 3, size: int = 8, **config: Any) -> torch.nn.Module:
    from diffusers import UNet2DModel

    usual = {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
        "norm_num_groups": 4,
    }
    return shaken(UNet2DModel(**usual | config))


def autoencoder(**config: Any) -> torch.nn.Module:
    """AutoencoderKL that halves each side once."""
    from diffusers import AutoencoderKL

    usual = {
        "block_out_channels": (8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 16,
    }
    return shaken(AutoencoderKL(**usual | config))


def pixel_pipeline(folder: Path, kind: str = "DDPMPipeline", unet: Any = None, **scheduler: Any) -> Any:
    """A tiny pipeline on pixels written to `folder`, and itself; `scheduler` holds what differs from the usual."""
    import diffusers

    classes = {
        "DDIMPipeline": "DDIMScheduler",
        "PNDMPipeline": "PNDMScheduler",
        "KarrasVePipeline": "KarrasVeScheduler",
    }
    classes |= {"ScoreSdeVePipeline": "ScoreSdeVeScheduler"}
    schedule = getattr(diffusers, classes.get(kind, "DDPMScheduler"))(**scheduler)
    return _written(getattr(diffusers, kind)(unet or unet2d(), schedule), folder)


def class_pipeline(folder: Path, classes: int = 3, **scheduler: Any) -> Any:
    """A tiny DiTPipeline of 16 x 16 pixels. Its own sampler asks for class 1000 as none, whatever `classes` is."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        num_embeds_ada_norm=classes,
        norm_num_groups=4,
    )
    names = {k: ("crane, a bird", "crane, a machine", "dog, hound")[k % 3] for k in range(min(classes, 3))}
    schedule = DDIMScheduler(clip_sample=False, **scheduler)
    pipeline = _written(DiTPipeline(shaken(transformer), autoencoder(), schedule, id2label=names), folder)
    index = json.loads((folder / "model_index.json").read_text())  # where published ones have the names
    (folder / "model_index.json").write_text(json.dumps(index | {"id2label": names}))
    return pipeline


def unlabelled_pipeline(folder: Path) -> Any:
    """A tiny LDMPipeline of 16 x 16 pixels."""
    from diffusers import DDIMScheduler, LDMPipeline, VQModel

    decoder = VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
        sample_size=16,
        num_vq_embeddings=16,
    )
    schedule = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    return _written(LDMPipeline(shaken(decoder), unet2d(3), schedule), folder)


def text_pipeline(folder: Path, large: bool = False, scheduler: Any = None, **unet: Any) -> Any:
    """A tiny StableDiffusionPipeline, or its XL form, of 16 x 16 pixels, whose words are spelt letter by letter."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

    more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4} if large else {}
    more |= {"projection_class_embeddings_input_dim": 6 * 4 + 12} if large else {}
    network = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32 if large else 16,
        attention_head_dim=2,
        norm_num_groups=4,
        **more | unet,
    )
    schedule = scheduler or DDIMScheduler(
        steps_offset=1,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    words = _tokenizer(folder.parent / f"{folder.name}-words")
    parts = {"vae": autoencoder(), "text_encoder": _encoder(), "tokenizer": words}
    parts |= {"unet": shaken(network), "scheduler": schedule}
    if large:
        return _written(StableDiffusionXLPipeline(**parts, text_encoder_2=_encoder(True), tokenizer_2=words), folder)
    absent = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return _written(StableDiffusionPipeline(**parts, **absent), folder)


def _encoder(projects: bool = False) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=12,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    return shaken((CLIPTextModelWithProjection if projects else CLIPTextModel)(config), seed=int(projects))


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=12)


def _written(pipeline: Any, folder: Path) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    return pipeline
