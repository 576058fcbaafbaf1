"""Moved to `flextok.video.images`; this name stays for one release."""

from flextok.video.images import *  # noqa: F403
