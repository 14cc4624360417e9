"""What was found on the Hub or in a folder becomes an entry on a shelf, and is drawn from like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import WRITES, Hub, online
from toys import autoencoder, class_pipeline, pixel_pipeline, text_pipeline

from gen_models import checkpoint, hub, zoo
from gen_models.interface import BadInput
from gen_models.models import pretrained, pretrained_codes, pretrained_latent


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory) -> dict[str, Path]:
    """A tiny model of each kind, written by diffusers itself."""
    root = tmp_path_factory.mktemp("pipelines")
    for name, write in {"pixels": pixel_pipeline, "classes": class_pipeline, "text": text_pipeline}.items():
        write(root / name)
    autoencoder().save_pretrained(root / "codes", safe_serialization=True)
    flat = root / "flat"  # as the first pipelines on the Hub lie
    flat.mkdir()
    shutil.copy(root / "pixels" / "model_index.json", flat)
    for path in (*(root / "pixels" / "unet").iterdir(), *(root / "pixels" / "scheduler").iterdir()):
        shutil.copy(path, flat)
    return {name: root / name for name in ("pixels", "classes", "text", "codes", "flat")}


@pytest.fixture
def server(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as running:
        online(monkeypatch, running, tmp_path / "cache")
        yield running


@pytest.fixture
def mine(tmp_path) -> zoo.Shelf:
    """A visitor's shelf, empty at first."""
    return zoo.Shelf(tmp_path / "mine")


def shelved(where: str | Path, shelf: zoo.Shelf) -> str:
    """Looked at, fetched and put on the shelf: the name that it has there."""
    look = hub.look(hub.address(str(where)))
    offer = zoo.offer(look)
    *_, last = hub.fetch(look)
    return zoo.shelve(offer, last.folder, shelf)


# ---- other formats ---------------------------------------------------------------------------------------------

KINDS = {
    "pixels": (pretrained.PixelPipeline, "DDPMPipeline", {"Samples", "Denoises"}),
    "flat": (pretrained.PixelPipeline, "DDPMPipeline", {"Samples", "Denoises"}),
    "classes": (pretrained_latent.ClassPipeline, "DiTPipeline", {"Samples"}),
    "text": (pretrained_latent.TextPipeline, "StableDiffusionPipeline", {"Samples"}),
    "codes": (pretrained_codes.PretrainedAutoencoder, "AutoencoderKL", {"Encodes", "Decodes", "Reconstructs"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_offered_before_its_weights_are_fetched(server, pipelines, name):
    server.add(f"ann/{name}", pipelines[name], license="mit")
    offer = zoo.offer(hub.look(hub.address(f"ann/{name}")))
    model, kind, can = KINDS[name]
    assert offer.model is model
    assert can <= set(offer.can)
    assert offer.line.startswith(f"{kind} · image 3 x ")
    assert offer.line.endswith(" · mit")
    assert not server.asked("GET", ".safetensors")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_opens_from_the_hub_and_from_a_folder_alike(server, pipelines, mine, name):
    server.add(f"ann/{name}", pipelines[name])
    there, here = shelved(f"ann/{name}", mine), shelved(pipelines[name], mine)
    assert (there, here) == (name, f"{name}-2")
    assert mine.entry(there).hub == f"ann/{name}@{server.repos[f'ann/{name}'].revisions['main']}"
    assert mine.entry(here).hub is None
    first, second = (zoo.load(one, mine) for one in (there, here))
    assert type(first) is KINDS[name][0]
    assert first is zoo.load(there, mine)
    weights = dict(second.named_parameters())
    for key, weight in first.named_parameters():
        assert torch.equal(weight, weights[key])


def test_what_was_fetched_draws_the_same_every_time(server, pipelines, mine):
    server.add("ann/pixels", pipelines["pixels"])
    model = zoo.load(shelved("ann/pixels", mine), mine)
    *_, one = zoo.sample(model, 3, 2, steps=2)
    *_, two = zoo.sample(model, 3, 2, steps=2)
    assert one.x.shape == (2, 3, 8, 8)
    assert torch.equal(one.x, two.x)
    assert one.x.abs().max() <= 1


def test_fetching_the_same_commit_again_keeps_the_name_and_a_new_commit_gets_a_new_one(server, pipelines, mine):
    server.add("ann/pixels", pipelines["pixels"])
    assert [shelved("ann/pixels", mine) for _ in range(2)] == ["pixels", "pixels"]
    server.add("ann/pixels", pipelines["flat"])
    assert shelved("ann/pixels", mine) == "pixels-2"
    assert mine.names() == ["pixels", "pixels-2"]


def test_what_nothing_opens_says_what_can_be(server, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    (folder / "model.safetensors").write_bytes(b"weights")
    server.add("ann/words", folder)
    with pytest.raises(BadInput, match=r"ann/words is a GPT2LMHeadModel; what can be opened: .*DDPMPipeline"):
        zoo.offer(hub.look(hub.address("ann/words")))


def test_what_is_refused_is_not_offered(server, pipelines, tmp_path):
    shutil.copytree(pipelines["pixels"], tmp_path / "old")
    weights = tmp_path / "old" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    server.add("ann/old", tmp_path / "old")
    with pytest.raises(BadInput, match=r"ann/old cannot be opened. Its weights are pickles"):
        zoo.offer(hub.look(hub.address("ann/old")))


def test_files_that_went_away_are_told(pipelines, tmp_path, mine):
    shutil.copytree(pipelines["pixels"], tmp_path / "moved")
    name = shelved(tmp_path / "moved", mine)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(BadInput, match="no longer in"):
        zoo.load(name, mine)


def test_a_damaged_file_is_told(pipelines, tmp_path, mine):
    shutil.copytree(pipelines["pixels"], tmp_path / "damaged")
    weights = tmp_path / "damaged" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged"):
        zoo.load(shelved(tmp_path / "damaged", mine), mine)


def test_the_server_speaks_what_diffusers_and_data_sets_ask(server, pipelines, tmp_path):
    from diffusers import DDPMPipeline
    from huggingface_hub import hf_hub_download, snapshot_download

    server.add("ann/pixels", pipelines["pixels"])
    pipeline = DDPMPipeline.from_pretrained("ann/pixels", use_safetensors=True)
    weights = dict(pipeline.unet.named_parameters())
    for key, weight in DDPMPipeline.from_pretrained(pipelines["pixels"]).unet.named_parameters():
        assert torch.equal(weight, weights[key])
    assert (Path(snapshot_download("ann/pixels")) / "scheduler" / "scheduler_config.json").is_file()
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "rows.parquet").write_bytes(b"rows")
    server.add("datasets/ann/rows", tmp_path / "rows")
    found = hf_hub_download("ann/rows", "rows.parquet", repo_type="dataset")
    assert Path(found).read_bytes() == b"rows"


# ---- our own format --------------------------------------------------------------------------------------------


def test_what_one_person_pushed_another_opens(server, shelf, mine):
    hub.push(shelf.folder("diffusion-mnist"), "ann/digits", token=WRITES)
    look = hub.look(hub.address("ann/digits"))
    offer = zoo.offer(look)
    assert offer.model is shelf.entry("diffusion-mnist").model
    assert "Denoises" in offer.can
    assert not server.asked("GET", ".safetensors")
    name = shelved("ann/digits", mine)
    assert name == "digits"
    assert mine.entry(name).hub == f"ann/digits@{look.commit}"
    assert mine.card(name)["weights"] == shelf.card("diffusion-mnist")["weights"]
    pictures = [zoo.sample(zoo.load(*place), 0, 2, steps=2) for place in ((name, mine), ("diffusion-mnist", shelf))]
    (*_, one), (*_, two) = pictures
    assert torch.equal(one.x, two.x)


def test_a_folder_of_our_own_format_opens_too(shelf, mine):
    name = shelved(shelf.folder("vae-8gaussians"), mine)
    assert type(zoo.load(name, mine)) is shelf.entry("vae-8gaussians").model


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (lambda card: card["weights"].update(sha256="0" * 64), "SHA-256 differs"),
        (lambda card: card["config"].update(hidden=24), "do not match the model"),
        (lambda card: card.update(weights={}), "does not say which weights"),
        (lambda card: card.update(model="os.path"), "no model"),
        (lambda card: card["space"].update(shape=[3, 100_000, 100_000]), "beyond what"),
    ],
)
def test_a_card_that_lies_is_refused_and_leaves_nothing_behind(server, shelf, mine, tmp_path, lie, says):
    shutil.copytree(shelf.folder("vae-8gaussians"), tmp_path / "lies")
    card = checkpoint.read_card(tmp_path / "lies")
    lie(card)
    (tmp_path / "lies" / "card.json").write_text(json.dumps(card))
    server.add("ann/lies", tmp_path / "lies")
    with pytest.raises(BadInput, match=says):
        shelved("ann/lies", mine)
    assert mine.names() == []


def test_a_card_may_not_point_to_files_elsewhere(server, pipelines, mine, tmp_path):
    name = shelved(pipelines["pixels"], mine)
    shutil.copytree(mine.folder(name), tmp_path / "points")
    (tmp_path / "points" / "model.safetensors").write_bytes(b"nothing")
    server.add("ann/points", tmp_path / "points")
    with pytest.raises(BadInput, match="files that lie elsewhere"):
        shelved("ann/points", mine)
    assert mine.names() == [name]


def test_words_of_a_strangers_card_are_short_and_its_other_claims_are_left_out(shelf, mine, tmp_path):
    shutil.copytree(shelf.folder("vae-8gaussians"), tmp_path / "loud")
    card = checkpoint.read_card(tmp_path / "loud")
    card |= {"source": "x" * 10_000, "licence": ["not", "words"], "best": "of all"}
    (tmp_path / "loud" / "card.json").write_text(json.dumps(card))
    kept = mine.card(shelved(tmp_path / "loud", mine))
    assert len(kept["source"]) == 500
    assert "best" not in kept
    assert kept["training"]["steps"] == 1


def test_what_was_fetched_cannot_be_pushed_as_ones_own(server, pipelines, mine):
    name = shelved(pipelines["pixels"], mine)
    with pytest.raises(BadInput, match="no weights of its own"):
        hub.push(mine.folder(name), "ann/copied", token=WRITES)
