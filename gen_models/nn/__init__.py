"""What two or more families use: perceptrons, residual blocks, attention, time features, a decoder-only transformer."""

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
    "PointsNetwork",
    "ResidualBlock",
    "TimeFeatures",
    "UNet",
    "kept",
    "mlp",
    "quartered",
    "zero",
]
