"""Moved to `flextok.video.read`; this name stays for one release."""

from flextok.video.read import *  # noqa: F403
