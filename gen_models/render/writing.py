"""Text as a picture: what was written, line by line."""

from __future__ import annotations

import textwrap
from typing import Literal

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gen_models.interface import Space

COLUMNS = 60  # characters a line, of running text
_GROUND, _INK = {"light": "#ffffff", "dark": "#16181d"}, {"light": "#1b1e24", "dark": "#e8eaee"}


def writing(
    x: Tensor, space: Space, *, size: int = 480, theme: Literal["light", "dark"] = "light", ground: str | None = None
) -> Image.Image:
    """Texts (B, n) of symbols on a page `size` pixels square, one under the other; what does not fit is cut off.

    Letters of Pillow's own font: characters that it lacks are drawn as empty boxes.
    """
    lines: list[str] = []
    for row in x.tolist():
        text = "".join(space.alphabet[k] for k in row)
        if space.encoding == "lines":
            lines.append(text.partition("\n")[0])
        else:
            lines += [part for line in text.split("\n") for part in textwrap.wrap(line, COLUMNS) or [""]]
    image = Image.new("RGB", (size, size), ground or _GROUND[theme])
    font, step = ImageFont.load_default(size / 32), size / 24
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines[:23]):
        draw.text((step, step * (k + 0.5)), line, fill=_INK[theme], font=font)
    return image
