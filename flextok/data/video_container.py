"""Moved to `flextok.video.container`; this name stays for one release."""

from flextok.video.container import *  # noqa: F403
