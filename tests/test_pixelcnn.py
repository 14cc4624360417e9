"""PixelCNN against what is known: all pictures have probability 1, nothing looks ahead, nothing past is lost."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import FakePictures

from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.pixelcnn import DROPPED, PixelCNN
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

LABELS = ("a", "b", "c")
NARROW = {"channels": 8, "layers": 2}
FOLDS = pytest.mark.parametrize("fold", [1, 2, 4])


def pixelcnn(rows: int = 8, columns: int = 8, *, conditional: bool = False, **config) -> PixelCNN:
    """A small model in float64 whose every parameter counts."""
    space = Space("image", (1, rows, columns), labels=LABELS if conditional else ())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = PixelCNN(space, conditional=conditional, **NARROW | config).double()
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def pictures(n: int, model: PixelCNN, seed: int = 0) -> Tensor:
    """Pixels of -1 and 1."""
    bits = torch.rand(n, *model.space.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    return bits.double() * 2 - 1


def turn(seed: int = 0) -> Turn:
    return Turn("", "training", 0, 0.0, torch.Generator().manual_seed(seed))


def rows_of(*classes: int) -> Tensor:
    return torch.eye(len(LABELS), dtype=torch.float64)[list(classes)]


def first(n: int, x: Tensor) -> Tensor:
    """The mask of the first n pixels in reading order."""
    order = torch.arange(x[0].numel()).view(x.shape[1:])
    return (order < n).expand_as(x)


# ---- order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"fold": 1}, {"fold": 2}, {"fold": 4}, {"fold": 2, "layers": 1}])
def test_a_pixel_sees_its_receptive_field_and_nothing_else(config):
    model = pixelcnn(8, 8, **config)
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double() - 0.5
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x).flatten(), x).view(64, 64)
    field = torch.stack([model.receptive_field(n).flatten() for n in range(64)])
    assert torch.equal(jacobian != 0, field), "every pixel of the field matters, no other does"
    assert not field.triu().any(), "neither itself nor what comes later"
    if config.get("layers") == 1:
        assert not torch.equal(field, torch.ones(64, 64).tril(-1).bool()), "one layer does not see everything"


def test_enough_layers_leave_no_blind_spot():
    model = pixelcnn(8, 8, fold=1, layers=7)
    everything = torch.ones(64, 64).tril(-1).bool()
    assert torch.equal(torch.stack([model.receptive_field(n).flatten() for n in range(64)]), everything)


@FOLDS
def test_no_output_depends_on_what_comes_later(fold):
    model = pixelcnn(fold=fold)
    x = pictures(3, model)
    logits = model(x)
    for n in (0, 1, 7, 13, 62):
        for other in (pictures(3, model, seed=9), torch.zeros_like(x)):
            changed = model(torch.where(first(n, x), x, other))
            assert torch.equal(changed.flatten(1)[:, : n + 1], logits.flatten(1)[:, : n + 1])


# ---- the likelihood --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fold", "label"), [(1, None), (3, None), (3, rows_of(1))])
def test_all_pictures_together_have_probability_one(fold, label):
    model = pixelcnn(3, 3, fold=fold, conditional=label is not None)
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9)), dtype=torch.float64).view(-1, 1, 3, 3)
    cost = model.log_prob(every, label=None if label is None else label.expand(len(every), -1))
    assert_close(cost.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert cost.std() > 0.1


@FOLDS
def test_each_pixels_nats_are_those_of_choosing_it_next(fold):
    model = pixelcnn(3, 8, fold=fold, conditional=True)
    x, label = pictures(4, model), rows_of(0, 1, 2, 0)
    nats = model.log_probs(x, label=label)
    assert nats.shape == (4, 24)
    assert_close(nats.sum(1), model.log_prob(x, label=label))
    symbols = (x.flatten(1) > 0).long()
    for n in range(24):
        following = model.next_distribution(symbols[:, :n], label=label)
        assert following.shape == (4, 2)
        assert_close(following.exp().sum(1), torch.ones(4, dtype=torch.float64))
        assert_close(following.gather(1, symbols[:, n : n + 1])[:, 0], nats[:, n])


def test_grey_pixels_are_binarised_by_their_brightness():
    model = pixelcnn()
    grey = torch.full((2000, 1, 8, 8), -0.5, dtype=torch.float64)
    drawn = [model.log_prob(grey[:3], Noise([1, 2, 3])), model.log_prob(grey[:3], Noise([1, 2, 4]))]
    assert torch.equal(drawn[0][:2], drawn[1][:2])
    assert drawn[0][2] != drawn[1][2]
    x = pictures(3, model)
    assert torch.equal(model.log_prob(x, Noise([1, 2, 3])), model.log_prob(x)), "black and white stay as they are"
    u = Noise([1, 2, 3]).uniform(1, 8, 8)
    by_hand = torch.where(u < 0.25, 1.0, -1.0).double()
    assert torch.equal(drawn[0], model.log_prob(by_hand))
    batch = Batch(grey)
    one, same, other = (model.loss(batch, turn(seed)).minimise for seed in (0, 0, 1))
    assert one == same != other, "each batch anew, from the turn's stream alone"


def test_the_class_is_left_out_now_and_then():
    model = pixelcnn(3, 4, conditional=True)
    x = pictures(1, model).expand(4000, -1, -1, -1).contiguous()
    cost = model.loss(Batch(x, torch.zeros(4000, dtype=torch.int64)), turn()).show["negative log-likelihood"]
    without, given = -model.log_prob(x[:1]), -model.log_prob(x[:1], label=rows_of(0))
    share = ((cost - without).abs() < 1e-6).double().mean()
    assert abs(share - DROPPED) < 4 * math.sqrt(DROPPED / 4000)
    assert ((cost - without).abs().minimum((cost - given).abs()) < 1e-6).all()
    mixed, rows = model.log_prob(x[:1], label=(rows_of(0) + rows_of(1)) / 2), model.log_prob(x[:1], label=rows_of(1))
    assert len({float(v) for v in (without, -given, mixed, rows)}) == 4
    assert torch.equal(model.log_prob(x[:1], label=torch.zeros(1, 3)), -without)


def test_it_learns_and_starts_at_the_mean():
    source = FakePictures(Space("image", (1, 8, 8)), 64)
    bars = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0).expand(64, 1, 8, 8) * torch.where(
        torch.arange(64) % 2 == 0, 1.0, -1.0
    ).view(64, 1, 1, 1)  # one bit chooses the whole picture
    source.x = bars.contiguous()
    torch.manual_seed(0)
    model = PixelCNN(source.space, **NARROW)
    with torch.no_grad():
        model.begin(Batch(torch.full((5, 1, 8, 8), 0.5)), torch.Generator())
    assert_close(torch.sigmoid(model.base), torch.full_like(model.base, 0.75))
    training = Training(model, source, Recipe({"training": Stage(120)}, batch_size=32, lr=1e-2))
    last = list(training)[-1]
    with torch.no_grad():
        cost = -float(training.shown.log_prob(source.x).mean())
    assert math.log(2) - 0.05 < cost < 1.5, f"one coin is {math.log(2):.2f} nats; {last.show}"


# ---- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fold", "conditional"), [(1, False), (2, True), (4, True)])
def test_what_is_kept_in_mind_agrees_with_reading_all_again(fold, conditional):
    model = pixelcnn(12, 8, fold=fold, layers=5, conditional=conditional)
    label = rows_of(0, 2, 1) if conditional else None
    cached = list(model.sample(Noise([1, 2, 3]), label=label))
    model.cached = False
    without = list(model.sample(Noise([1, 2, 3]), label=label))
    assert len(cached) == len(without) == 13
    for one, other in zip(cached, without, strict=True):
        assert torch.equal(one.x, other.x)
        assert one[1:] == other[1:]


@FOLDS
def test_cached_logits_are_those_of_the_whole_network(fold):
    from gen_models.models.pixelcnn import _Rereader, _Writer

    model = pixelcnn(12, 8, fold=fold, layers=5, conditional=True)
    x, label = pictures(2, model), rows_of(0, 1)
    again, writer = _Rereader(model, label), _Writer(model, label)
    for row in range(12):
        for cell in range(model.grid[1]):
            assert_close(writer.nodes(x, row, cell), again.nodes(x, row, cell))


def test_frames_fill_in_row_by_row():
    model = pixelcnn()
    frames = list(model.sample(Noise([4, 5])))
    for i, frame in enumerate(frames):
        assert (frame.step, frame.total, frame.calls) == (i, 8, 2 * i)
        assert (frame.x[:, :, i:] == 0).all()
        assert (frame.x[:, :, :i].abs() == 1).all()
    again = list(model.sample(Noise([5, 4])))[-1].x
    assert torch.equal(again.flip(0), frames[-1].x), "each from its own seed"
    assert torch.equal(list(model.sample(Noise([5])))[-1].x, again[:1])


@FOLDS
@pytest.mark.parametrize("n", [0, 3, 8, 29, 63, 64])
def test_what_is_known_stays_and_the_rest_goes_on_as_it_would_have(fold, n):
    model = pixelcnn(fold=fold)
    whole = list(model.sample(Noise([1, 2])))[-1].x
    frames = list(model.complete(whole, first(n, whole), Noise([1, 2])))
    assert torch.equal(frames[-1].x, whole), "the unbroken run"
    assert len(frames) == 1 + 8 - n // 8
    assert (frames[0].x[~first(n, whole)] == 0).all()
    other = pictures(2, model, seed=5)
    done = list(model.complete(0.3 * other, first(n, other), Noise([1, 2])))[-1].x
    assert torch.equal(done[first(n, other)], other[first(n, other)])
    assert (done.abs() == 1).all()


def test_pictures_of_a_batch_may_be_known_to_different_places():
    model = pixelcnn()
    x = pictures(2, model)
    known = torch.cat([first(40, x[:1]), first(10, x[1:])])
    together = list(model.complete(x, known, Noise([1, 2])))[-1].x
    for k in range(2):
        alone = list(model.complete(x[k : k + 1], known[k : k + 1], Noise([1 + k])))[-1].x
        assert torch.equal(together[k : k + 1], alone)


def test_temperature_zero_takes_the_likelier_pixel():
    model = pixelcnn()
    one, other = (list(model.sample(Noise([seed]), temperature=0.0))[-1].x for seed in (1, 2))
    assert torch.equal(one, other)
    assert torch.equal(one, torch.where(model(one) > 0, 1.0, -1.0).double())
    cold, hot = (list(model.sample(Noise(range(40)), temperature=t))[-1].x for t in (0.5, 2.0))
    assert model.log_prob(cold).mean() > model.log_prob(hot).mean() + 1


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_come_as_often_as_they_are_probable(temperature):
    model = pixelcnn(2, 2, fold=2)
    every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    nats = model(every).flatten(1) / temperature * every.flatten(1)
    expected = torch.nn.functional.logsigmoid(nats).sum(1).exp()
    drawn = list(model.sample(Noise(range(4000)), temperature=temperature))[-1].x
    counts = (drawn.flatten(1)[:, None] == every.flatten(1)).all(2).double().mean(0)
    assert ((counts - expected).abs() < 4.5 * (expected / 4000).sqrt() + 1e-3).all()


# ---- bad input -------------------------------------------------------------------------------------------------


def test_what_cannot_be_is_said():
    with pytest.raises(BadInput, match="grey"):
        PixelCNN(Space("image", (3, 8, 8)))
    with pytest.raises(BadInput, match="grey"):
        PixelCNN(Space("points", (2,)))
    with pytest.raises(BadInput, match="cells of 4"):
        PixelCNN(Space("image", (1, 8, 6)))
    with pytest.raises(BadInput, match="up to"):
        PixelCNN(Space("image", (1, 128, 128)))
    model = pixelcnn()
    x = pictures(2, model)
    for known in (~first(3, x), first(9, x) & (torch.arange(8) != 2), torch.arange(8).expand_as(x) < 4):
        with pytest.raises(BadInput, match="top"):
            next(model.complete(x, known, Noise([1, 2])))
    with pytest.raises(BadInput, match="not"):
        next(model.complete(x[..., :4], first(3, x[..., :4]), Noise([1, 2])))
    with pytest.raises(BadInput, match="64"):
        model.next_distribution(torch.zeros(1, 64, dtype=torch.int64))
    with pytest.raises(BadInput, match="0"):
        model.next_distribution(torch.tensor([[0, 2]]))
