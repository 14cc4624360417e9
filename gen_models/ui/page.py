"""The page: header, a tab per family, one for what is fetched and one to compare, one theme, and what a visit costs."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr

from gen_models import zoo
from gen_models.ui import arena, compare, hub, memory
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
        families = {**zoo.FAMILIES, zoo.HUB.key: zoo.HUB}
        entries = {key: [name for name, entry in zoo.ZOO.items() if entry.family == key] for key in families}
        header = live(
            "header", memory.serve(visits, where), visits, elem_id="header", chip=memory.chip(where), entries=entries
        )
        with gr.Tabs(selected=next(iter(zoo.FAMILIES)), elem_id="families", overflow_behavior="wrap"):
            with gr.Tab(arena.TITLE, id=arena.KEY, elem_id=f"family-{arena.KEY}"):
                arena.build(visits, where)
            tabs = []
            for family in zoo.FAMILIES.values():
                with gr.Tab(family.title, id=family.key, elem_id=f"family-{family.key}"):
                    tabs.append(Tab(family, visits, where))
                    tabs[-1].build(PANELS)
            with gr.Tab(zoo.HUB.title, id=zoo.HUB.key, elem_id=f"family-{zoo.HUB.key}"):
                hub.build(visits, where, tabs)
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
