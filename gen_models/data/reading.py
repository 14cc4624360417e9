"""One picture that a person brings, checked and fitted to a model's Space."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gen_models.data.images import in_range
from gen_models.interface import BadInput, Space

MOST_PIXELS = 50_000_000  # before the picture is made smaller
MOST_FILE_BYTES = 128 << 20
KINDS = "PNG, JPEG, WebP, BMP, GIF, TIFF or PPM"
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error, zlib.error)
DAMAGED = "damaged or incomplete. Save or download it again."
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # no format that calls another program

Source = str | Path | bytes | Image.Image | np.ndarray


def picture(source: Source, space: Space) -> Tensor:
    """One picture for a model: centre-cropped and resized to `space.shape`, (C, H, W) in [-1, 1].

    A path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of bytes, of 16-bit
    levels, or of floats in 0..1, -1..1 or 0..255. What is transparent becomes white. BadInput for all that is not a
    picture.
    """
    if space.kind != "image" or space.shape[0] not in (1, 3):
        raise BadInput("This model does not take pictures. Choose a model of pictures.")
    if not isinstance(source, Source) or (isinstance(source, str | bytes) and not source):
        raise BadInput("Choose or draw a picture first.")
    name = Path(source).name if isinstance(source, str | Path) else "The picture"
    try:
        return in_range(fitted(source, space.shape))
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def fitted(source: Source, shape: tuple[int, ...]) -> Tensor:
    """The largest centred part of the right proportions, resized: uint8 (C, H, W). BadInput with the bare reason."""
    channels, height, width = shape
    try:
        image = _flat(ImageOps.exif_transpose(_opened(source, shape)), "L" if channels == 1 else "RGB")
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        box = (left, top, left + scale * width, top + scale * height)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    except BadInput:
        raise
    except UnidentifiedImageError:
        raise BadInput(f"not a picture that can be read. Save it as {KINDS} and try again.") from None
    except FileNotFoundError:
        raise BadInput("there is no such file. Check its name and folder.") from None
    except DAMAGE as error:
        raise BadInput(DAMAGED) from error
    x = torch.from_numpy(np.array(image).reshape(height, width, channels))
    return x.permute(2, 0, 1).contiguous()


def _opened(source: Source, shape: tuple[int, ...]) -> Image.Image:
    """The picture; where it comes from a file its pixels are not yet read."""
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        return _small_enough(source)
    if isinstance(source, str | Path):
        source = file_bytes(Path(source))
    try:
        image = _small_enough(Image.open(io.BytesIO(source), formats=FORMATS))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    image.draft(image.mode, (4 * shape[2], 4 * shape[1]))  # a large JPEG is decoded at a fraction of its size
    return image


def file_bytes(file: Path) -> bytes:
    """The bytes of a picture file; BadInput where there are too many."""
    check_bytes(file.stat().st_size)
    return file.read_bytes()


def check_bytes(size: int) -> None:
    """BadInput where a picture file of `size` bytes is too large to read."""
    if size > MOST_FILE_BYTES:
        raise BadInput(f"the file is larger than {MOST_FILE_BYTES >> 20} MiB. Save the picture smaller.")


def _small_enough(image: Image.Image) -> Image.Image:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(f"{image.width} x {image.height} pixels")
    if not image.width * image.height:
        raise BadInput("it is empty. Choose or draw a picture first.")
    return image


def _too_large(size: str = "") -> BadInput:
    most = f"more than {MOST_PIXELS // 10**6} million pixels"
    return BadInput(f"{size or most} are too many to open. Make the picture smaller, 4000 x 4000 at most.")


def _from_array(x: np.ndarray) -> Image.Image:
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (3, 4)) or not x.size:
        raise BadInput(f"an array of shape {x.shape} is not a picture. Give (height, width) or (height, width, 3).")
    return Image.fromarray(_levels(x))


def _levels(x: np.ndarray) -> np.ndarray:
    """Numbers of any kind as bytes; a range that is none of the usual ones is stretched to black .. white."""
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "buif" or not np.isfinite(x).all():
        raise BadInput("it holds something that is not a finite number. Save it as 8-bit PNG and try again.")
    low, high = float(x.min()), float(x.max())
    real = x.dtype.kind == "f"
    if x.dtype == bool or (real and low >= 0 and high <= 1):
        low, high = 0, 1
    elif real and low >= -1 and high <= 1:
        low, high = -1, 1
    elif x.dtype == np.uint16 or (not real and low >= 0 and 255 < high <= 65535):
        low, high = 0, 65535
    elif low >= 0 and high <= 255:
        low, high = 0, 255
    return ((x.astype(np.float64) - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture on white paper, in 8 bits grey ("L") or colour ("RGB")."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_levels(np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert(mode)
