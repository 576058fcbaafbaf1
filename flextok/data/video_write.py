"""Moved to `flextok.video.write`; this name stays for one release."""

from flextok.video.write import *  # noqa: F403
