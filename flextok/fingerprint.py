"""Moved to `flextok.loading.fingerprint`; this name stays for one release."""

from flextok.loading.fingerprint import *  # noqa: F403
