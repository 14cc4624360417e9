"""Training a model that translates: who is offered which data, two zips, previews both ways, the model to take away."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from toys import fake_domains
from ui_steps import PATIENCE, go, pixels

from gen_models import data, zoo
from gen_models.interface import BadInput, Space, Translates
from gen_models.ui.panels import sources, train
from gen_models.ui.panels.report import Report
from gen_models.ui.visits import Visit

ROOT = Path(__file__).resolve().parents[2]
FORM = "cyclegan-train"
(CYCLE,) = zoo.FAMILIES["cyclegan"].models
SPACE = Space("image", (3, 32, 32), domains=("cats", "dogs"))


def zipped(pictures: int, size: tuple[int, int], mode: str = "RGB", kind: str = "PNG", **more: bytes) -> bytes:
    """A zip of plain squares."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k in range(pictures):
            picture = io.BytesIO()
            Image.new("RGB", size, (12 * k % 255, 90, 200)).convert(mode).save(picture, kind)
            archive.writestr(f"{k}.{kind.lower()}", picture.getvalue())
        for name, content in more.items():
            archive.writestr(name.replace("_", "."), content)
    return stream.getvalue()


# ---- which data for whom ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", zoo.FAMILIES.values(), ids=zoo.FAMILIES)
def test_data_of_two_domains_is_for_models_that_translate_and_they_are_for_no_other(family):
    for name in sources.offered(family):
        space = sources.space_of(name)
        models = sources.models_for(family, space)
        assert models
        assert {issubclass(model, Translates) for model in models} == {bool(space.domains)}
    for name in (sources.TWO, "emoji", "mnist-photo"):
        assert (name in sources.offered(family)) == (family.key == "cyclegan")
    assert "noto-emoji" not in sources.offered(zoo.FAMILIES["cyclegan"])


def test_a_model_for_the_other_kind_of_data_is_refused_in_words():
    with pytest.raises(BadInput, match="CycleGAN is not for image;"):
        zoo.live(CYCLE, Space("image", (3, 32, 32)))
    with pytest.raises(BadInput, match="VAE is not for image of two domains"):
        zoo.live(zoo.FAMILIES["vae"].models[0], SPACE)


# ---- zips ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def visit(tmp_path) -> Visit:
    return Visit(tmp_path)


@pytest.fixture
def bring(visit, tmp_path, monkeypatch):
    """Brings a zip as the browser would; what the page then says."""
    monkeypatch.setattr(sources, "get_upload_folder", lambda: str(tmp_path))

    def call(name: str, content: bytes, slot: str, **asked):
        path = tmp_path / name
        path.write_bytes(content)
        answer = sources.bring(visit, {"path": str(path), "name": name, "slot": slot, **asked})
        while "waiting" in answer:
            answer = sources.bring(visit, {"slot": slot})
        return answer

    return call


def test_two_zips_of_other_sizes_and_colours_are_made_to_fit_and_that_is_said(bring, visit):
    first = bring("cats.zip", zipped(12, (40, 30), "L", notes_png=b"words"), "zip-a", size=28)
    assert first["line"].startswith("cats.zip: 12 pictures; 1 could not be read, such as notes.png: ")
    assert (first["said"], "heads" in first["real"]) == ([], False)
    with pytest.raises(BadInput, match="Upload the second zip file of pictures first"):
        sources.reading(sources.TWO, {"size": 28}, visit)
    second = bring("dogs.zip", zipped(10, (20, 20), "CMYK", "JPEG"), "zip-b", size=28)
    said = " ".join(second["said"])
    assert "cats: 40 x 30, made 28 x 28." in said
    assert "dogs: 20 x 20, made 28 x 28." in said
    assert "cats is grey, dogs is not: both are taken as colour." in said
    assert "10 in the colours of print (CMYK)" in said
    assert second["real"]["heads"] == ["cats", "dogs"]
    source = sources.reading(sources.TWO, {"size": 28}, visit).result(60)
    assert source.space == Space("image", (3, 28, 28), domains=("cats", "dogs"))
    head = Report("CycleGAN on your own two sets", source, "run").sent("training")
    assert head["said"][:-1] == second["said"]
    assert "notes.png" in head["said"][-1]


def test_a_zip_with_one_picture_is_refused_and_leaves_the_one_before(bring, visit):
    bring("cats.zip", zipped(4, (20, 20)), "zip-a")
    with pytest.raises(BadInput, match="at least 2"):
        bring("one.zip", zipped(1, (20, 20)), "zip-a")
    with pytest.raises(BadInput, match="slot is one of zip, zip-a, zip-b"):
        bring("cats.zip", zipped(4, (20, 20)), "zip-c")
    with pytest.raises(BadInput, match="size is one of 28, 32, 64"):
        bring("dogs.zip", zipped(4, (20, 20)), "zip-b", size=10**6)
    with pytest.raises(BadInput, match="Upload a second zip of pictures first"):
        sources.bring(visit, {"slot": "zip-b"})
    assert visit.kept["zip-a"].name == "cats.zip"
    bring("dogs.zip", zipped(3, (20, 20)), "zip-b")
    assert sources.reading(sources.TWO, {"size": 32}, visit).result(60).space.domains == ("cats", "dogs")


# ---- previews and the model to keep -------------------------------------------------------------------------------


def test_previews_show_the_same_held_out_pictures_both_ways():
    source = fake_domains(SPACE)
    model = zoo.build(zoo.live(CYCLE, SPACE, channels=8, blocks=1)).eval()
    seen, again = (train._look({}, source)(model) for _ in range(2))
    assert seen == again
    assert seen["heads"] == ["cats", "→ dogs", "dogs", "→ cats"]
    assert (seen["count"], seen["columns"]) == (16, 4)
    a, b = zoo.held_pairs(source)
    rows = zoo.both_ways(model, a, b)
    assert torch.equal(rows[0::4], a)
    assert torch.equal(rows[2::4], b)
    torch.testing.assert_close(rows[1::4], model.translate(a, "B"))
    torch.testing.assert_close(rows[3::4], model.translate(b, "A"))


def test_few_held_out_pictures_are_joined_by_the_test_split():
    x = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 32, 32)
    source = data.Domains(SPACE, {"train": (x, x), "valid": (x[:2], x[:5]), "test": (x[2:4], x[:1])})
    a, b = (data.in_bytes(part)[:, 0, 0, 0].tolist() for part in zoo.held_pairs(source))
    assert a == [0, 1, 2, 3]
    assert len(b) == 4


def test_two_zips_become_a_model_that_stands_in_the_translate_panel(page, tmp_path):
    go(page, "cyclegan", "train")
    page.wait_for_function(f"() => gm.forms['{FORM}']?.ready")
    view = page.locator(f"#{FORM}-view .gm-train")
    before = int(view.get_attribute("data-followed") or 0)
    page.locator(f"#{FORM}-data").select_option(label="your own two sets (zips)")
    expect(view).to_have_attribute("data-followed", str(before + 1))
    message = page.locator(f"#{FORM}-message")
    page.click(f"#{FORM}-run")
    expect(message).to_contain_text("Upload two zip files of pictures first", timeout=PATIENCE)
    files = {"cats": zipped(12, (40, 30)), "dogs": zipped(14, (20, 20), "L")}
    for slot, (name, content) in zip("ab", files.items(), strict=True):
        file = {"name": f"{name}.zip", "mimeType": "application/zip", "buffer": content}
        page.set_input_files(f"#{FORM}-zip-{slot}", file)
        expect(view).to_contain_text(f"{name}.zip: {12 if slot == 'a' else 14} pictures")
    expect(page.locator(f"#{FORM}-said")).to_contain_text("dogs is grey, cats is not: both are taken as colour.")
    expect(page.locator(f"#{FORM}-heads")).to_have_text(re.compile("cats\\s*dogs"))
    page.fill(f"#{FORM}-steps", "3")
    page.click(f"#{FORM}-run")
    expect(message).to_contain_text("chosen above", timeout=3 * PATIENCE)
    expect(page.locator(f"#{FORM}-heads")).to_have_text(re.compile("cats\\s*→ dogs\\s*dogs\\s*→ cats"))
    expect(page.locator(f"#{FORM}-said")).to_contain_text("cats: 40 x 30, made 32 x 32.")
    assert int(view.get_attribute("data-looks")) >= 2
    assert pixels(page, f"#{FORM}-view .gm-train-canvas").shape[0] > 100

    with page.expect_download() as download:
        page.click(f"#{FORM}-download-model")
    name = download.value.suggested_filename.removesuffix(".zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    lines = re.search(r"```python\n(.*?)```", (tmp_path / name / "README.md").read_text(), re.S).group(1)
    told = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "translated: (1, 3, 32, 32) and back with a mean absolute error of" in told.stdout, told.stderr
    assert Image.open(tmp_path / "translated.png").size == (3 * 256 + 4, 256)

    page.click("#cyclegan-translate-button")
    shown = page.locator("#cyclegan-translate-view .gm-translate")
    expect(shown).to_have_attribute("data-shown", f"{name} example 0 to B noise 0")
    expect(page.locator("#cyclegan-translate-to-A")).to_have_text("dogs → cats")
    expect(page.locator("#cyclegan-translate-view")).to_contain_text("no twin is known")
