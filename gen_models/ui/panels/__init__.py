"""The panels in the order of their tabs: what an entry's abilities and data earn."""

from gen_models.ui.panels import latent, sample, steps

PANELS = (sample.PANEL, latent.PANEL, steps.PANEL)
