"""The Arena: every family on the same points, side by side, trained live under one budget."""

from gen_models.ui.arena.tab import KEY, TITLE, build

__all__ = ["KEY", "TITLE", "build"]
