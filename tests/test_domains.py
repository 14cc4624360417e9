"""Two domains: sets without pairs in training and with true pairs to test on, and two folders that a person brings."""

from __future__ import annotations

import io
import threading
import urllib.error
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from gen_models import data
from gen_models.data import domains, emoji
from gen_models.data.domains import DOMAIN_SETS, DigitsAndPhotos, Domains, OverPhotos, from_two, over
from gen_models.data.images import Images, in_bytes
from gen_models.interface import BadInput, Space


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, shape, generator=rng(seed), dtype=torch.uint8)


# ---- emoji -----------------------------------------------------------------------------------------------------


def test_the_list_holds_both_styles():
    every = emoji.listed()
    assert (len(every), sum(known.blob for known in every)) == (1400, 1220)
    assert len({known.name for known in every}) == len({known.code for known in every}) == 1400
    counts = [sum(known.group == group for known in every) for group in range(len(emoji.GROUPS))]
    assert counts == [249, 104, 206, 130, 122, 112, 233, 244]


def test_held_out_names_are_in_both_styles_and_never_trained_on():
    held, every = emoji.held(), emoji.listed()
    parts = [set(rows.tolist()) for rows in held]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1400
    assert (len(held.test), len(held.valid)) == (183, 61)  # 15 % and 5 % of 1220
    assert all(every[row].blob for row in parts[1] | parts[2])
    assert all(torch.equal(a, b) for a, b in zip(held, emoji.held(), strict=True)), "the same whoever asks"


def test_half_the_size_is_the_mean_of_four():
    x = torch.tensor([[0, 1, 255, 255], [0, 1, 255, 254]], dtype=torch.uint8).view(1, 1, 2, 4)
    assert emoji.halved(x).flatten().tolist() == [1, 255]  # 0.5 up, 254.75 up
    x = noise(2, 3, 8, 8)
    mean = torch.nn.functional.avg_pool2d(x.double(), 2)
    assert (emoji.halved(x).double() - mean).abs().max() <= 0.5


def test_a_picture_is_laid_on_white_and_padded_to_a_square():
    image = Image.new("RGBA", (32, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (8, 16, 24, 48))
    x = emoji.drawn(_png(image))
    assert x.shape == (3, 64, 64)
    assert (x[:, :, :24] == 255).all(), "the 16 columns of padding, and 8 that are transparent"
    assert (x[0, 16:48, 24:40] == 255).all()
    assert (x[1:, 16:48, 24:40] == 0).all()
    large = emoji.drawn(_png(Image.new("RGBA", (128, 128), (0, 0, 0, 128))))
    assert large.unique().tolist() == [127], "half transparent black on white, at half the size"


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A list of three emoji, one of them without a Blob, and no prepared files."""
    listed = tuple(emoji.Emoji(f"1f60{k}", f"face-{k}", 0, k != 1) for k in range(3))
    monkeypatch.setattr(emoji, "listed", lambda: listed)
    monkeypatch.setenv("GEN_MODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GEN_MODELS_DATA", raising=False)
    return listed


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The repository of Blobs as this machine would serve it; yields its folder."""
    folder = tmp_path / "png"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setitem(emoji._STYLES, "blob", f"http://127.0.0.1:{found.server_port}")
        yield folder
        found.shutdown()


def test_emoji_are_built_from_the_repository_once(few, server):
    for k, level in ((0, 10), (2, 20)):
        (server / f"emoji_u1f60{k}.png").write_bytes(_png(Image.new("RGBA", (128, 128), (level, level, level, 255))))
    x = emoji.pictures("blob")
    assert x.shape == (2, 3, 64, 64)
    assert [part.unique().tolist() for part in x] == [[10], [20]], "in the order of the list, none for the one without"

    def refused(address: str) -> bytes:
        raise AssertionError("it is kept: nothing is fetched again")

    assert torch.equal(emoji.pictures("blob", refused), x)


def test_a_missing_or_broken_file_is_named(few, server):
    with pytest.raises(BadInput, match=r"The Blob emoji .* could not be downloaded \(HTTPError\). Start once with net"):
        emoji.pictures("blob")
    for k in (0, 2):
        (server / f"emoji_u1f60{k}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="UnidentifiedImageError"):
        emoji.pictures("blob")


def test_without_network_the_message_says_so(few):
    tried = []

    def offline(address: str) -> bytes:
        tried.append(address)
        raise urllib.error.URLError("no route")

    with pytest.raises(BadInput, match=r"The Noto emoji are not on this machine .*Start once with network"):
        emoji.pictures("noto", offline)
    assert tried[0].endswith("/png/128/emoji_u1f600.png")


def test_a_connection_that_breaks_is_tried_again(monkeypatch):
    answers = [ConnectionResetError(), io.BytesIO(b"file")]

    def answer(address, timeout):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(emoji.urllib.request, "urlopen", answer)
    assert emoji._download("http://example.org/a.png") == b"file"


def test_a_prepared_file_is_read_by_name(few, monkeypatch, tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"image": {"bytes": _png(Image.new("RGB", (64, 64), (k, k, k))), "path": ""}, "name": f"face-{k}"}
            for k in (2, 1, 0)]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "noto-emoji-64.parquet")
    monkeypatch.setenv("GEN_MODELS_DATA", str(tmp_path))
    assert [int(x.unique()) for x in emoji.pictures("noto")] == [0, 1, 2]


def test_twins_stand_in_one_row(monkeypatch):
    """Each picture here carries the number of its emoji, so that rows can be told apart."""
    every = emoji.listed()
    marks = torch.arange(1400)

    def marked(style):
        rows = marks if style == "noto" else marks[[known.blob for known in every]]
        digits = torch.stack([rows // 256, rows % 256, rows * 0], 1).byte()
        return digits[:, :, None, None].expand(-1, -1, 64, 64)

    monkeypatch.setattr(emoji, "pictures", lambda style: marked(style).contiguous())
    item = DOMAIN_SETS["emoji"]
    both, noto = item.build(item), DOMAIN_SETS["noto-emoji"].build(DOMAIN_SETS["noto-emoji"])
    for name in ("valid", "test"):
        batch = both.split(name)
        assert torch.equal(batch.x, batch.other)
        assert_close(noto.split(name).x, batch.x)
        assert torch.equal(noto.split(name).label, batch.label)
    names = {name: {_mark(x) for x in both.split(name).other} for name in ("train", "valid", "test")}
    assert not names["train"] & (names["valid"] | names["test"]), "no held-out name is trained on, in B either"
    assert len(both.split("train").x) == 1400 - 244
    assert len(both.split("train").other) == 1220 - 244


def _mark(x: torch.Tensor) -> int:
    high, low = in_bytes(x[:2, 0, 0]).tolist()
    return 256 * high + low


# ---- digits over photos ------------------------------------------------------------------------------------------

SPACE = Space("image", (3, 8, 8), domains=("digits", "digits over photos"))


def toy_digits(n: int = 40) -> Images:
    """Pictures whose every pixel is their own number in the split."""
    x = torch.arange(n, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    label = torch.arange(n) % 10
    return Images(Space("image", (1, 8, 8)), dict.fromkeys(("train", "valid", "test"), (x, label)))


def toy_photos(n: int = 30) -> Images:
    return Images(Space("image", (3, 12, 12)), {k: (noise(n, 3, 12, 12), None) for k in ("train", "valid", "test")})


def test_the_difference_is_taken_in_bytes():
    digit, photo = noise(2, 1, 4, 4), noise(2, 3, 4, 4, seed=1)
    expected = (digit.double() / 255 - photo.double() / 255).abs() * 255
    assert_close(over(digit, photo).double(), expected)


def test_a_black_digit_shows_a_piece_of_a_photo():
    digits, photos = toy_digits(1), toy_photos(1)  # digit 0 is black
    batch = OverPhotos(SPACE, digits, photos).batch(50, rng())
    windows = photos.splits["train"][0][0].unfold(1, 8, 1).unfold(2, 8, 1)  # (3, 5, 5, 8, 8)
    known = {windows[:, i, j].numpy().tobytes() for i in range(5) for j in range(5)}
    drawn = {row.numpy().tobytes() for row in in_bytes(batch.x)}
    assert drawn <= known
    assert len(drawn) > 15, "pieces from all over the photo"


def test_digits_over_photos_keep_their_labels():
    source = OverPhotos(SPACE, toy_digits(), Images(SPACE, {"train": (torch.zeros(3, 3, 12, 12).byte(), None)}))
    batch = source.batch(20, rng())
    assert torch.equal(in_bytes(batch.x)[:, 0, 0, 0] % 10, batch.label), "over black a digit is itself"


def test_no_training_digit_is_in_both_domains():
    black = Images(SPACE, {name: (torch.zeros(3, 3, 12, 12).byte(), None) for name in ("train", "valid", "test")})
    source = DigitsAndPhotos(SPACE, toy_digits(), black)
    batch = source.batch(400, rng())
    a, b = ({int(v) for v in in_bytes(x)[:, 0, 0, 0]} for x in (batch.x, batch.other))
    assert batch.label is None
    assert not a & b
    assert a | b == set(range(40))
    assert (len(a), len(b)) == (20, 20)
    assert {int(v) for v in in_bytes(source.split("train").x)[:, 0, 0, 0]} == a
    assert source.split("train").label is None


def test_test_pictures_are_true_pairs_and_the_same_for_the_judges():
    digits, photos = toy_digits(), toy_photos()
    both, alone = DigitsAndPhotos(SPACE, digits, photos), OverPhotos(SPACE, digits, photos)
    batch = both.split("test")
    assert torch.equal(batch.other, alone.split("test").x)
    assert torch.equal(batch.label, alone.split("test").label)
    assert torch.equal(batch.other, both.split("test").other), "fixed"
    x, other = in_bytes(batch.x).int(), in_bytes(batch.other).int()
    pieces = photos.splits["test"][0].int()
    for k in (0, 39):
        windows = pieces[k % 30].unfold(1, 8, 1).unfold(2, 8, 1)
        fits = [(windows[:, i, j] - x[k]).abs().equal(other[k]) for i in range(5) for j in range(5)]
        assert sum(fits) == 1, "photo i lies under digit i"


# ---- any two domains -----------------------------------------------------------------------------------------------


def test_the_two_sides_of_a_batch_are_drawn_independently():
    x = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    batch = Domains(SPACE, {"train": (x, x)}, paired=True).batch(2000, rng())
    a, b = in_bytes(batch.x)[:, 0, 0, 0], in_bytes(batch.other)[:, 0, 0, 0]
    assert batch.label is None
    assert len(a.unique()) == len(b.unique()) == 50
    assert (a == b).float().mean() < 0.06, "by chance, 1 in 50"


def test_the_sets_are_known_by_name_without_reading():
    for name, item in DOMAIN_SETS.items():
        assert name in data.NAMES
        assert data.space_of(name) == item.space
        assert data.title_of(name) == item.title
        assert "Apache-2.0" in data.source_of(name) or "MNIST" in data.source_of(name)
    assert data.space_of("emoji").domains == ("Noto", "Blob")
    assert data.space_of("noto-emoji").labels == emoji.GROUPS
    assert data.space_of("mnist-photo").shape == data.space_of("digits-over-photos").shape == (3, 28, 28)


# ---- two folders ---------------------------------------------------------------------------------------------------


def put(folder: Path, n: int, size: tuple[int, int] = (16, 16), mode: str = "RGB", kind: str = "png") -> Path:
    """n noisy pictures in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        x = np.random.default_rng(k).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(x).convert(mode).save(folder / f"{k}.{kind}")
    return folder


def test_two_folders_are_two_domains(tmp_path):
    found = from_two(put(tmp_path / "cats", 30), put(tmp_path / "dogs", 12), size=16)
    assert found.space == Space("image", (3, 16, 16), domains=("cats", "dogs"))
    assert not found.paired
    assert found.said == found.skipped == ()
    batch = found.batch(5, rng())
    assert batch.x.shape == batch.other.shape == (5, 3, 16, 16)
    assert [len(found.split("train").x), len(found.split("train").other)] == [24, 10]
    assert [len(found.split("test").x), len(found.split("test").other)] == [3, 1]
    assert found.split("test").label is None


def test_a_zip_and_a_folder_of_one_name(tmp_path):
    folder = put(tmp_path / "a" / "things", 3)
    packed = tmp_path / "things.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in put(tmp_path / "b", 3).iterdir():
            archive.write(file, file.name)
    assert from_two(packed, folder, size=16).space.domains == ("things (A)", "things (B)")


def test_grey_stays_grey_and_a_mix_becomes_colour(tmp_path):
    grey, other, colour = put(tmp_path / "g", 2, mode="L"), put(tmp_path / "h", 2, mode="L"), put(tmp_path / "c", 2)
    both = from_two(grey, other, size=16)
    assert both.space.shape == (1, 16, 16)
    assert both.batch(3, rng()).other.shape == (3, 1, 16, 16)
    mixed = from_two(colour, grey, size=16)
    assert mixed.space.shape == (3, 16, 16)
    assert mixed.said == ("g is grey, c is not: both are taken as colour.",)
    assert mixed.split("test").other.shape == (2, 3, 16, 16)


def test_sizes_that_differ_are_fitted_and_said(tmp_path):
    a, b = put(tmp_path / "wide", 3, (40, 20)), put(tmp_path / "tall", 2, (10, 30))
    put(tmp_path / "tall" / "more", 1, (16, 16))
    found = from_two(a, b, size=16)
    assert found.batch(2, rng()).x.shape == found.batch(2, rng()).other.shape == (2, 3, 16, 16)
    assert found.said == (
        "wide: 40 x 20, made 16 x 16.",
        "tall: of 2 sizes, most often 10 x 30, made 16 x 16.",
    )


def test_animated_gifs_and_pictures_for_print_are_taken_and_said(tmp_path):
    a, b = put(tmp_path / "moving", 2), put(tmp_path / "print", 2, mode="CMYK", kind="jpg")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(a / "walk.gif", save_all=True, append_images=frames[1:])
    found = from_two(a, b, size=16)
    assert found.skipped == ()
    assert found.said == (
        "moving: 1 animated, the first frame of each is taken.",
        "print: 2 in the colours of print (CMYK), made RGB.",
    )
    red = in_bytes(found.split("train").x).flatten(2).double().mean(2)
    assert [255, 0, 0] in red.round().int().tolist()


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    a, b = put(tmp_path / "a", 2), put(tmp_path / "b", 2)
    (b / "bad.png").write_bytes(b"no picture")
    assert from_two(a, b, size=16).skipped[0].startswith("b/bad.png: not a picture that can be read")


def test_too_little_to_translate_is_named(tmp_path):
    many, one = put(tmp_path / "many", 3), put(tmp_path / "one", 1)
    with pytest.raises(BadInput, match="one: at least 2 pictures that can be read are needed, there is 1"):
        from_two(many, one)
    with pytest.raises(BadInput, match="holds no pictures"):
        from_two(put(tmp_path / "empty", 0), many)
    with pytest.raises(BadInput, match="Choose the second folder or zip of pictures too"):
        from_two(many, "")
    with pytest.raises(BadInput, match="does not exist"):
        from_two(tmp_path / "gone", many)


def test_a_set_is_read_once(monkeypatch):
    item = DOMAIN_SETS["emoji"]
    built = []
    changed = domains.DomainSet(item.name, item.title, item.source, item.space, lambda item: built.append(1) or "data")
    monkeypatch.setitem(DOMAIN_SETS, "emoji", changed)
    monkeypatch.setattr(domains, "_LOADED", {})
    assert data.load("emoji") == data.load("emoji") == "data"
    assert built == [1]
