"""What the tests of the Hub share: a pipeline out of thin air, and a server that has it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from hub_server import Hub, online

from gen_models import hub

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
INDEX = {
    "_class_name": "DDPMPipeline",
    "_diffusers_version": "0.42.1",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": [None, None],
}
PIPELINE = {
    "model_index.json": json.dumps(INDEX).encode(),
    "scheduler/scheduler_config.json": b"{}",
    "unet/config.json": b'{"_class_name": "UNet2DModel"}',
    WEIGHTS: bytes(range(256)) * 4000,  # a megabyte, that no model ever reads
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "safety_checker/model.safetensors": b"not needed",
    "modeling.py": b"raise SystemExit('this was run')",
    "README.md": b"---\nlicense: mit\n---\nwords",
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@contextlib.contextmanager
def serving(tmp_path: Path, monkeypatch) -> Iterator[Hub]:
    """A Hub on loopback with the pipeline as ann/model, which this process speaks with."""
    with Hub(tmp_path / "hub") as running:
        online(monkeypatch, running, tmp_path / "cache")
        running.add("ann/model", written(tmp_path / "files", PIPELINE))
        yield running


def fetched(look: hub.Look, **options) -> hub.Fetched:
    """The last report of a download."""
    *_, last = hub.fetch(look, **options)
    return last
