"""Data sets: the densities agree with known entropies, the Hub's files are read once, bad points are named."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from gen_models import data
from gen_models.data import hub, points
from gen_models.interface import BadInput, Space

ENTROPY = {  # nats, by quadrature and Monte Carlo of the same definitions
    "8gaussians": 2.832,
    "moons": 2.392,
    "circles": 3.268,
    "rings": 2.621,
    "swissroll": 2.669,
    "2spirals": 2.645,
    "pinwheel": 2.318,
    "checkerboard": math.log(32),
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- densities ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTROPY)
def test_draws_and_log_prob_agree_with_the_known_entropy(name):
    density = data.load(name)
    x = density.batch(20_000, rng(5)).x
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    assert x.abs().max() < 5
    assert -density.log_prob(x).mean().item() == pytest.approx(ENTROPY[name], abs=0.02)


@pytest.mark.parametrize("name", ENTROPY)
def test_mean_is_that_of_the_definition(name):
    mean = {"moons": (0.0, 0.3), "swissroll": (0.4, 2 / 15 / math.pi)}  # the integrals of the curves; else symmetric
    x = data.load(name).batch(50_000, rng(1)).x
    assert_close(x.mean(0), torch.tensor(mean.get(name, (0.0, 0.0))), rtol=0, atol=0.04)


@pytest.mark.parametrize("name", ENTROPY)
def test_density_integrates_to_one(name):
    side = torch.linspace(-4.8, 4.8, 121)[:-1] + 0.04  # midpoints of squares that the checkerboard's edges do not cut
    log_prob = data.load(name).log_prob(torch.cartesian_prod(side, side))
    assert log_prob.dtype == torch.float32
    assert log_prob.double().exp().sum().item() * 0.08**2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "radii", "sigma"), [("circles", (1.5, 3), 0.24), ("rings", (0.75, 1.5, 2.25, 3), 0.08)]
)
def test_round_densities_agree_with_their_closed_form(name, radii, sigma):
    x = data.load(name).batch(500, rng()).x.double()
    rho, radius = x.norm(dim=1)[:, None], torch.tensor(radii, dtype=torch.float64)
    bessel = torch.special.i0e(rho * radius / sigma**2)
    exact = (-((rho - radius) ** 2) / 2 / sigma**2 + bessel.log() - math.log(math.tau * sigma**2)).logsumexp(1)
    assert_close(data.load(name).log_prob(x), exact - math.log(len(radii)))


def test_checkerboard_is_nothing_outside_its_squares():
    x = torch.tensor([[0.5, 0.5], [0.5, 2.5], [-0.5, 0.5], [-0.5, -0.5], [4.5, 0.5]])
    inside = data.load("checkerboard").log_prob(x).isfinite()
    assert inside.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("name", ENTROPY)
def test_toy_splits_are_fixed_and_apart(name):
    density = data.load(name)
    train, valid, test = (density.split(part).x for part in ("train", "valid", "test"))
    assert [len(x) for x in (train, valid, test)] == [20_000, 10_000, 20_000]
    assert_close(density.split("valid").x, valid, rtol=0, atol=0)
    rows = [set(map(tuple, x.tolist())) for x in (train, valid, test)]
    shared = len(rows[0] & rows[1]) + len(rows[0] & rows[2]) + len(rows[1] & rows[2])
    assert shared < 5, "streams of different seeds meet by chance only"


def test_batches_depend_on_the_generator_alone():
    for name in ENTROPY:
        torch.manual_seed(1)
        first = data.load(name).batch(7, rng(3)).x
        torch.manual_seed(2)
        assert_close(data.load(name).batch(7, rng(3)).x, first, rtol=0, atol=0)
        assert not torch.equal(data.load(name).batch(7, rng(4)).x, first)


def test_far_points_have_finite_log_prob_where_the_support_is_the_plane():
    far = torch.tensor([[30.0, -20.0], [0.0, 0.0]])
    for name in set(ENTROPY) - {"checkerboard"}:
        assert data.load(name).log_prob(far).isfinite().all(), name


# ---- the Hub's sets -------------------------------------------------------------------------------------------


def png(x: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(x).save(file, "PNG")
    return file.getvalue()


def write_set(root: Path, name: str, *, train: int = 12, test: int = 6) -> None:
    """A small set in the layout of the Hub's cache; picture k is all k, or (k, 2 k, 3 k) in colour."""
    item = hub.HUB_SETS[name]
    channels, height, width = item.space.shape
    base = root / f"datasets--{item.repo.replace('/', '--')}"
    folder = base / "snapshots" / ("0" * 40) / item.folder
    folder.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)
    for part, first, count in (("train", 0, train), ("test", 50, test)):
        levels = [np.array([k, 2 * k, 3 * k][:channels], np.uint8) for k in range(first, first + count)]
        images = [np.broadcast_to(level, (height, width, channels)) for level in levels]
        files = [{"bytes": png(x[..., 0] if channels == 1 else x), "path": None} for x in images]
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        label = pyarrow.array([k % 10 for k in range(count)], pyarrow.int64())
        table = pyarrow.table({item.column: pyarrow.array(files, kind), "label": label})
        pyarrow.parquet.write_table(table, folder / f"{part}-00000-of-00001.parquet")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty Hub cache with no network, an empty cache of decoded pictures, nothing loaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("GEN_MODELS_CACHE", str(tmp_path / "decoded"))
    monkeypatch.setattr(hub, "_LOADED", {})
    monkeypatch.setattr(hub, "HELD_OUT", 4)
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_hub_set_has_its_splits_labels_and_range(name, hub_cache):
    write_set(hub_cache, name)
    images = data.load(name)
    assert images.space == data.space_of(name)
    parts = {part: images.split(part) for part in ("train", "valid", "test")}
    assert [len(batch.x) for batch in parts.values()] == [8, 4, 6]
    assert parts["valid"].label.tolist() == [8, 9, 0, 1]
    channels = images.space.shape[0]
    expected = torch.tensor([8.0, 16, 24][:channels]) / 127.5 - 1
    assert_close(parts["valid"].x[0], expected[:, None, None].expand(images.space.shape))
    batch = images.batch(200, rng())
    assert batch.x.shape == (200, *images.space.shape)
    assert batch.x.dtype == torch.float32
    assert_close((batch.x[:, 0, 0, 0] + 1) * 127.5, batch.label.float(), rtol=0, atol=1e-3)
    assert set(batch.label.tolist()) == set(range(8)), "no held-out picture is in a batch"


def test_second_start_reads_the_decoded_copy(hub_cache, tmp_path, monkeypatch):
    write_set(hub_cache, "mnist")
    first = data.load("mnist")
    monkeypatch.setattr(hub, "_LOADED", {})
    monkeypatch.setattr(hub, "_decoded", lambda *_: pytest.fail("decoded again"))
    again = data.load("mnist")
    assert again is not first
    for part in ("train", "valid", "test"):
        assert_close(again.split(part).x, first.split(part).x, rtol=0, atol=0)
        assert_close(again.split(part).label, first.split(part).label)
    assert [file.name for file in (tmp_path / "decoded").iterdir()] == ["mnist.safetensors"]


@pytest.mark.parametrize("harm", ["damaged copy", "new files", "no folder"])
def test_decoded_copy_is_never_trusted_or_needed(harm, hub_cache, tmp_path, monkeypatch):
    write_set(hub_cache, "mnist")
    copy = tmp_path / "decoded" / "mnist.safetensors"
    if harm == "no folder":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("GEN_MODELS_CACHE", str(tmp_path / "file" / "below"))
    assert len(data.load("mnist").split("test").x) == 6
    monkeypatch.setattr(hub, "_LOADED", {})
    if harm == "damaged copy":
        copy.write_bytes(copy.read_bytes()[:-100])
    elif harm == "new files":
        for file in sorted(hub_cache.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        write_set(hub_cache, "mnist", test=7)
    assert len(data.load("mnist").split("test").x) == (7 if harm == "new files" else 6)


def test_missing_set_says_how_to_get_it(hub_cache):
    with pytest.raises(BadInput, match="hf download ylecun/mnist --repo-type dataset"):
        data.load("mnist")
    with pytest.raises(BadInput, match=r"MNIST digits is not on this machine.*network"):
        data.load("stacked-mnist")
    write_set(hub_cache, "mnist")
    assert len(data.load("mnist").split("test").x) == 6, "a failure is not remembered"


def test_damaged_hub_file_is_named(hub_cache):
    write_set(hub_cache, "cifar10")
    file = next(hub_cache.rglob("test-*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadInput, match=r"CIFAR-10 at .*test-00000-of-00001.parquet cannot be read.*Delete it"):
        data.load("cifar10")


def test_two_tabs_read_a_set_once(hub_cache):
    write_set(hub_cache, "mnist")
    found = []
    threads = [threading.Thread(target=lambda: found.append(data.load("mnist"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_stacked_mnist_stacks_three_digits_of_one_split(hub_cache):
    write_set(hub_cache, "mnist")
    stacked = data.load("stacked-mnist")
    batch = stacked.batch(300, rng())
    assert batch.x.shape == (300, 3, 28, 28)
    assert batch.label is None
    level = ((batch.x + 1) * 127.5).round()
    assert (level.flatten(2).amin(2) == level.flatten(2).amax(2)).all(), "each channel is one digit"
    digits = level[:, :, 0, 0]
    assert set(digits.flatten().tolist()) == set(range(8))
    assert len({tuple(row) for row in digits.tolist()}) > 200, "channels are drawn independently"
    test = stacked.split("test").x
    assert test.shape == (6, 3, 28, 28)
    assert ((test + 1) * 127.5).round().amin() >= 50
    assert_close(stacked.split("test").x, test, rtol=0, atol=0)


def test_everything_is_known_without_reading(hub_cache):
    kinds = {name: data.space_of(name).kind for name in data.NAMES}
    assert list(kinds.values()) == ["points"] * 8 + ["image"] * 8 + ["text"] * 2 + ["music"] * 2
    assert data.space_of("mnist").labels == tuple("0123456789")
    assert data.space_of("fashion-mnist").labels[9] == "Ankle boot"
    assert data.space_of("cifar10").shape == (3, 32, 32)
    assert data.space_of("stacked-mnist") == Space("image", (3, 28, 28))
    assert len({data.title_of(name) for name in data.NAMES}) == len(data.NAMES)
    told = ("MIT", "licence", "public domain", "Apache-2.0")
    assert all(any(word in data.source_of(name) for word in told) for name in data.NAMES)
    with pytest.raises(BadInput, match=r"no data set 'minst'.*mnist"):
        data.load("minst")


# ---- points ---------------------------------------------------------------------------------------------------

ROWS = [(k / 3, -k * 1.5) for k in range(12)]


@pytest.mark.parametrize("separator", [",", ", ", ";", "\t", " ", "   "])
@pytest.mark.parametrize("header", ["", "x{}y\n", "\ufeffwidth{}height\n\n"])
def test_csv_in_its_usual_forms(separator, header):
    text = header.format(separator) + "\n".join(f"{a}{separator}{b}" for a, b in ROWS)
    x = data.points_from_csv(text)
    assert_close(x, torch.tensor(ROWS, dtype=torch.float64))


def test_csv_with_decimal_commas_and_quotes():
    x = data.points_from_csv("\n".join(f'"{a};{b}"'.replace(".", ",").replace(";", '";"') for a, b in ROWS))
    assert_close(x, torch.tensor(ROWS, dtype=torch.float64))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3, four", "Line 4: 'four' is not a number. Each line holds two numbers"),
        ("3, nan", "Line 4: 'nan' is not a finite number. Remove the line"),
        ("inf, 3", "Line 4: 'inf' is not a finite number"),
        ("1e999, 3", "Line 4: '1e999' is not a finite number"),
        ("3", "Line 4 has 1 column where two are needed"),
        ("1, 2, 3", "Line 4 has 3 columns where two are needed"),
        ("3,", "Line 4: '' is not a number"),
        ("1_000, 3", "Line 4: '1_000' is not a number"),
        ("x, y", "Line 4: 'x' is not a number"),
    ],
)
def test_bad_line_is_named(line, message):
    lines = ["x, y", "1, 2", "", line] + ["5, 6"] * 20
    with pytest.raises(BadInput, match=message):
        data.points_from_csv("\n".join(lines))


def test_too_few_and_too_many_rows(monkeypatch):
    with pytest.raises(BadInput, match="At least 10 points are needed; got 9"):
        data.points_from_csv("x,y\n" + "1,2\n" * 9)
    with pytest.raises(BadInput, match="At least 10 points are needed; got 0"):
        data.points_from_csv("")
    assert len(data.points_from_csv("1,2\n" * 200_000)) == 200_000
    with pytest.raises(BadInput, match="At most 200,000 points"):
        data.points_from_csv("1,2\n" * 200_001)
    monkeypatch.setattr(points, "_MOST_CHARACTERS", 100)
    with pytest.raises(BadInput, match=r"too long\. Keep 200,000 rows at most"):
        data.points_from_csv("1,2\n" * 50)


def test_points_are_standardised_and_mapped_back():
    x = torch.randn(1000, 2, generator=rng(), dtype=torch.float64) * torch.tensor([30.0, 60.0]) + 1e6
    mine = data.from_points(x)
    parts = [mine.split(part).x for part in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [800, 100, 100]
    y = torch.cat(parts)
    assert y.dtype == torch.float32
    assert_close(y.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    assert y.square().mean().sqrt().item() == pytest.approx(1.5, rel=1e-2)
    assert (y.std(0)[1] / y.std(0)[0]).item() == pytest.approx((x.std(0)[1] / x.std(0)[0]).item(), rel=1e-4)
    back = y.double() * mine.scale + mine.centre
    assert_close(back[back[:, 0].argsort()], x[x[:, 0].argsort()], rtol=0, atol=1e-3)
    batch = mine.batch(64, rng()).x
    assert (batch[:, None] == parts[0]).all(2).any(1).all(), "batches hold training points only"


def test_axes_of_different_units_are_scaled_apart():
    x = torch.randn(500, 2, generator=rng()) * torch.tensor([1.0, 1e4])
    assert_close(
        torch.cat([data.from_points(x).split(p).x for p in ("train", "valid", "test")]).std(0), torch.tensor([1.5, 1.5])
    )
    line = torch.stack([torch.linspace(0, 1, 20), torch.ones(20)], 1)
    assert data.from_points(line).split("train").x.isfinite().all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(20, 3), r"rows of two numbers; got the shape \(20, 3\)"),
        (torch.ones(20, 2), "All points lie in one place. Add points elsewhere"),
        (torch.ones(4, 2), "At least 10 points are needed; got 4"),
        (torch.full((20, 2), math.nan), "not finite numbers"),
        (torch.linspace(-1e300, 1e300, 40, dtype=torch.float64).reshape(20, 2), "too large"),
        (torch.zeros(200_001, 2), "At most 200,000 points"),
    ],
)
def test_bad_points_are_told_apart(x, message):
    with pytest.raises(BadInput, match=message):
        data.from_points(x)
