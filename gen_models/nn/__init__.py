"""What two or more families use: perceptrons, blocks, attention, time features, a transformer, what games share."""

from gen_models.nn.adversarial import PlainBlock, bounded, diff_augment, doubled, recoloured, spectrally_normalise
from gen_models.nn.blocks import (
    Attention,
    PointsNetwork,
    ResidualBlock,
    TimeFeatures,
    UNet,
    mlp,
    quartered,
    zero,
)
from gen_models.nn.choosing import kept
from gen_models.nn.decoder import Cache, Decoder

__all__ = [
    "Attention",
    "Cache",
    "Decoder",
    "PlainBlock",
    "PointsNetwork",
    "ResidualBlock",
    "TimeFeatures",
    "UNet",
    "bounded",
    "diff_augment",
    "doubled",
    "kept",
    "mlp",
    "quartered",
    "recoloured",
    "spectrally_normalise",
    "zero",
]
