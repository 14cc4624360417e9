"""The panels in the order of their tabs: what an entry's abilities and data earn."""

from gen_models.ui.panels import interpolate, latent, reconstruct, sample, steps, train

PANELS = (sample.PANEL, latent.PANEL, interpolate.PANEL, reconstruct.PANEL, steps.PANEL, train.PANEL)
