"""What tests of panels do again and again: go to one, fill its form, run it, read pixels."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from gen_models import render, zoo
from gen_models.interface import GenerativeModel

ENTRIES = (  # small untrained checkpoints stand on the test page's shelf
    "vae-mnist",
    "vae-mnist-plane",
    "vae-8gaussians",
    "gan-mnist",
    "gan-8gaussians",
    "sagan-cifar10",
    "sagan-cifar10-plain",
    "cyclegan-emoji",
    "crnngan-chorales",
    "crnngan-names",
    "pixelcnn-mnist",
    "flow-8gaussians",
    "glow-mnist",
    "mixture-8gaussians",
    "diffusion-mnist",
    "diffusion-8gaussians",
    "flowmap-mnist",
    "transformer-shakespeare",
    "transformer-names",
    "vqvae-mnist",
)
PATIENCE = 20_000  # milliseconds


def entries_on(data: str) -> tuple[str, ...]:
    """The entries on the test page's shelf that were trained on this data set, as the page orders them."""
    return tuple(name for name, entry in zoo.ZOO.items() if name in ENTRIES and entry.data == data)


def go(page: Page, family: str, panel: str, entry: str | None = None) -> None:
    """Opens a family's panel, and chooses an entry; returns when its controls are there."""
    page.click(f"#family-{family}-button")
    page.wait_for_selector(f"#{family}-entries .gm-strip")
    if entry:
        page.click(f"#{family}-entries [data-entry='{entry}']")
        expect(page.locator(f"#{family}-entries [data-entry='{entry}']")).to_have_attribute("aria-checked", "true")
        page.wait_for_function(
            f"() => gm.forms['{family}-sample']?.entry() === '{entry}' || !gm.forms['{family}-sample']"
        )
    page.click(f"#{family}-{panel}-button")
    page.wait_for_selector(f"#{family}-{panel}:visible")


def fill(page: Page, form: str, **values: object) -> None:
    """Types values into a form's number boxes, or chooses them in its lists."""
    for name, value in values.items():
        field = page.locator(f"#{form}-{name}")
        field.wait_for(state="attached")
        page.wait_for_function("(id) => gm.forms[id]?.ready ?? true", arg=form)  # it is drawn once more until then
        if field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(label=str(value))
        else:
            field.fill(str(value))


def run(page: Page, form: str, says: str | re.Pattern) -> None:
    """Presses the form's button and waits for what its message then says."""
    page.click(f"#{form}-run")
    expect(page.locator(f"#{form}-message")).to_contain_text(says, timeout=PATIENCE)
    expect(page.locator(f"#{form}-run")).to_be_visible()


def pixels(page: Page, selector: str) -> np.ndarray:
    """A canvas's or picture's own pixels, (H, W, 3) bytes, once it is drawn."""
    url = page.locator(selector).evaluate(
        """async (node) => {
          for (let k = 0; k < 2; k++) await new Promise(requestAnimationFrame);  // painted in the next
          for (let tries = 1; node.tagName === "IMG"; tries++) {  // a picture that is replaced meanwhile rejects
            try { await node.decode(); break; } catch (error) { if (tries === 100) throw error; }
            await new Promise((done) => setTimeout(done, 50));
          }
          const canvas = document.createElement("canvas");
          canvas.width = node.naturalWidth ?? node.width; canvas.height = node.naturalHeight ?? node.height;
          canvas.getContext("2d").drawImage(node, 0, 0);
          return canvas.toDataURL("image/png");
        }"""
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def as_shown(x: torch.Tensor, model: GenerativeModel) -> np.ndarray:
    """What a picture (C, H, W) must look like on the page, (H, W, 3) bytes."""
    return np.asarray(render.picture(x, model.space).convert("RGB"))


# ---- the Steps panel --------------------------------------------------------------------------------------------


def denoised(page: Page, entry: str = "diffusion-mnist", **values: object) -> None:
    """Opens the panel, opens its fold and runs it with these values."""
    go(page, "diffusion", "steps", entry)
    page.locator("#diffusion-steps-form summary").click()
    fill(page, "diffusion-steps", **values)
    run(page, "diffusion-steps", "network calls")


def at_step(page: Page, k: int) -> None:
    """Drags the slider to a step."""
    slider = page.locator("#diffusion-steps-film .gm-range")
    slider.evaluate("(node, k) => { node.value = k; node.dispatchEvent(new Event('input')); }", k)
    expect(page.locator("#diffusion-steps-film .gm-player")).to_have_attribute("data-step", str(k))
