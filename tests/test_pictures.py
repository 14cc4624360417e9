"""Pictures that people bring: every usual kind is fitted to the model, and what is bad is named with what to do."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from gen_models import data
from gen_models.data import pictures, reading
from gen_models.interface import BadInput, Space

GREY, COLOUR = Space("image", (1, 8, 8)), Space("image", (3, 8, 8))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded(x: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(x).save(file, kind)
    return file.getvalue()


# ---- one picture ----------------------------------------------------------------------------------------------


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose pixels are missing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def noise_image(width: int = 40, height: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no picture at all", "bad.png: not a picture that can be read. Save it as PNG"),
        (b"", "bad.png: not a picture"),
        (encoded(noise_image())[:1500], "bad.png: damaged or incomplete. Save or download it again"),
        (encoded(noise_image(), "JPEG")[:600], "bad.png: damaged or incomplete"),
        (png_of_size(20_000, 20_000), "bad.png: .*million pixels are too many to open. Make the picture smaller"),
        (png_of_size(8_000, 7_000), "bad.png: 8000 x 7000 pixels are too many"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "bad.png: not a picture"),
    ],
)
def test_bad_picture_is_named_with_what_to_do(content, message, tmp_path):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        data.picture(tmp_path / "bad.png", COLOUR)
    with pytest.raises(BadInput, match=message.replace("bad.png", "The picture")):
        data.picture(content or b"x", COLOUR)


@pytest.mark.parametrize("nothing", [None, "", b"", {"background": None}])
def test_no_picture_says_so(nothing):
    with pytest.raises(BadInput, match="Choose or draw a picture first"):
        data.picture(nothing, GREY)


def test_missing_file_and_wrong_model_say_so(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.png: there is no such file"):
        data.picture(tmp_path / "gone.png", GREY)
    with pytest.raises(BadInput, match="does not take pictures"):
        data.picture(noise_image(), Space("points", (2,)))


def test_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_FILE_BYTES", 1 << 20)
    (tmp_path / "large.png").write_bytes(bytes(2 << 20))
    with pytest.raises(BadInput, match=r"large\.png: the file is larger than 1 MiB"):
        data.picture(tmp_path / "large.png", GREY)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("space", [GREY, COLOUR])
def test_every_mode_becomes_the_models_space(mode, space):
    """The left half is black, the right half white, whatever the mode."""
    levels = np.repeat([[0, 255]], 40, 1).repeat(60, 0).astype(np.uint8)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(levels.astype(kind) * kind(257))
    else:
        image = Image.fromarray(levels).convert("RGB").convert(mode)
    assert image.mode == mode
    x = data.picture(image, space)
    assert x.shape == space.shape
    assert x.dtype == torch.float32
    assert_close(x[:, :, 0], torch.full_like(x[:, :, 0], -1), rtol=0, atol=0.05)
    assert_close(x[:, :, -1], torch.full_like(x[:, :, -1], 1), rtol=0, atol=0.05)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_from_a_file(kind):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 32896, np.uint16)).save(file, kind)
    assert_close(data.picture(file.getvalue(), GREY), torch.full((1, 8, 8), 128 / 127.5 - 1))


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_becomes_white(mode):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 8))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG") if mode == "RGBA" else image.quantize(4).save(file, "PNG")
    assert Image.open(io.BytesIO(file.getvalue())).mode == mode
    x = data.picture(file.getvalue(), COLOUR)
    assert_close(x[:, 0, 0], torch.tensor([1.0, -1, -1]))
    assert_close(x[:, 0, 7], torch.ones(3))


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("black", "white", "white")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert_close(data.picture(file.getvalue(), GREY), torch.full((1, 8, 8), -1.0))


def test_crop_is_centred_and_resizing_is_antialiased():
    x = np.full((40, 120), 255, np.uint8)
    x[:, 40:80] = np.indices((40, 40)).sum(0) % 2 * 255  # a fine checkerboard averages to grey
    for turned in (x, x.T):
        assert data.picture(turned, GREY)[:, 1:-1, 1:-1].abs().max() < 0.05
    with_exif = Image.fromarray(np.repeat([[0, 255]], 8, 0).repeat(4, 1).astype(np.uint8))
    exif = with_exif.getexif()
    exif[0x0112] = 3  # upside down
    file = io.BytesIO()
    with_exif.save(file, "PNG", exif=exif)
    upright = data.picture(file.getvalue(), GREY)
    assert upright[0, 0, 0] == 1
    assert upright[0, 0, -1] == -1


@pytest.mark.parametrize("scale", ["bytes", "unit", "model", "levels", "words", "bool"])
def test_arrays_of_every_usual_range(scale):
    x = np.zeros((8, 8))
    x[:, 4:] = 1
    arrays = {
        "bytes": (x * 255).astype(np.uint8),
        "unit": x.astype(np.float32),
        "model": (2 * x - 1)[:, :, None].repeat(3, 2),
        "levels": x * 255,
        "words": (x * 65535).astype(np.uint16),
        "bool": x.astype(bool),
    }
    assert_close(data.picture(arrays[scale], GREY), torch.tensor(2 * x - 1).float()[None])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((8, 8), np.nan), "not a finite number"),
        (np.zeros((8, 8, 8)), r"shape \(8, 8, 8\) is not a picture"),
        (np.zeros((0, 8)), r"shape \(0, 8\) is not a picture"),
        (np.zeros(9), "is not a picture"),
        (np.array([["a"]]), "not a finite number"),
    ],
)
def test_bad_arrays_are_told_apart(x, message):
    with pytest.raises(BadInput, match=message):
        data.picture(x, GREY)


# ---- many pictures --------------------------------------------------------------------------------------------


def write_folder(root: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if name.endswith("jpg") else "PNG"
        (root / name).write_bytes(encoded(noise_image(20 + seed % 7, 30, seed), kind))
    return root


def write_zip(file: Path, folder: Path, **options) -> Path:
    with zipfile.ZipFile(file, "w", **options) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return file


def test_folder_and_zip_give_the_same_data(tmp_path):
    folder = write_folder(tmp_path / "in" / "pets", [f"{k % 3}/{k}.{'jpg' if k % 2 else 'png'}" for k in range(30)])
    (folder / "0" / "notes.txt").write_text("not counted")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._1.png").write_bytes(b"junk")
    zipped = write_zip(tmp_path / "pets.zip", tmp_path / "in", compression=zipfile.ZIP_DEFLATED)
    first, second = data.from_pictures(folder, size=16), data.from_pictures(zipped, size=16)
    assert first.space == second.space == Space("image", (3, 16, 16), labels=("0", "1", "2"))
    assert first.skipped == second.skipped == ()
    sizes = []
    for part in ("train", "valid", "test"):
        assert_close(first.split(part).x, second.split(part).x, rtol=0, atol=0)
        assert_close(first.split(part).label, second.split(part).label)
        sizes.append(len(first.split(part).x))
    assert sizes == [24, 3, 3]
    assert len(torch.cat([first.split(part).x for part in ("train", "valid", "test")]).flatten(1).unique(dim=0)) == 30
    one = data.picture(folder / "2" / "5.jpg", first.space)
    everything = torch.cat([first.split(part).x for part in ("train", "valid", "test")])
    labels = torch.cat([first.split(part).label for part in ("train", "valid", "test")])
    match = (everything - one).abs().flatten(1).amax(1) == 0
    assert labels[match].tolist() == [2], "a picture keeps the class of its folder"
    assert first.batch(5, rng()).x.shape == (5, 3, 16, 16)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/1.png", "b/1.png", "1.png"], ()),
        (["a/1.png", "a/2.png"], ()),
        (["top/a/1.png", "top/b/1.png"], ("a", "b")),
        (["a/x/1.png", "b/y/z/1.png"], ("a", "b")),
        ([f"{k}/1.png" for k in range(11)], tuple(map(str, range(11)))),
        ([f"{k}/1.png" for k in range(101)], ()),
    ],
)
def test_sub_folders_are_classes_where_all_pictures_lie_in_one(names, labels, tmp_path):
    images = data.from_pictures(write_folder(tmp_path, names), size=8, grey=True)
    assert images.space == Space("image", (1, 8, 8), labels=labels)
    assert (images.split("train").label is None) == (not labels)


def test_bad_pictures_among_good_ones_are_skipped_and_named(tmp_path):
    folder = write_folder(tmp_path / "all", ["a.png", "b.png", "c.png"])
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes(encoded(noise_image())[:900])
    (folder / "large.png").write_bytes(png_of_size(20_000, 20_000))
    for path in (folder, write_zip(tmp_path / "all.zip", folder)):
        images = data.from_pictures(path, size=8)
        assert len(images.split("train").x) == 3, "below ten pictures each split is the whole set"
        reasons = dict(line.split(": ", 1) for line in images.skipped)
        assert sorted(reasons) == ["cut.png", "large.png", "text.png"]
        assert "damaged" in reasons["cut.png"]
        assert "too many" in reasons["large.png"]
        assert "not a picture" in reasons["text.png"]
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    with pytest.raises(BadInput, match=r"at least 2 pictures.*there is 1.*text\.png: not a picture"):
        data.from_pictures(folder)


def test_size_is_checked(tmp_path):
    for size in (4, 1000, "wide"):
        with pytest.raises(BadInput, match="size is a whole number from 8 to 256"):
            data.from_pictures(write_folder(tmp_path, ["a.png", "b.png"]), size=size)


def test_absent_empty_and_foreign_archives_say_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="Choose a folder or a zip file of pictures first"):
        data.from_pictures("")
    with pytest.raises(BadInput, match=r"does not exist\. Choose a folder"):
        data.from_pictures(tmp_path / "gone.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(BadInput, match=r"empty\.zip holds no pictures. Put PNG"):
        data.from_pictures(tmp_path / "empty.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(BadInput, match=r"text\.zip is not a zip file.*pack them as \.zip"):
        data.from_pictures(tmp_path / "text.zip")
    write_zip(tmp_path / "cut.zip", write_folder(tmp_path / "x", ["a.png", "b.png"]))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "cut.zip").read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"cut\.zip is not a zip file, or it is damaged"):
        data.from_pictures(tmp_path / "cut.zip")


def test_huge_archives_are_refused_before_they_are_read(tmp_path, monkeypatch):
    file = write_zip(tmp_path / "x.zip", write_folder(tmp_path / "x", [f"{k}.png" for k in range(20)]))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("unpacked"))
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "MOST_UNPACKED", 1 << 10)
        with pytest.raises(BadInput, match=r"x\.zip unpacks to more than"):
            data.from_pictures(file)
    for most in (19, 2):  # by count, and by the length of the list alone
        monkeypatch.setattr(pictures, "MOST_FILES", most)
        with pytest.raises(BadInput, match=rf"x\.zip holds more than {most} files"):
            data.from_pictures(file)
    with pytest.raises(BadInput, match="x holds more than 2 files"):
        data.from_pictures(tmp_path / "x")


def test_list_of_a_huge_zip64_is_measured_before_it_is_read(tmp_path):
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for k in range(66_000):
            archive.writestr(f"{k}", b"")
        size = sum(46 + len(info.filename) + len(info.extra) for info in archive.infolist())
    assert pictures._directory_bytes(file) == size


def test_bomb_that_lies_about_its_size_is_cut_off(tmp_path):
    folder = write_folder(tmp_path / "x", ["a.png", "b.png"])
    (folder / "bomb.png").write_bytes(bytes(30 << 20))
    file = write_zip(tmp_path / "x.zip", folder, compression=zipfile.ZIP_DEFLATED)
    lie = file.read_bytes().replace(struct.pack("<I", 30 << 20), struct.pack("<I", 100))
    file.write_bytes(lie)
    images = data.from_pictures(file, size=8)
    assert [line.split(":")[0] for line in images.skipped] == ["bomb.png"]
    write_zip(tmp_path / "bz.zip", folder, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(BadInput, match="packed in an unusual way"):
        data.from_pictures(tmp_path / "bz.zip")


def test_locked_zip_asks_for_one_without_password(tmp_path):
    file = write_zip(tmp_path / "x.zip", write_folder(tmp_path / "x", ["a.png", "b.png"]))
    content = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flag of encryption, in both headers of each file
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 4)
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.zip is locked with a password"):
        data.from_pictures(file)
