"""Moved to `flextok.video.pixels`; this name stays for one release."""

from flextok.video.pixels import *  # noqa: F403
