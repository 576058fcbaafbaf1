"""Moved to `flextok.checks`; this name stays for one release."""

from flextok.checks import *  # noqa: F403
