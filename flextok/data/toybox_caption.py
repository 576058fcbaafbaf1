"""Moved to `flextok.toybox.caption`; this name stays for one release."""

from flextok.toybox.caption import *  # noqa: F403
