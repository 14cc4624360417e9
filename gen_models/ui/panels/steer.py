"""Steering without training: what guidance buys and costs, and a label that changes while the sampler walks."""

from __future__ import annotations

import gradio as gr

from gen_models.interface import Refines
from gen_models.ui.panels import steer_guidance, steer_labels
from gen_models.ui.tabs import Panel, Tab


def mount(tab: Tab) -> None:
    """Builds the panel into the family's tab."""
    key = f"{tab.family.key}-steer"
    with gr.Tabs(elem_id=f"{key}-ways", elem_classes="gm-panels gm-steer-ways", overflow_behavior="wrap"):
        with gr.Tab("Guidance", id="guidance", elem_id=f"{key}-guidance"):
            steer_guidance.mount(tab)
        with gr.Tab("Labels over time", id="labels", elem_id=f"{key}-labels"):
            steer_labels.mount(tab)


PANEL = Panel("Steer", (Refines,), frozenset({"image"}), mount)
