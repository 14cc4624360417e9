"""Autoencoders in diffusers' format: the same codes and pictures as diffusers', and clear words for what is no such."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from gen_models.interface import BadInput, Batch, Decodes, Encodes, Reconstructs, Space, Turn, options
from gen_models.models.pretrained_codes import PretrainedAutoencoder

diffusers = pytest.importorskip("diffusers")
logging.getLogger("diffusers").setLevel(logging.ERROR)

BLOCKS = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
GRID = BLOCKS | {"block_out_channels": (8, 16), "norm_num_groups": 4, "sample_size": 32}
KINDS = {
    "AutoencoderKL": GRID | {"latent_channels": 4, "scaling_factor": 0.5, "shift_factor": 0.25},
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8),
        "num_encoder_blocks": (1, 1, 1),
        "num_decoder_blocks": (1, 1, 1),
        "scaling_factor": 2.0,
    },
    "VQModel": GRID | {"latent_channels": 3, "num_vq_embeddings": 16, "scaling_factor": 0.18215},
}
SHAPES = {"AutoencoderKL": (4, 16, 16), "AutoencoderTiny": (4, 8, 8), "VQModel": (3, 16, 16)}


def network(kind: str):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(diffusers, kind)(**KINDS[kind]).eval()


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def files(kind, tmp_path):
    network(kind).save_pretrained(tmp_path)
    return tmp_path


def opened(files, size: int = 32) -> PretrainedAutoencoder:
    space, config = PretrainedAutoencoder.described(files, size)
    return PretrainedAutoencoder(space, files=files, **config)


def pictures(n: int = 2, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def raw(kind: str, theirs, x: torch.Tensor) -> torch.Tensor:
    """diffusers' own codes, before scaling; the mean of a distribution."""
    found = theirs.encode(x)
    return found.latent_dist.mode() if kind == "AutoencoderKL" else found.latents


def scaled(kind: str, code: torch.Tensor) -> torch.Tensor:
    """As diffusers' pipelines hand codes on."""
    return (code - KINDS[kind].get("shift_factor", 0)) * KINDS[kind]["scaling_factor"]


def test_codes_and_pictures_are_those_of_diffusers(kind, files):
    model, theirs, x = opened(files), network(kind), pictures()
    assert model.latent_shape == SHAPES[kind]
    with torch.no_grad():
        code = raw(kind, theirs, x)
        z = model.encode(x)
        assert_close(z, scaled(kind, code))
        assert tuple(z.shape[1:]) == model.latent_shape
        drawn = theirs.decode(code).sample.clamp(-1, 1)
        assert_close(model.decode(z), drawn, atol=1e-5, rtol=1e-4)
        assert_close(model.reconstruct(x), drawn, atol=1e-5, rtol=1e-4)
        assert drawn.std() > 0.01


def test_encoding_is_the_mean_and_not_a_draw(tmp_path):
    network("AutoencoderKL").save_pretrained(tmp_path)
    model, before = opened(tmp_path), torch.random.get_rng_state()
    with torch.no_grad():
        assert torch.equal(model.encode(pictures()), model.encode(pictures()))
        assert network("AutoencoderKL").encode(pictures()).latent_dist.std.min() > 0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_way_back_is_differentiable(kind, files):
    model = opened(files)
    z = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    model.decode(z).square().sum().backward()
    if kind == "VQModel":  # it copies the gradient past the rounding
        assert z.grad.abs().max() > 0
    assert torch.isfinite(z.grad).all()


def test_it_can_do_what_it_says_and_is_not_trained_here(files):
    model = opened(files)
    for ability in (Encodes, Decodes, Reconstructs):
        assert isinstance(model, ability)
    assert not model.normal
    with pytest.raises(BadInput, match="not trained here"):
        model.loss(Batch(pictures()), Turn("", "training", 0, 0.0, torch.Generator()))


def test_the_folder_of_a_pipeline_does_too(tmp_path):
    network("AutoencoderKL").save_pretrained(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{}")
    assert opened(tmp_path).latent_shape == SHAPES["AutoencoderKL"]


def test_weights_in_half_precision_are_loaded_and_computed_in_float32(tmp_path):
    network("AutoencoderKL").half().save_pretrained(tmp_path, variant="fp16")
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["diffusion_pytorch_model.fp16.safetensors"]
    model = opened(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with torch.no_grad():
        expected = scaled("AutoencoderKL", raw("AutoencoderKL", network("AutoencoderKL"), pictures()))
        assert_close(model.encode(pictures()), expected, atol=0.01, rtol=0.01)


def test_channels_may_each_have_a_scale_of_their_own(tmp_path):
    network("AutoencoderKL").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    changed = {"latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [1.0, 2.0, 4.0, 8.0], "scaling_factor": 0.5}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    model = opened(tmp_path)
    with torch.no_grad():
        code = raw("AutoencoderKL", network("AutoencoderKL"), pictures())
        mean, std = (torch.tensor(changed[name]).view(4, 1, 1) for name in ("latents_mean", "latents_std"))
        assert_close(model.encode(pictures()), 0.5 * (code - mean) / std)


# ---- sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trained", "asked", "size"),
    [(512, None, 256), (64, None, 64), (1024, 512, 512), (512, 128, 128), (None, None, 256)],
)
def test_the_size_is_read_from_the_config_alone(tmp_path, trained, asked, size):
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 16, 16, 16], "sample_size": trained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert PretrainedAutoencoder.described(tmp_path, asked) == (Space("image", (3, size, size)), {"size": size})
    assert list(options(PretrainedAutoencoder.__init__)) == ["size"]


def test_another_size_gives_other_codes_of_the_same_network(tmp_path):
    network("AutoencoderKL").save_pretrained(tmp_path)
    model = opened(tmp_path, 64)
    assert model.latent_shape == (4, 32, 32)
    assert model.reconstruct(pictures(1, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(BadInput, match="shape"):
        PretrainedAutoencoder(Space("image", (3, 32, 32)), files=tmp_path, size=64)


@pytest.mark.parametrize("size", [15, 33, 520, 0, -8, True])
def test_a_size_that_cannot_be_is_refused(tmp_path, size):
    network("AutoencoderKL").save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="128, 256, 512"):
        PretrainedAutoencoder.described(tmp_path, size)


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"_class_name": "UNet2DModel"}, "UNet2DModel"),
        ({"_class_name": "AutoencoderKL", "in_channels": 1, "block_out_channels": [8]}, "1 channels"),
        ({"_class_name": "AutoencoderKL", "block_out_channels": "many"}, "how large the codes"),
        ({"_class_name": "AutoencoderKL", "block_out_channels": [8] * 60}, "how large the codes"),
        ({"of": "something else"}, "holds a None"),
        ([], "no JSON object"),
    ],
)
def test_a_config_of_something_else_is_refused(tmp_path, config, says):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=says):
        PretrainedAutoencoder.described(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"config\.json"):
        PretrainedAutoencoder.described(tmp_path)


def test_pickled_weights_alone_are_refused(tmp_path):
    theirs = network("AutoencoderKL")
    theirs.save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "diffusion_pytorch_model.bin").exists()
    with pytest.raises(BadInput, match="no safetensors"):
        opened(tmp_path)


@pytest.mark.parametrize("change", ["missing", "shape", "truncated"])
def test_weights_that_do_not_fit_are_refused(tmp_path, change):
    network("AutoencoderKL").save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = "decoder.conv_in.weight"
    if change == "missing":
        del tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][:1].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="weights"):
        opened(tmp_path)
