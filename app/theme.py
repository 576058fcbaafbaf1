"""Look of the page: Gradio's own theme; the player brings its own rules (app/components/player/player.css)."""

from __future__ import annotations

# A status line says itself what went wrong: Gradio's mark would lie over it.
CSS = """
[id$="status"] [data-testid="status-tracker"] .error,
[id$="status"] [data-testid="status-tracker"] .clear-status { display: none; }
#clip video { max-height: 220px; }
#generate-player .more-seeds { display: none; }
"""
