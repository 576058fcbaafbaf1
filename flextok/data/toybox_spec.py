"""Moved to `flextok.toybox.spec`; this name stays for one release."""

from flextok.toybox.actions import *  # noqa: F403
from flextok.toybox.sampling import *  # noqa: F403
from flextok.toybox.spec import *  # noqa: F403
