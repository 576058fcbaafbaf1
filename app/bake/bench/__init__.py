"""Measurements of the app: `python -m app.bench page | load | memory`; each starts and ends a server of its own."""
