"""Moved to `flextok.toybox.labels`; this name stays for one release."""

from flextok.toybox.labels import *  # noqa: F403
