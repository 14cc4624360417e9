"""What every entry of the zoo keeps, whatever its family: abilities keep their promises, training comes back."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from toys import lively, small, source_for

from gen_models import checkpoint, data, training, zoo
from gen_models.interface import (
    Attends,
    BadInput,
    Completes,
    Criticises,
    Decodes,
    Denoises,
    Encodes,
    Frame,
    Predicts,
    Quantises,
    Range,
    Reconstructs,
    Samples,
    Scores,
    checked,
    options,
)
from gen_models.noise import Noise
from gen_models.training import Training

ROOT = Path(__file__).resolve().parent.parent
EVERY = zoo.ZOO | {name: zoo.JUDGES[name] for name in ("judge-mnist-a", "judge-cifar10-b")}


FEW = {"steps": 4, "length": 12}  # of denoising, and of characters


def able(*abilities: type) -> pytest.MarkDecorator:
    """Every entry whose model has these abilities."""
    names = [name for name, entry in zoo.ZOO.items() if all(issubclass(entry.model, ability) for ability in abilities)]
    return pytest.mark.parametrize("name", names)


@pytest.fixture(scope="module")
def models() -> dict[str, object]:
    """One model per entry, as long as this file runs."""
    return {name: lively(small(entry)) for name, entry in zoo.ZOO.items()}


def rows(name: str, n: int) -> Tensor | None:
    return zoo.label_rows(zoo.ZOO[name].labels, n)


def some(name: str, n: int = 3) -> Tensor:
    """Data of the entry's space, (n, *shape)."""
    return source_for(zoo.ZOO[name]).split("test").x[:n]


def drawn(model, seeds, label=None, **values) -> list[Frame]:
    known = options(type(model).sample, zoo.limits(model))
    few = {name: value for name, value in FEW.items() if name in known and not known[name].fixed}
    with torch.no_grad():
        return list(model.sample(Noise(seeds), label=label, **few | values))


def values_of(model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# ---- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_entrys_own_config_builds_and_says_where_it_lives(name):
    entry = EVERY[name]
    before = torch.random.get_rng_state()
    model = zoo.build(entry)
    assert torch.equal(torch.random.get_rng_state(), before), "building leaves the global generator alone"
    assert model.space == entry.where == data.space_of(entry.data)
    assert model.labels == entry.labels
    assert entry.model in (zoo.FAMILIES | {"judge": zoo.JUDGE})[entry.family].models
    assert same(values_of(model), values_of(zoo.build(entry))), "one seed, one model"
    assert not same(values_of(model), values_of(zoo.build(entry, 1)))
    assert set(entry.recipe.stages["training"].turns if "training" in entry.recipe.stages else ()) <= set(model.players)


@pytest.mark.parametrize("name", EVERY)
def test_a_card_rebuilds_its_entry(name):
    entry = EVERY[name]
    back = zoo.entry_of(json.loads(json.dumps(zoo.card_of(entry))))
    filled = checked(entry.model.__init__, entry.config)
    assert back == dataclasses.replace(entry, space=entry.where, config=filled)
    assert set(entry.config) <= set(options(entry.model.__init__)), "all of a config can be checked"


# ---- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_only_the_players_parameters_move_in_its_turn(name):
    entry = small(EVERY[name], steps=1)
    for player in entry.model.players:
        others = [other for other in entry.model.players if other != player]
        name, stage = next((k, stage) for k, stage in entry.recipe.stages.items() if stage.turns.get(player, 1))
        recipe = dataclasses.replace(
            entry.recipe, stages={name: dataclasses.replace(stage, turns=dict.fromkeys(others, 0))}
        )
        model = lively(entry)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        list(Training(model, source_for(entry), recipe))
        moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
        mine = {key for key in before if not player or key.startswith(f"{player}.")}
        if player:  # `begin` may fill tensors of a model that plays alone; of a player it does not
            assert moved <= mine
        assert moved, "the player learns"
        assert len(mine - moved) <= 1, "all of it: but for the constant of a judge that compares, which cancels"


@pytest.mark.parametrize("name", EVERY)
def test_two_steps_stay_finite_and_leave_the_global_generator_alone(name):
    entry = small(EVERY[name], steps=2)
    run = Training(zoo.build(entry), source_for(entry), entry.recipe)
    before = torch.random.get_rng_state()
    reports = list(run)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert reports[-1].show
    assert all(torch.tensor(value).isfinite() for value in reports[-1].show.values())
    for model in (run.model, run.shown):
        assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("name", EVERY)
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "REPORT", 0.0)
    entry = small(EVERY[name], steps=4)
    source = source_for(entry)
    seen = [p.seen for p in zoo.run(entry, source, seed=3, folder=tmp_path / "whole", look=values_of)]

    first = zoo.run(entry, source, seed=3, folder=tmp_path / "broken", look=values_of)
    while next(first).step < 2:
        pass
    first.close()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {zoo.STATE}, "no checkpoint before the end"
    later = list(zoo.run(entry, source, seed=3, folder=tmp_path / "broken", look=values_of))

    more = len(entry.recipe.stages) - 1
    assert [progress.step for progress in later] == [3, 4, *[1, 2, 3, 4] * more]
    assert same(later[-1].seen, seen[-1]), "float32 weights of the shown model"
    files = [load_file(tmp_path / folder / checkpoint.WEIGHTS) for folder in ("whole", "broken")]
    assert same(*files)
    picture = {zoo.PREVIEW} if issubclass(entry.model, Samples) else set()
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {checkpoint.CARD, checkpoint.WEIGHTS} | picture


KILLED = """
import dataclasses, sys, torch
torch.set_num_threads(1)
from gen_models import __main__, training, zoo
zoo.running.SAVE_EVERY = training.REPORT = 0.1
entry = zoo.ZOO["vae-8gaussians"]
stage = dataclasses.replace(entry.recipe.stages["training"], steps=int(sys.argv[1]))
recipe = dataclasses.replace(entry.recipe, stages={"training": stage}, batch_size=16)
zoo.ZOO["vae-8gaussians"] = dataclasses.replace(entry, recipe=recipe)
sys.exit(__main__.main(["train", "vae-8gaussians", "--device", "cpu", "--checkpoints", sys.argv[2]]))
"""


def test_a_killed_process_goes_on_with_nothing_lost_but_the_steps_since_the_last_save(tmp_path):
    steps = 1500

    def start(folder: str) -> subprocess.Popen:
        command = [sys.executable, "-c", KILLED, str(steps), str(tmp_path / folder)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = start("killed")
    state = tmp_path / "killed" / "vae-8gaussians" / zoo.STATE
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # in the midst of whatever it does then
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was still at work"
    reached = checkpoint.load_state(state)["training"]["step"]
    assert 0 < reached < steps

    again, whole = start("killed"), start("whole")
    said, complaint = again.communicate(timeout=200)
    assert again.returncode == 0, complaint
    assert "going on with the training" in said
    whole.communicate(timeout=200)
    assert whole.returncode == 0
    killed, never = (tmp_path / folder / "vae-8gaussians" for folder in ("killed", "whole"))
    assert same(load_file(killed / checkpoint.WEIGHTS), load_file(never / checkpoint.WEIGHTS))
    assert not os.path.exists(killed / zoo.STATE)
    assert checkpoint.read_card(killed)["training"]["steps"] == steps


# ---- samples -------------------------------------------------------------------------------------------------


@able(Samples)
def test_frames_begin_at_nothing_and_end_with_the_sample(name, models):
    model, shape = models[name], zoo.ZOO[name].where.shape
    frames = drawn(model, [4, 5, 6], rows(name, 3))
    total = frames[0].total
    assert [frame.step for frame in frames] == list(range(total + 1))
    assert all(frame.total == total for frame in frames)
    assert frames[0].calls == 0
    assert all(a.calls < b.calls for a, b in itertools.pairwise(frames))
    if len(shape) == 1 and zoo.ZOO[name].where.kind == "text":  # it grows
        assert all(frame.x.shape == (3, frame.step) for frame in frames)
    else:
        assert all(frame.x.shape == (3, *shape) for frame in frames)
    last = frames[-1].x
    assert last.dtype == (torch.int64 if zoo.ZOO[name].where.kind == "text" else torch.float32)
    assert last.isfinite().all()
    if zoo.ZOO[name].where.kind == "image":
        assert last.abs().max() <= 1
    if isinstance(model, Denoises):
        assert total == 4


@able(Samples)
def test_sample_k_depends_on_seed_k_and_label_k_alone(name, models):
    model, label = models[name], rows(name, 4)
    before = torch.random.get_rng_state()
    together = drawn(model, [7, 8, 9, 10], label)[-1].x
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(drawn(model, [7, 8, 9, 10], label)[-1].x, together)
    for k in (0, 3):
        alone = drawn(model, [7 + k], None if label is None else label[k : k + 1])[-1].x
        assert_close(together[k : k + 1], alone, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(together[0], together[1])
    assert not torch.allclose(drawn(model, [11, 8, 9, 10], label)[-1].x[0], together[0])


@able(Samples)
def test_every_option_of_sampling_is_bounded(name, models):
    entry = small(zoo.ZOO[name])
    for option in options(entry.model.sample, entry.limits()).values():
        assert option.check(option.default) == option.default
        allowed = option.allowed
        for value in (allowed.low - 1, allowed.high + 1) if isinstance(allowed, Range) else ("no such",):
            with pytest.raises(BadInput, match=option.name):
                next(zoo.sample(models[name], 0, 1, **{option.name: value}))
    with pytest.raises(BadInput, match="Unknown option"):
        next(zoo.sample(models[name], 0, 1, speed=3))
    with pytest.raises(BadInput, match="seed"):
        next(zoo.sample(models[name], 2**32 - 1, 2))


@able(Samples)
def test_both_ends_of_every_option_draw_something_finite(name, models):
    entry = small(zoo.ZOO[name])
    for option in options(entry.model.sample, entry.limits()).values():
        ends = (option.allowed.low, option.allowed.high) if isinstance(option.allowed, Range) else option.allowed.values
        for value in ends if option.name != "steps" else (1, 3):
            frames = drawn(models[name], [1, 2], rows(name, 2), **{option.name: option.check(value)})
            assert frames[-1].x.isfinite().all(), f"{option.name} {value}"


@able(Samples)
def test_classes_are_asked_for_by_rows(name, models):
    model, labels = models[name], zoo.ZOO[name].labels
    if not labels:
        assert torch.equal(drawn(model, [1])[-1].x, drawn(model, [1], torch.ones(1, 3))[-1].x), "labels are ignored"
        return
    one = torch.eye(len(labels))
    mixed = (one[:1] + one[1:2]) / 2
    seeds = range(32)  # enough for codes, which are whole numbers, to differ somewhere
    asked = [row.expand(len(seeds), -1) for row in (one[:1], one[1:2], mixed, torch.zeros(1, len(labels)))]
    pictures = [drawn(model, seeds, label)[-1].x for label in (*asked, None)]
    assert all(not torch.allclose(a, b) for i, a in enumerate(pictures[:4]) for b in pictures[:i])
    assert torch.equal(pictures[3], pictures[4]), "no label is a zero row"


@able(Samples)
def test_a_preview_can_be_drawn(name, models):
    picture = zoo.preview(models[name], 3)
    assert min(picture.size) >= 8


# ---- symbol by symbol -----------------------------------------------------------------------------------------


def beginning(x: Tensor, count: int) -> Tensor:
    """Which places are the first `count` in the order of writing."""
    return (torch.arange(x[0].numel()) < count).view(1, *x.shape[1:]).expand_as(x)


def symbols(name: str, x: Tensor) -> Tensor:
    """x as symbols in the order of writing: pixels are black or white."""
    return x.flatten(1) if zoo.ZOO[name].where.kind == "text" else (x.flatten(1) > 0).long()


@able(Completes)
def test_what_is_known_stays_and_the_rest_is_what_sampling_writes(name, models):
    model, whole = models[name], drawn(models[name], [7, 8], rows(name, 2))[-1].x
    count = whole[0].numel() // 2
    with torch.no_grad():
        nothing = list(
            model.complete(whole, torch.zeros_like(whole, dtype=torch.bool), Noise([7, 8]), label=rows(name, 2))
        )
        half = list(model.complete(whole, beginning(whole, count), Noise([7, 8]), label=rows(name, 2)))
        other = list(model.complete(whole, beginning(whole, count), Noise([1, 2]), label=rows(name, 2)))[-1].x
    assert torch.equal(nothing[-1].x, whole)
    assert torch.equal(half[-1].x, whole), "an unchanged beginning goes on unchanged"
    known = beginning(whole, count)
    assert torch.equal(other[known], whole[known])
    assert not torch.equal(other, whole)


@able(Predicts)
def test_each_symbol_has_the_probability_that_those_before_it_give_it(name, models):
    model, x = models[name].double(), some(name, 2)
    x = x if zoo.ZOO[name].where.kind == "text" else torch.where(x.double() > 0, 1.0, -1.0).double()
    order = symbols(name, x)
    try:
        with torch.no_grad():
            nats = model.log_probs(x, label=rows(name, 2))
            for place in (0, 1, order.shape[1] // 2):
                told = model.next_distribution(order[:, :place], label=rows(name, 2))
                assert_close(told.exp().sum(1), torch.ones(2, dtype=told.dtype))
                assert_close(told.gather(1, order[:, place, None])[:, 0], nats[:, place])
    finally:
        model.float()
    assert nats.shape == order.shape


@able(Attends)
def test_a_symbol_looks_back_only(name, models):
    model, x = models[name], some(name, 2)[:, :9]
    with torch.no_grad():
        seen = model.attention(x)
    assert seen.shape[0] == 2
    assert seen.shape[3:] == (10, 10)
    assert_close(seen.sum(-1), torch.ones_like(seen[..., 0]))
    assert seen.triu(1).abs().max() == 0


@able(Quantises)
def test_codes_make_the_picture_and_known_ones_stay(name, models):
    model, x = models[name], some(name, 2)
    with torch.no_grad():
        tokens = model.tokens(x)
        filled = list(model.fill(tokens, torch.ones_like(tokens, dtype=torch.bool), Noise([0, 1]), label=rows(name, 2)))
        part = torch.ones_like(tokens, dtype=torch.bool)
        part[:, 1:3, 1:3] = False
        again = list(model.fill(tokens, part, Noise([0, 1]), label=rows(name, 2)))[-1]
        drawn_ = drawn(model, [0, 1], rows(name, 2))[-1]
        whole = list(model.fill(tokens, torch.zeros_like(part), Noise([0, 1]), label=rows(name, 2)))[-1]
        assert_close(model.from_tokens(tokens), model.reconstruct(x))
    assert tokens.shape == (2, *model.grid)
    assert 0 <= tokens.min() <= tokens.max() < model.codes
    assert torch.equal(filled[-1].show["tokens"], tokens)
    assert torch.equal(again.show["tokens"][part], tokens[part])
    assert torch.equal(whole.x, drawn_.x), "nothing known is a sample"


# ---- the other abilities --------------------------------------------------------------------------------------


@able(Denoises)
def test_a_denoisers_guesses_explain_x_t(name, models):
    model, x = models[name], some(name)
    eps = Noise(range(3)).normal(*x.shape[1:])
    with torch.no_grad():
        for t in (0.1, 1.0):
            x_t = model.noised(x, t, eps)
            guess = model.denoise(x_t, t, label=rows(name, 3))
            assert guess.x0.shape == guess.eps.shape == x.shape
            alpha, sigma = (float(a) for a in model.schedule(t))
            assert_close(alpha * guess.x0 + sigma * guess.eps, x_t, rtol=1e-3, atol=1e-3)
        assert_close(model.noised(x, 0.0, eps), x)


@able(Decodes)
def test_codes_are_decoded_at_once_and_differentiably(name, models):
    model, label = models[name], rows(name, 3)
    z = Noise(range(3)).normal(*model.latent_shape).requires_grad_()
    x = model.decode(z, label=label)
    assert x.shape == (3, *zoo.ZOO[name].where.shape)
    if zoo.ZOO[name].where.kind == "image":
        assert x.detach().abs().max() <= 1
    (gradient,) = torch.autograd.grad(x.sum(), z)
    assert gradient.isfinite().all()
    assert gradient.flatten(1).any(1).all(), "every picture depends on its own code"
    (other,) = torch.autograd.grad(model.decode(z, label=label)[0].sum(), z)
    assert not other[1:].any(), "and on no other"
    assert_close(model.decode(z[1:2], label=None if label is None else label[1:2]), x[1:2], rtol=1e-3, atol=1e-4)


@able(Decodes, Encodes)
def test_encoding_gives_the_codes_that_decoding_takes(name, models):
    model, x = models[name], some(name)
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (3, *model.latent_shape)
        assert model.decode(z).shape == x.shape
        assert_close(model.encode(x[1:2]), z[1:2], rtol=1e-3, atol=1e-4)


@able(Reconstructs)
def test_reconstructions_have_the_shape_and_range_of_data(name, models):
    x = some(name)
    with torch.no_grad():
        again = models[name].reconstruct(x)
    assert again.shape == x.shape
    assert again.isfinite().all()
    if zoo.ZOO[name].where.kind == "image":
        assert again.abs().max() <= 1


@able(Scores)
def test_scores_are_nats_per_row_and_repeatable(name, models):
    model, x = models[name], some(name)
    with torch.no_grad():
        scores = model.log_prob(x, Noise([1, 2, 3]), samples=2)
        assert scores.shape == (3,)
        assert scores.isfinite().all()
        assert torch.equal(model.log_prob(x, Noise([1, 2, 3]), samples=2), scores)
        assert_close(model.log_prob(x[1:2], Noise([2]), samples=2), scores[1:2], rtol=1e-4, atol=1e-2)
    assert type(model).measure(zoo.ZOO[name].where, zoo.ZOO[name].config) in ("density", "grey", "binary", "symbols")


@able(Criticises)
def test_a_judge_gives_each_x_a_score_of_its_own(name, models):
    model, x, label = models[name], some(name), rows(name, 3)
    with torch.no_grad():
        scores = model.criticise(x, label=label)
        assert scores.shape == (3,)
        assert len(scores.unique()) == 3
        alone = model.criticise(x[1:2], label=None if label is None else label[1:2])
        assert_close(alone, scores[1:2], rtol=1e-3, atol=1e-4)
