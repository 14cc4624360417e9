"""`sample` for entries that write text: printed as it is written, or kept; a prompt begins it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys import put_on_shelf, small

from gen_models import __main__ as command_line
from gen_models import data, zoo

TEXT, LINES = "transformer-shakespeare", "transformer-names"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    for name in (TEXT, LINES):
        put_on_shelf(root / name, small(zoo.ZOO[name]))
    return root


@pytest.fixture
def write(folder, capsys):
    """Runs `sample`; exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = command_line.main(["sample", "--checkpoints", str(folder), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_text_is_printed_and_is_what_the_model_samples(write, folder):
    code, out, _ = write(TEXT, "--seed", 3, "--length", 40)
    *_, last = zoo.sample(zoo.load(TEXT, zoo.Shelf(folder)), 3, 1, length=40)
    assert code == 0
    assert out == data.decoded(last.x[0], zoo.ZOO[TEXT].where) + "\n"


def test_a_prompt_begins_every_line(write):
    code, out, _ = write(LINES, "--prompt", "an", "--n", 5)
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 5
    assert all(line.startswith("an") for line in lines)


def test_text_is_kept_in_one_file_in_many_or_as_symbols(write, tmp_path):
    _, printed, _ = write(LINES, "--n", 3, "--seed", 7)
    for out in ("all.txt", "raw.npy", "folder"):
        assert write(LINES, "--n", 3, "--seed", 7, "--out", tmp_path / out)[0] == 0
    names = printed.splitlines()
    assert (tmp_path / "all.txt").read_text().splitlines() == names
    assert [path.read_text() for path in sorted((tmp_path / "folder").iterdir())] == names
    assert np.load(tmp_path / "raw.npy").shape == (3, 16)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((LINES, "--prompt", "Anna1"), "does not know 'A', '1'"),
        ((LINES, "--prompt", "a" * 16), "A line has 15 characters at most"),
        ((LINES, "--temperature", 3), "temperature is a number from 0 to 2"),
        ((TEXT, "--top-p", -1), "top_p is a number from 0 to 1"),
        ((TEXT, "--length", 0), "length is a whole number from 1"),
        ((TEXT, "--out", "text.jpg"), "--out is a .png, a .npy, a .txt or a folder"),
    ],
)
def test_what_cannot_be_written_is_said(write, words, says):
    code, _, complaint = write(*words)
    assert code == 2
    assert says in complaint
    assert "Traceback" not in complaint


def test_the_extremes_of_choosing_write_the_likeliest(write):
    likeliest = write(LINES, "--n", 1, "--temperature", 0)[1]
    assert write(LINES, "--n", 1, "--seed", 9, "--temperature", 0)[1] == likeliest
    assert write(LINES, "--n", 1, "--seed", 9, "--top-p", 0)[1] == likeliest
