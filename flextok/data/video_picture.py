"""Moved to `flextok.video.picture`; this name stays for one release."""

from flextok.video.picture import *  # noqa: F403
