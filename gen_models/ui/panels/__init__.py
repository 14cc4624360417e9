"""The panels in the order of their tabs: what an entry's abilities and data earn."""

from gen_models.ui.panels import (
    density,
    interpolate,
    latent,
    layers,
    likelihood,
    reconstruct,
    rounds,
    sample,
    steps,
    train,
)

PANELS = (
    sample.PANEL,
    latent.PANEL,
    interpolate.PANEL,
    reconstruct.PANEL,
    steps.PANEL,
    layers.PANEL,
    density.PANEL,
    likelihood.PANEL,
    rounds.PANEL,
    train.PANEL,
)
