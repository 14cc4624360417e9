"""The panels in the order of their tabs: what an entry's abilities and data earn."""

from gen_models.ui.panels import (
    attention,
    codes,
    complete,
    density,
    interpolate,
    latent,
    layers,
    likelihood,
    predict,
    reconstruct,
    rounds,
    sample,
    steps,
    train,
    writing,
)

PANELS = (
    sample.PANEL,
    writing.PANEL,
    attention.PANEL,
    latent.PANEL,
    interpolate.PANEL,
    reconstruct.PANEL,
    codes.PANEL,
    steps.PANEL,
    layers.PANEL,
    complete.PANEL,
    predict.PANEL,
    density.PANEL,
    likelihood.PANEL,
    rounds.PANEL,
    train.PANEL,
)
