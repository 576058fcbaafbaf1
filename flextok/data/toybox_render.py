"""Moved to `flextok.toybox.render`; this name stays for one release."""

from flextok.toybox.render import *  # noqa: F403
