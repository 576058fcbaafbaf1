"""Moved to `flextok.loading.hub`; this name stays for one release."""

from flextok.loading.hub import *  # noqa: F403
