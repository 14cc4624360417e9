"""The page: header, a tab per family and one to compare them, one theme, and what a visit costs."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr

from gen_models import device, zoo
from gen_models.ui import arena, compare
from gen_models.ui.live import live
from gen_models.ui.panels import PANELS
from gen_models.ui.tabs import Tab
from gen_models.ui.visits import Visits

TITLE = "gen_models: a playground of generative models"
STATIC = Path(__file__).parent / "static"
FIRST = ("theme.css", "page.js")  # the rest of the files may rely on these


def page(bundled: zoo.Shelf | None = None, where: str = "cpu", may_edit_bundled: bool = False) -> gr.Blocks:
    """The whole page over a folder of checkpoints; `where` is the device's name for the chip and for training.

    may_edit_bundled: what a person changes of a shipped entry, its directions' names, is written into its card.
    """
    visits = Visits(bundled or zoo.BUNDLED, may_edit_bundled)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 1800), fill_width=True) as demo:
        chip = {"chip": lambda visit, asked: _chip(where)}
        entries = {key: [name for name, entry in zoo.ZOO.items() if entry.family == key] for key in zoo.FAMILIES}
        header = live("header", chip, visits, elem_id="header", chip=_chip(where), entries=entries)
        with gr.Tabs(selected=next(iter(zoo.FAMILIES)), elem_id="families", overflow_behavior="wrap"):
            with gr.Tab(arena.TITLE, id=arena.KEY, elem_id=f"family-{arena.KEY}"):
                arena.build(visits, where)
            for family in zoo.FAMILIES.values():
                with gr.Tab(family.title, id=family.key, elem_id=f"family-{family.key}"):
                    Tab(family, visits, where).build(PANELS)
            with gr.Tab(compare.TITLE, id=compare.KEY, elem_id=f"family-{compare.KEY}"):
                compare.build(visits, where)
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        demo.load(_opened(visits), None, [header], **quiet)
        demo.unload(visits.close)
    demo.queue(max_size=64)
    return demo


def private(host: str, share: bool) -> bool:
    """Whether only people at this machine reach the page: no Space, no public link, no port open to others."""
    return host in ("127.0.0.1", "localhost", "::1") and not share and not os.environ.get("SPACE_ID")


def _opened(visits: Visits):
    def opened(request: gr.Request) -> str:
        return visits.of(request).key

    return opened


def _chip(where: str) -> str:
    return f"{device.describe(where)} · {device.memory() / 2**20:.0f} MiB"


def look() -> dict:
    """What launch() needs to make the page look and behave as it should: theme, style sheets and scripts, all local."""
    fonts = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "Arial", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]
    theme = gr.themes.Base(
        primary_hue="blue", neutral_hue="gray", radius_size="lg", text_size="md", font=fonts, font_mono=mono
    )
    styles = sorted(STATIC.glob("*.css"), key=_order)
    scripts = "\n".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.js"), key=_order))
    return {"theme": theme, "css_paths": styles, "head": f"<script>\n{scripts}\n</script>"}


def _order(path: Path) -> tuple[bool, str]:
    return path.name not in FIRST, path.name
