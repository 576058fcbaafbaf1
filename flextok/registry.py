"""Moved to `flextok.loading.registry`; this name stays for one release."""

from flextok.loading.registry import *  # noqa: F403
