"""Moved to `flextok.tokens.edit`; this name stays for one release."""

from flextok.tokens.edit import *  # noqa: F403
