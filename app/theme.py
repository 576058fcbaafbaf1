"""Look of the page: Gradio's own theme, and the few rules that the clip cards need."""

from __future__ import annotations

CSS = """
.cards { display: flex; flex-wrap: wrap; gap: 12px; }
.cards figure { margin: 0; flex: 1 1 150px; max-width: 260px; }
.cards img, .cards .empty {
  width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 8px; display: block;
  background: var(--background-fill-secondary);
}
.cards .empty { display: grid; place-items: center; color: var(--body-text-color-subdued); }
.cards figcaption { display: flex; flex-direction: column; font-size: 0.85rem; padding-top: 4px; line-height: 1.35; }
.cards figcaption span { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
@media (max-width: 480px) { .cards figure { flex-basis: 42%; } }
"""
