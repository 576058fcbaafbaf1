"""Moved to `flextok.tokens.file`; this name stays for one release."""

from flextok.tokens.file import *  # noqa: F403
