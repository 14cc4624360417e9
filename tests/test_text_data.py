"""Text as data: sets that are fetched once, characters and symbols, and whatever a person pastes or uploads."""

from __future__ import annotations

import hashlib
import io
import urllib.error

import pytest
import torch

from gen_models import data
from gen_models.data import fetching
from gen_models.data import text as texts
from gen_models.data.text import TEXT_SETS, TextSet, decoded, encoded, from_text, read_text
from gen_models.interface import BadInput, Space

RHYME = "Die Katze tritt die Treppe krumm, der Kater tritt sie gerade.\n" * 30
LINES = "\n".join(f"{a}{b}nna" for a in "abcdefgh" for b in "aeiou")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- characters and symbols -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [RHYME, "山高月小，水落石出。\n" * 100, "🙂 ok 👩‍🚀!\n" * 100])
def test_what_is_encoded_is_decoded(text):
    space = from_text(text).space
    assert list(space.alphabet) == sorted(set(text)), "code points, each once"
    x = encoded(text, space)
    assert x.dtype == torch.int64
    assert len(x) == len(text)
    assert decoded(x, space) == text


def test_line_ends_of_all_systems_are_one():
    space = from_text(RHYME).space
    assert "\r" not in from_text(RHYME.replace("\n", "\r\n")).space.alphabet
    assert torch.equal(encoded("a\r\nb\rc\n", _of("abc\n")), encoded("a\nb\nc\n", _of("abc\n")))
    assert from_text("\ufeff" + RHYME).space == space


def test_symbols_outside_the_alphabet_are_named():
    space = _of("ab\n")
    with pytest.raises(BadInput, match=r"does not know 'é', '山'\. It was trained on: ab and white space") as found:
        encoded("a é b 山 é".replace(" ", ""), space)
    assert str(found.value).count("é") == 1
    with pytest.raises(BadInput, match="and more"):
        encoded("cdefghijklmnopqrstuvwxyz", space)
    assert encoded("", space).shape == (0,), "an empty prompt is a prompt"


def test_an_alphabet_in_any_order_is_kept():
    space = Space("text", (4,), alphabet=("\n", "z", "a"), encoding="lines")
    assert encoded("az\nz", space).tolist() == [2, 1, 0, 1]
    assert decoded(torch.tensor([2, 1, 0, 0]), space) == "az", "lines up to their end"
    assert decoded(torch.tensor([2, 1, 1, 2]), space) == "azza"


def _of(alphabet: str) -> Space:
    return Space("text", (8,), alphabet=tuple(alphabet))


# ---- running text -----------------------------------------------------------------------------------------------


def test_splits_follow_one_another_and_do_not_meet():
    source = from_text(RHYME, length=16)
    parts = [decoded(source.whole(name), source.space) for name in ("valid", "train", "test")]
    assert "".join(parts) == RHYME
    assert len(parts[0]) == len(parts[2]) == len(RHYME) // 10


def test_windows_are_consecutive():
    source = from_text(RHYME, length=16)
    whole, windows = source.whole("test"), source.split("test").x
    assert windows.shape == (len(whole) // 16, 16)
    assert windows.dtype == torch.int64
    assert torch.equal(windows.flatten(), whole[: windows.numel()])


def test_batches_are_stretches_of_the_training_split_that_begin_anywhere():
    text = "".join(chr(0x4E00 + k) for k in range(1000))  # every character once: it tells where it stands
    source = from_text(text, length=20)
    x = source.batch(500, rng()).x
    assert (x.diff(dim=1) == 1).all()
    assert x.min() >= 100
    assert x.max() < 900
    assert set(range(20)) <= set((x[:, 0] % 20).tolist())
    assert torch.equal(x, source.batch(500, rng()).x)
    assert x.dtype == torch.int64
    begun = source.batch(20_000, rng()).x[:, 0]
    assert (begun.min(), begun.max()) == (100, 880), "from the first to the last one"


# ---- lines -------------------------------------------------------------------------------------------------------


def test_lines_end_and_stay_ended():
    source = from_text(f"{LINES}\n\n  \nannabella", lines=True)
    assert source.space.alphabet[0] == "\n"
    assert source.space.shape == (len("annabella") + 1,)
    rows = torch.cat([source.split(name).x for name in ("train", "valid", "test")])
    assert len(rows) == 41, "blank lines are none"
    ended = (rows == 0).cumsum(1) > 0
    assert ended[:, -1].all()
    assert not rows[ended].any()
    assert {decoded(row, source.space) for row in rows} == {*LINES.split("\n"), "annabella"}
    assert source.batch(7, rng()).x.shape == (7, 10)


def test_lines_without_those_that_were_trained_on():
    source = from_text("\n".join(["anna", "otto", "emil", "ida"] * 20 + ["gustav"]), lines=True)
    names = {name: {decoded(row, source.space) for row in source.split(name).x} for name in ("train", "valid", "test")}
    for name in ("valid", "test"):
        found = [decoded(row, source.space) for row in source.unseen(name).x]
        assert sorted(found) == sorted(names[name] - names["train"])


# ---- what is wrong with it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("", {}, "empty"),
        (" \n\t", {}, "empty"),
        ("To be, or not to be", {}, "19 characters; at least 640"),
        ("a" * 5000, {}, "repeats one character"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 6001))), {}, "6001 different characters; 6000"),
        ("half \ud83d of one " * 100, {}, "surrogates"),
        ("x" * (8 * 2**20 + 1), {}, "8 MB"),
        ("anna\notto", {"lines": True}, "2 lines; at least 20"),
        ("anna\n" * 50 + "b" * 64, {"lines": True}, "has 64 characters; 63"),
    ],
)
def test_a_text_that_cannot_be_trained_on_says_why(text, options, says):
    with pytest.raises(BadInput, match=says):
        from_text(text, **options)


def test_files_are_read_by_path_and_as_bytes(tmp_path):
    file = tmp_path / "rhyme.txt"
    file.write_bytes(("\ufeff" + RHYME.replace("\n", "\r\n")).encode())
    assert read_text(file) == read_text(str(file)) == read_text(file.read_bytes()) == RHYME


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("Grüße".encode("latin-1"), r"not text in UTF-8 \(byte 3"),
        ("text".encode("utf-16"), "UTF-16"),
        (b"a" * (8 * 2**20 + 1), "too large"),
    ],
)
def test_files_that_are_no_text_say_so(content, says, tmp_path):
    (tmp_path / "it").write_bytes(content)
    for source in (content, tmp_path / "it"):
        with pytest.raises(BadInput, match=says):
            read_text(source)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "huge.txt"
    with open(file, "wb") as stream:
        stream.truncate(200 * 2**20)
    monkeypatch.setattr(texts.Path, "read_bytes", lambda _: pytest.fail("read"))
    with pytest.raises(BadInput, match=r"too large \(200 MB\): 8 MB are the most"):
        read_text(file)


def test_a_missing_file_says_so(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(BadInput, match="There is no file"):
            read_text(path)


# ---- sets by name --------------------------------------------------------------------------------------------------

CONTENT = b"anna\notto\nemil\nida\n"


@pytest.fixture
def names(tmp_path, monkeypatch) -> TextSet:
    """A set of four lines whose cache is empty, on a machine without network."""
    monkeypatch.setenv("GEN_MODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GEN_MODELS_DATA", raising=False)
    _answer(monkeypatch, None)
    space = Space("text", (5,), alphabet=("\n", *"adeilmnot"), encoding="lines")
    digest = hashlib.sha256(CONTENT).hexdigest()
    return TextSet("four-names", "Four names", "Made up.", space, "https://example.org/names.txt", digest, 1, 1)


def _answer(monkeypatch, content: bytes | None) -> list[str]:
    asked: list[str] = []

    def opened(address, timeout):
        asked.append(address)
        if content is None:
            raise urllib.error.URLError("no network")
        return io.BytesIO(content)

    monkeypatch.setattr(fetching.urllib.request, "urlopen", opened)
    return asked


def test_a_set_is_downloaded_once_and_kept(names, tmp_path, monkeypatch):
    asked = _answer(monkeypatch, CONTENT)
    assert fetching.fetch(names) == fetching.fetch(names) == CONTENT
    assert asked == [names.address]
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["four-names.txt"]


def test_a_spoilt_copy_is_fetched_again(names, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "four-names.txt").write_bytes(CONTENT[:-3])
    _answer(monkeypatch, CONTENT)
    assert fetching.fetch(names) == CONTENT
    assert (tmp_path / "cache" / "four-names.txt").read_bytes() == CONTENT


def test_a_folder_of_data_serves_without_network(names, tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_MODELS_DATA", str(tmp_path))
    (tmp_path / "fournames.txt").write_bytes(CONTENT)
    assert fetching.fetch(names) == CONTENT


def test_without_network_it_says_what_to_do(names, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match=r"could not be downloaded \(URLError\).*save https://example.org/names.txt as"):
        fetching.fetch(names)
    _answer(monkeypatch, b"<html>moved</html>")
    with pytest.raises(BadInput, match="another file"):
        fetching.fetch(names)
    assert not (tmp_path / "cache").exists(), "what is wrong is not kept"


def test_lines_of_a_set_are_split_as_it_says(names):
    built = names.build(CONTENT.decode())
    assert [len(built.split(name).x) for name in ("train", "valid", "test")] == [2, 1, 1]


def test_spaces_of_the_sets_are_known_without_reading(monkeypatch):
    monkeypatch.setattr(texts, "fetch", lambda _: pytest.fail("read"))
    for name, item in TEXT_SETS.items():
        space = data.space_of(name)
        assert space.kind == "text"
        assert len(set(space.alphabet)) == len(space.alphabet)
        assert name in data.NAMES
        assert data.title_of(name)
        assert data.source_of(name)
        assert len(item.sha256) == 64
    assert len(data.space_of("tiny-shakespeare").alphabet) == 65
    assert data.space_of("names").alphabet == ("\n", *"abcdefghijklmnopqrstuvwxyz")
