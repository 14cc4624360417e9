"""The flow map jumps to where its teacher walks: it begins as the teacher, and learns the walks and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from toys import FakePictures, lively, put_on_shelf, small, teacher_for

from gen_models import zoo
from gen_models.interface import BadInput, Batch, Space, Turn
from gen_models.models.diffusion import FlowMatching
from gen_models.models.fewstep import GRID, JUMPS, FlowMap
from gen_models.noise import Noise
from gen_models.training import Recipe, Stage, Training

POINTS, CLASSES = Space("points", (2,)), Space("points", (2,), labels=("a", "b", "c"))
GOAL = torch.tensor([1.5, -0.5])


class Straight(nn.Module):
    """The velocity of a flow in which every point goes straight to GOAL, as the teacher's network or the student's."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x_t, t, label=None):
        now = (t[:, 0] if t.dim() == 2 else t)[:, None]
        return (x_t - GOAL) / now.clamp_min(1e-3)


class Anywhere:
    """Batches of which only the length counts."""

    log_prob = None

    def __init__(self, space: Space = POINTS):
        self.space = space

    def batch(self, n: int, rng: torch.Generator) -> Batch:
        return Batch(torch.zeros(n, *self.space.shape), torch.zeros(n, dtype=torch.long))


def straight() -> FlowMatching:
    teacher = FlowMatching(POINTS, channels=8)
    teacher.network = Straight()
    return teacher.eval()


def turn(teacher=None, step: int = 50) -> Turn:
    return Turn("", "training", step, 0.5, torch.Generator().manual_seed(3), teacher)


def test_it_begins_as_its_teacher_whose_velocity_it_answers_with():
    entry = small(zoo.ZOO["flowmap-mnist"])
    teacher, student = teacher_for(entry), zoo.build(entry)
    student.begin(FakePictures(entry.where).batch(4, torch.Generator()), torch.Generator(), teacher)
    x, t, label = torch.randn(5, 1, 28, 28), torch.linspace(0.1, 1, 5), torch.eye(10)[:5]
    for s in (t, t / 2, 0 * t):
        assert_close(student.velocity(x, t, s, label), teacher.predict(x, t, label))


def test_a_student_that_jumps_along_the_walks_has_no_loss_and_another_has():
    student = FlowMap(POINTS, channels=8, guidance=1.0, walks=256)
    batch = Anywhere().batch(512, torch.Generator())
    wrong = student.loss(batch, turn(straight())).minimise
    student.network = Straight()
    assert student.loss(batch, turn(straight())).minimise < 1e-4  # walks are kept in half precision
    assert wrong > 0.1


def test_it_learns_to_jump_where_the_teacher_walks():
    student = FlowMap(POINTS, channels=8, guidance=1.0, walks=1024)
    teacher = copy.deepcopy(straight())
    student.begin = lambda *given: None  # this teacher's network has no weights to begin with
    run = Training(student, Anywhere(), Recipe({"training": Stage(400)}, batch_size=256, lr=5e-3), teacher=teacher)
    list(run)
    noise = Noise(range(100_000, 100_064)).normal(2)  # of no walk that was learnt from
    with torch.no_grad():
        for steps in JUMPS:
            *_, last = run.shown.sample(Noise(range(100_000, 100_064)), steps=steps)
            assert (last.x - GOAL).norm(dim=1).mean() < 0.15
        half = run.shown.jump(noise, 1.0, 0.5)
    assert (half - (noise + GOAL) / 2).norm(dim=1).mean() < 0.1


def test_the_walks_are_those_of_the_teacher_with_its_guidance_and_its_classes():
    teacher = lively(small(zoo.ZOO["diffusion-mnist"]), seed=7)
    student = FlowMap(teacher.space, channels=8, conditional=True, guidance=2.5, walks=64)
    walks = student._walks([3, 63], teacher, torch.device("cpu"))
    assert walks.shape == (2, GRID + 1, 1, 28, 28)
    for k, walk in zip((3, 63), walks, strict=True):
        frames = teacher.sample(Noise([k]), label=torch.eye(10)[[k % 10]], steps=GRID, solver="heun", guidance=2.5)
        with torch.no_grad():
            assert_close(walk.float(), torch.cat([frame.x for frame in frames]), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("steps", JUMPS)
def test_a_sample_takes_as_many_calls_as_steps(steps):
    model = FlowMap(CLASSES, channels=8, conditional=True).eval()
    asked = []
    model.network.register_forward_hook(lambda module, given, found: asked.append(len(given[0])))
    with torch.no_grad():
        *_, last = model.sample(Noise(range(3)), label=torch.eye(3), steps=steps)
    assert asked == [3] * steps
    assert last.calls == steps, "guidance is learnt along: no call is doubled"


def test_its_decoder_makes_the_sample_that_begins_with_the_same_noise():
    model = lively(small(zoo.ZOO["flowmap-mnist"]))
    label = torch.eye(10)[:4]
    with torch.no_grad():
        *_, last = model.sample(Noise(range(4)), label=label)
        assert_close(model.decode(Noise(range(4)).normal(1, 28, 28), label=label), last.x)


def test_without_a_teacher_or_with_one_of_another_shape_it_says_what_to_do():
    model, batch = FlowMap(POINTS, channels=8), Anywhere().batch(2, torch.Generator())
    with pytest.raises(BadInput, match="name one as its entry's teacher"):
        model.begin(batch, torch.Generator())
    for other in (FlowMatching(POINTS, channels=16), FlowMatching(CLASSES, channels=8, conditional=True)):
        with pytest.raises(BadInput, match="another shape"):
            model.begin(batch, torch.Generator(), other)


def test_an_entry_finds_its_teacher_beside_itself_or_says_how_to_train_one(tmp_path):
    entry = small(zoo.ZOO["flowmap-mnist"], steps=1)
    unknown = zoo.Entry(entry.family, entry.model, None, entry.recipe, entry.config, entry.where, teacher="nobody")
    with pytest.raises(BadInput, match="python -m gen_models train nobody"):
        next(zoo.run(unknown, FakePictures(entry.where), folder=tmp_path / "mine"))
    put_on_shelf(tmp_path / "diffusion-mnist", small(zoo.ZOO["diffusion-mnist"]))
    list(zoo.run(entry, FakePictures(entry.where), folder=tmp_path / "mine"))
    assert zoo.Shelf(tmp_path).card("mine")["teacher"] == "diffusion-mnist"
