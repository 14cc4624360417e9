"""Decodes on a grid or as a cloud: seeds, class and the method's options; click one to take it to the other panels."""
from gen_models.interface import Decodes
from gen_models.ui.tabs import Panel
from gen_models.ui.widgets import Form, columns, number, option_fields, seed, label, side, stage

def mount(tab):
    def fields(picked):
        return [seed(), *label(picked), *option_fields(picked.entry.model.sample, picked.entry.limits(), ("steps","guidance","temperature","truncation"))]
    with columns():
        with side():
            form = Form(tab, "latent", fields, "Generate", "Try it.")
        with stage():
            import gradio as gr
            gr.HTML("x")
    def work(ask):
        """Decodes."""
        yield f"{ask.values}"
    form.job(work, [], api_name=f"{tab.family.key}_latent")
PANEL = Panel("Latent", (Decodes,), frozenset({"image"}), mount)
