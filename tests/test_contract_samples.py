"""What every entry that samples keeps: frames, seeds, options, classes."""

from __future__ import annotations

import itertools

import pytest
import torch
from contract import able, drawn, rows
from torch.testing import assert_close
from toys import small

from gen_models import zoo
from gen_models.interface import BadInput, Denoises, Range, Samples, options


@able(Samples)
def test_frames_begin_at_nothing_and_end_with_the_sample(name, models):
    model, shape, kind = models[name], zoo.ZOO[name].where.shape, zoo.ZOO[name].where.kind
    frames = drawn(model, [4, 5, 6], rows(name, 3))
    total, steps = frames[0].total, [frame.step for frame in frames]
    if kind in ("text", "music"):  # lines may end early, events last several sixteenths
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert steps[-1] == total
    else:
        assert steps == list(range(total + 1))
    assert all(frame.total == total for frame in frames)
    assert frames[0].calls == 0
    assert all(a.calls < b.calls for a, b in itertools.pairwise(frames))
    if kind in ("text", "music"):  # they grow
        lengths = [frame.x.shape[1] for frame in frames]
        assert lengths == sorted(lengths)
        assert lengths[0] == 0
        assert all(frame.x.shape == (3, length, *shape[1:]) for frame, length in zip(frames, lengths, strict=True))
    else:
        assert all(frame.x.shape == (3, *shape) for frame in frames)
    last = frames[-1].x
    assert last.dtype == (torch.int64 if kind in ("text", "music") else torch.float32)
    assert last.isfinite().all()
    if kind == "image":
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
        for value in (1, 3) if option.name == "steps" and isinstance(option.allowed, Range) else ends:
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
