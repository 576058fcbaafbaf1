"""Moved to `flextok.loading.checkpoint`; this name stays for one release."""

from flextok.loading.checkpoint import *  # noqa: F403
