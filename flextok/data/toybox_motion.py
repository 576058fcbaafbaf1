"""Moved to `flextok.toybox.motion`; this name stays for one release."""

from flextok.toybox.actions import *  # noqa: F403
from flextok.toybox.motion import *  # noqa: F403
