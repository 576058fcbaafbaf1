"""Moved to `flextok.tokens.clip`; this name stays for one release."""

from flextok.tokens.clip import *  # noqa: F403
