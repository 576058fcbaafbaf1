"""Look of the page: Gradio's own theme; the player brings its own rules (app/static/player.css)."""

from __future__ import annotations

CSS = """
#clip video { max-height: 220px; }
#generate-player .more-seeds { display: none; }
"""
