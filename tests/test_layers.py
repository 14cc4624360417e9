"""Who may import whom: the syntax trees hold the table, so that nothing below the page knows that a page exists."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "gen_models").rglob("*.py"), ROOT / "app.py"])

BASE = {"interface", "noise", "music"}
TOOLS = {"data", "checkpoint", "training", "latent", "render", "metrics", "device", "hub"}
BELOW_ZOO = BASE | TOOLS | {"nn", "schedules", "solvers", "steering", "forward", "editing", "branching"}
ALLOWED = {
    "noise": set(),
    "interface": {"noise"},
    "music": {"interface"},
    "nn": BASE,
    "schedules": set(),
    "solvers": BASE,
    "editing": BASE | {"solvers"},
    "steering": BASE | {"latent"},
    "forward": BASE | {"metrics", "schedules"},
    "branching": BASE | {"editing"},
    "models": BASE | {"nn", "schedules", "solvers"},
    **dict.fromkeys(TOOLS, BASE),
    "zoo": BELOW_ZOO | {"models"},
    "evaluate": BELOW_ZOO | {"zoo"},
    "saving": BELOW_ZOO,
    "parallel": {"interface", "device", "training"},
    "commands": BELOW_ZOO | {"zoo", "evaluate", "saving", "parallel", "hub"},
    "__main__": {"interface", "zoo", "parallel", "commands"},
    "ui": BELOW_ZOO | {"zoo", "evaluate"},
    "app": {"device", "zoo", "interface", "ui"},
    "__init__": set(),
}
PURE = {
    "noise",
    "interface",
    "music",
    "nn",
    "solvers",
    "models",
    "training",
    "latent",
    "steering",
    "editing",
    "zoo",
}  # torch, numpy, standard library


def part(file: Path) -> str:
    """The row of the table: the module's name, or the folder's where the module lies in one."""
    inside = file.relative_to(ROOT).with_suffix("").parts
    return inside[1] if len(inside) > 1 else inside[0]


def imports(tree: ast.AST, file: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module's full name, and whether it is imported as the file is (not inside a function)."""
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = base + (node.module or "")
            names = [f"{module.rstrip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, id(node) not in inner) for name in names)


def found(file: Path) -> list[tuple[str, bool]]:
    return list(imports(ast.parse(file.read_text()), file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_part_imports_what_its_row_allows(file):
    mine = part(file)
    assert mine in ALLOWED, f"{mine} has no row in the table"
    for name, _ in found(file):
        parts = name.split(".")
        if parts[0] == "gen_models" and parts[1] != "__version__":
            assert parts[1] == mine or parts[1] in ALLOWED[mine], f"{mine} may not import {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_libraries_stay_where_they_belong(file):
    mine = part(file)
    for name, at_once in found(file):
        library = name.split(".")[0]
        if library in ("gradio", "gradio_client"):
            assert mine in ("ui", "app"), f"{mine} knows that a page exists"
        if library in ("huggingface_hub", "httpx2", "filelock"):
            assert mine in ("hub", "data"), f"{mine} speaks with the Hub"
        if library == "accelerate":
            assert (mine, at_once) == ("parallel", False), "accelerate is for several processes, and costs seconds"
        if library in ("diffusers", "transformers"):
            assert mine == "models", f"{library} is imported in {mine}"
            assert not at_once, f"importing {library} costs seconds: it is imported when it is needed"
        elif mine in PURE:
            assert library in {"torch", "numpy", "gen_models", *sys.stdlib_module_names}, f"{mine} imports {library}"


def test_the_page_chooses_the_device_before_anything_else_is_imported():
    mine = [name for name, _ in found(ROOT / "app.py") if name.startswith("gen_models")]
    assert mine[0] == "gen_models.device"


@pytest.mark.parametrize(
    ("written", "name", "at_once"),
    [
        ("import gradio as gr", "gradio", True),
        ("from gen_models import zoo", "gen_models.zoo", True),
        ("from ..models.vae import VAE", "gen_models.models.vae.VAE", True),
        ("def f():\n    from diffusers import X", "diffusers.X", False),
        ("if True:\n    import diffusers", "diffusers", True),
    ],
)
def test_every_form_of_import_is_seen(written, name, at_once):
    assert list(imports(ast.parse(written), ROOT / "gen_models" / "ui" / "page.py")) == [(name, at_once)]


def test_no_script_takes_a_name_that_another_has_given():
    given: dict[str, str] = {}
    for path in sorted((ROOT / "gen_models/ui/static").glob("*.js")):
        text = path.read_text("utf-8")
        for name in set(re.findall(r"^ *(?:window\.)?gm\.(\w+) = ", text, re.MULTILINE)):
            if not re.search(rf"= (?:window\.)?gm\.{name}\b", text):  # it wraps the one that was there
                assert name not in given, f"gm.{name} is given by {given.get(name)} and by {path.name}"
                given[name] = path.name
    assert len(given) > 50
