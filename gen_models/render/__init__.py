"""(Tensor, Space) -> pictures, plots and files: pure functions that know nothing of a page."""

from gen_models.render.files import data_url, gif, mp4, png, recipe_of, zip_of
from gen_models.render.pictures import columns_for, difference, grid, picture, sheet, strip
from gen_models.render.scatter import COLOURS, points
from gen_models.render.writing import writing

__all__ = [
    "COLOURS",
    "columns_for",
    "data_url",
    "difference",
    "gif",
    "grid",
    "mp4",
    "picture",
    "png",
    "points",
    "recipe_of",
    "sheet",
    "strip",
    "writing",
    "zip_of",
]
