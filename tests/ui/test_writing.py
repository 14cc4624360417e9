"""The Write panel: what is on screen was drawn as it says, can be changed anywhere, and goes on as it would have."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from ui_steps import fill, go, run

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.nn import kept
from gen_models.noise import Noise
from gen_models.ui.panels import writing
from gen_models.ui.visits import Picked
from gen_models.ui.widgets import Ask

FORM, PLAYS, NAMES = "autoregressive-write", "transformer-shakespeare", "transformer-names"
OPTIONS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def picked(shelf: zoo.Shelf, name: str = PLAYS) -> Picked:
    return Picked(name, zoo.ZOO[name], shelf)


def asked(shelf: zoo.Shelf, name: str = PLAYS, *, options: dict | None = None, stop: bool = False, **values) -> Ask:
    """A request with all fields, others at their defaults."""
    defaults = {field.option.name: field.option.default for field in writing._fields(picked(shelf, name))}
    visit = SimpleNamespace(stopped={"run"} if stop else set())
    return Ask(picked(shelf, name), visit, defaults | values, OPTIONS | (options or {}), "run")


def told(ask: Ask) -> list[writing.Page]:
    task = writing.task_of(ask.picked, ask.values)
    return list(writing.pages(ask, ask.picked.model(), task))


def texts(ask: Ask) -> list[str]:
    return [row["text"] for row in told(ask)[-1].sent(ask)["rows"]]


# ---- in the browser -------------------------------------------------------------------------------------------


def written(page: Page) -> str:
    """The text on the stage."""
    spans = page.locator(f"#{FORM}-text .gm-ch:not(.gm-block)").all_text_contents()
    return "".join(text.removeprefix("↵") for text in spans)


def write(page: Page, prompt: str, length: int, seed: int = 0) -> str:
    fill(page, FORM, prompt=prompt, length=length, seed=seed)
    run(page, FORM, f"{length} characters in")
    return written(page)


def point(page: Page, place: int) -> None:
    """Clicks a symbol; returns when its bars are there."""
    page.locator(f"#{FORM}-text .gm-ch").nth(place).click()
    expect(page.locator(f"#{FORM}-next")).to_have_attribute("data-at", str(place))


def bars(page: Page):
    return page.locator(f"#{FORM}-next .gm-next-row:not(.gm-blank)")


def test_another_symbol_is_chosen_and_the_text_goes_on_from_there(page, page_shelf):
    go(page, "autoregressive", "write", PLAYS)
    before = write(page, "To be", 60, seed=3)
    assert before == texts(asked(page_shelf, prompt="To be", length=60, seed=3))[0]
    point(page, 20)
    expect(page.locator(f"#{FORM}-next-fact")).to_contain_text("Written: ")
    other = bars(page).nth(1 if bars(page).nth(0).get_attribute("data-symbol") == before[20] else 0)
    symbol = other.get_attribute("data-symbol")
    other.click()
    expect(page.locator(f"#{FORM}-message")).to_contain_text("44 characters in")
    after = written(page)
    assert after[:21] == before[:20] + symbol
    assert len(after) == 65
    assert after[21:] != before[21:]
    start = {"text": after[:21], "more": 44, "row": 0}
    assert after == texts(asked(page_shelf, start=start, seed=3))[0]
    expect(page.locator(f"#{FORM}-text .gm-chosen")).to_have_count(1)
    expect(page.locator(f"#{FORM}-next-fact")).to_contain_text("You chose")
    with page.expect_download() as download:
        page.click(f"#{FORM}-recipe")
    recipe = json.loads(Path(download.value.path()).read_text())
    assert (recipe["prompt"], recipe["text"], recipe["seed"]) == ("To be", after, 3)
    assert recipe["choices"] == [{"at": 20, "symbol": symbol}]
    page.click(f"#{FORM}-undo")
    assert written(page) == before


def test_the_same_choice_and_the_way_back_give_the_same_text(page):
    go(page, "autoregressive", "write", PLAYS)
    before = write(page, "", 40)
    page.focus(f"#{FORM}-text")
    page.keyboard.press("Home")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(page.locator(f"#{FORM}-next")).to_have_attribute("data-at", "10")
    page.keyboard.press("Enter" if before[10] == "\n" else before[10])
    expect(page.locator(f"#{FORM}-message")).to_contain_text("29 characters in")
    expect(page.locator(f"#{FORM}-text .gm-chosen")).to_have_count(1)
    assert written(page) == before, "an unchanged choice changes nothing"
    page.click(f"#{FORM}-back-10")
    page.click(f"#{FORM}-back-1")
    assert written(page) == before[:29]
    page.click(f"#{FORM}-step")
    expect(page.locator(f"#{FORM}-message")).to_contain_text("1 character in")
    assert written(page) == before[:30]
    page.click(f"#{FORM}-continue")
    expect(page.locator(f"#{FORM}-message")).to_contain_text("10 characters in")
    assert written(page) == before
    page.click(f"#{FORM}-back-choice")
    assert written(page) == before[:11]
    with page.expect_download() as download:
        page.click(f"#{FORM}-txt")
    assert Path(download.value.path()).read_text() == before[:11]


def test_the_bars_follow_the_controls_at_once(page):
    go(page, "autoregressive", "write", PLAYS)
    expect(page.locator(f"#{FORM}-next-title")).to_have_text("The first symbol")
    expect(bars(page)).to_have_count(12)
    fill(page, FORM, top_k=3)
    expect(page.locator(f"#{FORM}-next .gm-cut")).to_have_count(9)
    expect(bars(page).nth(3)).to_contain_text("cut by top-k")
    assert sum(float(bars(page).nth(k).get_attribute("data-p")) for k in range(3)) == pytest.approx(1)
    fill(page, FORM, temperature=0)
    expect(bars(page).nth(0)).to_have_attribute("data-p", "1")


@pytest.mark.parametrize("settings", [(1, 0, 1), (0.6, 5, 1), (1.7, 0, 0.7), (0.8, 6, 0.5), (0, 3, 0.9), (1, 0, 0)])
def test_the_page_chooses_as_the_model_does(page, settings):
    log = torch.randn(11, generator=torch.Generator().manual_seed(0)).double().log_softmax(-1)
    log[4] = log[7]  # of equal ones the first stays
    found = page.evaluate("([log, ...s]) => Array.from(gm.kept(log, ...s).p)", [log.tolist(), *settings])
    assert found == pytest.approx(kept(log, *settings).tolist(), abs=1e-9)


def test_lines_are_written_together_and_each_can_be_looked_at(page, page_shelf):
    go(page, "autoregressive", "write", NAMES)
    fill(page, FORM, prompt="ma", n=5, seed=7)
    run(page, FORM, "5 lines in")
    shown = page.locator(f"#{FORM}-view .gm-write-line")
    wanted = texts(asked(page_shelf, NAMES, prompt="ma", n=5, seed=7))
    assert shown.all_text_contents() == [text.removesuffix("\n") for text in wanted]
    shown.nth(3).click()
    point(page, 2)
    other = bars(page).nth(1 if bars(page).nth(0).get_attribute("data-symbol") == wanted[3][2] else 0)
    symbol = other.get_attribute("data-symbol")
    other.click()
    expect(page.locator(f"#{FORM}-text .gm-chosen")).to_have_count(1)
    if symbol != "\n":
        expect(page.locator(f"#{FORM}-message")).to_contain_text("1 line in")
    assert shown.nth(3).text_content().startswith("ma" + symbol.strip())
    assert shown.nth(2).text_content() == wanted[2].removesuffix("\n"), "the other lines stay"


def test_a_symbol_that_the_model_does_not_know_is_named(page):
    go(page, "autoregressive", "write", PLAYS)
    page.fill(f"#{FORM}-prompt", "naïve")
    expect(page.locator(f"#{FORM}-next")).to_contain_text("This model does not know 'ï'")
    page.click(f"#{FORM}-run")
    expect(page.locator(f"#{FORM}-message .gm-wrong")).to_contain_text(
        "Change the prompt. This model does not know 'ï'"
    )


@pytest.mark.parametrize("panel", ["write", "attention"])
def test_a_narrow_page_has_no_sideways_scroll(open_page, panel):
    page = open_page(390, 844)
    go(page, "autoregressive", panel, PLAYS)
    page.wait_for_selector(f"#autoregressive-{panel}-view :is(.gm-write-text, .gm-att-text)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("entry", "settings", "says"),
    [
        (PLAYS, {"length": 0}, "length is a whole number from 1 to 2000"),
        (PLAYS, {"top_p": 2}, "top_p is a number from 0 to 1"),
        (PLAYS, {"prompt": "£"}, "does not know '£'"),
        (PLAYS, {"start": "To be"}, "start is null, or"),
        (NAMES, {"n": 65}, "n is a whole number from 1 to 64"),
        ("pixelcnn-mnist", {}, "writes no text"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, api_name="/autoregressive_write")


# ---- without a page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "prompt", "n"), [(PLAYS, "Now", 1), (NAMES, "ma", 3), (NAMES, "", 2)])
def test_every_symbol_costs_what_the_distribution_before_it_says(page_shelf, name, prompt, n):
    ask = asked(page_shelf, name, prompt=prompt, seed=1, **({"n": n} if name == NAMES else {"length": 12}))
    model, last = ask.picked.model(), told(ask)[-1]
    for row, text in zip(last.sent(ask)["rows"], texts(ask), strict=True):
        costs = np.frombuffer(base64.b64decode(row["costs"]), "<u2") / writing.UNIT
        x = writing.data.encoded(text, ask.picked.space)
        wanted = [-float(model.next_distribution(x[None, :i])[0, x[i]]) for i in range(len(x))]
        assert costs.tolist() == pytest.approx(wanted, abs=2e-3)
        assert text.startswith(prompt)


def test_from_nothing_it_writes_what_it_samples(page_shelf):
    ask = asked(page_shelf, length=30, seed=5)
    *_, last = zoo.sample(ask.picked.model(), 5, 1, length=30)
    assert texts(ask)[0] == "".join(ask.picked.space.alphabet[k] for k in last.x[0].tolist())


def test_one_line_of_several_goes_on_as_it_went(page_shelf):
    whole = texts(asked(page_shelf, NAMES, n=6, seed=2))
    row = max(range(6), key=lambda k: len(whole[k]))
    start = {"text": whole[row][:2], "more": 100, "row": row}
    assert texts(asked(page_shelf, NAMES, start=start, seed=2)) == [whole[row]]


def test_a_choice_is_kept_and_what_follows_is_drawn_at_its_own_place(page_shelf):
    space, model = picked(page_shelf).space, picked(page_shelf).model()
    start = {"text": "To be, q", "more": 20, "row": 0}
    found = texts(asked(page_shelf, start=start, seed=9))[0]
    x = writing.data.encoded(found, space)
    for i in range(8, 28):
        p = model.next_distribution(x[None, :i]).double().exp()
        assert Noise([9]).at(i).choice(p).tolist() == [int(x[i])]


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": 1}])
def test_with_one_symbol_left_the_seed_does_not_matter(page_shelf, options):
    one, other = (texts(asked(page_shelf, options=options, length=20, seed=seed)) for seed in (0, 1))
    assert one == other


def test_stop_keeps_what_exists(page_shelf):
    ask = asked(page_shelf, prompt="To", length=500, stop=True)
    *_, last = told(ask)
    assert last.line(ask) == f"stopped after {last.written} of 500 characters"
    assert not last.over
    assert last.costs.shape == last.x.shape


def test_a_prompt_longer_than_the_context_works_and_says_so(page_shelf):
    ask = asked(page_shelf, prompt="To be or not. " * 30, length=3)
    *_, last = told(ask)
    assert last.sent(ask)["rows"][0]["text"].startswith("To be or not. " * 30)
    assert "of the prompt only the last 256 characters count at most" in last.line(ask)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (PLAYS, {"prompt": "a" * 2001}, "The prompt has 2001 characters; 2000 are the most here. Keep its end"),
        (PLAYS, {"prompt": "日本"}, "Change the prompt. This model does not know '日', '本'"),
        (PLAYS, {"start": {"text": "a" * 3990, "more": 11, "row": 0}}, "4000 characters here at most"),
        (NAMES, {"prompt": "anna\n"}, "a line break ends one"),
        (NAMES, {"prompt": "a" * 16}, "16 symbols at most, its end included"),
        (NAMES, {"seed": 2**32 - 3, "n": 4}, "seed is a whole number"),
    ],
)
def test_bad_input_is_told_with_what_to_do(page_shelf, name, values, says):
    ask = asked(page_shelf, name, **values)
    with pytest.raises(BadInput, match=says):
        writing.task_of(ask.picked, ask.values)


def test_what_comes_next_is_the_models_distribution(page_shelf):
    entry = picked(page_shelf)
    tab = SimpleNamespace(visits=SimpleNamespace(picked=lambda name, visit: entry))
    answer = writing._next(tab)(None, {"entry": PLAYS, "text": "To b"})
    log = np.frombuffer(base64.b64decode(answer["log"]), "<f4")
    assert math.isclose(np.exp(log).sum(), 1, rel_tol=1e-5)
    x = writing.data.encoded("To b", entry.space)
    assert log.tolist() == pytest.approx(entry.model().next_distribution(x[None])[0].tolist(), rel=1e-5)
    for text in (None, 7, "a" * 4001, "ü"):
        with pytest.raises(BadInput):
            writing._next(tab)(None, {"entry": PLAYS, "text": text})


def test_costs_travel_to_a_thousandth_of_a_nat():
    coded = np.frombuffer(base64.b64decode(writing.coded(torch.tensor([0.0, 1.2344, 99.0, math.nan]))), "<u2")
    assert coded.tolist() == [0, 1234, writing.UNKNOWN - 1, writing.UNKNOWN]
