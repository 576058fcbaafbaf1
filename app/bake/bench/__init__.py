"""Measurements of the app: `python -m app.bake.bench page | load | memory`; each starts and ends its own server."""
