"""What two or more families use: perceptrons, residual blocks, attention, time features."""

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

__all__ = ["Attention", "PointsNetwork", "ResidualBlock", "TimeFeatures", "UNet", "mlp", "quartered", "zero"]
