"""Latent pipelines in diffusers' format draw what diffusers draws from them, from classes and from words."""

from __future__ import annotations

import pytest
import torch
import toys
from pipelines import SEEDS, assert_same, last, opened, theirs
from torch.testing import assert_close

from gen_models.interface import BadInput, Choices, Option, Range, Space, Text, checked
from gen_models.models.pretrained_latent import ClassPipeline, LatentPipeline, TextPipeline
from gen_models.noise import Noise
from gen_models.ui.fields import option_fields


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_dit_draws_what_diffusers_draws(tmp_path, guidance):
    pipeline = toys.class_pipeline(tmp_path, 1000, timestep_spacing="trailing")
    model = opened(ClassPipeline, tmp_path)
    assert model.space.shape == (3, 16, 16)
    found = last(model, label=torch.tensor([5, 777]), steps=5, solver="ddim", guidance=guidance)
    assert_same(found, theirs(pipeline, 5, class_labels=[5, 777], guidance_scale=guidance))
    other = last(model, label=torch.tensor([8, 777]), steps=5, solver="ddim", guidance=guidance)
    assert (found[0] - other[0]).abs().max() > 1e-5
    assert_close(found[1], other[1])


def test_dit_names_its_classes_apart(tmp_path):
    toys.class_pipeline(tmp_path, 4)
    space, config = ClassPipeline.described(tmp_path)
    assert space.labels == ("crane (0)", "crane (1)", "dog", "3")
    assert config == {"conditional": True}


def test_latent_diffusion_draws_what_diffusers_draws(tmp_path):
    pipeline = toys.unlabelled_pipeline(tmp_path)
    assert_same(last(opened(LatentPipeline, tmp_path), steps=5, solver="ddim"), theirs(pipeline, 5, batch_size=2))


def test_frames_of_latent_walks_are_pictures(tmp_path):
    toys.unlabelled_pipeline(tmp_path)
    model = opened(LatentPipeline, tmp_path)
    decoded = []
    model.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
    model.decoder.decode, decode = lambda *a, **k: (decoded.append(1), decode(*a, **k))[1], model.decoder.decode
    for steps, count in ((3, 3), (51, 1)):
        decoded.clear()
        with torch.no_grad():
            frames = list(model.sample(Noise(SEEDS), steps=steps))
        assert len(frames) == steps + 1
        assert [frame.calls for frame in frames] == list(range(steps + 1))
        assert all(frame.x.shape == (2, 3, 16, 16) and frame.x.abs().max() <= 1 for frame in frames)
        assert all(frame.x0.shape == frame.show["eps"].shape == (2, 3, 16, 16) for frame in frames[1:])
        assert torch.equal(frames[-1].x, frames[-1].x0)
        assert len(decoded) == 2 * count, "one picture at a time"


# ---- from text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
def test_text_to_picture_draws_what_diffusers_draws(tmp_path, large):
    pipeline = toys.text_pipeline(tmp_path / "sd", large)
    model = opened(TextPipeline, tmp_path / "sd")
    asked = {"prompt": ["a cat"] * 2, "height": 16, "width": 16, "guidance_scale": 5.0}
    options = {"steps": 4, "solver": "ddim", "guidance": 5.0}
    found = last(model, prompt="a cat", **options)
    assert_same(found, theirs(pipeline, 4, **asked))
    kept_away = last(model, prompt="a cat", negative_prompt="dog", **options)
    assert_same(kept_away, theirs(pipeline, 4, negative_prompt=["dog"] * 2, **asked))
    assert (found - kept_away).abs().max() > 1e-6
    assert (found - last(model, prompt="zebra", **options)).abs().max() > 1e-6
    alone = {"prompt": "a cat", "steps": 4, "solver": "ddim", "guidance": 1.0}
    assert torch.equal(last(model, **alone), last(model, negative_prompt="dog", **alone))


def test_turbo_models_take_few_steps_and_no_guidance(tmp_path):
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", steps_offset=1)
    pipeline = toys.text_pipeline(tmp_path / "sd", scheduler=scheduler)
    space, config = TextPipeline.described(tmp_path / "sd")
    assert config == {"turbo": True}
    limits = TextPipeline.limits(space, config)
    values = checked(TextPipeline.sample, {"prompt": "a cat", "steps": 2}, limits)
    assert values == {
        "prompt": "a cat", "negative_prompt": "", "steps": 2, "solver": "ddim", "guidance": 1.0, "eta": 0.0,
    }  # fmt: skip
    for wrong in ({"steps": 5}, {"guidance": 7.5}, {"solver": "heun"}):
        with pytest.raises(BadInput):
            checked(TextPipeline.sample, wrong, limits)
    model = opened(TextPipeline, tmp_path / "sd")
    asked = {"prompt": ["a cat"] * 2, "height": 16, "width": 16, "guidance_scale": 0.0}
    assert_same(last(model, **values | {"steps": 1}), theirs(pipeline, 1, **asked))


def test_long_prompts_are_cut_at_what_the_encoder_takes(tmp_path):
    toys.text_pipeline(tmp_path / "sd")
    model = opened(TextPipeline, tmp_path / "sd")
    with torch.no_grad():
        short, long = (model.words("a b c d e f g h i j" + more, 2)[0] for more in ("", " k" * 50))
    assert short.shape == long.shape == (2, 12, 16)
    assert_close(short, long, rtol=0, atol=1e-5)


def test_a_prompt_is_an_option_with_a_box():
    fields = {field.option.name: field for field in option_fields(TextPipeline.sample, first=("prompt",))}
    assert next(iter(fields)) == "prompt"
    assert fields["prompt"].kind == "text"
    assert fields["prompt"].sent() == {
        "name": "prompt", "kind": "text", "label": "Prompt", "info": fields["prompt"].info, "more": False,
        "default": "", "most": 1000, "rows": 2,
    }  # fmt: skip
    option = Option("prompt", Text(5), "", str)
    assert option.check("a cat") == "a cat"
    assert not option.fixed
    for wrong in ("a cats", None, 3):
        with pytest.raises(BadInput, match="prompt is a text of at most 5 characters"):
            option.check(wrong)
    assert "negative_prompt" not in {f.option.name for f in option_fields(TextPipeline.sample, _turbo())}


def _turbo() -> dict[str, Range | Choices | Text]:
    return dict(TextPipeline.limits(Space("image", (3, 16, 16)), {"turbo": True}))


def test_inpainting_and_consistency_networks_are_refused(tmp_path):
    toys.text_pipeline(tmp_path / "a", in_channels=9)
    with pytest.raises(BadInput, match="more than noise and words"):
        TextPipeline.described(tmp_path / "a")
    toys.text_pipeline(tmp_path / "b", time_cond_proj_dim=8)
    with pytest.raises(BadInput, match="consistency"):
        TextPipeline.described(tmp_path / "b")


@pytest.mark.parametrize("number", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [ClassPipeline, TextPipeline])
def test_latent_networks_compute_in_half_precision_too(tmp_path, kind, number):
    assert number in kind.halves
    asked: dict = {"steps": 2, "solver": "ddim"}
    if kind is TextPipeline:
        toys.text_pipeline(tmp_path / "x", large=True)
        asked |= {"prompt": "a cat"}
    else:
        toys.class_pipeline(tmp_path / "x")
        asked |= {"label": torch.tensor([0, 2])}
    model = opened(kind, tmp_path / "x")
    whole = last(model, **asked)
    half = last(model.to(number), **asked)
    assert half.dtype == torch.float32
    assert (half - whole).abs().mean() < 0.1 * whole.std()
