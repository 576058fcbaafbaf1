"""Moved to `flextok.toybox.distractors`; this name stays for one release."""

from flextok.toybox.distractors import *  # noqa: F403
