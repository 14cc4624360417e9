"""Pipelines in diffusers' format draw what diffusers draws from them, and what cannot be opened says why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toys
from pipelines import SEEDS, assert_same, last, opened, theirs
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from gen_models import zoo
from gen_models.interface import BadInput, Batch, Space
from gen_models.models.diffusion import DDPM, InOrder
from gen_models.models.pretrained import PixelPipeline, as_pipeline
from gen_models.models.pretrained_levels import Exploding
from gen_models.noise import Noise


def edited(folder: Path, file: str, **values) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---- on pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "scheduler", "asked", "solver"),
    [
        ("DDPMPipeline", {"clip_sample": True}, {}, {"solver": "ddpm"}),
        ("DDPMPipeline", {"clip_sample": False, "prediction_type": "v_prediction"}, {}, {"solver": "ddpm"}),
        ("DDIMPipeline", {"clip_sample": True}, {}, {"solver": "ddim"}),
        ("DDIMPipeline", {"clip_sample": True, "clip_sample_range": 0.6}, {"eta": 0.7}, {"solver": "ddim", "eta": 0.7}),
        ("DDIMPipeline", {"clip_sample": False, "prediction_type": "sample"}, {}, {"solver": "ddim"}),
        (
            "DDIMPipeline",
            {"clip_sample": False, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
            {},
            {"solver": "ddim"},
        ),
        ("DDIMPipeline", {"beta_schedule": "squaredcos_cap_v2"}, {}, {"solver": "ddim"}),
    ],
)
def test_pixels_are_those_of_diffusers(tmp_path, kind, scheduler, asked, solver):
    pipeline = toys.pixel_pipeline(tmp_path, kind, timestep_spacing="trailing", **scheduler)
    assert_same(last(opened(PixelPipeline, tmp_path), steps=10, **solver), theirs(pipeline, batch_size=2, **asked))


def test_grey_pictures_that_are_not_square_and_learned_variances(tmp_path):
    unet = toys.unet2d(1, size=[8, 12], out_channels=2)
    pipeline = toys.pixel_pipeline(tmp_path, "DDIMPipeline", unet, timestep_spacing="trailing")
    model = opened(PixelPipeline, tmp_path)
    assert model.space == Space("image", (1, 8, 12))
    x, k = torch.randn(2, 1, 8, 12, generator=torch.Generator().manual_seed(0)), 499
    with torch.no_grad():
        guess, eps = model.denoise(x, 0.5), pipeline.unet(x, k).sample[:, :1]
    alpha = pipeline.scheduler.alphas_cumprod[k].sqrt()
    x0 = ((x - (1 - alpha**2).sqrt() * eps) / alpha).clamp(-1, 1)
    assert_close(guess.x0, x0, rtol=0, atol=1e-4)
    assert_close(alpha * guess.x0 + (1 - alpha**2).sqrt() * guess.eps, x, rtol=0, atol=1e-4)


def test_the_large_variance_counts_on_walks_over_every_level(tmp_path):
    large = {"variance_type": "fixed_large", "num_train_timesteps": 20, "timestep_spacing": "trailing"}
    pipeline = toys.pixel_pipeline(tmp_path / "a", **large)
    toys.pixel_pipeline(tmp_path / "b", **large | {"variance_type": "fixed_small"})
    model, small = (opened(PixelPipeline, tmp_path / name) for name in "ab")
    full = last(model, steps=20, solver="ddpm")
    assert_same(full, theirs(pipeline, 20, batch_size=2))
    assert (full - last(small, steps=20, solver="ddpm")).abs().max() > 1e-2
    assert torch.equal(last(model, steps=10, solver="ddpm"), last(small, steps=10, solver="ddpm"))


def test_pndm_opens_and_every_solver_walks_it(tmp_path):
    toys.pixel_pipeline(tmp_path, "PNDMPipeline")
    model = opened(PixelPipeline, tmp_path)
    pictures = [last(model, steps=8, solver=solver) for solver in ("euler", "heun", "dpm++2m", "ddim", "ddpm")]
    assert all(torch.isfinite(x).all() for x in pictures)
    assert_close(pictures[0], pictures[3])  # Euler is DDIM without noise
    assert (pictures[0] - pictures[4]).abs().max() > 0.05


def test_classes_are_numbers_and_may_be_mixed(tmp_path):
    pipeline = toys.pixel_pipeline(tmp_path, unet=toys.unet2d(1, num_class_embeds=3), clip_sample=False)
    model = opened(PixelPipeline, tmp_path)
    assert model.labels == ("0", "1", "2")
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        told = pipeline.unet(x, 499, class_labels=torch.tensor([2, 0, 1])).sample
        assert_close(model.denoise(x, 0.5, label=torch.tensor([2, 0, 1])).eps, told, rtol=0, atol=1e-5)
        mixed = model.denoise(x, 0.5, label=torch.tensor([[0.5, 0.5, 0.0]]).expand(3, -1)).eps
        ends = [model.denoise(x, 0.5, label=torch.tensor([k] * 3)).eps for k in (0, 1)]
    assert all((mixed - end).abs().max() > 1e-4 for end in ends)


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpm++2m"])
def test_a_branch_goes_on_as_its_trunk_did(tmp_path, solver):
    toys.pixel_pipeline(tmp_path)
    model = opened(PixelPipeline, tmp_path)
    with torch.no_grad():
        trunk = list(model.sample(Noise(SEEDS), steps=6, solver=solver, eta=0.5))
        branch = list(model.sample(Noise(SEEDS), steps=6, solver=solver, eta=0.5, start=trunk[3].state))
    assert len(branch) == 4
    assert torch.equal(branch[-1].x, trunk[-1].x)


def test_steps_draw_what_a_generator_would_draw_next():
    stream, one = InOrder(Noise([7])), torch.Generator().manual_seed(7)
    drawn = [torch.randn(5, generator=one) for _ in range(6)]
    for step in (0, 1, 4, 4, 2):  # back and forth, as branches do
        assert torch.equal(stream.at(step).normal(5)[0], drawn[step + 1])


# ---- noise that explodes -------------------------------------------------------------------------------------


def test_score_networks_are_asked_as_karras_pipeline_asks_them(tmp_path):
    unet = toys.unet2d(time_embedding_type="fourier")
    pipeline = toys.pixel_pipeline(tmp_path, "KarrasVePipeline", unet)
    model, x = opened(PixelPipeline, tmp_path), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in (1.0, 0.6, 0.01):
        spread = 2 * float(model.noise_levels.spread(t))  # their sigma, of x
        alpha, sigma = (float(a) for a in model.schedule(t))
        assert spread == pytest.approx(0.02 * 5000**t)
        assert alpha**2 + sigma**2 == pytest.approx(1)
        assert sigma / alpha == pytest.approx(spread)
        theirs_x = (alpha * x + sigma * x.flip(0)) / alpha
        with torch.no_grad():
            score = pipeline.unet((theirs_x + 1) / 2, torch.tensor(spread / 2)).sample
            found = model.denoise(alpha * theirs_x, t)
        x0 = theirs_x + spread * (spread / 2) * score
        assert_close(found.x0, x0, rtol=1e-3, atol=1e-3 * spread)
        assert_close(alpha * found.x0 + sigma * found.eps, alpha * theirs_x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm++2m"])
def test_the_perfect_score_leads_to_the_data(tmp_path, solver):
    toys.pixel_pipeline(tmp_path, "ScoreSdeVePipeline", toys.unet2d(time_embedding_type="fourier"))
    model, target = opened(PixelPipeline, tmp_path), 0.25  # of y, in [0, 1]
    assert isinstance(model.noise_levels, Exploding)

    class Score(nn.Module):
        def forward(self, y, s, class_labels=None, return_dict=False):
            return ((target - y) / s.view(-1, 1, 1, 1) ** 2,)

    device = nn.Parameter(torch.zeros(1))
    model.network = Score()
    model.network.register_parameter("device", device)
    found = last(model, steps=20, solver=solver)
    assert_close(found, torch.full_like(found, 2 * target - 1), rtol=0, atol=1e-2)


# ---- a model of ours as a pipeline ---------------------------------------------------------------------------


def assert_exported_alike(model, folder: Path, steps: int) -> None:
    from diffusers import DDPMPipeline

    as_pipeline(model, folder)
    pipeline = DDPMPipeline.from_pretrained(str(folder))
    pipeline.set_progress_bar_config(disable=True)
    mine = last(model, steps=steps, solver="ddpm")
    assert_same(mine, theirs(pipeline, steps, batch_size=2))
    again = opened(PixelPipeline, folder)
    assert again.space.shape == model.space.shape
    assert_close(last(again, steps=steps, solver="ddpm"), mine, rtol=0, atol=1e-4)


def test_an_exported_model_draws_the_same_pictures_in_diffusers(tmp_path):
    model = toys.lively(zoo.live(DDPM, Space("image", (1, 8, 8)), channels=8, network="diffusers"))
    assert_exported_alike(model, tmp_path, 25)
    assert not list(tmp_path.rglob("*.bin"))


def test_the_shipped_ddpm_is_a_pipeline(tmp_path):
    assert_exported_alike(zoo.load("ddpm-mnist"), tmp_path, 8)


def test_a_network_of_our_own_is_no_pipeline(tmp_path):
    with pytest.raises(BadInput, match="network is that of diffusers"):
        as_pipeline(zoo.build(zoo.live(DDPM, Space("image", (1, 8, 8)), channels=8)), tmp_path)
    assert not list(tmp_path.iterdir())


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"in_channels": 4, "out_channels": 4}, "4 channels"),
        ("unet/config.json", {"sample_size": 1024}, "up to 512"),
        ("unet/config.json", {"sample_size": None}, "how large"),
        ("unet/config.json", {"sample_size": "8"}, "how large"),
        ("unet/config.json", {"in_channels": "three"}, "in_channels"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "by number"),
        ("unet/config.json", {"quantization_config": {"quant_method": "x"}}, "quantised"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "thresholds"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "'flow'"),
        ("model_index.json", {"unet": ["diffusers", "UNet1DModel"]}, "UNet1DModel"),
        ("model_index.json", {"unet": ["my_code", None]}, "missing"),
    ],
)
def test_what_cannot_be_opened_says_why_from_the_small_files_alone(tmp_path, file, values, words):
    toys.pixel_pipeline(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    PixelPipeline.described(tmp_path)
    edited(tmp_path, file, **values)
    with pytest.raises(BadInput, match=words):
        PixelPipeline.described(tmp_path)


@pytest.mark.parametrize("content", [None, "[]", "{", "[" * 100_000])
def test_files_that_hold_no_facts(tmp_path, content):
    toys.pixel_pipeline(tmp_path)
    file = tmp_path / "unet" / "config.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(BadInput, match=r"unet/config\.json is missing or no JSON object"):
        PixelPipeline.described(tmp_path)


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "UNet2DModel", "os"])
def test_schedulers_without_the_levels_of_a_diffusion(tmp_path, kind):
    toys.pixel_pipeline(tmp_path)
    edited(tmp_path, "model_index.json", scheduler=["diffusers", kind])
    with pytest.raises(BadInput, match=r"noise levels|not one of diffusers"):
        opened(PixelPipeline, tmp_path)


def test_only_whole_safetensors_are_opened(tmp_path, capfd):
    toys.pixel_pipeline(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole, tensors = weights.read_bytes(), load_file(weights)
    capfd.readouterr()

    weights.write_bytes(whole[:-100])
    with pytest.raises(BadInput, match=r"'unet'.*damaged"):
        opened(PixelPipeline, tmp_path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "conv_out.bias"}, weights)
    with pytest.raises(BadInput, match=r"conv_out\.bias"):
        opened(PixelPipeline, tmp_path)
    save_file({**tensors, "conv_out.bias": torch.zeros(7)}, weights)
    with pytest.raises(BadInput, match="'unet'"):
        opened(PixelPipeline, tmp_path)
    weights.unlink()
    torch.save(tensors, weights.with_suffix(".bin"))
    with pytest.raises(BadInput, match="no safetensors"):
        opened(PixelPipeline, tmp_path)
    weights.with_suffix(".bin").unlink()
    save_file({name: tensor.half() for name, tensor in tensors.items()}, weights.with_suffix(".fp16.safetensors"))
    model = opened(PixelPipeline, tmp_path)
    assert next(model.network.parameters()).dtype == torch.float32
    assert_close(model.network.conv_out.weight, tensors["conv_out.weight"], rtol=1e-3, atol=1e-3)
    assert capfd.readouterr() == ("", ""), "no bars, no advice"


def test_a_fetched_model_is_not_trained(tmp_path):
    toys.pixel_pipeline(tmp_path)
    with pytest.raises(BadInput, match="not trained here"):
        opened(PixelPipeline, tmp_path).loss(Batch(torch.zeros(1, 3, 8, 8)), SimpleNamespace())


def test_levels_know_the_clean_end(tmp_path):
    toys.pixel_pipeline(tmp_path)
    model = opened(PixelPipeline, tmp_path)
    alpha, sigma = model.schedule(torch.tensor([0.0, 0.5, 1.0]))
    assert (alpha[0], sigma[0]) == (1, 0)
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()
    assert sigma[2] == pytest.approx(math.sqrt(1 - 4.04e-5), rel=1e-4)
    x = torch.ones(3, 3, 8, 8)
    assert_close(model.noised(x, torch.tensor([0.0, 0.5, 1.0]), -x)[0], x[0])
