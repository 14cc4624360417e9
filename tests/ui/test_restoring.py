"""A picture that a panel of the laboratory saved brings its entry, its panel and its controls back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, go

from gen_models import __version__, render

RECIPES = {
    "solvers": {"calls": "2, 4", "seed": 9},
    "sweep": {"row_values": "1, 2", "column_values": "2, 4", "seed": 9},
    "between-noises": {"a": 3, "b": 8},
    "steer-guidance": {"values": "1, 4", "seed": 9},
    "steer-labels": {"seed": 9},
}


@pytest.mark.parametrize("form", RECIPES)
def test_a_recipe_opens_its_panel_and_fills_its_form(page: Page, tmp_path: Path, form: str):
    panel = {"panel": "steer", "form": form} if form.startswith("steer") else {"panel": form}
    recipe = {"entry": "diffusion-mnist", **panel, **RECIPES[form], "version": __version__}
    file = tmp_path / "saved.png"
    file.write_bytes(render.png(Image.new("L", (8, 8)), recipe))
    go(page, "vae", "sample")
    page.set_input_files("#recipe-file", str(file))
    expect(page.locator(f"#diffusion-{form}-run")).to_be_visible(timeout=PATIENCE)
    for name, value in RECIPES[form].items():
        expect(page.locator(f"#diffusion-{form}-{name}")).to_have_value(str(value), timeout=PATIENCE)
