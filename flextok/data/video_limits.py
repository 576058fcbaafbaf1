"""Moved to `flextok.video.limits`; this name stays for one release."""

from flextok.video.limits import *  # noqa: F403
