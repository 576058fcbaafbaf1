"""Moved to `flextok.loading.checkpoint`; this name stays for one release."""

from flextok.loading.checkpoint import *  # noqa: F403
from flextok.loading.errors import *  # noqa: F403
from flextok.loading.json_file import *  # noqa: F403
