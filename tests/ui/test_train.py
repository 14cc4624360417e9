"""The Train panel in a real browser: curves, previews and Stop, own data, bad input, and the model to take away."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from ui_steps import PATIENCE, fill, go, pixels

from gen_models import checkpoint, data, zoo
from gen_models.interface import BadInput
from gen_models.models.vae import VAE
from gen_models.ui.panels import sources, train
from gen_models.ui.panels.report import CURVE, FILM, Curves, Line, Report
from gen_models.ui.visits import Visit
from gen_models.ui.widgets import Ask

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {"vae": "VAE", "gan": "R3GAN", "diffusion": "Flow matching"}


def say(page: Page, family: str, text: str | re.Pattern) -> None:
    expect(page.locator(f"#{family}-train-message")).to_contain_text(text, timeout=3 * PATIENCE)


def begin(page: Page, family: str, **values: object) -> None:
    page.wait_for_function(f"() => gm.forms['{family}-train']?.ready")
    page.wait_for_timeout(400)  # the form asks once more what its fields are, and then forgets what was typed before
    fill(page, f"{family}-train", **values)
    page.click(f"#{family}-train-run")


def choose(page: Page, family: str, **values: str) -> None:
    """Chooses data or a model in the form and waits until the other fields have followed."""
    view = page.locator(f"#{family}-train-view .gm-train")
    for name, value in values.items():
        before = int(view.get_attribute("data-followed") or 0)
        page.locator(f"#{family}-train-{name}").select_option(label=value)
        expect(view).to_have_attribute("data-followed", str(before + 1))


def looks(page: Page, family: str) -> int:
    return int(page.locator(f"#{family}-train-view .gm-train").get_attribute("data-looks") or 0)


def zipped(pictures: int, **more: bytes) -> bytes:
    """A zip of coloured squares in two folders."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k in range(pictures):
            picture = io.BytesIO()
            Image.new("RGB", (20, 20), (12 * k % 255, 90, 200)).save(picture, "PNG")
            archive.writestr(f"{'ab'[k % 2]}/{k}.png", picture.getvalue())
        for name, content in more.items():
            archive.writestr(name.replace("_", "."), content)
    return stream.getvalue()


def upload(page: Page, family: str, name: str, content: bytes) -> None:
    page.set_input_files(f"#{family}-train-zip", {"name": name, "mimeType": "application/zip", "buffer": content})


# ---- a training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_and_the_model_is_chosen_and_runs_elsewhere(page, family, tmp_path):
    go(page, family, "train")
    if family == "gan":
        choose(page, family, model=FAMILIES[family])
    begin(page, family, steps=60)
    say(page, family, "chosen above, as yours")
    expect(page.locator(f"#{family}-train-step")).to_have_text("60 of 60")
    chosen = page.locator(f"#{family}-entries [aria-checked=true]")
    expect(chosen).to_contain_text("yours, ")
    name = chosen.get_attribute("data-entry")
    curves = page.locator(f"#{family}-train-view .gm-loss-canvas")
    expect(curves).to_have_attribute("aria-label", re.compile("at step 60 of 60"))
    assert looks(page, family) >= 2

    with page.expect_download() as download:
        page.click(f"#{family}-train-download-model")
    assert download.value.suggested_filename == f"{name}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        files = ("card.json", "model.safetensors", "preview.png", "README.md")
        assert set(archive.namelist()) == {f"{name}/{file}" for file in files}
        archive.extractall(tmp_path)
    lines = re.search(r"```python\n(.*?)```", (tmp_path / name / "README.md").read_text(), re.S).group(1)
    assert len([line for line in lines.splitlines() if line]) == 10
    told = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "samples: (16, 2)" in told.stdout, told.stderr
    Image.open(tmp_path / "samples.png").verify()


def test_training_time_can_be_scrubbed_and_leaving_the_tab_loses_nothing(page):
    go(page, "vae", "train")
    begin(page, "vae", steps=400)
    say(page, "vae", "chosen above")
    seen = looks(page, "vae")
    view = "#vae-train-view .gm-train"
    last = pixels(page, f"{view} .gm-train-canvas")
    page.locator("#vae-train-time").focus()
    page.keyboard.press("Home")
    expect(page.locator("#vae-train-place")).to_have_text("step 0")
    first = pixels(page, f"{view} .gm-train-canvas")
    assert (first != last).any()
    page.click("#vae-sample-button")
    page.click("#vae-train-button")
    expect(page.locator("#vae-train-place")).to_have_text("step 0")
    assert looks(page, "vae") == seen
    page.locator("#vae-train-time").focus()
    page.keyboard.press("End")
    expect(page.locator("#vae-train-place")).to_have_text("step 400")
    assert (pixels(page, f"{view} .gm-train-canvas") == last).all()


def test_stop_keeps_and_shows_what_was_learnt(page):
    go(page, "diffusion", "train")
    begin(page, "diffusion", steps=500_000)
    page.wait_for_function("() => document.querySelector('#diffusion-train-view .gm-train')?.dataset.at > 5")
    expect(page.locator("#diffusion-train-time-left")).to_contain_text(re.compile("s|min"))
    page.keyboard.press("Escape")
    say(page, "diffusion", re.compile(r"stopped at step \d+ of 500000; the model is chosen above"))
    expect(page.locator("#diffusion-entries [aria-checked=true]")).to_contain_text("yours, ")
    expect(page.locator("#diffusion-train-run")).to_be_visible()
    page.click("#diffusion-sample-button")
    page.click("#diffusion-sample-run")
    expect(page.locator("#diffusion-sample-message")).to_contain_text("1000 points", timeout=PATIENCE)


def test_a_closed_tab_ends_its_training(open_page):
    for _ in range(2):
        page = open_page()
        go(page, "vae", "train")
        begin(page, "vae", steps=900_000)
        page.wait_for_function("() => document.querySelector('#vae-train-view .gm-train')?.dataset.at > 5")
        page.close()
    other = open_page()
    go(other, "vae", "train")
    begin(other, "vae", steps=5)  # there is room for two, so were the closed ones still running it would wait for ever
    say(other, "vae", "chosen above")
    assert other.locator("#vae-train-place").inner_text() == "step 5"


# ---- own data ----------------------------------------------------------------------------------------------------


def test_points_are_drawn_undone_and_learnt(page):
    go(page, "vae", "train")
    choose(page, "vae", data="your own points")
    canvas = page.locator("#vae-train-view .gm-points-canvas")
    box = canvas.bounding_box()
    for row in (0.3, 0.7):
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + row * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + row * box["height"], steps=25)
        page.mouse.up()
    both = page.input_value("#vae-train-csv")
    points = data.points_from_csv(both)
    assert len(points) > 100
    assert (points[:20, 1] > 1).all()  # y points upwards: the first stroke was the upper one
    assert (points[-20:, 1] < -1).all()
    page.click("#vae-train-points-undo")
    once = page.input_value("#vae-train-csv")
    assert both.startswith(once)
    assert len(once) < len(both)
    begin(page, "vae", steps=30)
    say(page, "vae", "chosen above")
    expect(page.locator("#vae-train-view .gm-train-title")).to_contain_text("VAE on your own points")


def test_bad_points_are_named_and_the_good_ones_still_train(page):
    go(page, "vae", "train")
    choose(page, "vae", data="your own points")
    for csv, says in (("1,2\n3,cat\n", "'cat' is not a number"), ("1,2\n" * 20 + "nan,1", "not a finite number"),
                      ("1,2\n3,4\n", "At least 10 points"), ("1,2\n" * 30, "in one place")):  # fmt: skip
        begin(page, "vae", csv=csv)
        say(page, "vae", says)
        expect(page.locator("#vae-train-run")).to_be_visible()
    begin(page, "vae", csv="\n".join(f"{k % 7},{k % 5}" for k in range(60)), steps=10)
    say(page, "vae", "chosen above")


def test_a_pasted_text_is_learnt_in_any_script_beside_what_counting_reaches(page):
    go(page, "autoregressive", "train")
    choose(page, "autoregressive", data="your own text")
    begin(page, "autoregressive", text="天地玄黄，宇宙洪荒。🎲", steps=2)
    say(page, "autoregressive", "at least 640 are needed")
    begin(page, "autoregressive", text="天地玄黄，宇宙洪荒。🎲\n" * 90, steps=3)
    say(page, "autoregressive", "chosen above")
    written = page.locator("#autoregressive-train-text-view").inner_text()
    assert len(written) > 100
    assert set(written) <= set("天地玄黄，宇宙洪荒。🎲\n")
    yardsticks = page.evaluate("Object.keys(gm.trainings['autoregressive-train'].yardsticks)")
    assert yardsticks == ["Kneser-Ney 7-gram, held out", "uniform"]
    expect(page.locator("#autoregressive-entries [aria-checked=true]")).to_contain_text("yours, ")


def test_lines_are_learnt_one_by_one_and_a_binary_file_is_refused(page):
    go(page, "autoregressive", "train")
    choose(page, "autoregressive", data="your own text")
    file = page.locator("#autoregressive-train-txt")
    for content, says in ((b"MZ\0\0", "binary file"), (b"\xff\xfea\0", "no text in UTF-8"), (b"", "is empty")):
        file.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": content})
        expect(page.locator("#autoregressive-train-txt-message")).to_contain_text(says)
    names = "\n".join(["anna", "berta", "clara", "dora", "emma", "frida"] * 20).encode()
    file.set_input_files({"name": "names.txt", "mimeType": "text/plain", "buffer": names})
    expect(page.locator("#autoregressive-train-amount")).to_contain_text("characters")
    page.check("#autoregressive-train-lines")
    begin(page, "autoregressive", steps=3)
    say(page, "autoregressive", "chosen above")
    written = page.locator("#autoregressive-train-text-view").inner_text().split("\n")
    assert len(written) == 16
    assert set("".join(written)) <= set("abcdefiklmnort")


def test_a_zip_of_pictures_is_learnt_and_a_bad_one_leaves_it_in_place(page):
    go(page, "vae", "train")
    choose(page, "vae", data="your own pictures (zip)")
    page.click("#vae-train-run")
    say(page, "vae", "Upload a zip file of pictures first.")
    message, own = page.locator("#vae-train-zip-message"), page.locator("#vae-train-view .gm-train-own")
    upload(page, "vae", "good.zip", zipped(24, text_png=b"no picture"))
    expect(own).to_contain_text("24 pictures, 2 classes; 1 could not be read, such as text.png")
    bad = {"empty.zip": (b"", "empty"), "words.zip": (b"words", "not a zip file")}
    bad |= {"none.zip": (zipped(0), "holds no pictures"), "one.zip": (zipped(1), "at least 2")}
    for name, (content, says) in bad.items():
        upload(page, "vae", name, content)
        expect(message).to_contain_text(says)
    begin(page, "vae", size="28 × 28", steps=4)
    say(page, "vae", "chosen above")
    expect(page.locator("#vae-entries [aria-checked=true]")).to_contain_text("yours, ")
    shown = pixels(page, "#vae-train-view .gm-train-canvas").astype(int)
    cell = next(side for side in range(28, 1000, 28) if 4 * side <= len(shown) <= 4 * side + 3 * side // 8)
    assert (shown[0 : cell // 28] == shown[0]).all()  # each pixel a square, none blurred
    assert abs(shown).sum() > 0


def test_a_path_of_the_servers_is_no_upload(tmp_path):
    secret = tmp_path / "secret.zip"
    secret.write_bytes(zipped(4))
    with pytest.raises(BadInput, match="did not arrive"):
        sources.bring(Visit(tmp_path), {"path": str(secret), "name": "secret.zip"})


def test_a_data_set_that_is_missing_says_how_to_get_it_and_the_others_remain(page):
    go(page, "vae", "train")
    choose(page, "vae", data="MNIST digits")
    begin(page, "vae", steps=5)
    say(page, "vae", "hf download ylecun/mnist --repo-type dataset")
    choose(page, "vae", data="Two moons")
    begin(page, "vae", steps=5)
    say(page, "vae", "chosen above")
    assert page.locator("#vae-train-place").inner_text() == "step 5"


# ---- bad recipes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lr": "nan"}, "lr is a number"),
        ({"lr": "fast"}, "lr is a number"),
        ({"steps": 0}, "steps is a whole number"),
        ({"seed": -1}, "seed"),
        ({"data": "moon"}, "data is one of"),
        ({"data": "moons", "model": "GAN"}, "model is one of"),
        ({"data": "moons", "channels": 8}, "Unknown setting channels"),
        ({"data": "own-points", "csv": "1,2"}, "At least 10 points"),
        ({"data": "own-pictures"}, "Upload a zip"),
    ],
)
def test_bad_settings_through_the_api_are_refused(app_url, settings, says):
    client = Client(app_url, verbose=False)
    with pytest.raises(AppError, match=re.escape(says)):
        client.predict("vae-8gaussians", settings, api_name="/vae_train")


# ---- what the browser does not show ------------------------------------------------------------------------------


def trained(name: str, folder: Path, steps: int = 40) -> dict[str, torch.Tensor]:
    source = data.load(name)
    list(zoo.run(zoo.live(VAE, source.space, name, steps=steps), source, folder=folder / "it"))
    return zoo.load("it", zoo.Shelf(folder)).state_dict()


def test_trainings_side_by_side_give_the_numbers_of_each_alone(tmp_path):
    alone = {name: trained(name, tmp_path / f"alone-{name}") for name in ("moons", "rings")}
    together: dict[str, dict] = {}
    threads = [
        threading.Thread(target=lambda name=name: together.update({name: trained(name, tmp_path / f"together-{name}")}))
        for name in alone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    for name, state in alone.items():
        for key, value in state.items():
            torch.testing.assert_close(together[name][key], value, rtol=0, atol=0)


def test_the_line_lets_two_in_and_tells_the_others_their_place():
    line = Line(2)
    first, second, third, fourth = (line.join() for _ in range(4))
    assert [line.ahead(ticket) for ticket in (first, second, third, fourth)] == [0, 0, 1, 2]
    line.leave(first)
    assert [line.ahead(ticket) for ticket in (second, third, fourth)] == [0, 0, 1]


def test_a_third_training_waits_with_a_message(open_page):
    page, *clients = (open_page() for _ in range(3))  # a context each: one browser keeps six connections to a server
    for other in clients:
        go(other, "gan", "train")
        begin(other, "gan", steps=900_000)
        other.wait_for_function("() => document.querySelector('#gan-train-view .gm-train')?.dataset.at > 0")
    go(page, "vae", "train")
    begin(page, "vae", steps=5)
    say(page, "vae", "2 trainings are running on this server")
    clients[0].click("#gan-train-stop")
    say(page, "vae", "chosen above")
    assert page.locator("#vae-train-place").inner_text() == "step 5"
    clients[1].click("#gan-train-stop")
    say(clients[1], "gan", "stopped at step")


def test_curves_keep_every_report_in_some_mean_and_films_their_ends():
    curves, total = Curves(), 5 * CURVE + 7
    for step in range(1, total + 1):
        curves.add(step, {"loss": float(step)} | ({"penalty": 1.0} if step % 3 == 0 else {}))
    sent = curves.sent()
    assert len(sent["steps"]) <= CURVE + 1
    assert sent["steps"] == sorted(set(sent["steps"]))
    assert sent["steps"][-1] == total
    width = sent["steps"][1] - sent["steps"][0]
    assert sent["terms"]["loss"][3] == pytest.approx(sent["steps"][3] - (width - 1) / 2)
    assert {value for value in sent["terms"]["penalty"] if value is not None} == {1.0}

    report = Report("VAE on Two moons", data.load("moons"), "run")
    for report.at in range(3 * FILM):
        report.look({"points": ""})
    assert len(report.film) <= FILM
    assert (report.film[0]["at"], report.film[-1]["at"]) == (0, 3 * FILM - 1)


# ---- a training that fails ----------------------------------------------------------------------------------------


@pytest.fixture
def visit(tmp_path) -> Visit:
    return Visit(tmp_path)


def failing(visit: Visit) -> tuple[list[dict], str]:
    """A training of the panel that ends in BadInput: what it showed, and the message."""
    tab, form = SimpleNamespace(family=zoo.FAMILIES["vae"], device="cpu"), SimpleNamespace(id="form", message="message")
    values = {"data": "moons", "model": "VAE", "steps": 40, "batch_size": 16, "lr": 1e-3, "seed": 0}
    updates, shown = train._train(tab, form, "view", Ask(None, visit, values, {}, "run"), data.load("moons")), []
    with pytest.raises(BadInput) as error:
        shown.extend(update["view"] for update in updates)
    return shown, str(error.value)


def test_a_training_that_diverges_says_so_and_keeps_what_was_learnt(visit, monkeypatch):
    right = VAE.loss

    def loss(self, batch, turn):
        found = right(self, batch, turn)
        return found._replace(minimise=found.minimise * float("nan")) if turn.step == 12 else found

    monkeypatch.setattr(VAE, "loss", loss)
    shown, message = failing(visit)
    assert "no longer finite at step 12" in message
    assert "lower the learning rate" in message
    assert shown[-1]["phase"] == "failed"
    assert shown[-1]["film"]
    (name,) = visit.shelf.names()
    assert visit.trained == {"vae": name}
    assert visit.shelf.card(name)["training"]["steps"] == 12


def test_a_full_disk_is_told_and_the_model_can_be_taken_once_there_is_room(visit, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_fill", full)
        shown, message = failing(visit)
        assert "The disk is full" in message
        assert shown[-1]["film"]
        assert not visit.trained
        with pytest.raises(BadInput, match="The disk is full"):
            train._packed(visit, SimpleNamespace(id="form"))
    with zipfile.ZipFile(train._packed(visit, SimpleNamespace(id="form"))) as archive:
        (card,) = [name for name in archive.namelist() if name.endswith("card.json")]
    *_, last = zoo.sample(zoo.load(card.split("/")[0], visit.shelf), 0, 4)
    assert last.x.isfinite().all()
