"""Every test runs on one thread, without network, on caches of its own; tiny data and checkpoints that many share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_caches = tempfile.mkdtemp(prefix="gen-models-tests-")
atexit.register(shutil.rmtree, _caches, ignore_errors=True)
os.environ.update(  # before anything imports the libraries that read them once
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_HOME=f"{_caches}/hub",
    GEN_MODELS_CACHE=f"{_caches}/data",
    GRADIO_TEMP_DIR=f"{_caches}/gradio",
    GRADIO_ANALYTICS_ENABLED="False",
)

import pytest  # noqa: E402
import torch  # noqa: E402
from toys import FakePictures, lively, put_on_shelf, small  # noqa: E402

from gen_models import zoo  # noqa: E402
from gen_models.interface import Space  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def fake_pictures() -> FakePictures:
    """A labelled data set of 16 grey pictures, 8 x 8, in three classes."""
    return FakePictures(Space("image", (1, 8, 8), labels=("a", "b", "c")))


@pytest.fixture(scope="session")
def shelf_folder(tmp_path_factory) -> Path:
    """Checkpoints that were never trained, one of each kind: vae-8gaussians, gan-mnist, diffusion-mnist."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name in ("vae-8gaussians", "gan-mnist", "diffusion-mnist"):
        put_on_shelf(root / name, small(zoo.ZOO[name]))
    return root


@pytest.fixture
def shelf(shelf_folder, tmp_path) -> zoo.Shelf:
    """A copy of those checkpoints that a test may spoil."""
    root = tmp_path / "checkpoints"
    shutil.copytree(shelf_folder, root)
    return zoo.Shelf(root)


@pytest.fixture(scope="session")
def models() -> dict[str, object]:
    """A small model of every entry, with nothing at zero; whoever changes one puts it back."""
    return {name: lively(small(entry)) for name, entry in zoo.ZOO.items()}
