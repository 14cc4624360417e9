"""Pictures show the numbers they were given, films give back their frames, recipes survive."""

import base64
import builtins
import io
import json
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from gen_models import render
from gen_models.interface import BadInput, Space

GREY, COLOUR = Space("image", (1, 28, 28)), Space("image", (3, 32, 32))
POINTS = Space("points", (2,))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def values(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).float()


# ---- pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "mode"), [(GREY, "L"), (COLOUR, "RGB")])
def test_bytes_survive_the_way_through_the_model_range(space, mode):
    channels, height, width = space.shape
    there = torch.arange(channels * height * width).remainder(256).view(space.shape)
    image = render.picture(there / 127.5 - 1, space)
    assert image.mode == mode
    assert image.size == (width, height)
    assert torch.equal(values(image).view(height, width, channels).permute(2, 0, 1), there.float())


def test_the_spread_reaches_from_black_to_white_and_clips():
    x = torch.tensor([-9.0, -3, 0, 3, 9, float("nan")]).view(1, 1, 6)
    assert np.asarray(render.picture(x, GREY, spread=3)).ravel().tolist() == [0, 0, 128, 255, 255, 128]
    assert np.asarray(render.picture(x / 3, GREY)).ravel().tolist() == [0, 0, 128, 255, 255, 128]


def test_enlarged_pixels_stay_squares():
    x = normal(3, 4, 5)
    small, large = (np.asarray(render.picture(x, COLOUR, scale=scale)) for scale in (1, 7))
    assert (large.reshape(4, 7, 5, 7, 3) == small[:, None, :, None]).all()
    assert render.picture(x, COLOUR, height=31).size == (5 * 7, 4 * 7)  # 7 is the largest factor that fits
    assert render.picture(x, COLOUR, height=2).size == (5, 4)


def test_a_grid_holds_each_picture_in_reading_order():
    x = normal(5, 1, 6, 4).clamp(-1, 1)
    image = render.grid(x, GREY, columns=3, scale=2, gap=3)
    assert image.mode == "LA"
    assert image.size == (3 * 8 + 2 * 3, 2 * 12 + 3)
    for k in range(5):
        left, top = k % 3 * 11, k // 3 * 15
        cell = image.crop((left, top, left + 8, top + 12))
        assert (np.asarray(cell)[..., 1] == 255).all()
        assert (np.asarray(cell)[..., 0] == np.asarray(render.picture(x[k], GREY, scale=2))).all()
    alpha = np.asarray(image)[..., 1]
    assert (alpha == 0).sum() == alpha.size - 5 * 8 * 12
    opaque = render.grid(x, GREY, columns=3, scale=2, gap=3, ground="#112233")
    assert opaque.mode == "RGB"
    assert opaque.getpixel((9, 0)) == (0x11, 0x22, 0x33)


def test_a_grid_without_gaps_needs_no_transparency():
    assert render.grid(normal(4, 3, 8, 8), COLOUR, gap=0).mode == "RGB"
    assert render.grid(normal(1, 1, 8, 8), GREY).mode == "L"
    assert render.grid(normal(16, 1, 28, 28), GREY, height=480).size == (454, 454)


def test_grids_are_near_square_and_full_where_they_can_be():
    found = {n: render.columns_for(n) for n in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 13, 16, 36, 64)}
    assert found == {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 8: 4, 9: 3, 10: 5, 12: 4, 13: 4, 16: 4, 36: 6, 64: 8}


@pytest.mark.parametrize("x", [normal(0, 1, 8, 8), normal(2, 2, 8, 8), normal(8, 8)])
def test_what_is_no_picture_is_refused(x):
    with pytest.raises(BadInput, match="at least one sample"):
        render.grid(x, GREY)


def test_tensors_that_need_a_gradient_or_are_half_are_shown():
    x = normal(1, 8, 8).clamp(-1, 1)
    assert (np.asarray(render.picture(x.requires_grad_(), GREY)) == np.asarray(render.picture(x.detach(), GREY))).all()
    assert render.picture(x.half(), GREY).size == (8, 8)


def test_a_difference_is_white_where_equal_and_has_two_colours():
    a = torch.zeros(3, 1, 4)
    b = torch.tensor([0.0, 1.0, -1.0, 0.5]).expand(3, 1, 4)
    same, more, less, half = np.asarray(render.difference(a, b, COLOUR))[0].astype(int)
    assert same.tolist() == [255] * 3
    assert more[0] > more[2] + 100
    assert less[2] > less[0] + 100
    assert (abs(half - (more + 255) / 2) <= 1).all()
    assert render.difference(a, b, COLOUR, scale=3).size == (12, 3)


# ---- points ---------------------------------------------------------------------------------------------------


def rgb(name: str) -> list[int]:
    return [int(name[i : i + 2], 16) for i in (1, 3, 5)]


def test_a_dot_lies_where_its_point_is():
    for x, y in ((0.0, 0.0), (2.0, 1.0), (-3.3, 2.7), (4.4, -4.4)):
        alpha = np.asarray(render.points(torch.tensor([[x, y]]), size=400))[..., 3].astype(float)
        rows, columns = np.mgrid[:400, :400] + 0.5
        centre = (alpha * columns).sum() / alpha.sum(), (alpha * rows).sum() / alpha.sum()
        expected = ((x / 4.5 + 1) * 200, (1 - y / 4.5) * 200)
        assert centre == pytest.approx(expected, abs=0.05)


def test_a_dot_has_the_area_of_its_circle_and_a_smooth_edge():
    alpha = np.asarray(render.points(torch.zeros(1, 2), size=101, radius=6.0))[..., 3] / 255
    assert alpha.sum() / alpha.max() == pytest.approx(np.pi * 36, rel=0.02)
    assert ((alpha > 0.1) & (alpha < 0.6)).any()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_mean_real_and_generated(theme):
    x, real = torch.tensor([[-2.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    pixels = np.asarray(render.points(x, real=real, size=90, radius=4, theme=theme))
    assert pixels[45, 25, :3].tolist() == rgb(render.COLOURS[theme]["generated"])
    assert pixels[45, 65, :3].tolist() == rgb(render.COLOURS[theme]["real"])
    assert 0 < pixels[45, 65, 3] < pixels[45, 25, 3] < 255
    assert pixels[0, 0, 3] == 0
    assert np.asarray(render.points(x, size=90, radius=4, colour="#102030"))[45, 25, :3].tolist() == [16, 32, 48]


def test_a_ground_makes_the_same_plot_opaque():
    x, real = normal(50, 2), normal(80, 2, seed=1)
    clear = render.points(x, real=real, size=200)
    base = Image.new("RGBA", clear.size, "#fbfbfa")
    base.alpha_composite(clear)
    opaque = render.points(x, real=real, size=200, ground="#fbfbfa")
    assert (np.asarray(opaque)[..., 3] == 255).all()
    assert abs(np.asarray(opaque).astype(int) - np.asarray(base)).max() <= 1


def test_points_outside_or_not_finite_are_left_out():
    x = torch.tensor([[0.0, 0.0], [float("nan"), 0], [float("inf"), 0], [1e30, -1e30], [0, 5.5]])
    assert render.points(x).tobytes() == render.points(x[:1]).tobytes()
    assert render.points(x[1:]).getextrema()[3] == (0, 0)
    assert render.points(x[:0]).size == (480, 480)


def test_points_are_drawn_by_picture_and_grid_too():
    x = normal(30, 2)
    assert render.grid(x, POINTS, height=200).tobytes() == render.points(x, size=200).tobytes()
    assert render.picture(x[0], POINTS).tobytes() == render.points(x[:1]).tobytes()


# ---- strips and sheets ----------------------------------------------------------------------------------------


def test_strips_and_sheets_hold_their_frames():
    frames = [render.picture(normal(3, 6, 5, seed=k), COLOUR) for k in range(7)]
    strip = render.strip(frames, gap=4)
    assert strip.size == (7 * 5 + 6 * 4, 6)
    assert strip.mode == "RGBA"
    sheet, columns = render.sheet(frames)
    assert columns == 3
    assert sheet.size == (15, 18)
    for k, frame in enumerate(frames):
        left, top = k % columns * 5, k // columns * 6
        assert sheet.crop((left, top, left + 5, top + 6)).convert("RGB").tobytes() == frame.tobytes()
        assert strip.crop((k * 9, 0, k * 9 + 5, 6)).convert("RGB").tobytes() == frame.tobytes()


@pytest.mark.parametrize("make", [render.strip, render.sheet, lambda f: render.gif(f, 10), lambda f: render.mp4(f, 10)])
def test_films_need_frames_of_one_size(make):
    with pytest.raises(BadInput, match="at least one"):
        make([])
    with pytest.raises(BadInput, match="one size"):
        make([Image.new("L", (4, 4)), Image.new("L", (4, 5))])


# ---- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_data_urls_hold_the_picture(format):
    image = render.grid(torch.ones(3, 1, 8, 8), GREY, gap=2)
    head, data = render.data_url(image, format).split(",")
    assert head == f"data:image/{format};base64"
    back = Image.open(io.BytesIO(base64.b64decode(data)))
    assert back.format == format.upper()
    assert back.size == image.size
    if format == "png":
        assert back.tobytes() == image.tobytes()
    else:
        assert min(back.convert("L").getextrema()) > 250  # white cells and white where it was transparent


def test_the_recipe_survives_the_png(tmp_path):
    recipe = {"entry": "vae-mnist", "seed": 2**32 - 1, "label": None, "options": {"temperature": 0.7}, "é": ["π", True]}
    data = render.png(render.picture(normal(1, 8, 8), GREY), recipe)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (data, path, str(path), Image.open(path)):
        assert render.recipe_of(source) == recipe
    assert json.loads(Image.open(path).info["parameters"]) == recipe


def test_no_recipe_is_none_whatever_the_source(tmp_path):
    image = Image.new("L", (4, 4))
    (tmp_path / "a.png").write_text("words")
    for source in (render.png(image), b"", b"words", tmp_path / "a.png", tmp_path / "none.png", image, tmp_path):
        assert render.recipe_of(source) is None
    for text in ("Steps: 20, Sampler: Euler", "[1]", "[" * 100_000):
        image.info["parameters"] = text
        assert render.recipe_of(image) is None


def of_size(data: bytes, width: int, height: int) -> bytes:
    """A PNG that claims another size; its pixels can no longer be decoded."""
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


def test_a_huge_picture_is_asked_for_its_recipe_without_being_decoded():
    data = render.png(Image.new("L", (4, 4)), {"seed": 1})
    assert render.recipe_of(of_size(data, 9_000, 9_000)) == {"seed": 1}
    assert render.recipe_of(of_size(data, 40_000, 40_000)) is None  # Pillow takes it for a bomb


def test_a_zip_holds_its_files_and_is_reproducible():
    files = {"0.png": b"\x00\x01" * 50, "folder/recipe.json": b"{}"}
    data = render.zip_of(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert render.zip_of(files) == data


def film(data: bytes) -> tuple[list[Image.Image], list[int], Image.Image]:
    file = Image.open(io.BytesIO(data))
    frames, delays = [], []
    for k in range(file.n_frames):
        file.seek(k)
        frames.append(file.convert("RGB"))
        delays.append(file.info["duration"])
    return frames, delays, file


def test_a_grey_gif_gives_back_its_frames_exactly():
    frames = [render.picture(normal(1, 9, 13, seed=k), GREY, scale=3) for k in (0, 1, 1, 1, 2, 0)]  # some are equal
    back, delays, file = film(render.gif(frames, 30))
    assert len(back) == len(frames)
    assert file.info["loop"] == 0
    for k, (a, b) in enumerate(zip(frames, back, strict=True)):
        assert a.convert("RGB").tobytes() == b.tobytes(), k
    assert sum(delays) == 200
    assert set(delays) == {30, 40}
    assert "loop" not in film(render.gif(frames, 30, loop=False))[2].info


def test_a_gif_of_few_colours_is_exact_and_transparency_shows_the_ground():
    frames = [render.grid(normal(3, 1, 6, 6, seed=k), GREY, scale=2) for k in range(4)]
    for frame, back in zip(frames, film(render.gif(frames, 10, ground="#191c22"))[0], strict=True):
        ground = Image.new("RGBA", frame.size, "#191c22")
        ground.alpha_composite(frame.convert("RGBA"))
        assert ground.convert("RGB").tobytes() == back.tobytes()


def test_a_colour_gif_keeps_colours_close_and_still_parts_still():
    ramp = torch.linspace(-1, 1, 32)
    still = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32), (ramp * ramp[:, None])])
    frames = []
    for k in range(6):
        moving = still.clone()
        moving[:, :, 16:] = torch.roll(still, k * 3, 1)[:, :, 16:]
        frames.append(render.picture(moving, COLOUR, scale=4))
    back = film(render.gif(frames, 10))[0]
    assert len(back) == 6
    for a, b in zip(frames, back, strict=True):
        assert (values(a) - values(b)).abs().mean() < 6
        assert torch.equal(values(b)[:, :64], values(back[0])[:, :64])


def bt709(planes: np.ndarray, height: int) -> Image.Image:
    """Planes Y, U, V of yuv420p, one below the other, as RGB after ITU-R BT.709 with limited range."""
    width = planes.shape[1]
    y = (planes[:height].astype(float) - 16) / 219
    u, v = ((planes[height:].reshape(2, height // 2, width // 2).astype(float) - 128) / 224).repeat(2, 1).repeat(2, 2)
    red, blue = y + 1.5748 * v, y + 1.8556 * u
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return Image.fromarray((np.stack([red, green, blue], -1).clip(0, 1) * 255).round().astype(np.uint8))


def decoded(data: bytes) -> tuple[list[Image.Image], float]:
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(data)) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert int(video.codec_context.colorspace) == 1  # BT.709, said so that players need not guess
        frames = [bt709(frame.to_ndarray(), video.height) for frame in container.decode(video=0)]
        return frames, float(video.average_rate)


@pytest.mark.parametrize("fps", [12, 30, 7.5])
def test_an_mp4_gives_back_its_frames(fps):
    pytest.importorskip("av")
    frames = [render.picture(normal(1, 15, 11, seed=k), GREY, scale=9) for k in (0, 1, 1, 2, *range(3, 17))]
    back, rate = decoded(render.mp4(frames, fps))
    assert len(back) == len(frames)
    assert rate == pytest.approx(fps)
    for k, copy in enumerate(back):
        assert copy.size == (100, 136)  # 99 x 135, made even
        errors = [(values(copy.convert("L"))[:135, :99] - values(other)).abs().mean() for other in frames]
        assert errors[k] < 3
        assert errors[k] == min(errors)


def test_an_mp4_keeps_colours():
    pytest.importorskip("av")
    colours = ["#7a4fd0", "#00805c", "#b36b00", "#ffffff", "#000000", "#ff0000"]
    back, _ = decoded(render.mp4([Image.new("RGB", (64, 48), colour) for colour in colours], 10))
    for colour, frame in zip(colours, back, strict=True):
        assert (values(frame)[24, 32] - torch.tensor(rgb(colour))).abs().max() <= 6


def test_without_pyav_the_message_names_the_gif(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **others):
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadInput, match="pip install av"):
        render.mp4([Image.new("L", (4, 4))], 10)
