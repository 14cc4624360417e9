"""Emoji out of thin air, so that an entry of two domains has held-out twins on a machine without network."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from gen_models import data
from gen_models.noise import mixed

KINDS = 64  # different ones


def put_into_cache() -> None:
    """Noto and Blob as this session's own cache: circles in the one style, squares of the same colour in the other."""
    files: dict[tuple[int, bool], bytes] = {}

    def fetch(address: str) -> bytes:
        kind, square = mixed(address.rpartition("/")[2]) % KINDS, "blobmoji" in address
        if (kind, square) not in files:
            files[kind, square] = _drawn(kind, square)
        return files[kind, square]

    for style in ("noto", "blob"):
        data.domains.emoji.pictures(style, fetch)


def _drawn(kind: int, square: bool) -> bytes:
    image = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(image)
    colour = (255 - 3 * kind, 40 + 3 * kind, 37 * kind % 256)
    (draw.rectangle if square else draw.ellipse)((8, 8 + kind // 4, 56, 56), fill=colour)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
