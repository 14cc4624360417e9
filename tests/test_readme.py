"""The README is true: its front matter is what Spaces take, its map is the tree, its commands are there and parse."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

from gen_models import __main__ as command_line
from gen_models import evaluate, zoo

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
UNMAPPED = {"README.md", "LICENSE", "__init__.py"}  # what every project has, and files with nothing in them


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text()


@pytest.fixture(scope="module")
def front(text) -> dict:
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found, "the README starts with front matter between two lines of ---"
    return yaml.safe_load(found[1])


def blocks(text: str) -> list[str]:
    return re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """Lines of the code blocks, without prompt and comment."""
    lines = [line.strip().removeprefix("$ ") for block in blocks(text) for line in block.splitlines()]
    return [re.split(r"\s+#\s", line)[0].strip() for line in lines]


# ---- Hugging Face Spaces ---------------------------------------------------------------------------------------


def test_the_front_matter_is_what_spaces_take(front):
    assert front["title"]
    assert front["sdk"] == "gradio"
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert 0 < len(front["short_description"]) <= 60, "a Space shows 60 characters"
    assert front["tags"]
    assert all(isinstance(tag, str) for tag in front["tags"])
    assert {front[key] for key in ("colorFrom", "colorTo") if key in front} <= COLOURS


def test_versions_are_written_as_text_and_agree_with_the_requirements(front):
    assert isinstance(front["sdk_version"], str), "6.10 without quotes is the number 6.1"
    assert isinstance(front["python_version"], str), "3.10 without quotes is the number 3.1"
    version = tuple(map(int, front["sdk_version"].split(".")))
    assert len(version) == 3
    needed = re.search(r"^gradio>=([\d.]+),<(\d+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert tuple(map(int, needed[1].split("."))) <= version < (int(needed[2]),)
    oldest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert int(front["python_version"].split(".")[1]) >= int(oldest[1])


# ---- the first screen and the commands -------------------------------------------------------------------------


def test_the_first_screen_has_a_real_screenshot(text):
    first = "\n".join(text.split("\n---\n", 1)[1].strip().splitlines()[:30])
    assert first.startswith("# ")
    shown = re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", first)
    pictures = [ROOT / (a or b) for a, b in shown if not (a or b).startswith("http")]
    assert pictures, "a picture of the page, in the tree, with words for those who cannot see it"
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) >= 400


@pytest.mark.parametrize("target", ["app", "test"])
def test_the_two_commands_stand_in_the_readme_and_the_makefile(text, target):
    assert f"make {target}" in commands(text)
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "line",
    [
        r"pip install .*-r requirements\.txt",
        r"pip install .*-r tests/requirements\.txt",
        r"python3? app\.py",
        r"python3? -m pytest",
    ],
)
def test_the_plain_lines_stand_beside_them(text, line):
    assert any(re.search(line, command) for command in commands(text))


def test_the_makefile_and_the_ci_run_what_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"[\w/]+\.(?:py|txt)", makefile):
        assert (ROOT / name).is_file(), name
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    dry = subprocess.run(["make", "-n", "app", "test"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "app.py" in dry.stdout
    assert "-m pytest" in dry.stdout


def test_every_command_of_the_package_parses(text):
    written = [line for line in commands(text) if re.match(r"python3? -m gen_models\b", line)]
    assert {shlex.split(line)[3] for line in written} >= {"list", "train", "sample", "evaluate", "fetch", "push"}
    fetched = {match[1] for line in written if (match := re.search(r" fetch [\w.-]+/([\w.-]+)", line))}
    for line in written:
        words = shlex.split(line)[3:]
        known, _ = command_line._parser().parse_known_args(words)
        named = getattr(known, "entry", [])
        assert set([named] if isinstance(named, str) else named) <= set(zoo.ZOO) | fetched, line


def test_every_option_of_the_page_is_named(text):
    declared = re.findall(r'add_argument\("(--[a-z]+)"', (ROOT / "app.py").read_text())
    assert {"--host", "--port", "--share", "--device", "--checkpoints"} <= set(declared)
    assert [option for option in declared if option not in text] == []


def test_the_tables_are_those_of_the_evaluations(text):
    """When they differ: python -m gen_models evaluate --readme README.md"""
    assert evaluate.between(text) == evaluate.markdown()


def test_links_into_the_tree_lead_somewhere(text):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (ROOT / target).exists(), target


# ---- the map ---------------------------------------------------------------------------------------------------


def mapped(text: str) -> list[tuple[str, str]]:
    """Path and words of each row of the map: the table whose first column holds paths from the root."""
    return re.findall(r"^\| `([\w./-]+)` \| (.+?) \|$", text, re.MULTILINE)


def sources() -> list[Path]:
    """Every file of the project: those that git knows or would add; without git, what is written by hand."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0:
        found = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        found = [path for path in ROOT.rglob("*") if not any(part in ("__pycache__", ".venv") for part in path.parts)]
    return [path.relative_to(ROOT) for path in found if path.is_file()]


def test_every_line_of_the_map_names_something_that_exists_and_says_what_it_is(text):
    lines = mapped(text)
    assert len(lines) == len({path for path, _ in lines}), "each has one line"
    for path, words in lines:
        assert (ROOT / path).exists(), f"{path} is on the map and nowhere else"
        assert (ROOT / path).is_dir() == path.endswith("/"), f"{path}: folders end with a slash, files do not"
        assert len(words) > 5, f"{path} needs a few words"


def test_every_file_is_on_the_map(text):
    """By a line of its own, or in a folder whose one line speaks for all in it."""
    lines = {path for path, _ in mapped(text)}
    assert "gen_models/" not in lines, "the package has a line for each of its files"
    missing = [
        str(path)
        for path in sources()
        if path.name not in UNMAPPED
        and not any(part.startswith(".") for part in path.parts)
        and not lines & {str(path), *(f"{parent}/" for parent in path.parents)}
    ]
    assert missing == []
