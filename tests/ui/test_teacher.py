"""The Teacher panel: one noise through student and teacher, and what each makes of few calls."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from torch.testing import assert_close
from ui_steps import fill, go, run

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.ui.panels import teacher
from gen_models.ui.visits import Picked, Visit
from gen_models.ui.widgets import Ask

ENTRY, TEACHER = "flowmap-mnist", "diffusion-mnist"


@pytest.fixture
def ask(page_shelf, tmp_path) -> Ask:
    picked = Picked(ENTRY, page_shelf.entry(ENTRY), page_shelf)
    return Ask(picked, Visit(tmp_path), {"seed": 3, "n": 2, "label": "7"}, {}, "")


def test_both_get_the_same_noise_and_the_student_as_few_calls_as_are_said(ask, page_shelf):
    student, own = zoo.load(ENTRY, page_shelf), zoo.load(TEACHER, page_shelf)
    *_, pair = teacher._drawn(ask, student, TEACHER, own)
    assert list(pair.student) == list(pair.hurried) == [1, 2, 4, 8]
    for k in (1, 4):
        *_, last = zoo.sample(student, 3, 2, label="7", steps=k)
        assert_close(pair.student[k][0], last.x)
        *_, last = zoo.sample(own, 3, 2, label="7", steps=k, solver="euler", guidance=student.guidance)
        assert_close(pair.hurried[k][0], last.x)
    *_, last = zoo.sample(own, 3, 2, label="7", **student.target())
    assert_close(pair.whole, last.x)
    assert pair.calls == 15
    film = teacher.film_of(pair)
    assert film["steps"] == [1, 2, 4, 8]
    apart = (pair.student[2][0] - pair.whole).square().mean().sqrt()
    assert film["tracks"][0]["notes"][1].endswith(f"RMSE {apart:.2g}")


def test_a_student_whose_teacher_is_not_here_says_how_to_get_it(ask):
    alone = ask.picked._replace(entry=dataclasses.replace(ask.picked.entry, teacher="nobody"))
    with pytest.raises(BadInput, match="train nobody"):
        teacher._teacher(alone, "cpu")


def test_the_panel_compares_and_saves(page: Page):
    go(page, "diffusion", "teacher", ENTRY)
    fill(page, "diffusion-teacher", seed=5, n=4)
    run(page, "diffusion-teacher", "4 samples in 2 calls")
    film = page.locator("#diffusion-teacher-film .gm-film")
    expect(film).to_have_attribute("data-frames", "4")
    expect(film).to_have_attribute("data-step", "2")
    with page.expect_download() as saved:
        page.locator("#diffusion-teacher-film").get_by_role("button", name="PNG").click()
    picture = Image.open(Path(saved.value.path()))
    recipe = json.loads(picture.text["parameters"])
    assert recipe["entry"] == ENTRY
    assert recipe["seed"] == 5
    assert recipe["the teacher's walk"]["steps"] == 8
    assert picture.height > 4 * 100


def test_an_entry_without_a_teacher_does_not_get_the_panel(page: Page):
    go(page, "diffusion", "sample", TEACHER)
    expect(page.locator("#diffusion-teacher-button")).to_be_disabled()
