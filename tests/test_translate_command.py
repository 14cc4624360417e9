"""`translate`: pictures of one domain as files of the other, and what cannot be translated is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import put_on_shelf, small

from gen_models import __main__ as command_line
from gen_models import checkpoint, data, render, zoo
from gen_models.interface import Space

ENTRY, SPACE = "cyclegan-emoji", zoo.ZOO["cyclegan-emoji"].where


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("translators")
    put_on_shelf(root / ENTRY, small(zoo.ZOO[ENTRY]))
    put_on_shelf(root / "vae-8gaussians", small(zoo.ZOO["vae-8gaussians"]))
    return root


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three pictures that nothing is right about but what they show: size, colours of print, more than one frame."""
    made = tmp_path / "photos"
    made.mkdir()
    Image.effect_noise((50, 40), 90).convert("RGB").save(made / "wide.png")
    Image.effect_noise((40, 64), 90).convert("CMYK").save(made / "print.jpg")
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(made / "moves.gif", save_all=True, append_images=frames[1:])
    (made / ".hidden").write_text("no picture")
    return made


@pytest.fixture
def translate(folder, capsys):
    """Runs `translate`; exit code and standard error."""

    def call(*words: object) -> tuple[int, str]:
        code = command_line.main(["translate", *map(str, words), "--checkpoints", str(folder)])
        return code, capsys.readouterr().err

    return call


def wanted(folder: Path, to: str, *paths: Path) -> torch.Tensor:
    x = torch.stack([data.picture(path, SPACE) for path in paths])
    return zoo.load(ENTRY, zoo.Shelf(folder)).translate(x, to)


def test_one_picture_becomes_its_translation_with_the_recipe(translate, folder, photos, tmp_path):
    code, said = translate(ENTRY, "--to", "blob", "--out", tmp_path / "out.png", photos / "wide.png")
    assert code == 0
    assert "1 as Blob" in said
    with Image.open(tmp_path / "out.png") as picture:
        recipe = render.recipe_of(picture)
        assert np.array_equal(picture, render.picture(wanted(folder, "B", photos / "wide.png")[0], SPACE))
    assert (recipe["entry"], recipe["to"], recipe["pictures"]) == (ENTRY, "B", ["wide.png"])


def test_a_folder_is_translated_file_by_file_and_into_one_array(translate, folder, photos, tmp_path):
    paths = [photos / name for name in ("moves.gif", "print.jpg", "wide.png")]
    assert translate(ENTRY, "--to", "A", "--out", tmp_path / "all.npy", photos)[0] == 0
    y = torch.from_numpy(np.load(tmp_path / "all.npy"))
    torch.testing.assert_close(y, wanted(folder, "A", *paths), rtol=1e-4, atol=1e-5)
    assert translate(ENTRY, "--to", "Noto", "--out", tmp_path / "each", *paths)[0] == 0
    files = sorted((tmp_path / "each").iterdir())
    assert [file.name for file in files] == ["00000-moves-to-A.png", "00001-print-to-A.png", "00002-wide-to-A.png"]
    for file, one in zip(files, y, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(render.picture(one, SPACE)))
    assert render.recipe_of(files[1])["pictures"] == ["print.jpg"]
    assert translate(ENTRY, "--to", "A", "--out", tmp_path / "grid.png", photos)[0] == 0
    assert Image.open(tmp_path / "grid.png").size == (3 * 32 + 2 * 2, 32)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((ENTRY, "--to", "Apple", "--out", "o.png", "wide.png"), "choose A (Noto) or B (Blob)"),
        ((ENTRY, "--to", "B", "--out", "o.png", "none.png"), "none.png: there is no such file"),
        (
            (ENTRY, "--to", "B", "--out", "o.png", "wide.png", "broken.png"),
            "broken.png: not a picture",
        ),
        ((ENTRY, "--to", "B", "--out", "o.jpg", "wide.png"), "--out is a .png, a .npy or a folder"),
        ((ENTRY, "--to", "B", "--out", "o.png", "empty"), "empty holds no pictures"),
        (("vae-8gaussians", "--to", "B", "--out", "o.png", "wide.png"), "entries that do: cyclegan-emoji"),
        (("cyclegan-mnist-photo", "--to", "B", "--out", "o.png", "wide.png"), "train cyclegan-mnist-photo` first"),
        (("nobody", "--to", "B", "--out", "o.png", "wide.png"), "nobody"),
    ],
)
def test_what_cannot_be_translated_is_said(translate, photos, monkeypatch, words, says):
    monkeypatch.chdir(photos)
    (photos / "broken.png").write_text("words")
    (photos / "empty").mkdir()
    code, complaint = translate(*words)
    assert code == 2
    assert says in complaint
    assert "Traceback" not in complaint
    assert not (photos / "o.png").exists()


def test_a_checkpoint_of_ones_own_is_called_by_its_own_domains(translate, folder, photos, tmp_path):
    space = Space("image", (1, 16, 16), domains=("cats", "dogs"))
    model = zoo.ZOO[ENTRY].model
    put_on_shelf(folder / "mine", zoo.live(model, space, channels=8, blocks=1))
    assert (folder / "mine" / checkpoint.CARD).exists()
    assert translate("mine", "--to", "Dogs", "--out", tmp_path / "dog.png", photos / "wide.png")[0] == 0
    assert Image.open(tmp_path / "dog.png").mode == "L"
