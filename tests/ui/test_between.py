"""Interpolate for music and names: the ends are the seeds' own pieces, and every stop is seen, heard and saved."""

from __future__ import annotations

import zipfile

import pytest
import symusic
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import expect
from ui_steps import fill, go, run

from gen_models import data, latent, music, zoo
from gen_models.interface import Space
from gen_models.ui.panels import between

FORM, ENTRY, NAMES = "crnngan-interpolate", "crnngan-chorales", "crnngan-names"
ROLL, AUDIO = f"#{FORM}-roll", f"#{FORM}-audio"


def stops(shelf: zoo.Shelf, name: str, a: int, b: int, count: int) -> torch.Tensor:
    model = zoo.load(name, shelf)
    return zoo.decoded(model, latent.walk(between.codes(model, [a, b]), count))


def test_every_stop_is_seen_and_heard_and_all_are_saved(page, page_shelf, tmp_path):
    go(page, "crnngan", "interpolate", ENTRY)
    page.wait_for_selector(f"{ROLL}:visible")
    fill(page, FORM, a=4, b=9, stops=5)
    run(page, FORM, "5 stops from seed 4 to seed 9")
    space = zoo.ZOO[ENTRY].where
    pieces = [music.notes(music.grid(x, space)) for x in stops(page_shelf, ENTRY, 4, 9, 5)]
    expect(page.locator(ROLL)).to_have_attribute("data-notes", str(len(pieces[0])))
    page.locator(f"#{FORM}-stop").fill("2")
    expect(page.locator(f"#{FORM}-title")).to_have_text("stop 3 of 5")
    expect(page.locator(ROLL)).to_have_attribute("data-notes", str(len(pieces[2])))
    page.click(f"#{FORM}-play")
    page.wait_for_function(f"() => document.querySelector('{AUDIO}').duration > 0")
    end = max(note.start + note.length for note in pieces[2])
    lasts = page.evaluate(f"() => document.querySelector('{AUDIO}').duration")
    assert end * 0.15 < lasts < end * 0.15 + 2
    page.wait_for_function(f"() => Number(document.querySelector('{ROLL}').dataset.at) > 0.5")
    with page.expect_download() as download:
        page.click(f"#{FORM}-zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert len(names) == 5
        for name, notes in zip(names, pieces, strict=True):
            score = symusic.Score.from_midi(archive.read(name))
            assert sum(len(track.notes) for track in score.tracks) == len(notes)


def test_names_are_listed_from_seed_to_seed(page, page_shelf):
    go(page, "crnngan", "interpolate", NAMES)
    page.wait_for_selector(f"#{FORM}-words")
    fill(page, FORM, a=1, b=2, stops=6)
    run(page, FORM, "6 stops")
    space = zoo.ZOO[NAMES].where
    wanted = [data.decoded(x, space).partition("\n")[0] or "(empty)" for x in stops(page_shelf, NAMES, 1, 2, 6)]
    expect(page.locator(f"#{FORM}-words .gm-between-word")).to_have_text(wanted)


@pytest.mark.parametrize("name", [ENTRY, NAMES])
def test_the_ends_are_what_the_seeds_sample(page_shelf, name):
    model, space = zoo.load(name, page_shelf), zoo.ZOO[name].where
    x = stops(page_shelf, name, 7, 8, 5)
    for end, seed in ((x[0], 7), (x[-1], 8)):
        options = {"bars": 64} if space.kind == "music" else {}
        *_, last = zoo.sample(model, seed, 1, **options)
        n = min(len(end), last.x.shape[1])
        whole = (
            (last.x[0, :n, :2].cumsum(0)[:, 0] + end[:n, 1] <= 64 * music.BAR) if space.kind == "music" else slice(n)
        )
        assert torch.equal(end[:n][whole], last.x[0, :n][whole])


def test_equal_events_and_letters_are_counted_place_by_place():
    rows = torch.tensor([[[0, 4, 60, 60, 60, 60], [4, 4, 62, 60, 60, 60], [0] * 6]]).repeat(3, 1, 1)
    rows[1, 1, 2] = 64
    rows[2] = rows[1]
    rows[2, 2] = torch.tensor([4, 4, 60, 60, 60, 60])
    assert between.equal(rows, music.events_space(3)) == [None, {"same": 1, "of": 2}, {"same": 2, "of": 3}]
    space = Space("text", (4,), alphabet=("\n", "a", "b"), encoding="lines")
    words = torch.tensor([[1, 2, 0, 0], [1, 1, 2, 0], [1, 1, 2, 0]])
    assert between.equal(words, space) == [None, {"same": 1, "of": 3}, {"same": 3, "of": 3}]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"stops": 4}, "stops is a whole number from 5 to 11"),
        ({"a": -1}, "a is a whole number"),
        ({"tempo": 0}, "tempo"),
    ],
)
def test_the_api_refuses_what_the_page_would(app_url, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(ENTRY, settings, api_name="/crnngan_interpolate")
