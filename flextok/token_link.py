"""Moved to `flextok.tokens.link`; this name stays for one release."""

from flextok.tokens.link import *  # noqa: F403
