"""Sample for models that draw lines of text from codes: each line is the seed's own, beside what it costs."""

from __future__ import annotations

import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import expect
from ui_steps import fill, go, run

from gen_models import data, zoo

FORM, ENTRY = "crnngan-sample", "crnngan-names"


def test_lines_are_those_of_their_seeds_with_their_costs(page, page_shelf):
    go(page, "crnngan", "sample", ENTRY)
    page.wait_for_selector(f"#{FORM}-lines")
    fill(page, FORM, n=6, seed=11)
    run(page, FORM, "6 lines in")
    model = zoo.load(ENTRY, page_shelf)
    *_, last = zoo.sample(model, 11, 6)
    with torch.inference_mode():
        nats = (-model.log_prob(last.x)).tolist()
    words = [data.decoded(row, model.space).partition("\n")[0] or "(empty)" for row in last.x]
    expect(page.locator(f"#{FORM}-lines .gm-line-text")).to_have_text(words)
    expect(page.locator(f"#{FORM}-lines small")).to_have_text(
        [f"{cost:.1f} nats · seed {11 + k}" for k, cost in enumerate(nats)]
    )
    page.check(f"#{FORM}-order")
    ranked = [words[k] for k in torch.tensor(nats).argsort().tolist()]
    expect(page.locator(f"#{FORM}-lines .gm-line-text")).to_have_text(ranked)


@pytest.mark.parametrize(
    ("entry", "settings", "says"),
    [(ENTRY, {"n": 65}, "n is a whole number from 1 to 64"), ("crnngan-chorales", {}, "no lines of text")],
)
def test_the_api_refuses_what_the_page_would(app_url, entry, settings, says):
    with pytest.raises(AppError, match=says):
        Client(app_url, verbose=False).predict(entry, settings, api_name="/crnngan_sample")
