"""(Tensor, Space) -> pictures, plots, sound and files: pure functions that know nothing of a page."""

from gen_models.render.files import data_url, gif, mp4, png, recipe_of, zip_of
from gen_models.render.midi import midi, read_midi
from gen_models.render.pictures import columns_for, difference, grid, picture, sheet, strip
from gen_models.render.roll import VOICE_COLOURS, roll, roll_data
from gen_models.render.scatter import COLOURS, points
from gen_models.render.sound import wav
from gen_models.render.writing import writing

__all__ = [
    "COLOURS",
    "VOICE_COLOURS",
    "columns_for",
    "data_url",
    "difference",
    "gif",
    "grid",
    "midi",
    "mp4",
    "picture",
    "png",
    "points",
    "read_midi",
    "recipe_of",
    "roll",
    "roll_data",
    "sheet",
    "strip",
    "wav",
    "writing",
    "zip_of",
]
