"""Moved to `flextok.video.strip`; this name stays for one release."""

from flextok.video.strip import *  # noqa: F403
