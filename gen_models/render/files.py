"""Pictures as bytes: data URLs, PNG that holds its recipe, GIF, MP4 and ZIP, all made in memory."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import GifImagePlugin, Image, ImageColor, PngImagePlugin

from gen_models.interface import BadInput

RECIPE = "parameters"  # the PNG text chunk where image generators keep theirs
CRF = 8  # H.264's constant rate factor: 0 is lossless, 18 looks it


def data_url(image: Image.Image, format: Literal["png", "jpeg"] = "png", quality: int = 90) -> str:
    """The picture as a data URL; fast rather than small. JPEG has no transparency: white shows instead."""
    stream = io.BytesIO()
    if format == "jpeg":
        _opaque(image).save(stream, "JPEG", quality=quality)
    else:
        image.save(stream, "PNG", compress_level=1)
    return f"data:image/{format};base64,{base64.b64encode(stream.getbuffer()).decode()}"


def png(image: Image.Image, recipe: Mapping[str, Any] | None = None) -> bytes:
    """The picture as PNG; its recipe (JSON values) goes into the text chunk `parameters`."""
    chunks = PngImagePlugin.PngInfo()
    if recipe is not None:
        chunks.add_text(RECIPE, json.dumps(dict(recipe)))
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


def recipe_of(source: Image.Image | bytes | str | Path) -> dict[str, Any] | None:
    """The recipe in a picture, a file or its bytes; None where there is none, whatever the source is.

    The pixels are not decoded, so a huge picture costs nothing.
    """
    try:
        if isinstance(source, Image.Image):
            found = source.info.get(RECIPE)
        else:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                found = image.info.get(RECIPE)
        recipe = json.loads(found) if isinstance(found, str) else None
    except (OSError, ValueError, SyntaxError, RecursionError, Image.DecompressionBombError):
        return None
    return recipe if isinstance(recipe, dict) else None


def gif(frames: Sequence[Image.Image], fps: float, loop: bool = True, ground: str = "#ffffff") -> bytes:
    """Frames of one size as an animated GIF with one palette for all: nothing flickers, grey is exact.

    Frame k of the file is frame k, also where two are equal (Pillow's own writer merges those). Delays are hundredths
    of a second, chosen so that the mean rate is `fps`, at most 50. Transparency shows `ground`.
    """
    pixels, palette = _indexed(_opaque_frames(frames, ground))
    height, width = pixels[0].shape
    out = io.BytesIO()
    out.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\xf7\x00\x00" + palette)
    if loop:
        out.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    ticks = 100 / min(max(fps, 0.1), 50)
    for k, frame in enumerate(pixels):
        delay = round((k + 1) * ticks) - round(k * ticks)
        out.write(b"\x21\xf9\x04\x04" + delay.to_bytes(2, "little") + b"\x00\x00")  # disposal 1: leave in place
        for part in GifImagePlugin.getdata(Image.fromarray(frame), include_color_table=False):
            out.write(part)
    return out.getvalue() + b";"


def mp4(frames: Sequence[Image.Image], fps: float, ground: str = "#ffffff") -> bytes:
    """Frames of one size as MP4 (H.264, yuv420p, near lossless); odd sizes gain a row or column of their edge.

    Frame k of the file is frame k. Transparency shows `ground`. BadInput when PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise BadInput("MP4 needs PyAV: run `pip install av`, or take the GIF.") from None
    frames = _opaque_frames(frames, ground)
    width, height = frames[0].size
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.options = {"crf": str(CRF), "preset": "veryfast", "g": "12"}  # a key frame each 12: seeking is quick
        bt709 = av.video.reformatter.Colorspace.ITU709
        video.codec_context.colorspace = video.codec_context.color_primaries = video.codec_context.color_trc = 1
        for image in frames:
            pixels = np.pad(np.asarray(image.convert("RGB")), ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace=bt709)))
        container.mux(video.encode())
    return stream.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Named files as a ZIP; the same files give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _opaque(image: Image.Image, ground: str = "#ffffff") -> Image.Image:
    """The picture as L or RGB; where it is transparent, the ground shows."""
    if image.mode in ("L", "RGB"):
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    grey = image.mode == "LA" and len(set(ImageColor.getrgb(ground)[:3])) == 1
    base = Image.new("RGBA", image.size, ground)
    return Image.alpha_composite(base, image.convert("RGBA")).convert("L" if grey else "RGB")


def _opaque_frames(frames: Sequence[Image.Image], ground: str) -> list[Image.Image]:
    if not frames:
        raise BadInput("There are no frames to save; make at least one.")
    if len({frame.size for frame in frames}) > 1:
        raise BadInput("All frames of a film must have one size.")
    return [_opaque(frame, ground) for frame in frames]


def _indexed(frames: list[Image.Image]) -> tuple[list[np.ndarray], bytes]:
    """Frames as indices (H, W) into one palette of 256 colours (768 bytes): exact for grey or few colours."""
    if all(frame.mode == "L" for frame in frames):
        return [np.asarray(frame) for frame in frames], bytes(np.arange(256, dtype=np.uint8).repeat(3))
    frames = [frame.convert("RGB") for frame in frames]
    exact = _few_colours(frames)
    if exact:
        return exact
    stride = max(1, max(frames[0].size) // 64)  # enough to choose the palette from
    some = [np.asarray(frame)[::stride, ::stride].reshape(-1, 1, 3) for frame in frames]
    together = Image.fromarray(np.concatenate(some))
    chosen = together.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    mapped = [np.asarray(frame.quantize(palette=chosen, dither=Image.Dither.NONE)) for frame in frames]
    return mapped, bytes(chosen.getpalette()).ljust(768, b"\0")


def _few_colours(frames: list[Image.Image]) -> tuple[list[np.ndarray], bytes] | None:
    """RGB frames as indices and palette without loss, where 256 colours are enough for all of them."""
    codes = [np.asarray(frame).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32) for frame in frames]
    for stride in (7, 1):  # a few pixels show at once that there are too many
        colours = np.unique(np.concatenate([np.unique(code[::stride, ::stride]) for code in codes]))
        if len(colours) > 256:
            return None
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8)
    return [np.searchsorted(colours, code).astype(np.uint8) for code in codes], palette.tobytes().ljust(768, b"\0")
